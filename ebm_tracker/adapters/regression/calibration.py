"""How honest densities and intervals are, on data that the model has not seen. Arguments are tensors or arrays."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from numpy.typing import NDArray
from torch import Tensor

Values = Tensor | NDArray[Any]


def coverage(intervals: Values, y: Values) -> float:
    """Share of the true values that lie in their interval, ends included: (..., 2) and (...). A calibrated 90 %
    interval has 0.9 of them, give or take sqrt(0.9 * 0.1 / N)."""
    bounds, true = _pair(intervals, y)
    return float(((true >= bounds[..., 0]) & (true <= bounds[..., 1])).double().mean())


def mean_width(intervals: Values) -> float:
    """Mean length of intervals (..., 2): of two calibrated models the one with the shorter ones knows more."""
    bounds = _double(intervals)
    return float((bounds[..., 1] - bounds[..., 0]).mean())


def interval_score(intervals: Values, y: Values, level: float) -> float:
    """Width plus 2 / (1 - level) times the distance of a y outside (Gneiting and Raftery, JASA 2007, eq 43): smaller is
    better, in the units of y, and least for the true central intervals. (..., 2) and (...)."""
    bounds, true = _pair(intervals, y)
    low, high = bounds.unbind(-1)
    outside = (low - true).clamp_min(0) + (true - high).clamp_min(0)
    return float((high - low + 2 / (1 - level) * outside).mean())


def calibration_curve(probabilities: Values, levels: Sequence[float]) -> Tensor:
    """For every level the share of true values within the central interval of that level, (L,): the diagonal for a
    calibrated model. ``probabilities`` (...): of a value of at most the true one (``cdf``, the PIT values)."""
    offset = 2 * (_double(probabilities).flatten() - 0.5).abs()
    return torch.stack([(offset <= level).double().mean() for level in levels])


def pit_distance(probabilities: Values) -> float:
    """Largest distance between the distribution of the PIT values (...) and the uniform one (Kolmogorov-Smirnov): 0 is
    best; above 1.36 / sqrt(N) the model is not calibrated, at the 5 % level."""
    values = _double(probabilities).flatten().sort().values
    count = len(values)
    steps = torch.arange(count + 1, dtype=torch.float64, device=values.device) / count
    return float(torch.maximum(steps[1:] - values, values - steps[:-1]).max())


@dataclass(frozen=True)
class LogScore:
    """Mean negative log-likelihood over ``count`` values, with its standard error; ``missed`` of them had no density at
    all (log p = -inf, which makes the mean infinite)."""

    mean: float
    standard_error: float
    count: int
    missed: int


def log_score(log_prob: Values) -> LogScore:
    """From log p(y | x) at the true values, (N,)."""
    values = -_double(log_prob).flatten()
    count = len(values)
    if not count:
        raise ValueError("log_prob must have at least one value (got none)")
    missed = int(values.isinf().sum())
    error = float(values.std()) / math.sqrt(count) if count > 1 and not missed else math.nan
    return LogScore(float(values.mean()), error, count, missed)


def _double(values: Values) -> Tensor:
    return torch.as_tensor(values).detach().double()


def _pair(intervals: Values, y: Values) -> tuple[Tensor, Tensor]:
    if intervals.shape != (*y.shape, 2):
        shapes = f"{(*y.shape, 2)} for y of {tuple(y.shape)} (got {tuple(intervals.shape)})"
        raise ValueError(f"intervals must be {shapes}")
    return _double(intervals), _double(y)
