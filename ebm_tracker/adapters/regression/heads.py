"""Heads of the baselines: modules from features (B, F) to the parameters of a prediction, with their loss."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Protocol

import torch
from torch import Tensor, nn
from torch.distributions import Laplace, Normal

from ebm_tracker.adapters.regression.losses import (
    direct_huber,
    direct_l2,
    gaussian_loss,
    joint_laplace_loss,
    laplace_loss,
    softmax_loss,
)
from ebm_tracker.adapters.regression.networks import mlp

Parameters = tuple[Tensor, ...]
"""What a head gives: tensors whose first dimension is B."""
Hidden = int | Sequence[int]
"""Size of the hidden layer, or of several."""


class Head(Protocol):
    """A module; D targets per row."""

    def __call__(self, features: Tensor) -> Parameters:
        """Features (B, F) -> parameters."""
        ...

    def loss(self, parameters: Parameters, y: Tensor) -> Tensor:
        """Training losses (B,) at targets y (B, D)."""
        ...

    def point(self, parameters: Parameters) -> Tensor:
        """The prediction (B, D)."""
        ...


def branches(feature_size: int, outputs: int, hidden: Hidden, count: int) -> nn.ModuleList:
    """``count`` separate stacks feature_size -> hidden -> outputs, nothing after the last layer."""
    sizes = (hidden,) if isinstance(hidden, int) else tuple(hidden)
    return nn.ModuleList(mlp((feature_size, *sizes, outputs)) for _ in range(count))


class DirectHead(nn.Module):
    """The prediction itself: feature_size -> hidden -> target_size. ``loss``: "l2" or "huber"."""

    def __init__(self, feature_size: int, target_size: int, hidden: Hidden = 2048, loss: str = "l2") -> None:
        super().__init__()
        if loss not in ("l2", "huber"):
            raise ValueError(f"loss must be 'l2' or 'huber' (got {loss!r})")
        self._loss = direct_l2 if loss == "l2" else direct_huber
        self.stacks = branches(feature_size, target_size, hidden, 1)

    def forward(self, features: Tensor) -> Parameters:
        return (self.stacks[0](features),)

    def loss(self, parameters: Parameters, y: Tensor) -> Tensor:
        return self._loss(parameters[0], y)

    def point(self, parameters: Parameters) -> Tensor:
        return parameters[0]


class _LocationHead(nn.Module):
    """Two stacks: where the density lies, and the logarithm of how wide it is."""

    def __init__(self, feature_size: int, target_size: int, hidden: Hidden = 2048) -> None:
        super().__init__()
        self.stacks = branches(feature_size, target_size, hidden, 2)

    def forward(self, features: Tensor) -> tuple[Tensor, Tensor]:
        return self.stacks[0](features), self.stacks[1](features)

    def point(self, parameters: Parameters) -> Tensor:
        return parameters[0]


class GaussianHead(_LocationHead):
    """Independent Gaussians: means and log-variances (B, D) (S3, S7)."""

    def loss(self, parameters: Parameters, y: Tensor) -> Tensor:
        return gaussian_loss(parameters[0], parameters[1], y)

    def log_density(self, parameters: Parameters, y: Tensor) -> Tensor:
        """log p(y | x) (B,), y (B, D)."""
        return -0.5 * (gaussian_loss(parameters[0], parameters[1], y) + y.shape[-1] * math.log(2 * math.pi))

    def marginal(self, parameters: Parameters) -> Normal:
        """The density of each dimension, (B, D)."""
        return Normal(parameters[0], (0.5 * parameters[1]).exp())

    def interval(self, parameters: Parameters, level: float) -> Tensor:
        """Central interval of each dimension that holds the share ``level``: (B, D, 2)."""
        return _central(self.marginal(parameters).icdf, parameters[0], level)


class LaplaceHead(_LocationHead):
    """Independent Laplace densities: locations and log-scales (B, D) (S5)."""

    def loss(self, parameters: Parameters, y: Tensor) -> Tensor:
        return laplace_loss(parameters[0], parameters[1], y)

    def log_density(self, parameters: Parameters, y: Tensor) -> Tensor:
        """log p(y | x) (B,), y (B, D)."""
        return -laplace_loss(parameters[0], parameters[1], y) - y.shape[-1] * math.log(2)

    def marginal(self, parameters: Parameters) -> Laplace:
        """The density of each dimension, (B, D)."""
        return Laplace(parameters[0], parameters[1].exp())

    def interval(self, parameters: Parameters, level: float) -> Tensor:
        """Central interval of each dimension that holds the share ``level``: (B, D, 2)."""
        return _central(self.marginal(parameters).icdf, parameters[0], level)


class JointLaplaceHead(_LocationHead):
    """The paper's Laplace density of a vector: locations and log beta (B, D) (S9)."""

    def loss(self, parameters: Parameters, y: Tensor) -> Tensor:
        return joint_laplace_loss(parameters[0], parameters[1], y)

    def log_density(self, parameters: Parameters, y: Tensor) -> Tensor:
        """log p(y | x) (B,), y (B, D)."""
        dims = y.shape[-1]
        # Integral of exp(-|u| / 2) over u in D dimensions: the unit sphere's area times Gamma(D) 2^D.
        area = math.log(2) + 0.5 * dims * math.log(math.pi) - math.lgamma(0.5 * dims)
        log_integral = area + math.lgamma(dims) + dims * math.log(2)
        return -0.5 * joint_laplace_loss(parameters[0], parameters[1], y, eps=0.0) - log_integral


