"""The two made-up data sets of the 1-D illustration: y given x in (-3, 3), with the true density.

The paper prints neither means nor widths. They are those of the authors' later code (fregu856/ebms_regression), which
also moves the log-normal half of the first set down by 1.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.distributions import Categorical, LogNormal, MixtureSameFamily, Normal

X_LOW, X_HIGH = -3.0, 3.0
PAIRS = 2000
NOISE = 0.075
"""Standard deviation of both Gaussians of the first set."""
MAIN_SHARE = 0.8
"""Weight of its Gaussian around sin x; the other one lies around -sin x."""
LOG_SIGMA = 0.25
SHIFT = -1.0
"""Of the log-normal half: y = exp(0.25 n) - 1."""


def _mixture(x: Tensor) -> MixtureSameFamily:
    means = torch.stack((x.sin(), -x.sin()), -1)
    shares = x.new_tensor((MAIN_SHARE, 1 - MAIN_SHARE)).expand_as(means)
    return MixtureSameFamily(Categorical(shares, validate_args=False), Normal(means, NOISE), validate_args=False)


def _mixture_and_log_normal_sample(x: Tensor) -> Tensor:
    right = LogNormal(torch.zeros_like(x), LOG_SIGMA).sample() + SHIFT
    return torch.where(x < 0, _mixture(x).sample(), right)


def _mixture_and_log_normal_log_density(x: Tensor, y: Tensor) -> Tensor:
    above = y - SHIFT
    log = above.clamp_min(torch.finfo(y.dtype).tiny).log()
    right = -0.5 * (log / LOG_SIGMA).square() - log - math.log(LOG_SIGMA * math.sqrt(2 * math.pi))
    right = torch.where(above > 0, right, -math.inf)
    return torch.where(x < 0, _mixture(x).log_prob(y), right)


def _wave(x: Tensor) -> Normal:
    return Normal(x.sin(), 0.15 * x.sigmoid())


@dataclass(frozen=True)
class Truth:
    """A known density p(y | x).

    Attributes:
        number: of the data set.
        title: for tables.
        sample: x (N,) -> one y each (N,), from torch's own generator.
        log_density: x and y of shapes that broadcast -> log p(y | x).
    """

    number: int
    title: str
    sample: Callable[[Tensor], Tensor]
    log_density: Callable[[Tensor, Tensor], Tensor]

    def pairs(self, count: int = PAIRS, seed: int = 0) -> tuple[Tensor, Tensor]:
        """x uniform in (-3, 3) and y, both (count, 1) in float32; equal for equal seeds."""
        with torch.random.fork_rng(devices=()):
            torch.manual_seed(seed)
            x = torch.empty(count, dtype=torch.float64).uniform_(X_LOW, X_HIGH)
            return x[:, None].float(), self.sample(x)[:, None].float()


TRUTHS: Mapping[str, Truth] = {
    "mixture": Truth(1, "1: two modes, skew", _mixture_and_log_normal_sample, _mixture_and_log_normal_log_density),
    "wave": Truth(2, "2: one Gaussian", lambda x: _wave(x).sample(), lambda x, y: _wave(x).log_prob(y)),
}
"""Data set 1, of the paper's figure: two modes for x < 0, a skew density for x >= 0. Data set 2, of the later code: one
Gaussian whose width grows with x."""
