"""Prediction by gradient ascent on f: Algorithm 1 of the paper and Algorithm S1 of its supplement.

The loop knows nothing of boxes. What differs between applications (analytic or automatic gradient, coordinates,
step lengths) enters as arguments, so the tracker, detection, age and pose all use these two functions.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import Enum

import torch
from torch import Tensor

ValueAndGrad = Callable[[Tensor], tuple[Tensor, Tensor]]
"""y (N, D) -> f(y) (N,) and the gradient of f at y (N, D)."""


class Acceptance(Enum):
    """What happens to a step after it was tried."""

    ALWAYS = "always"
    """Every step is taken (the paper's tracker, decay 1)."""
    RISING = "rising"
    """Algorithm 1: taken if f rises strictly; otherwise the candidate stays and its step length decays."""
    UNDO = "undo"
    """pytracking's variant: the step is taken; if f did not rise *since the previous evaluation*, the next move
    goes back by the last one and the step length decays. Kept for parity with its published numbers."""


@dataclass(frozen=True)
class Refinement:
    """Result of an ascent: ``y`` (N, D); ``f_before_last`` (N,), the energies one step earlier (what
    pytracking ranks by); ``f`` (N,), the energies of ``y`` itself, or None when they were not asked for."""

    y: Tensor
    f_before_last: Tensor
    f: Tensor | None


def autograd_value_and_grad(energy: Callable[[Tensor], Tensor]) -> ValueAndGrad:
    """Wraps f: (N, D) -> (N,) with its automatic gradient. Rows must not influence each other."""

    def value_and_grad(y: Tensor) -> tuple[Tensor, Tensor]:
        with torch.enable_grad():
            leaf = y.detach().requires_grad_(True)
            f = energy(leaf)
            (grad,) = torch.autograd.grad(f.sum(), leaf)
        return f.detach(), grad

    return value_and_grad


def _step_rows(step_length: float | Sequence[float] | Tensor, y: Tensor) -> Tensor:
    steps = torch.as_tensor(step_length, dtype=y.dtype, device=y.device)
    if steps.ndim > 1 or (steps.ndim == 1 and steps.numel() not in (1, y.shape[-1])):
        raise ValueError(f"step_length must be one number or {y.shape[-1]} (got shape {tuple(steps.shape)})")
    return steps.expand(y.shape).clone()


def ascend(
    value_and_grad: ValueAndGrad,
    start: Tensor,
    *,
    step_length: float | Sequence[float] | Tensor,
    steps: int,
    acceptance: Acceptance = Acceptance.RISING,
    decay: float = 1.0,
    step_scale: Callable[[Tensor], Tensor] | None = None,
    value: Callable[[Tensor], Tensor] | None = None,
    final_value: bool = True,
    on_step: Callable[[Tensor, Tensor], None] | None = None,
) -> Refinement:
    """Algorithm 1: ``steps`` gradient steps on f from ``start`` (N, D), N candidates side by side.

    ``step_length``: one number or D of them; each candidate keeps its own copy, which decays by ``decay``
    whenever its own step is refused. ``step_scale`` maps y (N, D) to extra factors (N, D) for coordinates in
    which the step depends on the position (ATOM moves boxes x, y, w, h by gradient times (w, h, w, h)).
    ``value``: f without its gradient, where that is cheaper, for the evaluation after the last step;
    ``final_value=False`` saves the evaluation after the last step where nobody needs it (f is then None; under
    RISING it is always known). ``on_step(y, f)`` is called with the state before each step.

    A RISING step costs one evaluation, not two: value and gradient come together, and the values of an accepted
    step serve as the next "previous" ones.
    """
    if steps < 0:
        raise ValueError(f"steps must be >= 0 (got {steps})")
    if not 0 < decay <= 1:
        raise ValueError(f"decay must lie in (0, 1] (got {decay})")
    y = start.detach().clone()
    lengths = _step_rows(step_length, y)
    f, grad = value_and_grad(y)
    if steps == 0:
        return Refinement(y, f, f)
    if acceptance is Acceptance.RISING:
        return _ascend_rising(value_and_grad, y, f, grad, lengths, steps, decay, step_scale, on_step)

    move = torch.zeros_like(y)
    previous: Tensor | None = None
    for step in range(steps):
        if step > 0:
            f, grad = value_and_grad(y)
        if on_step is not None:
            on_step(y, f)
        forward = lengths * grad if step_scale is None else lengths * grad * step_scale(y)
        if acceptance is Acceptance.UNDO and previous is not None:
            fell = (f <= previous)[:, None]
            lengths = torch.where(fell, lengths * decay, lengths)
            move = torch.where(fell, -move, forward)  # a candidate that fell goes back: its new length counts later
        else:
            move = forward
        y = y + move
        previous = f
    if not final_value:
        return Refinement(y, f, None)
    return Refinement(y, f, value_and_grad(y)[0] if value is None else value(y))


def _ascend_rising(
    value_and_grad: ValueAndGrad,
    y: Tensor,
    f: Tensor,
    grad: Tensor,
    lengths: Tensor,
    steps: int,
    decay: float,
    step_scale: Callable[[Tensor], Tensor] | None,
    on_step: Callable[[Tensor, Tensor], None] | None,
) -> Refinement:
    before = f
    for _ in range(steps):
        if on_step is not None:
            on_step(y, f)
        before = f
        move = lengths * grad if step_scale is None else lengths * grad * step_scale(y)
        tried = y + move
        f_tried, grad_tried = value_and_grad(tried)
        rises = f_tried > f  # strict, and False for NaN: a broken proposal is never taken
        column = rises[:, None]
        y = torch.where(column, tried, y)
        grad = torch.where(column, grad_tried, grad)
        f = torch.where(rises, f_tried, f)
        lengths = torch.where(column, lengths, lengths * decay)
    return Refinement(y, before, f)


def ascend_until_flat(
    value_and_grad: ValueAndGrad,
    start: Tensor,
    *,
    step_length: float | Sequence[float] | Tensor,
    steps: int,
    flat: float = 1e-3,
    drop: float = -1e-2,
) -> Refinement:
    """Algorithm S1 (age, head pose): every step is taken; a candidate stops *after* a step that changed f by
    less than ``flat`` in size or lowered it by more than -``drop``. Thresholds Omega_1 and Omega_2 of the
    supplement. The updated y is returned even when it got worse.
    """
    y = start.detach().clone()
    lengths = _step_rows(step_length, y)
    f, grad = value_and_grad(y)
    before = f
    running = torch.ones_like(f, dtype=torch.bool)
    for _ in range(steps):
        if not bool(running.any()):
            break
        column = running[:, None]
        y = torch.where(column, y + lengths * grad, y)
        f_new, grad_new = value_and_grad(y)
        change = f_new - f
        before = torch.where(running, f, before)
        f = torch.where(running, f_new, f)
        grad = torch.where(column, grad_new, grad)
        running = running & ~((change.abs() < flat) | (change < drop))
    return Refinement(y, before, f)
