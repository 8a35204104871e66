"""What the recipes' tests share: drawn photos, paths to them, a recipe that is over in a second."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar

import pytest

from ebm_tracker.settings import Settings
from ebm_tracker.train_settings.recipe import Recipe
from ebm_tracker.training.data.miniature import draw_miniature

R = TypeVar("R", bound=Recipe)


@pytest.fixture(scope="session")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """24 photos, in the layout of `ebm data miniature` and `ebm data cutouts`."""
    folder = tmp_path_factory.mktemp("photos")
    draw_miniature(folder)
    return folder


@pytest.fixture(scope="session")
def paths(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Settings]:
    """``paths(photos=DIR)``: these and no others, whatever the user has set."""
    nowhere = {"XDG_CONFIG_HOME": str(tmp_path_factory.mktemp("config")), "APPDATA": "", "HOME": ""}
    return lambda **found: Settings.load([f"{name}={path}" for name, path in found.items()], environment=nowhere)


@pytest.fixture(scope="session")
def tiny() -> Callable[..., Any]:
    """``tiny(RECIPE, **changes)``: three steps of a head that is next to nothing."""

    def make(recipe: R, **changes: Any) -> R:
        small: dict[str, Any] = {"reference": (4, 4), "maps": (8, 8), "hidden": (8, 8), "samples": 8}
        small |= {"steps": 3, "batch_size": 2, "warmup": 1, "held_out_pairs": 2, "log_every": 1}
        return replace(recipe, **(small | changes))

    return make
