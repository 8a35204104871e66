"""torchvision's detectors by name, with its COCO weights or a user's own."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
import torchvision
from safetensors.torch import load_file
from torch import Tensor, nn
from torchvision.ops import FrozenBatchNorm2d

from ebm_tracker.adapters.detection.base import FrozenDetector
from ebm_tracker.errors import WeightsError

_SCORER = "roi_heads.box_predictor.cls_score.weight"
_COUNTER = "num_batches_tracked"


def detector_names() -> tuple[str, ...]:
    """torchvision's names that ``load_detector`` knows."""
    return tuple(name for name in torchvision.models.list_models(torchvision.models.detection) if "rcnn" in name)


def load_detector(name: str, weights: Path | None = None, **settings: Any) -> FrozenDetector:
    """A detector of torchvision with its COCO weights (torchvision's loader, cache first), or those of a file.

    ``weights``: a state dict (.pth, .pt or .safetensors) of any number of classes, read without executing code; a model
    that differs from torchvision's otherwise goes to FrozenDetector itself. ``settings``: for torchvision's builder,
    such as min_size, box_score_thresh or rpn_post_nms_top_n_test.

    Raises ValueError for an unknown name, WeightsError when the weights are missing or of another network.
    """
    if name not in detector_names():
        raise ValueError(f"unknown detector {name!r}; known: {', '.join(detector_names())}")
    state = _read_state(weights) if weights is not None else _torchvision_state(name)
    where = str(weights.absolute()) if weights is not None else f"torchvision's file of {name}"
    if _SCORER not in state:
        raise WeightsError(f"{where} is no detector of torchvision with box heads: it has no {_SCORER}")
    if state[_SCORER].ndim != 2:
        raise WeightsError(f"{where}: {_SCORER} must be (classes, features) (got {tuple(state[_SCORER].shape)})")
    known = {"num_classes": len(state[_SCORER])} | settings
    model = torchvision.models.get_model(name, weights=None, weights_backbone=None, **known)
    if not any(key.endswith(_COUNTER) for key in state):
        # torchvision's resnet50_fpn weights were trained with an epsilon of 0, and a user's mostly begin with them.
        _freeze_norms(model, 0.0 if name.endswith("resnet50_fpn") else None)
    try:
        model.load_state_dict(state)
    except RuntimeError as error:  # torch's for names and shapes, a line each
        raise WeightsError(f"{where} does not fit {name}: {' '.join(str(error).split())[:300]}") from error
    return FrozenDetector(model)


def _torchvision_state(name: str) -> Mapping[str, Tensor]:
    known = torchvision.models.get_model_weights(name)
    chosen = known["COCO_V1"] if "COCO_V1" in known.__members__ else known.DEFAULT
    try:
        state: Mapping[str, Tensor] = chosen.get_state_dict(check_hash=True, weights_only=True)
    except OSError as error:  # URLError and HTTPError are OSErrors
        raise WeightsError(
            f"COCO weights of {name} are neither in torch's cache {torch.hub.get_dir()}/checkpoints nor could be "
            f"fetched ({error}); pass a file of them instead"
        ) from error
    return state


def _read_state(path: Path) -> Mapping[str, Tensor]:
    if not path.is_file():
        raise WeightsError(f"detector weights not found: {path.absolute()}")
    try:
        state: Any = (
            load_file(path)
            if path.suffix == ".safetensors"
            else torch.load(path, map_location="cpu", weights_only=True)
        )
    except Exception as error:  # each reader has its own exceptions for a damaged file
        raise WeightsError(
            f"detector weights {path.absolute()} cannot be read: no file of tensors alone, as torch.save makes it of "
            "model.state_dict()"
        ) from error
    if isinstance(state, dict) and isinstance(state.get("model"), dict):
        state = state["model"]  # as torchvision's own training script has it
    if not isinstance(state, Mapping) or not all(isinstance(value, Tensor) for value in state.values()):
        raise WeightsError(f"detector weights {path.absolute()} hold other things than tensors by name")
    return state


def _freeze_norms(module: nn.Module, epsilon: float | None) -> None:
    """torchvision builds its networks without weights with norms that learn; files of frozen ones have no counters."""
    for name, child in module.named_children():
        if isinstance(child, nn.BatchNorm2d):
            frozen = FrozenBatchNorm2d(child.num_features, child.eps if epsilon is None else epsilon)
            setattr(module, name, frozen)
        else:
            _freeze_norms(child, epsilon)
