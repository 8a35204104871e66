from __future__ import annotations

import pytest
import torch
from torch import Tensor

from ebm_tracker.tracking.solver import Beta, NormalEquations, conjugate_gradient, gauss_newton


def random_system(unknowns: int, residuals: int) -> tuple[NormalEquations, Tensor]:
    """A system with dense J, and its solution by elimination."""
    jacobian = torch.randn(residuals, unknowns, dtype=torch.float64)
    damping = torch.rand(unknowns, dtype=torch.float64) + 0.1
    rhs = torch.randn(unknowns, dtype=torch.float64)
    solution = torch.linalg.solve(jacobian.T @ jacobian + torch.diag(damping), rhs)
    return NormalEquations(lambda x: jacobian @ x, lambda u: jacobian.T @ u, damping, rhs), solution


@pytest.mark.parametrize("beta", list(Beta))
@pytest.mark.parametrize("preconditioned", [False, True])
def test_n_iterations_solve_n_unknowns(beta: Beta, preconditioned: bool) -> None:
    equations, solution = random_system(6, 9)
    preconditioner = equations.damping if preconditioned else None
    x = conjugate_gradient(equations, 6, beta=beta, preconditioner=preconditioner)
    torch.testing.assert_close(x, solution, atol=1e-7, rtol=1e-7)


def test_one_iteration_is_steepest_descent_with_exact_line_search() -> None:
    equations, _ = random_system(5, 7)
    rhs, damping = equations.rhs, equations.damping
    image = equations.forward(rhs)
    step = rhs @ rhs / (image @ image + rhs @ (damping * rhs))
    torch.testing.assert_close(conjugate_gradient(equations, 1), step * rhs)


def test_a_start_at_the_solution_stays_there() -> None:
    equations, solution = random_system(5, 7)
    x = conjugate_gradient(equations, 4, x0=solution)
    torch.testing.assert_close(x, solution, atol=1e-12, rtol=0)


def test_a_start_is_used_and_not_modified() -> None:
    equations, solution = random_system(5, 7)
    start = torch.randn(5, dtype=torch.float64)
    kept = start.clone()
    torch.testing.assert_close(conjugate_gradient(equations, 5, x0=start), solution, atol=1e-8, rtol=0)
    assert torch.equal(start, kept)


def test_zero_right_hand_side_gives_zero() -> None:
    equations, _ = random_system(4, 5)
    still = NormalEquations(equations.forward, equations.adjoint, equations.damping, torch.zeros(4).double())
    assert torch.equal(conjugate_gradient(still, 3), torch.zeros(4).double())


def test_no_iterations_return_the_start() -> None:
    equations, _ = random_system(4, 5)
    assert torch.equal(conjugate_gradient(equations, 0), torch.zeros(4).double())


def test_last_iteration_needs_no_adjoint() -> None:
    equations, _ = random_system(4, 5)
    calls = []

    def adjoint(u: Tensor) -> Tensor:
        calls.append(u)
        return equations.adjoint(u)

    conjugate_gradient(NormalEquations(equations.forward, adjoint, equations.damping, equations.rhs), 5)
    assert len(calls) == 4


class CircleFit:
    """Residuals |point - centre| - radius: a small nonlinear problem with a known solution."""

    def __init__(self, points: Tensor, radius: float) -> None:
        self._points, self._radius = points, radius

    def linearize(self, x: Tensor) -> NormalEquations:
        arms = x - self._points
        lengths = arms.norm(dim=1)
        jacobian = arms / lengths[:, None]
        residuals = lengths - self._radius
        return NormalEquations(
            lambda d: jacobian @ d, lambda u: jacobian.T @ u, torch.zeros_like(x), -jacobian.T @ residuals
        )


def test_gauss_newton_finds_the_centre_of_a_circle() -> None:
    angles = torch.arange(7, dtype=torch.float64)
    center = torch.tensor([2.0, -1.0], dtype=torch.float64)
    points = center + 3.0 * torch.stack([angles.cos(), angles.sin()], dim=1)
    start = torch.tensor([1.0, 0.5], dtype=torch.float64)
    found = gauss_newton(CircleFit(points, 3.0), start, steps=8, cg_iterations=2)
    torch.testing.assert_close(found, center, atol=1e-9, rtol=0)
