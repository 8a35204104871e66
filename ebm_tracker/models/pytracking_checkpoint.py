"""Checkpoints of pytracking's training loop -> our networks: ATOM with ResNet18, and our own network trained there.

Nothing of `ltr` is imported and no constructor from the file is called: the file's tensors, by their names, are put
into our modules. ATOM's batch norms in the backbone are folded (their statistics moved in training, so the backbone
is kept); ``layer4`` and ``fc``, which ATOM carries and never uses, are left out.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ebm_tracker.errors import WeightsError
from ebm_tracker.models.backbone import BACKBONES, Backbone, build_backbone, fold_batch_norms
from ebm_tracker.models.checkpoint import save_network, sha256_of
from ebm_tracker.models.energy_head import EnergyHead, HeadChannels
from ebm_tracker.models.network import EnergyNetwork
from ebm_tracker.models.torch_archive import Inert, StoredTensor, TorchFile, open_torch_file, printable

_CLASSES = (
    "model_constructor.NetConstructor",
    "settings.Settings",
    "local.EnvironmentSettings",
    "stats.AverageMeter",
    "stats.StatValue",
)
INERT = tuple(f"{package}.{name}" for package in ("ltr.admin", "dlframework.common.utils") for name in _CLASSES)
"""What their trainer pickles besides tensors; `dlframework` is what `ltr` was called before its publication."""

ATOM_CONSTRUCTOR = "atom_resnet18"
ATOM_NET, OWN_NET = "ATOMnet", "EnergyNetwork"
# Their names of the backbone's parts -> ours. A dot at the end keeps layer1 from layer10.
STAGES = {
    "conv1.": "stage8.0.0.",
    "bn1.": "stage8.0.1.",
    "layer1.": "stage8.2.",
    "layer2.": "stage8.3.",
    "layer3.": "stage16.",
}
BACKBONE_PREFIX, HEAD_PREFIX = "feature_extractor.", "bb_regressor."
LEFT_OUT = (f"{BACKBONE_PREFIX}layer4.", f"{BACKBONE_PREFIX}fc.")
OWN_KEY = "ebm_tracker"
"""Where our export keeps, as JSON text, what our own file says of the network; pytracking ignores it."""
_FLOATS = (torch.float32, torch.float16, torch.bfloat16, torch.float64)


@dataclass(frozen=True)
class CheckpointFacts:
    """What a checkpoint says of itself, without the trainer's paths. ``constructor``: module and name of the function
    that built the network there; ``settings``: description, module and name of the training settings."""

    layout: str
    epoch: int | None
    net_type: str | None
    actor_type: str | None
    constructor: str | None
    settings: Mapping[str, str]


@dataclass(frozen=True)
class Checkpoint:
    """An open checkpoint: its facts, ``tensors`` of the network by their names there, ``info`` as our own training
    there leaves it, ``note`` as our export does (else both empty)."""

    facts: CheckpointFacts
    tensors: Mapping[str, StoredTensor]
    info: Mapping[str, Any]
    note: Mapping[str, Any]
    file: TorchFile


@contextmanager
def open_checkpoint(path: str | Path) -> Iterator[Checkpoint]:
    """Opens a checkpoint of pytracking's trainer, of any epoch and any network.

    Raises WeightsError: as ``open_torch_file``, or when it is no such checkpoint.
    """
    with open_torch_file(path, INERT) as file:
        content = file.content
        net = content.get("net") if isinstance(content, dict) else None
        if not isinstance(net, dict):
            raise WeightsError(
                f"{file.path.absolute()} is a file of torch.save, but no checkpoint of pytracking: {_of(content)}"
            )
        tensors = {key: value for key, value in net.items() if isinstance(value, StoredTensor) and type(key) is str}
        info = content.get("net_info")
        yield Checkpoint(
            _facts(file, content), tensors, info if isinstance(info, dict) else {}, _note(content.get(OWN_KEY)), file
        )


def _note(text: Any) -> dict[str, Any]:
    try:
        note = json.loads(text) if type(text) is str else None
    except (ValueError, RecursionError):
        note = None
    return note if isinstance(note, dict) else {}


def _of(content: Any) -> str:
    if isinstance(content, dict):
        names = [printable(key, 40) for key in content if type(key) is str]
        return f"it holds {', '.join(names[:4]) or 'nothing'}{', ...' if len(names) > 4 else ''}, and no 'net'"
    return f"it holds one {getattr(content, 'global_name', type(content).__name__)}"


def _facts(file: TorchFile, content: dict[Any, Any]) -> CheckpointFacts:
    constructor, settings = content.get("constructor"), content.get("settings")
    epoch = content.get("epoch")
    built_by = None
    if isinstance(constructor, Inert):
        parts = [constructor.attributes.get(name) for name in ("fun_module", "fun_name")]
        built_by = ".".join(printable(part) for part in parts if type(part) is str) or None
    told = {}
    if isinstance(settings, Inert):  # chosen by name: `env` and whatever a recipe adds may hold paths
        for name in ("description", "module_name", "script_name"):
            text = settings.attributes.get(name)
            if type(text) is str and text:
                told[name] = printable(text, 300)
    names = [content.get(key) for key in ("net_type", "actor_type")]
    net_type, actor_type = (printable(name) if type(name) is str else None for name in names)
    return CheckpointFacts(
        file.layout, epoch if type(epoch) is int else None, net_type, actor_type, built_by, told
    )


def load_pytracking_network(path: str | Path) -> tuple[EnergyNetwork, dict[str, Any]]:
    """The network of a checkpoint, in eval mode, float32, on the CPU, its norms folded; and its provenance.

    Reads ATOM with ResNet18 (`atom_default`, `atom_gmm_sampl`, `atom_prob_ml`) and networks of our own that were
    trained in pytracking's loop. Raises WeightsError, one sentence, for everything else.
    """
    digest = sha256_of(path) if Path(path).is_file() else ""
    with open_checkpoint(path) as checkpoint:
        network = _own(checkpoint) if _is_own(checkpoint) else _atom(checkpoint)
        provenance = {
            "converted_from": {
                "file": checkpoint.file.path.name,
                "sha256": digest,
                "format": f"pytracking checkpoint ({checkpoint.facts.layout})",
                **{key: value for key, value in asdict(checkpoint.facts).items() if key != "layout"},
            }
        }
        if not _is_own(checkpoint):
            provenance["left_out"] = {"unused by the tracker": "layer4, fc"}
        if checkpoint.note:
            provenance["exported_from"] = dict(checkpoint.note)
        if isinstance(checkpoint.info.get("recipe"), dict):
            provenance["recipe"] = _plain(checkpoint.info["recipe"])
    return network, provenance


def convert_checkpoint(path: str | Path, out: str | Path, dtype: torch.dtype = torch.float32) -> str:
    """Writes the checkpoint's network to ``out``, a ``.safetensors`` file of ours; returns that file's SHA-256.

    Raises WeightsError as ``load_pytracking_network``; nothing is written then.
    """
    network, provenance = load_pytracking_network(path)
    return save_network(network, out, provenance, dtype=dtype)


def architecture_of(checkpoint: Checkpoint) -> str:
    """One line: what the network is, and whether we read it."""
    facts = checkpoint.facts
    try:
        name, channels = _own_architecture(checkpoint) if _is_own(checkpoint) else _atom_architecture(checkpoint)
    except WeightsError as error:
        reason = str(error).replace(f"{checkpoint.file.path.absolute()} ", "")
        return f"{facts.net_type or 'network of unknown type'}: not convertible ({reason})"
    return f"{facts.net_type}: {name}, head {channels.maps} maps, {channels.hidden} hidden"


def _is_own(checkpoint: Checkpoint) -> bool:
    return checkpoint.facts.net_type == OWN_NET or any(key.startswith("head.") for key in checkpoint.tensors)


def _atom_architecture(checkpoint: Checkpoint) -> tuple[str, HeadChannels]:
    """Raises WeightsError, naming the network, unless it is ATOM with ResNet18."""
    facts, where = checkpoint.facts, checkpoint.file.path.absolute()
    made = facts.constructor.rpartition(".")[2] if facts.constructor else None
    shapes = {key: tensor.shape for key, tensor in checkpoint.tensors.items()}
    wide = shapes.get(f"{BACKBONE_PREFIX}layer1.0.conv3.weight") is not None
    if (made or ATOM_CONSTRUCTOR) != ATOM_CONSTRUCTOR or facts.net_type not in (ATOM_NET, None) or wide:
        maker = f" made by {facts.constructor}" if made else ""
        backbone = " on a ResNet50 or larger" if wide else ""
        raise WeightsError(
            f"{where} holds {facts.net_type or 'a network'}{maker}{backbone}; only ATOM with "
            f"ResNet18 ({ATOM_CONSTRUCTOR}) can be converted"
        )
    if not any(key.startswith(HEAD_PREFIX) for key in shapes):
        raise WeightsError(f"{where} holds no box regression network ({HEAD_PREFIX}*): it is not ATOM")
    head = {key[len(HEAD_PREFIX) :]: shape for key, shape in shapes.items() if key.startswith(HEAD_PREFIX)}
    return "resnet18", _head_channels(head, where)


def _own_architecture(checkpoint: Checkpoint) -> tuple[str, HeadChannels]:
    where = checkpoint.file.path.absolute()
    shapes = {key: tensor.shape for key, tensor in checkpoint.tensors.items()}
    head = {key[len("head.") :]: shape for key, shape in shapes.items() if key.startswith("head.")}
    channels = _head_channels(head, where)
    said = checkpoint.info.get("backbone")
    fitting = [name for name, spec in BACKBONES.items() if spec.channels == channels.features]
    name = said if type(said) is str and said in BACKBONES else next(iter(fitting), None)
    if name is None or BACKBONES[name].channels != channels.features:
        raise WeightsError(
            f"{where} holds a head for features of {channels.features} channels, which no backbone gives "
            f"({', '.join(sorted(BACKBONES))})"
        )
    return name, channels


def _head_channels(shapes: Mapping[str, tuple[int, ...]], where: Path) -> HeadChannels:
    """From the shapes of the head's weights, whose names are ours and theirs alike."""

    def width(name: str, axis: int) -> int:
        shape = shapes.get(f"{name}.weight", ())
        if len(shape) <= axis:
            raise WeightsError(f"{where} has no tensor {name}.weight in its head")
        return shape[axis]

    try:
        return HeadChannels(
            features=(width("conv3_1r.0", 1), width("conv4_1r.0", 1)),
            reference=(width("conv3_1r.0", 0), width("conv4_1r.0", 0)),
            maps=(width("conv3_2t.0", 0), width("conv4_2t.0", 0)),
            hidden=(width("fc3_rt.linear", 0), width("fc4_rt.linear", 0)),
        )
    except ValueError as error:
        raise WeightsError(f"{where} has a head that cannot be built: {error}") from error


