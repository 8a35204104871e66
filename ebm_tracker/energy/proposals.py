"""The Gaussian-mixture proposal q(y | y_i) of Eq 5."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor


class GaussianMixture:
    """q(y | c) = 1/L sum_l N(y; c, diag(sigma_l^2)), equal weights (Eq 5 of the paper).

    One component is drawn per sample *vector* and shared by its dimensions: q is a mixture of products, not a
    product of one-dimensional mixtures.

    ``sigmas``: L numbers (the same spread in every dimension) or L rows of D numbers, in the units of y.
    Raises ValueError when one of them is not positive and finite.
    """

    def __init__(self, sigmas: Sequence[float] | Sequence[Sequence[float]]) -> None:
        table = torch.as_tensor(sigmas, dtype=torch.float64)
        if table.ndim == 1:
            table = table[:, None]
        if table.ndim != 2 or table.numel() == 0 or not bool(((table > 0) & table.isfinite()).all()):
            raise ValueError(f"sigmas must be L positive numbers or L rows of D positive numbers (got {sigmas!r})")
        self.sigmas = table  # (L, 1) or (L, D)

    def _table(self, like: Tensor) -> Tensor:
        dims = like.shape[-1]
        if self.sigmas.shape[1] not in (1, dims):
            raise ValueError(f"sigmas are given for {self.sigmas.shape[1]} dimensions, the targets have {dims}")
        return self.sigmas.to(like.device, like.dtype).expand(-1, dims)  # (L, D)

    def scaled(self, factor: float) -> GaussianMixture:
        """The mixture with every spread multiplied by ``factor`` > 0."""
        return GaussianMixture((factor * self.sigmas).tolist())

    def sample(self, centers: Tensor, count: int, generator: torch.Generator | None = None) -> Tensor:
        """``count`` draws around each centre: (B, D) -> (B, count, D)."""
        table = self._table(centers)
        batch, dims = centers.shape
        device = centers.device if generator is None else generator.device
        component = torch.randint(len(table), (batch, count), generator=generator, device=device)
        noise = torch.randn((batch, count, dims), generator=generator, device=device, dtype=centers.dtype)
        return centers[:, None, :] + noise.to(centers.device) * table[component.to(centers.device)]

    def log_density(self, samples: Tensor, centers: Tensor) -> Tensor:
        """log q(samples | centers): (B, M, D) and (B, D) -> (B, M).

        Computed as a log-sum-exp over components, so it stays finite where the density itself underflows.
        """
        table = self._table(samples)
        dims = samples.shape[-1]
        offsets = (samples - centers[:, None, :])[:, :, None, :] / table  # (B, M, L, D)
        log_norm = table.log().sum(-1) + 0.5 * dims * math.log(2 * math.pi)  # (L,)
        per_component = -0.5 * offsets.square().sum(-1) - log_norm
        return per_component.logsumexp(-1) - math.log(len(table))
