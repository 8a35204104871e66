"""One training run in one folder: made, gone on with, or only loaded when it is finished."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch

from ebm_tracker.adapters.regression.data import EpochDataset
from ebm_tracker.adapters.regression.steps import EnergyStep, HeadStep
from ebm_tracker.adapters.run_folder import train_or_load
from ebm_tracker.training.display import Display
from ebm_tracker.training.loop import Evaluation, LoopSettings


@dataclass(frozen=True)
class FitSettings:
    """The paper's for age and head pose: 75 epochs of batches of 32, Adam (``weight_decay`` 1e-3 there).

    ``schedule``: "constant" or "cosine" (down to 0). ``average_decay``: of a moving average of the weights, which is
    then what the run gives; 0 is off. ``held_epochs``: the extractor stays as it is for so many epochs. ``workers``:
    processes that prepare examples, 0 for none. ``checkpoint_epochs``: how often a stopped run can go on.
    """

    epochs: int = 75
    batch_size: int = 32
    learning_rate: float = 1e-3
    weight_decay: float = 0.0
    schedule: str = "constant"
    average_decay: float = 0.0
    clip_norm: float = 0.0
    held_epochs: int = 0
    seed: int = 0
    workers: int = 0
    checkpoint_epochs: int = 5

    def loop(self, count: int) -> LoopSettings:
        """The loop's settings for ``count`` examples an epoch. Raises ValueError when they make no batch."""
        if self.schedule not in ("constant", "cosine"):
            raise ValueError(f"schedule must be 'constant' or 'cosine' (got {self.schedule!r})")
        steps = self.epochs * count // self.batch_size
        if steps < 1:
            raise ValueError(
                f"batch_size must be at most epochs x examples = {self.epochs} x {count} (got {self.batch_size})"
            )
        epoch = max(1, count // self.batch_size)
        return LoopSettings(
            steps=steps,
            batch_size=self.batch_size,
            learning_rate=self.learning_rate,
            weight_decay=self.weight_decay,
            schedule="cosine" if self.schedule == "cosine" else "steps",
            average_decay=self.average_decay,
            clip_norm=self.clip_norm,
            workers=self.workers,
            seed=self.seed,
            log_every=epoch,
            evaluate_every=epoch,
            checkpoint_every=epoch * self.checkpoint_epochs,
            tensorboard=False,
        )


@contextmanager
def seeded(seed: int) -> Iterator[None]:
    """A block in which torch draws from ``seed``, for the first weights of a network; the generator outside goes on
    as if nothing had been drawn."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        yield


def fit(
    step: HeadStep | EnergyStep,
    dataset: EpochDataset,
    settings: FitSettings,
    folder: Path,
    *,
    fingerprint: Mapping[str, Any] | str = "",
    display: Display | None = None,
    device: torch.device = torch.device("cpu"),  # noqa: B008  # cannot change
    evaluate: Evaluation | None = None,
    best: str = "",
) -> None:
    """Trains ``step`` in ``folder`` or goes on with what was begun there; then its weights are the final ones (the
    average, or the best ones by the value ``best`` of ``evaluate``, larger is better). A finished run is only loaded.

    ``dataset`` has the epochs and the seed of ``settings``. ``fingerprint``: what else decides the result (data, sizes
    of the network); a folder that was begun with another one raises ValueError naming the differences.
    """
    if (dataset.epochs, dataset.seed) != (settings.epochs, settings.seed):
        raise ValueError(
            f"dataset and settings must have the same epochs and seed (got {dataset.epochs} and {dataset.seed}, "
            f"{settings.epochs} and {settings.seed})"
        )
    step.trained_from = settings.held_epochs * dataset.count
    loop = replace(settings.loop(dataset.count), best=best)
    own = {"run": fingerprint} if isinstance(fingerprint, str) else dict(fingerprint)
    own |= {"examples": dataset.count, "epochs": settings.epochs, "held_epochs": settings.held_epochs}
    train_or_load(
        step,
        step.trained,
        dataset,
        loop,
        folder,
        fingerprint=own,
        display=display,
        device=device,
        evaluate=evaluate,
    )
