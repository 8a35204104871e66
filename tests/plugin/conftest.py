"""A checkout of the stand-in host with the plugin in it, and a square that moves."""

from __future__ import annotations

import importlib
import os
import shutil
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
from PIL import Image

from ebm_tracker.plugin.install import install

HERE = Path(__file__).parent
HOST = HERE / "stand_in_host"
BOX = (60.0, 40.0, 36.0, 30.0)
# Small and few of everything: the contract is tested here, not how well boxes fit.
CHANGES: dict[str, object] = {
    "crop_size": 96,
    "refinement": {"boxes": 3, "steps": 2},
    "augmentation": {"blur_sigmas_xy": (), "rotations_degrees": (10, -10), "dropout_count": 1},
    "classifier": {"gauss_newton_steps": 1, "cg_iterations": 3},
}
CHEAP = f"""\
from ebm_tracker.plugin.params import preset_parameters


def parameters():
    return preset_parameters("default", seed=4, threads=1, **{CHANGES})
"""


def copy_host(folder: Path) -> Path:
    """A fresh checkout."""
    target = folder / "checkout"
    shutil.copytree(HOST, target, ignore=shutil.ignore_patterns("__pycache__"))
    return target


@pytest.fixture
def bare_checkout(tmp_path: Path) -> Path:
    return copy_host(tmp_path)


@pytest.fixture(scope="module")
def checkout(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """With the plugin, the preset `cheap`, local.py, and OTB with the sequence Square."""
    folder = tmp_path_factory.mktemp("host")
    target = copy_host(folder)
    install(target)
    (target / "pytracking" / "parameter" / "ebm" / "cheap.py").write_text(CHEAP)
    otb = folder / "otb"
    write_sequence(otb / "Square")
    write_local(target, otb)
    return target


def write_local(checkout: Path, otb: Path) -> Path:
    path = checkout / "pytracking" / "evaluation" / "local.py"
    path.write_text(
        "from pytracking.evaluation.environment import EnvSettings\n\n\ndef local_env_settings():\n"
        f"    settings = EnvSettings()\n    settings.otb_path = {str(otb)!r}\n    return settings\n"
    )
    return path


def square_frames(count: int, second: bool = False) -> list[np.ndarray]:
    """(120, 200, 3) uint8 RGB, all channels differ; a square moves by (3, 2) from BOX. ``second``: one more, still."""
    values = np.random.RandomState(0)
    ground = values.randint(60, 120, (120, 200, 3), dtype=np.uint8)
    square = values.randint(0, 255, (10, 12, 3), dtype=np.uint8).repeat(3, 0).repeat(3, 1)
    frames = []
    for i in range(count):
        frame = ground.copy()
        x, y = 60 + 3 * i, 40 + 2 * i
        frame[y : y + 30, x : x + 36] = square
        if second:
            frame[80:110, 10:46] = 255 - square
        frames.append(frame)
    return frames


def write_sequence(folder: Path, count: int = 4) -> None:
    (folder / "img").mkdir(parents=True)
    for i, frame in enumerate(square_frames(count), start=1):
        Image.fromarray(frame).save(folder / "img" / f"{i:04d}.png")
    (folder / "groundtruth_rect.txt").write_text(",".join(map(str, BOX)) + "\n")


def forget_host() -> None:
    for name in [name for name in sys.modules if name.split(".")[0] in ("pytracking", "ltr")]:
        del sys.modules[name]


@pytest.fixture
def host(checkout: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[ModuleType]:
    """The host's ``pytracking.evaluation``, imported from that checkout."""
    forget_host()
    monkeypatch.syspath_prepend(str(checkout))
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    yield importlib.import_module("pytracking.evaluation")
    forget_host()


@pytest.fixture
def quiet_environment() -> dict[str, str]:
    return {**os.environ, "OMP_NUM_THREADS": "1", "OMP_WAIT_POLICY": "passive"}


FrameMaker = Callable[..., list[np.ndarray]]
