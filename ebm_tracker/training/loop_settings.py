"""What decides a training run besides its data, its step and its weights."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from ebm_tracker.training.schedule import SCHEDULES, cosine_factor, step_factor, warm_up

PRECISIONS = ("float32", "bfloat16", "float16")
OPTIMIZERS = ("adam", "sgd")
INTERVALS = ("log_every", "evaluate_every", "checkpoint_every")
AT_LEAST_0 = ("steps", "warmup", "clip_norm", "weight_decay", "bias_rate", "workers", "seed", "epoch_steps", *INTERVALS)
FREE = frozenset(("steps", "workers", "prefetch", "epoch_steps", "tensorboard", *INTERVALS))
"""May change when a run goes on: they do not touch the steps already made (``steps`` does under a cosine)."""


@dataclass(frozen=True)
class LoopSettings:
    """``batch_size``: samples of one step over all processes and ``accumulation`` parts. ``optimizer``: "adam" or "sgd"
    (with ``momentum``); ``weight_decay`` is L2; biases learn at ``bias_rate`` times the rate, without decay when
    ``bias_decay`` is off. ``schedule``: "steps" (times ``decay`` at each of the ``milestones``) or "cosine" (down to
    ``floor`` times the rate), both after ``warmup`` steps, which begin at ``warmup_from`` times the rate.
    ``clip_norm``, ``average_decay``: 0 is off. ``precision``: the step's own; the loop adds loss scaling for float16.
    ``workers``: data processes per process, each ``prefetch`` batches ahead. ``*_every``: in steps, 0 for the end of
    the run only; ``epoch_steps``: how often the data set's faults are reported, 0 for every row of the log. ``best``:
    which value of the evaluation decides about ``best.pt``, larger is better."""

    steps: int
    batch_size: int = 16
    accumulation: int = 1
    learning_rate: float = 1e-3
    optimizer: str = "adam"
    weight_decay: float = 0.0
    momentum: float = 0.9
    bias_rate: float = 1.0
    bias_decay: bool = True
    schedule: str = "steps"
    milestones: tuple[int, ...] = ()
    decay: float = 0.2
    floor: float = 0.0
    warmup: int = 0
    warmup_from: float = 0.0
    clip_norm: float = 0.0
    average_decay: float = 0.0
    precision: str = "float32"
    sync_batch_norm: bool = False
    workers: int = 1
    prefetch: int = 4
    seed: int = 0
    log_every: int = 20
    evaluate_every: int = 500
    checkpoint_every: int = 200
    epoch_steps: int = 0
    best: str = ""
    tensorboard: bool = True

    def __post_init__(self) -> None:
        for name, allowed in (("schedule", SCHEDULES), ("precision", PRECISIONS), ("optimizer", OPTIMIZERS)):
            if getattr(self, name) not in allowed:
                raise ValueError(f"{name} must be one of {', '.join(allowed)} (got {getattr(self, name)!r})")
        for name in ("batch_size", "accumulation", "prefetch"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1 (got {getattr(self, name)})")
        for name in AT_LEAST_0:
            if getattr(self, name) < 0:
                raise ValueError(f"{name} must be at least 0 (got {getattr(self, name)})")
        if not 0 <= self.warmup_from <= 1:
            raise ValueError(f"warmup_from must lie between 0 and 1 (got {self.warmup_from})")
        if not 0 <= self.momentum < 1:
            raise ValueError(f"momentum must be at least 0 and below 1 (got {self.momentum})")

    def learning_rate_at(self, step: int) -> float:
        """Rate of step number ``step`` (from 0)."""
        if self.schedule == "cosine":
            factor = cosine_factor(step, self.steps, self.floor, self.warmup)
        else:
            factor = step_factor(step, self.milestones, self.decay)
        return self.learning_rate * warm_up(step, self.warmup, self.warmup_from) * factor

    def is_due(self, every: int, step: int) -> bool:
        """Whether something done ``every`` so many steps is due after ``step`` steps."""
        return step == self.steps or (every > 0 and step % every == 0)

    def deciding(self) -> dict[str, Any]:
        """The settings that decide the steps made so far: those of a run that goes on must be equal."""
        free = FREE - {"steps"} if self.schedule == "cosine" else FREE
        return {name: value for name, value in asdict(self).items() if name not in free}
