"""How far a learned density is from the true one: KL(truth || model) on a grid, averaged over x."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from ebm_tracker.adapters.regression import EnergyStep, Example, HeadStep
from ebm_tracker.adapters.regression.density import GridDensity
from ebm_tracker.adapters.regression.heads import GaussianHead
from ebm_tracker.adapters.toy.data import X_HIGH, X_LOW, Truth

Y_LOW, Y_HIGH, Y_POINTS = -3.0, 3.0, 2048
X_POINTS = 512
FLOOR = 1e-30
"""The least density that either side counts with."""


def y_grid() -> Tensor:
    """(2048,) in float64."""
    return torch.linspace(Y_LOW, Y_HIGH, Y_POINTS, dtype=torch.float64)


def x_centers(count: int = X_POINTS) -> Tensor:
    """Middles of ``count`` equal parts of (-3, 3), in float64: none lies at 0, where the first data set jumps."""
    part = (X_HIGH - X_LOW) / count
    return X_LOW + part * (torch.arange(count, dtype=torch.float64) + 0.5)


@torch.no_grad()
def log_density_on_grid(step: HeadStep | EnergyStep, x: Tensor) -> Tensor:
    """log p(y | x) of a trained model for x (X,) at :func:`y_grid`: (X, 2048) in float64.

    An energy is normalised on the grid; a Gaussian is what it is, with its mass beyond the grid.
    """
    rows = x[:, None].float()
    features = step.features(Example(torch.arange(len(x)), rows, rows))
    if isinstance(step, EnergyStep):
        return GridDensity(step.energy, features, Y_LOW, Y_HIGH, Y_POINTS).log_density.double()
    assert isinstance(step.head, GaussianHead)
    return step.head.marginal(step.head(features)).log_prob(y_grid().float()).double()


def kl_divergence(log_true: Tensor, log_model: Tensor) -> float:
    """Mean over the rows of sum_y p (log p - log q) dy, in nats. Both (X, 2048): log densities at :func:`y_grid`."""
    dy = (Y_HIGH - Y_LOW) / (Y_POINTS - 1)
    log_p, log_q = (values.clamp_min(math.log(FLOOR)) for values in (log_true, log_model))
    return float((log_true.exp() * (log_p - log_q)).sum(-1).mean() * dy)


def divergence_from(truth: Truth, step: HeadStep | EnergyStep) -> float:
    """KL(truth || model) of a trained model, mean over 512 x."""
    x = x_centers()
    return kl_divergence(truth.log_density(x[:, None], y_grid()), log_density_on_grid(step, x))
