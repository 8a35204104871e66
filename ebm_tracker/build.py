"""Assembling a tracker from a preset's name: the one place that knows files, devices and networks together."""

from __future__ import annotations

import os
from pathlib import Path

import torch

from ebm_tracker.errors import WeightsError
from ebm_tracker.models import load_network
from ebm_tracker.parameters import preset
from ebm_tracker.tracking import MultiTracker, Tracker, TrackerConfig

WEIGHTS_FOLDER = Path(__file__).with_name("weights")


def load(
    name: str = "default",
    device: str | torch.device = "auto",
    seed: int = 0,
    *,
    profile: bool = False,
    keep_details: bool = False,
    weights: str | os.PathLike[str] | None = None,
    backbone_weights: str | os.PathLike[str] | None = None,
    config: TrackerConfig | None = None,
) -> Tracker:
    """A tracker, ready for ``initialize``.

    ``name``: a preset of ``ebm_tracker.parameters``; ``device``: "auto" (CUDA, else Apple GPU, else CPU) or a
    torch device; ``seed``: of the tracker's random parts; ``profile``: keep stage times; ``keep_details``: keep
    what the steps of the last frame saw, for pictures. ``weights``: another
    network file than the preset's; ``backbone_weights``: file with ImageNet weights for networks that ship only
    their head (default: the variable EBM_BACKBONE_WEIGHTS, else torchvision's cache or download); ``config``:
    settings to use instead of the preset's.

    Raises PresetError for an unknown name, ValueError for a device that is not there, WeightsError for a
    network that cannot be loaded.
    """
    config = config or preset(name)
    chosen = choose_device(device)
    path = Path(weights) if weights is not None else WEIGHTS_FOLDER / config.weights.file
    if not path.is_file():
        advice = f" ({config.weights.advice})" if config.weights.advice and weights is None else ""
        raise WeightsError(f"network file of preset {name!r} not found: {path.absolute()}{advice}")
    backbone_file = backbone_weights or os.environ.get("EBM_BACKBONE_WEIGHTS") or None
    network = load_network(
        path,
        sha256=config.weights.sha256 if weights is None else None,
        backbone_weights=Path(backbone_file) if backbone_file else None,
    )
    return Tracker(network, config, device=chosen, seed=seed, profile=profile, keep_details=keep_details)


def load_multi(
    name: str = "default",
    device: str | torch.device = "auto",
    seed: int = 0,
    *,
    profile: bool = False,
    keep_details: bool = False,
    weights: str | os.PathLike[str] | None = None,
    backbone_weights: str | os.PathLike[str] | None = None,
    config: TrackerConfig | None = None,
) -> MultiTracker:
    """A tracker of several objects; arguments and errors are those of :func:`load`, which it uses.

    ``keep_details``: keep what the steps of the last frame saw, per object.
    """
    one = load(
        name, device, seed, weights=weights, backbone_weights=backbone_weights, config=config
    )
    return MultiTracker(
        one.network, one.config, device=one.device, seed=seed, profile=profile, keep_details=keep_details
    )


def choose_device(device: str | torch.device) -> torch.device:
    """"auto" (CUDA, else Apple GPU, else CPU) or a torch device. Raises ValueError for one that is not there."""
    if str(device) == "auto":
        if torch.cuda.is_available():
            return torch.device("cuda")
        return torch.device("mps" if torch.backends.mps.is_available() else "cpu")
    try:
        chosen = torch.device(device)
    except (RuntimeError, TypeError):
        message = f"device must be 'auto' or a torch device such as 'cpu' or 'cuda:0' (got {device!r})"
        raise ValueError(message) from None
    if chosen.type == "cuda" and not torch.cuda.is_available():
        raise ValueError(f"device {device!r} was asked for, but torch sees no CUDA device here")
    if chosen.type == "mps" and not torch.backends.mps.is_available():
        raise ValueError(f"device {device!r} was asked for, but torch sees no Apple GPU here")
    try:
        torch.zeros(1, device=chosen).cpu()
    except (RuntimeError, AssertionError, ImportError) as error:  # the latter: torch was built without it
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise ValueError(f"device {device!r} was asked for, but torch cannot compute on it here: {reason}") from None
    return chosen
