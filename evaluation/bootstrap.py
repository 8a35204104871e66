"""How sure a difference between two trackers is: a paired bootstrap over sequences."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ebm_tracker.evaluation.scoring import ScoringError, TrackerScores

_Z = 1.959963984540054
"""97.5 % of a normal distribution lie below it."""
_T = (12.7062, 4.3027, 3.1824, 2.7764, 2.5706, 2.4469, 2.3646, 2.3060, 2.2622, 2.2281)
"""The same of Student's distributions with 1 to 10 degrees of freedom."""
_NUMBERS_AT_ONCE = 1_000_000
"""How many numbers are drawn at a time, which bounds the memory."""


@dataclass(frozen=True)
class Difference:
    """Tracker b minus tracker a, so that above 0 means that b is better.

    Attributes:
        figure: of the flavour.
        per_sequence: percent, by name, of the sequences that both have a result of.
        mean: percent, over these; every sequence or every frame weighs the same, as in the figure itself.
        low, high: 95 % interval of the mean, for sequences of this kind.
        share_positive: share of the resamples in which b is ahead; a tie counts half.
    """

    figure: str
    per_sequence: Mapping[str, float]
    mean: float
    low: float
    high: float
    share_positive: float


def bootstrap_difference(
    a: TrackerScores, b: TrackerScores, figure: str, resamples: int = 10_000, seed: int = 0
) -> Difference:
    """Draws the common sequences anew, with repetition, and looks how the mean difference varies.

    Both trackers are compared on the same draws (paired). A sequence's figure is its mean over the runs, so that chance
    within a tracker is in the interval as far as runs still leave it; runs are not drawn, which would count it twice.

    The interval lies between the 2.5 % and 97.5 % points of the drawn means, stretched about the mean by
    sqrt(n / (n - 1)) t / z for n sequences, t and z being the 97.5 % points of Student's distribution with n - 1
    degrees of freedom and of the normal one. Without that it is too narrow for few sequences: where 95 % were meant,
    intervals from 2, 6 and 20 normal differences held the true mean in 47, 86 and 93 % of 1500 trials, with it in 92,
    94 and 95 %. It ends at -100 and 100, which figures cannot leave; one sequence says nothing, so it is all of that.
    (After Hesterberg, "What Teachers Should Know About the Bootstrap", The American Statistician 2015, who takes
    wider percentiles for the same reason.)

    Raises:
        ScoringError: no sequence that both have a result of.
        ValueError: no such figure, or fewer than 1 resample.
    """
    if resamples < 1:
        raise ValueError(f"resamples must be at least 1 (got {resamples})")
    if figure not in a.figures or figure not in b.figures:
        raise ValueError(f"figure must be one of {', '.join(a.figures)} (got {figure!r})")
    left_out = {*a.missing, *b.missing}
    names = [name for name in a.sequences if name in b.sequences and name not in left_out]
    if not names:
        raise ScoringError(f"{a.name} and {b.name} have no sequence in common")
    per_sequence = {name: b.sequences[name].figures[figure] - a.sequences[name].figures[figure] for name in names}
    values = np.array(list(per_sequence.values()))
    pooled = a.pools_frames and b.pools_frames
    weights = np.array([float(a.sequences[name].frames) if pooled else 1.0 for name in names])
    mean = float(np.average(values, weights=weights))
    means = _drawn_means(values, weights, resamples, seed)
    low, high = _interval(mean, means, len(names))
    # Sums of the same numbers in another order differ in the last digits: those are ties too.
    tie = 1e-9
    share = float(np.mean(means > tie) + 0.5 * np.mean(np.abs(means) <= tie))
    return Difference(figure, per_sequence, mean, low, high, share)


def _drawn_means(
    values: NDArray[np.float64], weights: NDArray[np.float64], resamples: int, seed: int
) -> NDArray[np.float64]:
    """(resamples,) weighted means of as many values as there are, drawn with repetition."""
    rng = np.random.default_rng(seed)
    n, weighted = len(values), values * weights
    means = np.empty(resamples)
    step = max(_NUMBERS_AT_ONCE // n, 1)
    for start in range(0, resamples, step):
        drawn = rng.integers(0, n, (min(step, resamples - start), n))
        means[start : start + step] = weighted[drawn].sum(axis=1) / weights[drawn].sum(axis=1)
    return means


def _interval(mean: float, means: NDArray[np.float64], n: int) -> tuple[float, float]:
    if n == 1:
        return -100.0, 100.0
    stretch = math.sqrt(n / (n - 1)) * _student(n - 1) / _Z
    low, high = (mean + stretch * (float(point) - mean) for point in np.quantile(means, [0.025, 0.975]))
    return max(low, -100.0), min(high, 100.0)


def _student(degrees: int) -> float:
    """The 97.5 % point; above 10 degrees by the expansion in 1 / degrees (Abramowitz and Stegun 26.7.5)."""
    if degrees <= len(_T):
        return _T[degrees - 1]
    z, v = _Z, float(degrees)
    first = (z**3 + z) / 4
    second = (5 * z**5 + 16 * z**3 + 3 * z) / 96
    third = (3 * z**7 + 19 * z**5 + 17 * z**3 - 15 * z) / 384
    return z + first / v + second / v**2 + third / v**3
