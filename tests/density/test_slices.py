"""The slices of a real tracker: against the energies of single boxes."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from ebm_tracker.build import load_multi
from ebm_tracker.density import DensityError, corner_density, size_density
from ebm_tracker.tracking import MultiTracker


def picture(left: int = 70, top: int = 50) -> np.ndarray:
    rng = np.random.default_rng(0)
    frame = (90 + 20 * rng.standard_normal((120, 160, 3))).clip(0, 255).astype(np.uint8)
    frame[top : top + 40, left : left + 30] = rng.integers(0, 255, (40, 30, 3))
    return frame


@pytest.fixture(scope="module")
def tracker() -> MultiTracker:
    made = load_multi("default", device="cpu", keep_details=True)
    made.initialize(picture(), {7: (70.0, 50.0, 30.0, 40.0)})
    made.track(picture(72, 51))
    return made


def single_energy(tracker: MultiTracker, box_xywh: tuple[float, float, float, float]) -> float:
    """f of one box in the frame by the path that refinement takes."""
    details = tracker.details[7]
    x, y, w, h = box_xywh
    crop = details.window.box_to_crop((x + (w - 1) / 2, y + (h - 1) / 2), (w, h))
    with torch.inference_mode():
        maps = tracker.network.head.maps(tracker.network.features(details.patch))
        return float(details.energy.frame(maps).values(torch.tensor([crop], dtype=torch.float32))[0])


def test_every_corner_has_the_energy_of_its_box(tracker: MultiTracker) -> None:
    density = corner_density(tracker, grid=9)
    x, y, w, h = density.box_xywh
    assert density.box_xywh == tracker.details[7].box_xywh
    assert (density.x[4], density.y[4]) == pytest.approx((x + w, y))  # the refined corner is the middle
    assert (density.x[0], density.y[0]) == pytest.approx((x + 0.75 * w, y - 0.25 * h))
    for row, column in ((0, 0), (4, 4), (2, 7), (8, 8)):
        right, top = density.x[column], density.y[row]
        expected = single_energy(tracker, (x, top, right - x, y + h - top))
        assert density.energy[row, column] == pytest.approx(expected, abs=2e-3)


def test_every_size_has_the_energy_of_its_box(tracker: MultiTracker) -> None:
    density = size_density(tracker, grid=7, span=0.4)
    x, y, w, h = density.box_xywh
    assert density.x[-1] == pytest.approx(1.4 * w)
    for row, column in ((0, 6), (3, 3), (6, 1)):
        width, height = density.x[column], density.y[row]
        expected = single_energy(tracker, (x + (w - width) / 2, y + (h - height) / 2, width, height))
        assert density.energy[row, column] == pytest.approx(expected, abs=2e-3)


def test_looking_changes_nothing(tracker: MultiTracker) -> None:
    first = corner_density(tracker, grid=16)
    second = corner_density(tracker, object_id=7, grid=16)
    np.testing.assert_array_equal(first.energy, second.energy)


def test_no_details_no_density(tracker: MultiTracker) -> None:
    with pytest.raises(DensityError, match="object 8"):
        corner_density(tracker, object_id=8)
    with pytest.raises(ValueError, match="grid"):
        corner_density(tracker, grid=1)
    with pytest.raises(ValueError, match="span"):
        corner_density(tracker, span=1.0)
