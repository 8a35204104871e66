from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

from ebm_tracker.energy import (
    Acceptance,
    GaussianMixture,
    ValueAndGrad,
    ascend,
    ascend_until_flat,
    autograd_value_and_grad,
)


def parabola(y: Tensor) -> tuple[Tensor, Tensor]:
    """f(y) = -|y|^2."""
    return -y.square().sum(1), -2 * y


def bowls(curvature: Tensor) -> ValueAndGrad:
    """f(y) = -1/2 a |y|^2 with an own a for each candidate."""
    return lambda y: (-0.5 * curvature * y.square().sum(1), -curvature[:, None] * y)


def column(*values: float) -> Tensor:
    return torch.tensor(values, dtype=torch.float64)[:, None]


class Steps:
    """Table lookup: f(y) = table[y], gradient 1, so that each step of length 1 moves one entry on."""

    def __init__(self, *rows: list[float]) -> None:
        self.rows, self.evaluations = rows, 0

    def __call__(self, y: Tensor) -> tuple[Tensor, Tensor]:
        self.evaluations += 1
        values = [row[int(position)] for row, position in zip(self.rows, y[:, 0], strict=True)]
        return torch.tensor(values, dtype=torch.float64), torch.ones_like(y)


def path(value_and_grad: ValueAndGrad, start: Tensor, **options: Any) -> list[list[float]]:
    """y before each step and at the end."""
    visited: list[list[float]] = []
    result = ascend(value_and_grad, start, on_step=lambda y, f: visited.append(y.flatten().tolist()), **options)
    return [*visited, result.y.flatten().tolist()]


def test_algorithm_1_accepts_only_rises() -> None:
    """-y^2 from 1 with step 1: -1 is as high, hence refused; half the step goes to 0."""
    visited = path(parabola, column(1), step_length=1.0, steps=3, decay=0.5)
    assert visited == [[1], [1], [0], [0]]


def test_algorithm_1_without_decay_never_moves_on_a_tie() -> None:
    assert path(parabola, column(1), step_length=1.0, steps=4) == [[1]] * 5


def test_algorithm_1_reports_energies_of_both_last_steps() -> None:
    result = ascend(parabola, column(1), step_length=1.0, steps=2, decay=0.5)
    assert result.f is not None
    assert (result.y.item(), result.f_before_last.item(), result.f.item()) == (0, -1, 0)


def test_algorithm_1_costs_one_evaluation_per_step() -> None:
    table = Steps([0, 1, 2, 3, 4, 5])
    result = ascend(table, column(0), step_length=1.0, steps=5, final_value=False)
    assert table.evaluations == 6
    assert result.f is not None and result.f.item() == 5


def test_step_lengths_decay_for_each_candidate_alone() -> None:
    # a = 2: 1 -> -1 is a tie, then half the step is exact. a = 1: exact at once. a = 0.5: halves each time.
    # a = 8: steps 1, 1/2, 1/4 are refused (to -7, -3, -1), 1/8 is exact.
    visited = path(
        bowls(torch.tensor([2, 1, 0.5, 8.0]).double()), column(1, 1, 1, 1), step_length=1.0, steps=4, decay=0.5
    )
    assert visited == [[1, 1, 1, 1], [1, 0, 0.5, 1], [0, 0, 0.25, 1], [0, 0, 0.125, 1], [0, 0, 0.0625, 0]]


@pytest.mark.parametrize("dims", [1, 3, 4])
@pytest.mark.parametrize("acceptance", list(Acceptance))
def test_candidates_do_not_influence_each_other(dims: int, acceptance: Acceptance) -> None:
    generator = torch.Generator().manual_seed(dims)
    mixture, center = GaussianMixture((0.3, 1.0)), torch.zeros(1, dims).double()
    climb = autograd_value_and_grad(lambda y: mixture.log_density(y[None], center)[0])
    start = torch.randn((6, dims), generator=generator, dtype=torch.float64)
    steps = torch.linspace(0.05, 0.3, dims).tolist()
    options: dict[str, Any] = {"step_length": steps, "steps": 8, "acceptance": acceptance, "decay": 0.5}
    together = ascend(climb, start, **options)
    assert together.f is not None
    for index in range(6):
        alone = ascend(climb, start[index : index + 1], **options)
        assert alone.f is not None
        torch.testing.assert_close(together.y[index], alone.y[0], atol=1e-12, rtol=0)
        torch.testing.assert_close(together.f[index], alone.f[0], atol=1e-12, rtol=0)


@pytest.mark.parametrize("dims", [1, 3, 4])
def test_algorithm_1_climbs_a_mixture_to_its_center(dims: int) -> None:
    mixture = GaussianMixture((0.2, 0.8))
    center = torch.linspace(-1, 2, dims, dtype=torch.float64)[None]
    climb = autograd_value_and_grad(lambda y: mixture.log_density(y[None], center)[0])
    start = center + 0.5 * torch.randn((5, dims), generator=torch.Generator().manual_seed(7), dtype=torch.float64)
    energies: list[Tensor] = []
    result = ascend(climb, start, step_length=0.05, steps=60, decay=0.5, on_step=lambda y, f: energies.append(f))
    torch.testing.assert_close(result.y, center.expand_as(start), atol=1e-6, rtol=0)
    assert bool((torch.stack(energies).diff(dim=0) >= 0).all()), "f never falls"


