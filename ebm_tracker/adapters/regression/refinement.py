"""Refinement of predictions by an energy network: Algorithm S1 on its features."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from torch import Tensor

from ebm_tracker.adapters.regression.networks import Energy, given
from ebm_tracker.energy import Refinement, ascend_until_flat, autograd_value_and_grad


@dataclass(frozen=True)
class RefineSettings:
    """``step``: step length, one or one per target (3 for age in years, 0.1 for angles in degrees); ``steps``: at most
    so many; ``flat``, ``drop``: the thresholds Omega_1 and Omega_2, between changes of f, that end the ascent."""

    step: float | Sequence[float]
    steps: int = 5
    flat: float = 1e-3
    drop: float = -1e-2


def refine(energy: Energy, features: Tensor, start: Tensor, settings: RefineSettings) -> Refinement:
    """Climbs f from the predictions ``start`` (B, D), one per row of ``features`` (B, F), each on its own.

    Returns the refined y with their energies. The features' gradient is not computed.
    """
    if start.ndim != 2 or len(start) != len(features):
        raise ValueError(
            f"start must be (B, D) with one row for each of the {len(features)} features (got {tuple(start.shape)})"
        )
    of_y = given(energy, features.detach())
    value_and_grad = autograd_value_and_grad(lambda y: of_y(y[:, None])[:, 0])
    return ascend_until_flat(
        value_and_grad,
        start,
        step_length=settings.step,
        steps=settings.steps,
        flat=settings.flat,
        drop=settings.drop,
    )
