from __future__ import annotations

import math

import pytest
import torch

from ebm_tracker.adapters.regression import (
    calibration_curve,
    coverage,
    interval_score,
    log_score,
    mean_width,
    pit_distance,
)


def test_coverage_and_width_by_hand() -> None:
    intervals = torch.tensor([[0.0, 1.0], [0.0, 2.0], [5.0, 6.0], [1.0, 1.0]])
    y = torch.tensor([1.0, 3.0, 5.5, 1.0])
    assert coverage(intervals, y) == 0.75
    assert mean_width(intervals) == 1.0
    assert coverage(intervals.numpy(), y.numpy()) == 0.75 and mean_width(intervals.numpy()) == 1.0
    # Only the second lies outside, by 1: 2 / (1 - 0.9) * 1 over four.
    assert math.isclose(interval_score(intervals, y, 0.9), 1 + 20 / 4)
    both = intervals[:, None].expand(4, 2, 2)
    assert coverage(both, torch.stack((y, torch.full_like(y, 99.0)), -1)) == 0.375


def test_interval_score_is_least_for_the_true_interval() -> None:
    y = torch.randn(20_000, dtype=torch.float64)
    scores = [
        interval_score(torch.tensor([-half, half], dtype=torch.float64).expand(20_000, 2), y, 0.9)
        for half in (1.2, 1.645, 2.2)
    ]
    assert scores[1] == min(scores)


def test_curve_of_uniform_and_of_narrow_predictions() -> None:
    uniform = (torch.arange(1000) + 0.5) / 1000
    levels = (0.1, 0.5, 0.9)
    torch.testing.assert_close(calibration_curve(uniform, levels), torch.tensor(levels, dtype=torch.float64))
    # Overconfident: half of the true values lie in the outermost tenths.
    narrow = torch.cat((uniform[:250] * 0.1 / 0.25, uniform[250:750], 1 - uniform[:250] * 0.1 / 0.25))
    assert float(calibration_curve(narrow, (0.8,))) < 0.8


def test_pit_distance_is_the_kolmogorov_smirnov_statistic() -> None:
    assert math.isclose(pit_distance(torch.tensor([0.5])), 0.5)
    assert math.isclose(pit_distance(torch.tensor([0.9, 0.1])), 0.4, rel_tol=1e-6)
    uniform = (torch.arange(1000, dtype=torch.float64) + 0.5) / 1000
    assert math.isclose(pit_distance(uniform), 0.0005)
    assert pit_distance(torch.zeros(4)) == 1.0 and pit_distance(torch.ones(4)) == 1.0


def test_log_score() -> None:
    score = log_score(torch.tensor([-1.0, -3.0]))
    assert (score.mean, score.count, score.missed) == (2.0, 2, 0)
    assert math.isclose(score.standard_error, 1.0)  # standard deviation sqrt(2), over sqrt(2)
    missed = log_score(torch.tensor([-1.0, -math.inf]))
    assert missed.mean == math.inf and missed.missed == 1
    assert math.isnan(log_score(torch.tensor([-1.0])).standard_error)


def test_shapes_are_checked() -> None:
    with pytest.raises(ValueError, match=r"intervals must be \(4, 2\) for y of \(4,\) \(got \(4, 1, 2\)\)"):
        coverage(torch.zeros(4, 1, 2), torch.zeros(4))
    with pytest.raises(ValueError, match="at least one value"):
        log_score(torch.zeros(0))
