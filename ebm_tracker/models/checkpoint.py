"""Checkpoints: one ``.safetensors`` file per network, architecture and provenance in its metadata.

Reading never unpickles anything: the file is numbers and one JSON text. Tensors are stored as float16 unless
asked otherwise and come back as float32.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file

from ebm_tracker.errors import WeightsError
from ebm_tracker.files import atomic_path
from ebm_tracker.models.backbone import BACKBONES, build_backbone, load_imagenet_backbone
from ebm_tracker.models.energy_head import EnergyHead, HeadChannels
from ebm_tracker.models.network import EnergyNetwork

FORMAT = "ebm_tracker network 1"
METADATA_KEY = "ebm_tracker"


def save_network(
    network: EnergyNetwork,
    path: str | Path,
    provenance: Mapping[str, Any],
    *,
    include_backbone: bool = True,
    dtype: torch.dtype = torch.float16,
) -> str:
    """Writes the network (beside, then renamed) and returns the file's SHA-256.

    ``provenance``: JSON-able facts about the training. ``include_backbone=False`` stores the head alone.
    """
    path = Path(path)
    state = {
        key: value.detach().to("cpu", dtype).contiguous()
        for key, value in network.state_dict().items()
        if not key.endswith("num_batches_tracked") and (include_backbone or key.startswith("head."))
    }
    architecture = {
        "format": FORMAT,
        "backbone": network.backbone.name,
        "backbone_included": include_backbone,
        "head": asdict(network.head.channels),
    }
    # One entry: with two, safetensors writes them in random order and the hash of equal files differs.
    metadata = {METADATA_KEY: json.dumps({**architecture, "provenance": dict(provenance)}, sort_keys=True)}
    path.parent.mkdir(parents=True, exist_ok=True)
    with atomic_path(path) as part:
        save_file(state, part, metadata)
        part.chmod(0o644)  # safetensors writes files that only their owner can read
        return sha256_of(part)


def load_network(
    path: str | Path, *, sha256: str | None = None, backbone_weights: str | Path | None = None
) -> EnergyNetwork:
    """Reads a checkpoint into a network in eval mode on the CPU.

    ``sha256``: the expected hash of the file, if it is known. ``backbone_weights``: a file with ImageNet weights
    for checkpoints that hold only the head; without it torchvision's loader is asked.

    Raises WeightsError, one sentence that names the file and what is wrong with it.
    """
    path = Path(path)
    if not path.is_file():
        raise WeightsError(f"network file not found: {path.absolute()}")
    if sha256 is not None and (found := sha256_of(path)) != sha256:
        raise WeightsError(f"{path.absolute()} is damaged or another file: SHA-256 {found}, expected {sha256}")
    architecture, state = _read(path)
    name = architecture.get("backbone")
    if not isinstance(name, str) or name not in BACKBONES:
        raise WeightsError(f"{path.absolute()} needs backbone {name!r}; known: {', '.join(sorted(BACKBONES))}")
    try:
        channels = HeadChannels(**{key: tuple(value) for key, value in architecture["head"].items()})
        head = EnergyHead(channels)
    except (KeyError, TypeError, AttributeError, ValueError, RuntimeError) as error:
        raise WeightsError(f"{path.absolute()} describes a head that cannot be built: {error!r}") from error
    if channels.features != BACKBONES[name].channels:
        raise WeightsError(
            f"{path.absolute()} describes a head for features of {channels.features} channels, "
            f"{name} gives {BACKBONES[name].channels}"
        )
    included = bool(architecture.get("backbone_included"))
    backbone = build_backbone(name, folded=True) if included else load_imagenet_backbone(name, backbone_weights)
    network = EnergyNetwork(backbone, head)
    own = {
        key: value
        for key, value in network.state_dict().items()
        if not key.endswith("num_batches_tracked") and (included or key.startswith("head."))
    }
    missing, extra = sorted(own.keys() - state.keys()), sorted(state.keys() - own.keys())
    if missing or extra:
        raise WeightsError(
            f"{path.absolute()} does not fit its architecture: {len(missing)} tensors missing {missing[:3]}, "
            f"{len(extra)} unknown {extra[:3]}"
        )
    for key, value in own.items():
        if state[key].shape != value.shape:
            raise WeightsError(
                f"{path.absolute()}: tensor {key!r} has shape {tuple(state[key].shape)}, needed {tuple(value.shape)}"
            )
        value.copy_(state[key])
    return network.eval().float()  # whatever torch's default type is at this moment


def read_provenance(path: str | Path) -> dict[str, Any]:
    """What a checkpoint says of its own training. Raises WeightsError for another file."""
    provenance: dict[str, Any] = _read(Path(path))[0]["provenance"]
    return provenance


def read_architecture(path: str | Path) -> dict[str, Any]:
    """All that a checkpoint says of itself: format, backbone, head, provenance. Raises WeightsError for another."""
    return _read(Path(path))[0]


def sha256_of(path: str | Path) -> str:
    """Hex digest of a file."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest() if hasattr(hashlib, "file_digest") else _digest(file)


def _digest(file: Any) -> str:  # Python 3.10 has no hashlib.file_digest
    digest = hashlib.sha256()
    while block := file.read(1 << 20):
        digest.update(block)
    return digest.hexdigest()


def _read(path: Path) -> tuple[dict[str, Any], dict[str, torch.Tensor]]:
    try:
        with safe_open(str(path), "pt") as file:
            metadata = file.metadata() or {}
            state = {key: file.get_tensor(key).float() for key in file.keys()}
    except (SafetensorError, OSError) as error:
        theirs = path.suffix in (".pth", ".pt", ".tar")
        hint = " (`ebm weights convert` reads pytracking's checkpoints)" if theirs else ""
        raise WeightsError(f"{path.absolute()} is not a readable .safetensors file: {error}{hint}") from error
    try:
        architecture = json.loads(metadata.get(METADATA_KEY, ""))
    except json.JSONDecodeError:
        architecture = None
    if not isinstance(architecture, dict) or architecture.get("format") != FORMAT:
        raise WeightsError(f"{path.absolute()} is not an ebm_tracker network (no {FORMAT!r} in its metadata)")
    return architecture, state