def _atom(checkpoint: Checkpoint) -> EnergyNetwork:
    _, channels = _atom_architecture(checkpoint)
    renamed: dict[str, StoredTensor] = {}
    for key, tensor in checkpoint.tensors.items():
        if not key.startswith(LEFT_OUT):
            renamed[_our_name(key)] = tensor
    return _assemble(checkpoint, "resnet18", channels, renamed, folded=False)


def _our_name(key: str) -> str:
    if key.startswith(HEAD_PREFIX):
        return "head." + key[len(HEAD_PREFIX) :]
    name = key.removeprefix(BACKBONE_PREFIX)
    for theirs, ours in STAGES.items():
        if name.startswith(theirs):
            return f"backbone.{ours}{name[len(theirs) :]}"
    return key


def _own(checkpoint: Checkpoint) -> EnergyNetwork:
    name, channels = _own_architecture(checkpoint)
    folded = not any(key.startswith("backbone.") and key.endswith("running_mean") for key in checkpoint.tensors)
    return _assemble(checkpoint, name, channels, checkpoint.tensors, folded)


def _assemble(
    checkpoint: Checkpoint, name: str, channels: HeadChannels, tensors: Mapping[str, StoredTensor], folded: bool
) -> EnergyNetwork:
    """Checks names, shapes and types against an empty network first: nothing large is allocated before."""
    with torch.device("meta"):
        pattern = _modules(name, channels, folded)
    given = {key: value for key, value in tensors.items() if not key.endswith("num_batches_tracked")}
    _require_same(checkpoint, _state(*pattern), given)
    modules = _modules(name, channels, folded)
    for key, target in _state(*modules).items():
        target.copy_(checkpoint.file.read(given[key]))
    backbone, head = modules
    if not folded:
        # In float64: rounding should come from the weights' storage alone.
        backbone = fold_batch_norms(backbone.double())
    return EnergyNetwork(backbone, head).eval().float()


