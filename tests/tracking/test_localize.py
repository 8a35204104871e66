from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import Tensor

from ebm_tracker.tracking.localize import LocalizationSettings, Outcome, localize

Golden = Callable[[str], dict[str, np.ndarray]]

FLAGS = {
    "None": Outcome.NORMAL,
    "hard_negative": Outcome.HARD_NEGATIVE,
    "uncertain": Outcome.UNCERTAIN,
    "not_found": Outcome.NOT_FOUND,
}


def peaks(*values: tuple[int, int, float], size: int = 96) -> Tensor:
    """A map that is 0 but for (x, y, value), with x and y counted from the centre."""
    scores = torch.zeros(size, size)
    for x, y, value in values:
        scores[size // 2 + y, size // 2 + x] = value
    return scores


def test_golden_cases(golden: Golden) -> None:
    arrays = golden("e_localise")
    scale = float(arrays["target_scale"][0])
    height, width = (float(side) / scale for side in arrays["target_sz"])
    for name, scores, flag, translation in zip(
        arrays["names"], arrays["scores"], arrays["flag"], arrays["translation"], strict=True
    ):
        found = localize(torch.from_numpy(scores), (width, height))
        assert found.outcome is FLAGS[str(flag)], name
        x, y = found.displacement_xy
        assert (y * scale, x * scale) == pytest.approx(tuple(translation)), name
        assert found.peak == pytest.approx(float(scores.max())), name


def test_displacement_is_in_x_then_y() -> None:
    found = localize(peaks((5, -7, 0.9)), (10, 10))
    assert found.displacement_xy == (5.0, -7.0)
    assert (found.outcome, found.second) == (Outcome.NORMAL, 0.0)
    assert found.peak == pytest.approx(0.9)


@pytest.mark.parametrize("outside", [11, 12])
def test_neighbourhood_covers_both_ends(outside: int) -> None:
    # 2.2 * 10 / 2 = 11 pixels to either side belong to the first peak.
    expected = Outcome.NORMAL if outside <= 11 else Outcome.HARD_NEGATIVE
    for x, y in [(outside, 0), (-outside, 0), (0, outside), (0, -outside)]:
        found = localize(peaks((0, 0, 1.0), (x, y, 0.6)), (10, 10))
        assert found.outcome is expected


def test_neighbourhood_follows_width_and_height() -> None:
    scores = peaks((0, 0, 1.0), (15, 0, 0.6))
    assert localize(scores, (20, 4)).outcome is Outcome.NORMAL
    assert localize(scores, (4, 20)).outcome is Outcome.HARD_NEGATIVE


def test_far_rival_of_a_near_target_and_the_reverse() -> None:
    near_first = localize(peaks((2, 0, 1.0), (-40, 0, 0.9)), (10, 10))
    assert (near_first.displacement_xy, near_first.outcome) == ((2.0, 0.0), Outcome.HARD_NEGATIVE)
    far_first = localize(peaks((-40, 0, 1.0), (2, 0, 0.9)), (10, 10))
    assert (far_first.displacement_xy, far_first.outcome) == ((2.0, 0.0), Outcome.HARD_NEGATIVE)


def test_scores_are_not_modified() -> None:
    scores = peaks((0, 0, 1.0))
    localize(scores, (10, 10))
    assert scores.sum() == 1.0


@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf")])
def test_a_value_that_is_not_finite_means_not_found(value: float) -> None:
    found = localize(peaks((0, 0, 1.0), (20, 20, value)), (10, 10))
    assert (found.outcome, found.displacement_xy, found.peak) == (Outcome.NOT_FOUND, (0.0, 0.0), 0.0)


def test_threshold_is_a_setting() -> None:
    scores = peaks((0, 0, 0.2))
    assert localize(scores, (10, 10)).outcome is Outcome.NOT_FOUND
    assert localize(scores, (10, 10), LocalizationSettings(target_not_found=0.1)).outcome is Outcome.NORMAL


def test_one_map_at_a_time() -> None:
    with pytest.raises(ValueError, match="one map"):
        localize(torch.zeros(1, 8, 8), (2, 2))
