"""The files of a run that can go on: plain tensors and numbers, with the settings they belong to."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import nn

from ebm_tracker.errors import WeightsError
from ebm_tracker.files import atomic_path

LAST, BEST = "last.pt", "best.pt"
_MISSING = "absent"


def flat_settings(settings: Mapping[str, Any] | str, prefix: str = "") -> dict[str, str]:
    """``{"a": {"b": 1}}`` -> ``{"a.b": "1"}``; a bare text gets the name "fingerprint"."""
    if isinstance(settings, str):
        settings = {"fingerprint": settings}
    flat: dict[str, str] = {}
    for key, value in settings.items():
        if isinstance(value, Mapping):
            flat.update(flat_settings(value, f"{prefix}{key}."))
        else:
            flat[prefix + key] = repr(value)
    return flat


def require_same_settings(path: Path, stored: Mapping[str, str], now: Mapping[str, str]) -> None:
    """Raises ValueError that names the settings in which the run in ``path`` differs."""
    names = [name for name in {**stored, **now} if stored.get(name) != now.get(name)]
    if names:
        changes = ", ".join(f"{name} {stored.get(name, _MISSING)} (now {now.get(name, _MISSING)})" for name in names)
        raise ValueError(
            f"{path.absolute()} belongs to a run with other settings: {changes}; give those or choose another folder"
        )


def save_state(path: Path, state: Mapping[str, Any]) -> None:
    """Written beside, then renamed."""
    with atomic_path(path) as part:
        try:
            torch.save(dict(state), part)
        except RuntimeError as error:  # torch's own for a disk that is full
            reason = str(error).splitlines()[0]
            raise OSError(f"{path.absolute()} could not be written; is the disk full? ({reason})") from error


def load_state(path: Path) -> dict[str, Any]:
    """Tensors come to the CPU. Raises WeightsError when the file is no checkpoint; runs no code from it."""
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # torch raises a dozen kinds for a damaged file
        raise WeightsError(f"{path.absolute()} is no readable checkpoint ({type(error).__name__}: {error})") from None
    if not isinstance(state, dict) or not {"module", "settings", "steps"} <= state.keys():
        raise WeightsError(f"{path.absolute()} is not a checkpoint of a training run")
    return state


def load_trained(path: Path, module: nn.Module) -> int:
    """Puts the weights that were evaluated (the average where the run keeps one) into ``module``; returns the step."""
    state = load_state(path)
    module.load_state_dict(state["average"] or state["module"])
    return int(state["steps"])


def remove_parts(folder: Path) -> None:
    """Removes what a killed process had begun to write."""
    for name in (LAST, BEST):
        for part in folder.glob(f".{Path(name).stem}.*.part.pt"):
            part.unlink(missing_ok=True)
