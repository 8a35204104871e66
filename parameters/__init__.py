"""Presets: one module each with a ``config`` (:class:`TrackerConfig`); ``preset(name)`` finds it."""

from __future__ import annotations

import importlib
import pkgutil

from ebm_tracker.errors import PresetError
from ebm_tracker.tracking.config import TrackerConfig

__all__ = ["preset", "preset_names"]


def preset_names() -> list[str]:
    """All presets, sorted."""
    return sorted(module.name for module in pkgutil.iter_modules(__path__))


def preset(name: str) -> TrackerConfig:
    """The settings of a preset. Raises PresetError, listing the known ones, for another name."""
    if name not in preset_names():
        raise PresetError(f"unknown preset {name!r}; known: {', '.join(preset_names())}")
    config = importlib.import_module(f"{__name__}.{name}").config
    assert isinstance(config, TrackerConfig)
    return config
