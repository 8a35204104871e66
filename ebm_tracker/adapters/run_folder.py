"""One training in one folder: made, gone on with, or only loaded when it is finished."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch.utils.data import Dataset

from ebm_tracker.errors import WeightsError
from ebm_tracker.training.checkpoint import (
    BEST,
    LAST,
    flat_settings,
    load_state,
    load_trained,
    require_same_settings,
    save_state,
)
from ebm_tracker.training.display import Display
from ebm_tracker.training.loop import Evaluation, LoopSettings, Training
from ebm_tracker.training.processes import Processes

FINAL = "final.pt"
"""The weights of a finished run, without the optimizer's state: a third of the size."""


def train_or_load(
    step: nn.Module,
    trained: nn.Module,
    dataset: Dataset[Any],
    settings: LoopSettings,
    folder: Path,
    *,
    fingerprint: Mapping[str, Any],
    display: Display | None = None,
    device: torch.device = torch.device("cpu"),  # noqa: B008  # cannot change
    processes: Processes | None = None,
    evaluate: Evaluation | None = None,
) -> None:
    """Trains ``step`` in ``folder`` or goes on with what was begun there; then ``trained`` has the final weights: the
    average where there is one, or the best ones when ``settings.best`` names a value of ``evaluate``. ``step`` is on
    ``device`` then, in eval mode. A finished run is only loaded.

    ``fingerprint``: what decides the result besides ``settings``; a folder that was begun with another one raises
    ValueError naming the differences. So does a finished run of another number of steps; one that is not finished goes
    on to as many as ``settings`` say now, if it has not made more.
    """
    final, processes = folder / FINAL, processes or Processes()
    if not processes.from_first(final.is_file):
        training = Training(
            step,
            dataset,
            settings,
            folder,
            trained=trained,
            evaluate=evaluate,
            fingerprint=fingerprint,
            device=device,
            processes=processes,
            resume=True,
            display=display,
        )
        steps = training.run()
        if steps > settings.steps:
            raise ValueError(
                f"{folder.absolute()} has made {steps} steps; steps must be as many or more (got {settings.steps})"
            )
        processes.from_first(lambda: _finish(folder, BEST if settings.best else LAST, steps))
    expected = flat_settings(fingerprint) | flat_settings(settings.deciding(), "loop.")
    # A run may go on to more steps until it is finished: then their number decides its weights, too.
    state, length = load_state(final), {"loop.steps": repr(settings.steps)}
    if not isinstance(state["settings"], dict):
        raise WeightsError(f"{final.absolute()} is not a checkpoint of a training run")
    require_same_settings(final, state["settings"] | {"loop.steps": repr(state["steps"])}, expected | length)
    load_final(final, trained)
    step.to(processes.device(device)).eval()


def load_final(path: Path, module: nn.Module) -> None:
    """Puts the weights of a finished run into ``module``. Raises WeightsError when they are not its."""
    try:
        load_trained(path, module)
    except (RuntimeError, KeyError, TypeError, AttributeError) as error:  # torch's for names and shapes, a line each
        reason = " ".join(str(error).split())[:300]
        raise WeightsError(f"{path.absolute()} holds other weights than are trained here: {reason}") from error


def _finish(folder: Path, source: str, steps: int) -> None:
    """Keeps the weights and the settings of a finished run, and how many steps it made (the best ones had fewer)."""
    state = load_state(folder / source)
    weights = state["average"] or state["module"]
    kept = {"module": weights, "average": None, "steps": steps, "settings": state["settings"]}
    save_state(folder / FINAL, kept)
    for name in (BEST, LAST):
        (folder / name).unlink(missing_ok=True)