class SoftmaxHead(nn.Module):
    """Classes of known ``values`` (K,), a stack of its own for each of D targets; predicts the expected value."""

    values: Tensor

    def __init__(
        self,
        feature_size: int,
        target_size: int,
        values: Sequence[float] | Tensor,
        hidden: Hidden = 2048,
        *,
        l2: float = 0.1,
        var: float = 0.0,
    ) -> None:
        super().__init__()
        self.l2, self.var = l2, var
        self.register_buffer("values", torch.as_tensor(values, dtype=torch.get_default_dtype()))
        self.stacks = branches(feature_size, len(self.values), hidden, target_size)

    def forward(self, features: Tensor) -> Parameters:
        """Logits (B, D, K)."""
        return (torch.stack([stack(features) for stack in self.stacks], 1),)

    def loss(self, parameters: Parameters, y: Tensor) -> Tensor:
        return softmax_loss(parameters[0], y, self.values, self.l2, self.var)

    def point(self, parameters: Parameters) -> Tensor:
        return (parameters[0].softmax(-1) * self.values).sum(-1)


def _central(quantile: Callable[[Tensor], Tensor], like: Tensor, level: float) -> Tensor:
    if not 0 < level < 1:
        raise ValueError(f"level must lie between 0 and 1 (got {level})")
    tail = 0.5 * (1 - level)
    return torch.stack([quantile(torch.full_like(like, share)) for share in (tail, 1 - tail)], -1)


Builder = Callable[[int, int, Hidden, Sequence[float]], nn.Module]
"""(feature_size, target_size, hidden, classes) -> head; only the softmax heads look at the classes."""


def _laplace(features: int, targets: int, hidden: Hidden, classes: Sequence[float]) -> nn.Module:
    return (LaplaceHead if targets == 1 else JointLaplaceHead)(features, targets, hidden)


HEADS: dict[str, Builder] = {
    "direct_huber": lambda features, targets, hidden, classes: DirectHead(features, targets, hidden, "huber"),
    "direct_l2": lambda features, targets, hidden, classes: DirectHead(features, targets, hidden, "l2"),
    "gaussian": lambda features, targets, hidden, classes: GaussianHead(features, targets, hidden),
    "laplace": _laplace,
    "softmax_l2": lambda features, targets, hidden, classes: SoftmaxHead(features, targets, classes, hidden),
    "softmax_l2_var": lambda features, targets, hidden, classes: SoftmaxHead(
        features, targets, classes, hidden, var=0.05
    ),
}
"""The paper's six baselines, in the order of its tables. "laplace" is S5 for one target and S9 for several."""
