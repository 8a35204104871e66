"""The regularised least-squares objectives of the online classifier (ATOM, Eq. 3).

With samples x_j, weights g_j, labels y_j and the response activation a,

    L = sum_j g_j |a(f * (P x_j)) - y_j|^2 + reg_f |f|^2 + reg_P |P|^2

without a factor 1/2. The filter f (K, k, k) acts after the projection P (K, C). Both objectives offer the
normal equations of a Gauss-Newton step at flat unknowns, as `ebm_tracker.tracking.solver` asks for.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from ebm_tracker.tracking.correlation import TapCorrelation
from ebm_tracker.tracking.solver import NormalEquations


def activate(responses: Tensor, floor: float) -> tuple[Tensor, Tensor]:
    """Response activation a(v) = v for v > 0, ``floor * (exp(v / floor) - 1)`` otherwise.

    Args:
        responses: of any shape.
        floor: positive; a(v) stays above ``-floor``.

    Returns:
        a(v) and its derivative, both of the shape of `responses`.
    """
    slope = torch.exp(responses.clamp(max=0.0) / floor)
    return responses.clamp(min=0.0) + floor * (slope - 1.0), slope


@dataclass(frozen=True)
class Targets:
    """What the responses are compared with.

    Args:
        labels: wanted activations (N, h, w).
        sqrt_weights: square roots of the sample weights (N, 1, 1).
        activation_floor: see `activate`.
    """

    labels: Tensor
    sqrt_weights: Tensor
    activation_floor: float

    @classmethod
    def weighted(cls, labels: Tensor, weights: Tensor, activation_floor: float) -> Targets:
        """Targets for labels (N, h, w) and sample weights (N,)."""
        return cls(labels, weights.sqrt()[:, None, None], activation_floor)

    def residuals(self, responses: Tensor) -> tuple[Tensor, Tensor]:
        """Weighted residuals at raw responses (N, h, w), and their derivatives by them (N, h, w)."""
        activations, slope = activate(responses, self.activation_floor)
        return self.sqrt_weights * (activations - self.labels), self.sqrt_weights * slope


class FilterObjective:
    """The objective as a function of the filter alone, on projected samples.

    Args:
        projected: samples (N, K, h, w).
        targets: labels, weights and activation for these samples.
        kernel_size: side k of the filter.
        regularization: weight reg_f of the filter's squared norm.
    """

    def __init__(self, projected: Tensor, targets: Targets, kernel_size: int, regularization: float) -> None:
        self._correlation = TapCorrelation(projected, kernel_size)
        self._targets = targets
        self._channels = projected.shape[1]
        self._damping = projected.new_full((self._channels * kernel_size**2,), regularization)

    def loss(self, x: Tensor) -> Tensor:
        """Objective (scalar) at a flat filter x (K * k * k,)."""
        residuals, _ = self._targets.residuals(self._forward(x))
        return residuals.square().sum() + (self._damping * x * x).sum()

    def linearize(self, x: Tensor) -> NormalEquations:
        """Normal equations of the Gauss-Newton step at a flat filter x (K * k * k,)."""
        residuals, slope = self._targets.residuals(self._forward(x))

        def forward(direction: Tensor) -> Tensor:
            return slope * self._forward(direction)

        def adjoint(maps: Tensor) -> Tensor:
            return self._correlation.adjoint(slope * maps).t().reshape(-1)

        return NormalEquations(forward, adjoint, self._damping, -adjoint(residuals) - self._damping * x)

    def _forward(self, x: Tensor) -> Tensor:
        return self._correlation.forward(x.view(self._channels, -1).t())


class JointObjective:
    """The objective as a function of projection and filter together, on raw samples.

    The samples are never projected: f * (P x) is the correlation of x with the taps f'P, whose derivative in
    the direction (dP, df) is f'dP + df'P, a small matrix.

    Args:
        samples: (N, C, h, w).
        targets: labels, weights and activation for these samples.
        projected_channels: number K of channels after the projection.
        kernel_size: side k of the filter.
        filter_regularization: weight reg_f of the filter's squared norm.
        projection_regularization: weight reg_P of the projection's squared norm.
    """

    def __init__(
        self,
        samples: Tensor,
        targets: Targets,
        *,
        projected_channels: int,
        kernel_size: int,
        filter_regularization: float,
        projection_regularization: float,
    ) -> None:
        self._correlation = TapCorrelation(samples, kernel_size)
        self._targets = targets
        self._projected_channels = projected_channels
        self._kernel_size = kernel_size
        self._projection_size = projected_channels * samples.shape[1]
        self._damping = torch.cat(
            [
                samples.new_full((self._projection_size,), projection_regularization),
                samples.new_full((projected_channels * kernel_size**2,), filter_regularization),
            ]
        )

    @property
    def damping(self) -> Tensor:
        """Regularisation weight of every unknown, in the order of `pack`."""
        return self._damping

    def pack(self, projection: Tensor, kernel: Tensor) -> Tensor:
        """Flat unknowns from a projection (K, C) and a filter (K, k, k)."""
        return torch.cat([projection.reshape(-1), kernel.reshape(-1)])

    def unpack(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Projection (K, C) and filter (K, k, k) from flat unknowns, as views."""
        projection, taps = self._blocks(x)
        return projection, taps.view(self._projected_channels, self._kernel_size, self._kernel_size)

    def loss(self, x: Tensor) -> Tensor:
        """Objective (scalar) at flat unknowns x."""
        projection, taps = self._blocks(x)
        residuals, _ = self._targets.residuals(self._correlation.forward(taps.t() @ projection))
        return residuals.square().sum() + (self._damping * x * x).sum()

    def linearize(self, x: Tensor) -> NormalEquations:
        """Normal equations of the Gauss-Newton step at flat unknowns x."""
        projection, taps = self._blocks(x)  # (K, C), (K, k * k)
        residuals, slope = self._targets.residuals(self._correlation.forward(taps.t() @ projection))

        def forward(direction: Tensor) -> Tensor:
            d_projection, d_taps = self._blocks(direction)
            return slope * self._correlation.forward(
                torch.addmm(taps.t() @ d_projection, d_taps.t(), projection)
            )

        def adjoint(maps: Tensor) -> Tensor:
            gradient = self._correlation.adjoint(slope * maps)  # (k * k, C)
            return torch.cat([(taps @ gradient).view(-1), (projection @ gradient.t()).view(-1)])

        return NormalEquations(forward, adjoint, self._damping, -adjoint(residuals) - self._damping * x)

    def _blocks(self, x: Tensor) -> tuple[Tensor, Tensor]:
        projection, taps = x[: self._projection_size], x[self._projection_size :]
        return projection.view(self._projected_channels, -1), taps.view(self._projected_channels, -1)
