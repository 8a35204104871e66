"""The density p(y | x) = exp f(x, y) / Z(x) of an energy network: on a grid for one target, by sampling for any."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor

from ebm_tracker.adapters.regression.networks import Energy, given
from ebm_tracker.energy import GaussianMixture, log_partition

CHUNK = 1 << 15
"""Targets that one call of the network gets, for its memory."""


def energies(energy: Energy, features: Tensor, y: Tensor) -> Tensor:
    """f (B, M) at ``y`` (B, M, D), without a gradient and in rows few enough for the memory."""
    rows = max(1, CHUNK // y.shape[1])
    with torch.no_grad():
        parts = [given(energy, few)(targets) for few, targets in zip(features.split(rows), y.split(rows), strict=True)]
    return torch.cat(parts) if parts else y.new_zeros(y.shape[:2])


def check_level(level: float) -> float:
    """``level`` itself. Raises ValueError when it is no share between 0 and 1."""
    if not 0 < level < 1:
        raise ValueError(f"level must lie between 0 and 1 (got {level})")
    return level


class GridDensity:
    """p(y | x) of one target (D = 1) for every row of ``features`` (B, F), normalised on a grid.

    ``points`` values of y from ``low`` to ``high``, numbers or one per row (B,); the integral is the trapezoidal
    rule's, and the density counts as zero outside. The points must be close enough for the narrowest peak, and the
    range wide enough for all of the density: ``edge`` tells.
    """

    def __init__(
        self,
        energy: Energy,
        features: Tensor,
        low: float | Tensor,
        high: float | Tensor,
        points: int = 2048,
    ) -> None:
        if points < 3:
            raise ValueError(f"points must be at least 3 (got {points})")
        count = len(features)
        ends = [torch.as_tensor(end, dtype=features.dtype, device=features.device).expand(count) for end in (low, high)]
        if not bool((ends[0] < ends[1]).all()):
            raise ValueError(f"low must be below high (got {low} and {high})")
        self.low, self.high = ends
        self._f: Callable[[Tensor], Tensor] = lambda y: energies(energy, features, y[..., None])
        share = torch.linspace(0, 1, points, dtype=features.dtype, device=features.device)
        self.grid = torch.lerp(self.low[:, None], self.high[:, None], share)  # (B, P)
        """The values of y, (B, points)."""
        self.step = (self.high - self.low) / (points - 1)
        """Their distance, (B,)."""
        f = self._f(self.grid)
        ends_half = torch.ones_like(share)
        ends_half[[0, -1]] = 0.5
        weighted = f + ends_half.log() + self.step.log()[:, None]
        self.log_partition = weighted.logsumexp(-1)
        """log Z (B,)."""
        self.log_density = f - self.log_partition[:, None]
        """log p at the grid's values, (B, points)."""
        self.mass = (weighted - self.log_partition[:, None]).exp()
        """Share of the probability at each value, (B, points); a row adds up to 1."""
        between = 0.5 * (self.log_density[:, 1:].exp() + self.log_density[:, :-1].exp()) * self.step[:, None]
        self._cumulated = torch.cat((between.new_zeros(count, 1), between.cumsum(-1)), -1)

    @property
    def edge(self) -> Tensor:
        """The larger density at the two ends over the largest of all, (B,): well below 1 where the range is enough."""
        ends = torch.maximum(self.log_density[:, 0], self.log_density[:, -1])
        return (ends - self.log_density.amax(-1)).exp()

    @property
    def mean(self) -> Tensor:
        """(B,)."""
        return (self.mass * self.grid).sum(-1)

    @property
    def std(self) -> Tensor:
        """Standard deviation, (B,)."""
        return (self.mass * (self.grid - self.mean[:, None]).square()).sum(-1).sqrt()

    @property
    def mode(self) -> Tensor:
        """Where the density is highest, (B,), to a step of the grid."""
        return self.grid.gather(1, self.log_density.argmax(-1, keepdim=True))[:, 0]

    @property
    def median(self) -> Tensor:
        """(B,)."""
        return self.quantile(0.5)

    def log_prob(self, y: Tensor) -> Tensor:
        """log p(y | x) for one y of each row, (B,) -> (B,), in the network's own value there; -inf off the grid."""
        self._check(y)
        inside = (y >= self.low) & (y <= self.high)
        found = self._f(y[:, None])[:, 0] - self.log_partition
        return torch.where(inside, found, -math.inf)

    def cdf(self, y: Tensor) -> Tensor:
        """Probability of a value of at most ``y``, (B,) -> (B,)."""
        self._check(y)
        place = ((y - self.low) / self.step).clamp(0, self.grid.shape[1] - 1)
        left = place.long().clamp(max=self.grid.shape[1] - 2)
        below, above = (self._cumulated.gather(1, (left + i)[:, None])[:, 0] for i in (0, 1))
        return torch.lerp(below, above, place - left) / self._cumulated[:, -1]

    def quantile(self, share: float | Tensor) -> Tensor:
        """The value with the probability ``share`` (one for all rows, or (B,)) below it, (B,)."""
        wanted = torch.as_tensor(share, dtype=self.grid.dtype, device=self.grid.device).expand(len(self.grid))
        target = (wanted * self._cumulated[:, -1])[:, None]
        right = torch.searchsorted(self._cumulated, target).clamp(1, self.grid.shape[1] - 1)
        below, above = self._cumulated.gather(1, right - 1), self._cumulated.gather(1, right)
        part = ((target - below) / (above - below).clamp_min(torch.finfo(below.dtype).tiny)).clamp(0, 1)
        return (self.low[:, None] + (right - 1 + part) * self.step[:, None])[:, 0]

    def interval(self, level: float = 0.9, kind: str = "central") -> Tensor:
        """An interval that holds the probability ``level``: (B, 2).

        ``kind``: "central" leaves the same probability on both sides, "shortest" is the shortest one. Where the density
        has several peaks, :meth:`region` may be smaller than both.
        """
        check_level(level)
        if kind == "central":
            tail = 0.5 * (1 - level)
            return torch.stack((self.quantile(tail), self.quantile(1 - tail)), -1)
        if kind != "shortest":
            raise ValueError(f"kind must be 'central' or 'shortest' (got {kind!r})")
        # From every grid value the end that holds the level; probabilities beyond the grid are no candidates.
        starts = self._cumulated / self._cumulated[:, -1:]
        ends = torch.searchsorted(starts, starts + level)
        last = self.grid.shape[1] - 1
        below, above = (starts.gather(1, (ends - i).clamp(0, last)) for i in (1, 0))
        part = (starts + level - below) / (above - below).clamp_min(torch.finfo(below.dtype).tiny)
        right = ends - 1 + part.clamp(0, 1)
        left = torch.arange(last + 1, dtype=right.dtype, device=right.device)
        lengths = torch.where(ends <= last, right - left, math.inf)
        best = lengths.argmin(-1, keepdim=True)
        found = torch.stack((best[:, 0].to(right.dtype), right.gather(1, best)[:, 0]), -1)
        return self.low[:, None] + found * self.step[:, None]

    def region(self, level: float = 0.9) -> list[list[tuple[float, float]]]:
        """The smallest set that holds the probability ``level`` (the highest density region), to a step of the grid:
        for every row its intervals from left to right."""
        check_level(level)
        order = self.mass.argsort(-1, descending=True)
        before = self.mass.gather(1, order).cumsum(-1) - self.mass.gather(1, order)
        inside = torch.zeros_like(self.mass, dtype=torch.bool).scatter(1, order, before < level)
        return [_runs(row, grid) for row, grid in zip(inside, self.grid, strict=True)]

    def draw(self, count: int, generator: torch.Generator | None = None) -> Tensor:
        """``count`` values for each row, (B, count)."""
        shape = (len(self.grid), count)
        shares = torch.rand(shape, generator=generator, dtype=self.grid.dtype, device=self.grid.device)
        return torch.stack([self.quantile(column) for column in shares.unbind(1)], 1)

    def _check(self, y: Tensor) -> None:
        if y.shape != self.low.shape:
            raise ValueError(f"y must have one value per row, {tuple(self.low.shape)} (got {tuple(y.shape)})")


