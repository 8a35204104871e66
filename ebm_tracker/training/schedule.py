"""Learning rate as a function of the step number alone: nothing to save, nothing to restore."""

from __future__ import annotations

import math
from collections.abc import Sequence

SCHEDULES = ("steps", "cosine")


def warm_up(step: int, warmup: int, start: float = 0.0) -> float:
    """Factor of step number ``step`` (from 0): 1/(warmup + 1), 2/(warmup + 1), ... and 1 from step ``warmup`` on.

    With ``start`` it rises from that to 1 in place of from 0: ``start`` at step 0, 1 from step ``warmup`` on."""
    if warmup and start > 0:
        return start + (1 - start) * min(1.0, step / warmup)
    return min(1.0, (step + 1) / (warmup + 1))


def step_factor(step: int, milestones: Sequence[int], decay: float) -> float:
    """``decay`` to the power of the number of milestones reached; a milestone counts from its own step on."""
    return decay ** sum(step >= milestone for milestone in milestones)


def cosine_factor(step: int, steps: int, floor: float, start: int = 0) -> float:
    """Half a cosine from 1 at step ``start`` to ``floor`` at the last step, ``steps - 1`` (Loshchilov and Hutter,
    "SGDR", 2017, eq. 5, without restarts)."""
    span = max(1, steps - 1 - start)
    part = min(1.0, max(0, step - start) / span)
    return floor + (1 - floor) * 0.5 * (1 + math.cos(math.pi * part))