def _modules(name: str, channels: HeadChannels, folded: bool) -> tuple[Backbone, EnergyHead]:
    return build_backbone(name, folded).float(), EnergyHead(channels).float()


def _state(backbone: Backbone, head: EnergyHead) -> dict[str, Tensor]:
    parts = (("backbone.", backbone.state_dict()), ("head.", head.state_dict()))
    named = {f"{prefix}{key}": value for prefix, state in parts for key, value in state.items()}
    return {key: value for key, value in named.items() if not key.endswith("num_batches_tracked")}


def _require_same(checkpoint: Checkpoint, needed: Mapping[str, Tensor], given: Mapping[str, StoredTensor]) -> None:
    where = checkpoint.file.path.absolute()
    missing, extra = sorted(needed.keys() - given.keys()), sorted(given.keys() - needed.keys())
    if missing or extra:
        raise WeightsError(
            f"{where} does not fit the network: {len(missing)} tensors missing {missing[:3]}, "
            f"{len(extra)} unknown {[printable(key) for key in extra[:3]]}"
        )
    for key, value in needed.items():
        tensor = given[key]
        if tensor.shape != tuple(value.shape):
            raise WeightsError(f"{where}: tensor {key!r} has shape {tensor.shape}, needed {tuple(value.shape)}")
        if tensor.dtype not in _FLOATS:
            raise WeightsError(f"{where}: tensor {key!r} holds {tensor.dtype}, not floating-point numbers")
    total = sum(tensor.storage.kind.itemsize * needed[key].numel() for key, tensor in given.items())
    if total > checkpoint.file.size:
        raise WeightsError(
            f"{where} is cut off or damaged: its network needs {total} bytes, the file has {checkpoint.file.size}"
        )


def _plain(recipe: Mapping[Any, Any]) -> dict[str, Any]:
    """The numbers and short texts of a recipe, for JSON."""
    kept: dict[str, Any] = {}
    for key, value in recipe.items():
        parts = value if type(value) in (tuple, list) else (value,)
        if type(key) is str and all(type(part) in (int, float, bool, str) for part in parts):
            kept[printable(key, 40)] = printable(value, 200) if isinstance(value, str) else value
    return kept