def _runs(inside: Tensor, grid: Tensor) -> list[tuple[float, float]]:
    """First and last value of each run of True."""
    padded = torch.nn.functional.pad(inside.int(), (1, 1))
    edges = padded.diff().nonzero()[:, 0].tolist()
    return [(float(grid[a]), float(grid[b - 1])) for a, b in zip(edges[::2], edges[1::2], strict=True)]


class SampledDensity:
    """p(y | x) of any number D of targets, by importance sampling around a guess ``center`` (B, D).

    ``samples`` draws from ``proposal`` around each guess, as in the training loss (Eq 3). Good where the proposal
    covers the density: ``effective`` tells how many equal draws the weighted ones are worth.
    """

    def __init__(
        self,
        energy: Energy,
        features: Tensor,
        center: Tensor,
        proposal: GaussianMixture,
        samples: int = 4096,
        generator: torch.Generator | None = None,
    ) -> None:
        if center.ndim != 2 or len(center) != len(features):
            expected = f"(B, D) with one row for each of the {len(features)} features"
            raise ValueError(f"center must be {expected} (got {tuple(center.shape)})")
        self._f: Callable[[Tensor], Tensor] = lambda y: energies(energy, features, y)
        self.samples = proposal.sample(center.detach(), samples, generator)
        """The draws, (B, samples, D)."""
        log_q = proposal.log_density(self.samples, center)
        f = self._f(self.samples)
        self.log_partition = log_partition(f, log_q)
        """Estimate of log Z, (B,)."""
        self.weights = (f - log_q).softmax(-1)
        """Of the draws, (B, samples); a row adds up to 1."""

    @property
    def effective(self) -> Tensor:
        """Effective number of draws 1 / sum w^2, (B,)."""
        return 1 / self.weights.square().sum(-1)

    @property
    def mean(self) -> Tensor:
        """(B, D)."""
        return (self.weights[..., None] * self.samples).sum(1)

    @property
    def median(self) -> Tensor:
        """Of each dimension, (B, D)."""
        return self.quantile(0.5)

    @property
    def cov(self) -> Tensor:
        """Covariance matrices (B, D, D)."""
        offsets = self.samples - self.mean[:, None]
        return torch.einsum("bm,bmi,bmj->bij", self.weights, offsets, offsets)

    @property
    def std(self) -> Tensor:
        """Standard deviation of each dimension, (B, D)."""
        return self.cov.diagonal(dim1=1, dim2=2).clamp_min(0).sqrt()

    def log_prob(self, y: Tensor) -> Tensor:
        """log p(y | x) at one y of each row, (B, D) -> (B,)."""
        if y.shape != self.mean.shape:
            raise ValueError(f"y must be {tuple(self.mean.shape)} (got {tuple(y.shape)})")
        return self._f(y[:, None])[:, 0] - self.log_partition

    def cdf(self, y: Tensor) -> Tensor:
        """Probability of each dimension's value being at most that of ``y``, (B, D) -> (B, D)."""
        return (self.weights[..., None] * (self.samples <= y[:, None])).sum(1)

    def quantile(self, share: float) -> Tensor:
        """The value of each dimension with the probability ``share`` below it, (B, D)."""
        values, order = self.samples.sort(1)
        cumulated = self.weights[..., None].expand_as(self.samples).gather(1, order).cumsum(1)
        place = (cumulated < share).sum(1, keepdim=True).clamp(max=values.shape[1] - 1)
        return values.gather(1, place)[:, 0]

    def interval(self, level: float = 0.9) -> Tensor:
        """Central interval of each dimension that holds the probability ``level``: (B, D, 2)."""
        tail = 0.5 * (1 - check_level(level))
        return torch.stack((self.quantile(tail), self.quantile(1 - tail)), -1)

    def draw(self, count: int, generator: torch.Generator | None = None) -> Tensor:
        """``count`` of the samples for each row, chosen by their weights: (B, count, D)."""
        chosen = torch.multinomial(self.weights, count, replacement=True, generator=generator)
        return self.samples.gather(1, chosen[..., None].expand(-1, -1, self.samples.shape[2]))