@pytest.mark.parametrize("dims", [1, 3, 4])
def test_plain_ascent_on_a_parabola_has_a_closed_form(dims: int) -> None:
    lengths = torch.linspace(0.1, 0.9, dims, dtype=torch.float64)
    start = torch.arange(1.0, 2 * dims + 1, dtype=torch.float64).reshape(2, dims)
    result = ascend(parabola, start, step_length=lengths, steps=5, acceptance=Acceptance.ALWAYS)
    torch.testing.assert_close(result.y, start * (1 - 2 * lengths) ** 5, atol=1e-12, rtol=0)
    before = start * (1 - 2 * lengths) ** 4
    torch.testing.assert_close(result.f_before_last, -before.square().sum(1), atol=1e-12, rtol=1e-12)
    torch.testing.assert_close(result.f, -result.y.square().sum(1), atol=1e-12, rtol=1e-12)


def test_plain_ascent_takes_falling_steps_too() -> None:
    visited = path(parabola, column(1), step_length=1.5, steps=2, acceptance=Acceptance.ALWAYS)
    assert visited == [[1], [-2], [4]]


@pytest.mark.parametrize("acceptance", [Acceptance.ALWAYS, Acceptance.UNDO])
@pytest.mark.parametrize("final_value", [True, False])
def test_the_last_evaluation_can_be_saved(acceptance: Acceptance, final_value: bool) -> None:
    table = Steps([0, 1, 2, 3, 4, 5])
    result = ascend(table, column(0), step_length=1.0, steps=5, acceptance=acceptance, final_value=final_value)
    assert table.evaluations == 5 + final_value
    assert result.f_before_last.item() == 4
    assert (result.f is None) is not final_value
    assert result.y.item() == 5


@pytest.mark.parametrize("acceptance", [Acceptance.ALWAYS, Acceptance.UNDO])
def test_the_last_evaluation_can_do_without_a_gradient(acceptance: Acceptance) -> None:
    table = Steps([0, 1, 2, 3, 4, 5])
    result = ascend(table, column(0), step_length=1.0, steps=5, acceptance=acceptance, value=lambda y: 10 * y[:, 0])
    assert table.evaluations == 5
    assert result.f is not None and result.f.item() == 50 and result.f_before_last.item() == 4


def test_undo_goes_back_by_the_last_move() -> None:
    # 1 -> -1: a tie undoes the move, and so does every later tie.
    assert path(parabola, column(1), step_length=1.0, steps=4, acceptance=Acceptance.UNDO, decay=0.5) == [
        [1], [-1], [1], [-1], [1],
    ]  # fmt: skip
    # 1 -> -2 falls; back to 1, which rises; then the halved step: 1 + 0.75 * (-2) = -0.5, rises; -0.5 + 0.75.
    assert path(parabola, column(1), step_length=1.5, steps=4, acceptance=Acceptance.UNDO, decay=0.5) == [
        [1], [-2], [1], [-0.5], [0.25],
    ]  # fmt: skip


def test_undo_takes_a_tie_for_a_fall() -> None:
    visited = path(Steps([0, 1, 1, 5]), column(0), step_length=1.0, steps=4, acceptance=Acceptance.UNDO, decay=0.5)
    assert visited == [[0], [1], [2], [1], [2]]


def test_undo_decays_for_each_candidate_alone() -> None:
    visited = path(
        bowls(torch.tensor([3.0, 1.0]).double()),
        column(1, 1),
        step_length=[1.0],
        steps=3,
        acceptance=Acceptance.UNDO,
        decay=0.5,
    )
    # a = 3: -2, back to 1, then half the step to -0.5. a = 1: at 0 by the first step, which rises, and there
    # the gradient vanishes; the tie at the third visit undoes a move of nothing.
    assert visited == [[1, 1], [-2, 0], [1, 0], [-0.5, 0]]


def test_steps_can_depend_on_the_position() -> None:
    start = torch.tensor([[1.0, 2.0], [3.0, 4.0]], dtype=torch.float64)
    for acceptance in Acceptance:
        result = ascend(
            lambda y: (y.sum(1), torch.ones_like(y)),
            start,
            step_length=(0.5, 0.25),
            steps=2,
            acceptance=acceptance,
            step_scale=lambda y: y.flip(1),
        )
        # x' = x + y / 2 and y' = y + x / 4, twice: by way of (2, 2.25) and (5, 4.75).
        expected = torch.tensor([[3.125, 2.75], [7.375, 6.0]], dtype=torch.float64)
        torch.testing.assert_close(result.y, expected)


