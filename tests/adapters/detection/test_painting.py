from __future__ import annotations

import numpy as np
import pytest

from ebm_tracker.adapters.detection.painting import paint_over
from tests.adapters.detection.conftest import ellipse


def test_painting_over_leaves_a_plain_ground_plain() -> None:
    mask = ellipse((200, 150), (60, 40, 120, 110))
    pixels = np.full((150, 200, 3), (30, 120, 200), np.uint8)
    pixels[mask] = (250, 10, 10)
    painted = paint_over(pixels, mask, np.random.default_rng(0))
    assert int(np.abs(painted.astype(int) - (30, 120, 200)).max()) <= 3


def test_painting_over_takes_texture_from_beside_and_touches_nothing_far() -> None:
    rng = np.random.default_rng(0)
    pixels = rng.integers(0, 256, (150, 200, 3)).astype(np.uint8)
    mask = ellipse((200, 150), (80, 50, 120, 100))
    before = pixels.copy()
    painted = paint_over(pixels, mask, rng)
    assert np.array_equal(pixels, before)
    far = ~ellipse((200, 150), (60, 30, 140, 120))
    assert np.array_equal(painted[far], pixels[far])
    inside = ellipse((200, 150), (85, 55, 115, 95))
    assert painted[inside].std() > 60  # noise as around it, no blur: 74 of its own
    assert (painted[inside] == pixels[inside]).all(-1).mean() < 0.01


@pytest.mark.parametrize("filled", [np.ones((40, 60), np.bool_), ellipse((60, 40), (-20, -20, 80, 60))])
def test_painting_over_all_of_a_photo(filled: np.ndarray) -> None:
    painted = paint_over(np.full((40, 60, 3), 9, np.uint8), filled, np.random.default_rng(0))
    assert painted.shape == (40, 60, 3)
