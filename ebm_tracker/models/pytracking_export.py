"""Our network -> a checkpoint that stock pytracking loads as ATOM with ResNet18, written without importing `ltr`.

Their loader calls the function that the file's NetConstructor names and then loads the state dict strictly. Our
backbones have their batch norms folded, so each norm becomes one that only adds the folded bias; ``layer4`` and
``fc``, which ATOM never runs, become zeros (and norms that change nothing), stored as one number each.
"""

from __future__ import annotations

import json
import pickle
from collections import OrderedDict
from collections.abc import Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import torch
import torchvision
from torch import Tensor

from ebm_tracker.errors import WeightsError
from ebm_tracker.files import atomic_path
from ebm_tracker.models.checkpoint import sha256_of
from ebm_tracker.models.network import EnergyNetwork
from ebm_tracker.models.pytracking_checkpoint import (
    ATOM_CONSTRUCTOR,
    ATOM_NET,
    BACKBONE_PREFIX,
    HEAD_PREFIX,
    LEFT_OUT,
    OWN_KEY,
    STAGES,
)

NORM_EPS = 1e-5
FILLED = "layer4 and fc are zeros: ATOM never runs them"


class _NetConstructor:
    """Pickled under the name of theirs; attributes as theirs has them."""

    def __init__(self, function: str, module: str, arguments: Mapping[str, Any]) -> None:
        self.fun_name, self.fun_module = function, module
        self.args: tuple[Any, ...] = ()
        self.kwds = dict(arguments)


# The one in Python: the one in C imports each class to see whether its name is right. It has no types.
_PythonPickler: Any = pickle._Pickler


class _Pickler(_PythonPickler):
    """Writes `_NetConstructor` as a class of `ltr` by its bare name."""

    def save_global(self, obj: Any, name: str | None = None) -> None:
        if obj is _NetConstructor:
            self.write(pickle.GLOBAL + b"ltr.admin.model_constructor\nNetConstructor\n")
            self.memoize(obj)
        else:
            super().save_global(obj, name)


def export_network(network: EnergyNetwork, path: str | Path, provenance: Mapping[str, Any]) -> str:
    """Writes a checkpoint (beside, then renamed) that pytracking's ``load_network`` takes; returns its SHA-256.

    ``provenance``: JSON-able, kept in the file beside the weights. Raises WeightsError when the network is not one
    that their ``atom_resnet18`` builds.
    """
    state = atom_state(network)
    channels = network.head.channels
    constructor = _NetConstructor(
        ATOM_CONSTRUCTOR,
        "ltr.models.bbreg.atom",
        {"iou_input_dim": channels.maps, "iou_inter_dim": channels.hidden, "backbone_pretrained": False},
    )
    content = {
        "epoch": 0,
        "actor_type": None,
        "net_type": ATOM_NET,
        "net": state,
        "net_info": None,
        "constructor": constructor,
        "optimizer": None,
        "stats": None,
        "settings": None,
        OWN_KEY: json.dumps({"provenance": dict(provenance), "filled": FILLED}, sort_keys=True),
    }
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    module: Any = SimpleNamespace(__name__="pickle", Pickler=_Pickler, dump=pickle.dump)
    with atomic_path(path) as part:
        try:
            torch.save(content, part, pickle_module=module, pickle_protocol=2)
        except RuntimeError as error:  # torch's own for a disk that is full
            raise OSError(f"{path.absolute()} could not be written ({str(error).splitlines()[0]})") from error
        part.chmod(0o644)
        return sha256_of(part)


def atom_state(network: EnergyNetwork) -> OrderedDict[str, Tensor]:
    """The state dict of their ATOM, in their order, float32. Raises WeightsError as ``export_network``."""
    _require_atom(network)
    backbone, head = network.backbone.state_dict(), network.head.state_dict()
    with torch.device("meta"):
        pattern = torchvision.models.resnet18(weights=None).state_dict()
    state: OrderedDict[str, Tensor] = OrderedDict()
    for key, like in pattern.items():
        name = f"{BACKBONE_PREFIX}{key}"
        state[name] = _filler(key, like) if name.startswith(LEFT_OUT) else _unfolded(key, like, backbone)
    for key, value in head.items():
        state[f"{HEAD_PREFIX}{key}"] = value.detach().cpu().clone()
    return state


def _require_atom(network: EnergyNetwork) -> None:
    name, channels = network.backbone.name, network.head.channels
    if name != "resnet18":
        raise WeightsError(
            f"stock pytracking builds ATOM on ResNet18 only; this network has the backbone {name} "
            f"(the preset resnet18 can be exported)"
        )
    if channels.reference != (128, 256) or channels.maps != (256, 256):
        raise WeightsError(
            f"stock pytracking's ATOM has reference channels (128, 256) and maps (256, 256); this head has "
            f"{channels.reference} and {channels.maps}"
        )


def _unfolded(key: str, like: Tensor, backbone: Mapping[str, Tensor]) -> Tensor:
    """One tensor of their backbone from our folded one."""
    part, _, kind = key.rpartition(".")
    convolution = _our_module(_convolution_of(part))
    if part == _convolution_of(part):
        return backbone[f"{convolution}.weight"].detach().cpu().clone()
    bias = backbone[f"{convolution}.bias"].detach().cpu()
    if kind == "bias":
        return bias.clone()
    return _identity_norm(kind, like)


def _convolution_of(part: str) -> str:
    """``layer1.0.bn2`` -> ``layer1.0.conv2``; ``layer2.0.downsample.1`` -> ``layer2.0.downsample.0``."""
    if part.endswith("downsample.1"):
        return part[:-1] + "0"
    before, _, last = part.rpartition(".")
    return f"{before}.{last.replace('bn', 'conv')}" if before else last.replace("bn", "conv")


def _our_module(part: str) -> str:
    for theirs, ours in STAGES.items():
        if f"{part}.".startswith(theirs):
            return f"{ours}{part[len(theirs) :]}".rstrip(".")
    raise AssertionError(part)


def _identity_norm(kind: str, like: Tensor) -> Tensor:
    """A norm y = x + bias: mean 0, variance 1 - eps, so that the square root is 1."""
    if kind == "num_batches_tracked":
        return torch.zeros((), dtype=torch.int64)
    value = {"weight": 1.0, "bias": 0.0, "running_mean": 0.0, "running_var": 1 - NORM_EPS}[kind]
    return torch.full(like.shape, value, dtype=torch.float32)


def _filler(key: str, like: Tensor) -> Tensor:
    part, _, kind = key.rpartition(".")
    if part.rpartition(".")[2].startswith("bn") or part.endswith("downsample.1"):
        return _identity_norm(kind, like)
    return torch.zeros(()).expand(like.shape)  # one number in the file
