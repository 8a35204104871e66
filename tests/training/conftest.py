"""Photos that are made, not read: textured shapes on textured grounds."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from ebm_tracker.training.photos import Photo, cut_out, mask_outline

PhotoMaker = Callable[..., Photo]


def ellipse(height: int, width: int, center_xy: tuple[float, float], radii_xy: tuple[float, float]) -> np.ndarray:
    """(H, W) bool."""
    y, x = np.mgrid[:height, :width]
    return ((x - center_xy[0]) / radii_xy[0]) ** 2 + ((y - center_xy[1]) / radii_xy[1]) ** 2 <= 1


@pytest.fixture(scope="session")
def make_photo() -> PhotoMaker:
    """``make_photo(seed, plain=False)``: a photo with one elliptic object; plain ones are white on black."""

    def make(seed: int, plain: bool = False) -> Photo:
        rng = np.random.default_rng(seed)
        height, width = 150, 200
        radii = float(rng.uniform(25, 55)), float(rng.uniform(25, 45))
        mask = ellipse(height, width, (100.0, 75.0), radii)
        image = rng.integers(0, 100, (height, width, 3), dtype=np.uint8)
        image[mask] += 120
        if plain:
            image = np.where(mask[..., None], 255, 0).repeat(3, axis=2).astype(np.uint8)
        cutout = cut_out(image, mask)
        assert cutout is not None
        return Photo(f"made/{seed}", image, (mask_outline(mask),), (True,), (cutout,))

    return make
