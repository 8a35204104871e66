from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from ebm_tracker.adapters.age.figure import FaceDensity, densities_with_faces, scatter_and_densities


def make_face(age: float, image: bool = False) -> FaceDensity:
    grid = np.linspace(-20, 140, 400)
    density = np.exp(-0.5 * ((grid - age) / 8) ** 2)
    heads = ("direct_l2", "gaussian")
    before, after = ({name: age + offset for name in heads} for offset in (15.0, 12.0))
    picture = np.full((200, 200, 3), (255, 0, 0), np.uint8) if image else None
    return FaceDensity(age, grid, density, before, after, picture)


def share(path: Path, rgb: tuple[int, int, int], tolerance: int = 12) -> float:
    with Image.open(path) as picture:
        pixels = np.asarray(picture.convert("RGB")).astype(int)
    return float((np.abs(pixels - rgb).max(-1) <= tolerance).mean())


BEFORE, AFTER, RED = (230, 159, 0), (0, 114, 178), (255, 0, 0)


@pytest.mark.parametrize("count", [1, 3, 6])
def test_before_and_after_are_drawn_and_no_face(tmp_path: Path, count: int) -> None:
    pytest.importorskip("matplotlib")
    truth = np.linspace(5, 90, 30)
    path = tmp_path / "age.png"
    faces = [make_face(20.0 + 10 * i, image=True) for i in range(count)]
    scatter_and_densities("Gaussian", truth, truth + 15, truth + 12, faces).write(tmp_path / "age")
    assert share(path, BEFORE) > 1e-4 and share(path, AFTER) > 1e-3 and share(path, RED) == 0
    assert path.stat().st_size < 300_000


def test_faces_stand_beside_their_densities(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    densities_with_faces([make_face(30.0, image=True), make_face(60.0, image=True)]).write(tmp_path / "faces")
    assert share(tmp_path / "faces.png", RED) > 0.05
