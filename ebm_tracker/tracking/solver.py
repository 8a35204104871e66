"""Gauss-Newton for nonlinear least squares, with conjugate gradients for its linear systems.

Everything works on one flat tensor of unknowns; whoever has several blocks concatenates them, which also
makes the inner product one over all blocks.
"""

from __future__ import annotations

import enum
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor


class Beta(enum.Enum):
    """How a new search direction of the conjugate gradient method keeps part of the last one."""

    FLETCHER_REEVES = "fletcher_reeves"
    POLAK_RIBIERE = "polak_ribiere"


@dataclass(frozen=True)
class NormalEquations:
    """The linear system ``(J'J + diag(damping)) x = rhs``.

    Args:
        forward: maps unknowns (n,) to ``J x``, of any shape.
        adjoint: maps a tensor of that shape to ``J' u`` (n,).
        damping: diagonal (n,), not negative.
        rhs: right-hand side (n,).
    """

    forward: Callable[[Tensor], Tensor]
    adjoint: Callable[[Tensor], Tensor]
    damping: Tensor
    rhs: Tensor


class Objective(Protocol):
    """A sum of squared residuals that can be linearised."""

    def linearize(self, x: Tensor) -> NormalEquations:
        """Normal equations of the Gauss-Newton step at `x` (n,)."""
        ...


def conjugate_gradient(
    equations: NormalEquations,
    iterations: int,
    *,
    beta: Beta = Beta.FLETCHER_REEVES,
    preconditioner: Tensor | None = None,
    x0: Tensor | None = None,
) -> Tensor:
    """Run a fixed number of preconditioned conjugate gradient iterations.

    The curvature along a direction p is ``|J p|^2 + p' diag(damping) p``, so the last iteration needs no
    adjoint. The share of the old direction is never negative: a negative one restarts at the preconditioned
    residual.

    Args:
        equations: system with n unknowns.
        iterations: number of iterations, at least 0.
        beta: rule for the search directions.
        preconditioner: positive diagonal (n,) by which residuals are divided; None for none.
        x0: start (n,), zero if None. Not modified.

    Returns:
        Approximate solution (n,). Once the residual vanishes, further iterations change nothing.
    """
    if x0 is None:
        x, residual = torch.zeros_like(equations.rhs), equations.rhs
    else:
        x = x0
        residual = equations.rhs - equations.adjoint(equations.forward(x0)) - equations.damping * x0
    direction = old_residual = residual
    old_rho = residual.new_zeros(())
    for iteration in range(iterations):
        scaled = residual if preconditioner is None else residual / preconditioner
        rho = torch.dot(residual, scaled)
        if iteration == 0:
            direction = scaled
        else:
            change = rho if beta is Beta.FLETCHER_REEVES else rho - torch.dot(old_residual, scaled)
            direction = scaled + _ratio(change, old_rho).clamp(min=0.0) * direction
        image = equations.forward(direction)
        damped = equations.damping * direction
        flat = image.reshape(-1)
        step = _ratio(rho, torch.dot(flat, flat) + torch.dot(direction, damped))
        x = x + step * direction
        if iteration < iterations - 1:
            old_residual, old_rho = residual, rho
            residual = residual - step * (equations.adjoint(image) + damped)
    return x


def gauss_newton(
    objective: Objective,
    x: Tensor,
    steps: int,
    cg_iterations: int,
    *,
    beta: Beta = Beta.FLETCHER_REEVES,
    preconditioner: Tensor | None = None,
) -> Tensor:
    """Minimise a sum of squares by linearising, solving and stepping, without a line search.

    Args:
        objective: what to minimise.
        x: start (n,). Not modified.
        steps: number of linearisations.
        cg_iterations: conjugate gradient iterations per linearisation, each run starting from a zero step.
        beta: rule for the search directions.
        preconditioner: positive diagonal (n,), None for none.

    Returns:
        Unknowns (n,) after the last step.
    """
    for _ in range(steps):
        equations = objective.linearize(x)
        x = x + conjugate_gradient(equations, cg_iterations, beta=beta, preconditioner=preconditioner)
    return x


def _ratio(numerator: Tensor, denominator: Tensor) -> Tensor:
    """Quotient of two scalars, 0 where the denominator is 0, without waiting for the device."""
    return torch.where(denominator > 0, numerator / denominator, torch.zeros_like(numerator))
