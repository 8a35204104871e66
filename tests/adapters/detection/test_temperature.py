"""The temperature that a density of known width needs."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from ebm_tracker.adapters.detection.inference import EnergyDetector
from ebm_tracker.adapters.detection.temperature import FACTOR, TRIES, fit_temperature
from tests.adapters.detection.test_coverage import STD, Fixed, drawn, images_with


@pytest.mark.parametrize("factor", [0.5, 1.0, 1.5])
def test_the_temperature_is_the_ratio_of_the_variances(tmp_path: Path, factor: float) -> None:
    """Truths have STD, the density factor * STD, so that T = 1 / factor^2: 4, 1 and 0.44."""
    images = images_with(tmp_path, drawn(100, STD, 3))
    numbers: list[int] = []
    found = fit_temperature(Fixed(factor * STD), images, 200, samples=400, on_try=numbers.append)
    # 200 boxes know a standard deviation to some 5 %, and T, a variance, to 10 %; three times that.
    assert found.value == pytest.approx(factor**-2, rel=0.3)
    assert found.boxes == 200 and numbers == list(range(len(found.tried)))
    assert next(iter(found.tried)) == 1.0 and len(found.tried) >= 2
    excesses = list(found.tried.values())
    assert excesses[-2] * excesses[-1] < 0  # bracketed
    low, high = sorted(list(found.tried)[-2:])
    assert low < found.value < high == pytest.approx(FACTOR * low)


def test_a_density_that_is_beyond_help_ends_at_the_last_temperature(tmp_path: Path) -> None:
    far = drawn(6, 0 * STD, 0) + torch.tensor([4.0, 4, 4, 4])
    found = fit_temperature(Fixed(STD / 40), images_with(tmp_path, far), 12, samples=200)
    assert len(found.tried) == TRIES and found.value == pytest.approx(16.0)
    assert all(excess < 0 for excess in found.tried.values())


def test_nothing_found_and_refusals(tmp_path: Path) -> None:
    elsewhere = drawn(2, 0 * STD, 0) * 0 + torch.tensor([1.0, 41, 6, 47])
    found = fit_temperature(Fixed(STD), images_with(tmp_path, elsewhere), 4, samples=200)
    assert (found.value, found.tried, found.boxes) == (1.0, {}, 0)
    model = Fixed(STD)
    with pytest.raises(ValueError, match="count must be at least 1"):
        fit_temperature(model, images_with(tmp_path, elsewhere), 0)
    with pytest.raises(ValueError, match=r"temperature must be > 0 \(got 0\)"):
        EnergyDetector(model.detector, model.branch, model.settings, temperature=0)
