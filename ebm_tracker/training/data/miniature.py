"""A tiny set of drawn "photos" with masks, in ECSSD's layout: to try a training where there are no photos."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray
from PIL import Image

from ebm_tracker.files import atomic_path

SIZE_WH = (240, 180)


def draw_miniature(folder: Path, count: int = 24, seed: int = 0) -> int:
    """Writes ``count`` images and masks into ``folder/images`` and ``folder/masks``; returns the count.

    Raises ValueError when the folder holds something else already.
    """
    if folder.is_dir() and any(folder.iterdir()):
        raise ValueError(f"--out must be a new or empty folder (got {folder.absolute()}, which holds files)")
    for name in ("images", "masks"):
        (folder / name).mkdir(parents=True, exist_ok=True)
    for number in range(count):
        image, mask = draw_photo(np.random.default_rng((seed, number)))
        with atomic_path(folder / "images" / f"{number:04}.jpg") as part:
            Image.fromarray(image).save(part, "JPEG", quality=92)
        with atomic_path(folder / "masks" / f"{number:04}.png") as part:
            Image.fromarray(mask.astype(np.uint8) * 255).save(part, "PNG")
    return count


def draw_photo(rng: Generator) -> tuple[NDArray[np.uint8], NDArray[np.bool_]]:
    """A lobed, textured object on a textured ground: (H, W, 3) uint8 and its mask (H, W)."""
    width, height = SIZE_WH
    y, x = np.mgrid[:height, :width]
    x, y = x - width * rng.uniform(0.4, 0.6), y - height * rng.uniform(0.4, 0.6)
    angle = np.arctan2(y, x) + rng.uniform(0, 2 * math.pi)
    lobes, depth = int(rng.integers(2, 6)), rng.uniform(0.05, 0.3)
    radius = height * rng.uniform(0.18, 0.3) * (1 + depth * np.cos(lobes * angle))
    mask = np.hypot(x * rng.uniform(0.7, 1.3), y) < radius
    image = np.where(mask[..., None], _texture(rng), _texture(rng))
    return image.astype(np.uint8), mask


def _texture(rng: Generator) -> NDArray[np.float64]:
    """(H, W, 3) in 0..255: noise of four scales around one colour."""
    width, height = SIZE_WH
    layers = np.zeros((height, width, 3))
    for cells in (3, 8, 20, 60):
        small = Image.fromarray(rng.integers(0, 256, (cells, cells, 3), dtype=np.uint8))
        layers += np.asarray(small.resize(SIZE_WH, Image.Resampling.BICUBIC), np.float64) - 128
    return np.clip(rng.uniform(50, 200, 3) + 0.45 * layers, 0, 255)