def test_a_zero_step_length_keeps_its_coordinate() -> None:
    start = torch.tensor([[1.0, 2.0, 3.0]], dtype=torch.float64)
    result = ascend(parabola, start, step_length=(0.1, 0, 0.1), steps=4)
    assert result.y[0, 1] == 2 and bool((result.y[0, ::2] < start[0, ::2]).all())


def test_a_broken_proposal_is_never_taken() -> None:
    def broken(y: Tensor) -> tuple[Tensor, Tensor]:
        f = torch.where(y[:, 0] > 0.5, torch.full_like(y[:, 0], torch.nan), y[:, 0])
        return f, torch.ones_like(y)

    assert path(broken, column(0), step_length=1.0, steps=3, decay=0.5) == [[0], [0], [0.5], [0.5]]


def test_no_steps_evaluate_once_and_stay() -> None:
    for acceptance in Acceptance:
        result = ascend(parabola, column(2, 3), step_length=1.0, steps=0, acceptance=acceptance)
        assert result.f is not None
        assert result.y.tolist() == [[2], [3]] and result.f.tolist() == result.f_before_last.tolist() == [-4, -9]


def test_the_start_is_left_alone() -> None:
    start = column(1, 2).requires_grad_()
    result = ascend(parabola, start, step_length=0.1, steps=3)
    assert start.tolist() == [[1], [2]] and not result.y.requires_grad
    result = ascend_until_flat(parabola, start, step_length=0.1, steps=3)
    assert start.tolist() == [[1], [2]] and not result.y.requires_grad


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"steps": -1}, "steps must be >= 0"),
        ({"decay": 0.0}, "decay must lie"),
        ({"decay": 1.5}, "decay must lie"),
        ({"step_length": (0.1, 0.2)}, "one number or 3"),
        ({"step_length": torch.ones(3, 3)}, "one number or 3"),
    ],
)
def test_bad_arguments(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        ascend(parabola, torch.ones(2, 3), **{"step_length": 0.1, "steps": 2, **options})


def test_algorithm_s1_returns_the_updated_point_on_a_tie() -> None:
    result = ascend_until_flat(parabola, column(1), step_length=1.0, steps=10)
    assert result.f is not None
    assert (result.y.item(), result.f_before_last.item(), result.f.item()) == (-1, -1, -1)


@pytest.mark.parametrize(
    ("table", "stops_at"),
    [
        ([0, 1, 2, 3, 4], 4),  # rises until the steps run out
        ([0, 1, 1.0005, 9, 9], 2),  # flat: |change| < 0.001
        ([0, 1, 0.9995, 9, 9], 2),
        ([0, 1, 0.995, 2, 3], 4),  # a small drop lets the loop go on
        ([0, 1, 0.98, 9, 9], 2),  # a larger one stops it, and the worse point is returned
        ([0, 0.002, 0.004, 0.006, 0.008], 4),
    ],
)
def test_algorithm_s1_thresholds(table: list[float], stops_at: int) -> None:
    result = ascend_until_flat(Steps(table), column(0), step_length=1.0, steps=4)
    assert result.f is not None
    assert result.y.item() == stops_at
    assert result.f.item() == table[stops_at] and result.f_before_last.item() == table[stops_at - 1]


def test_algorithm_s1_stops_each_candidate_alone_and_ends_when_all_stand() -> None:
    table = Steps([0, 0, 9, 9, 9, 9], [0, 1, 2, 1, 9, 9], [0, 1, 2, 3, 3, 9])
    result = ascend_until_flat(table, column(0, 0, 0), step_length=1.0, steps=5)
    assert result.f is not None
    assert result.y.flatten().tolist() == [1, 3, 4]
    assert result.f.tolist() == [0, 1, 3] and result.f_before_last.tolist() == [0, 2, 3]
    assert table.evaluations == 5  # the start and four steps


@pytest.mark.parametrize("dims", [1, 3, 4])
def test_algorithm_s1_reaches_the_top_of_a_parabola(dims: int) -> None:
    start = torch.randn((4, dims), generator=torch.Generator().manual_seed(8), dtype=torch.float64)
    result = ascend_until_flat(parabola, start, step_length=0.25, steps=100)
    assert float(result.y.abs().max()) < 0.05  # |change| < 0.001 means |y| < 0.04


def test_automatic_gradients_work_without_a_graph() -> None:
    energy: Callable[[Tensor], Tensor] = lambda y: (y.sin() * torch.tensor([1.0, 2.0])).sum(1)  # noqa: E731
    y = torch.tensor([[0.3, 0.7], [1.0, -2.0]], requires_grad=True)
    with torch.no_grad():
        f, grad = autograd_value_and_grad(energy)(y)
    torch.testing.assert_close(f, energy(y).detach())
    torch.testing.assert_close(grad, (y.cos() * torch.tensor([1.0, 2.0])).detach())
    assert not f.requires_grad and not grad.requires_grad and y.grad is None
