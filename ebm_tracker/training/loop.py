"""The training loop: steps, checkpoints, resume, stopping. It knows no model and no data set.

One process, or as many as torchrun starts. A run that was stopped or killed and started again ends with the weights
and the log of one that never stopped: everything random in a step follows from its number.
"""

from __future__ import annotations

import json
import math
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any, NoReturn, Protocol

import torch
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel
from torch.utils.data import Dataset

from ebm_tracker.files import write_text_atomic
from ebm_tracker.stop import StopSignals
from ebm_tracker.training.average import MovingAverage
from ebm_tracker.training.batches import Share, load_batches, seed_everything, to_device
from ebm_tracker.training.checkpoint import (
    BEST,
    LAST,
    flat_settings,
    load_state,
    remove_parts,
    require_same_settings,
    save_state,
)
from ebm_tracker.training.display import Display, Silence, open_display
from ebm_tracker.training.loop_settings import LoopSettings
from ebm_tracker.training.optimizer import build_optimizer, set_rate
from ebm_tracker.training.processes import Processes
from ebm_tracker.training.run_log import EVALUATION, LOG, RunLog

__all__ = ["Evaluation", "Faults", "LoopSettings", "Training"]

NON_FINITE = "non_finite.json"

Evaluation = Callable[[], Mapping[str, float]]
"""Held-out values of the weights as they are; the step module is in eval mode meanwhile."""


class Faults(Protocol):
    """What a data set may have as ``faults``: the samples that it could not read and replaced."""

    def report(self) -> str | None:
        """A text for the user, None when there is nothing to say."""
        ...

    def check(self) -> None:
        """Raises when there are more than the limit."""
        ...


class Training:
    """One run in one folder: ``log.csv``, ``evaluation.csv``, ``last.pt`` and ``best.pt``.

    ``step(batch)`` gives the losses (B,) of a batch, which is what ``dataset`` gives, collated: tensors in (named)
    tuples. What is random must be in the batch, or drawn from torch's, numpy's or Python's own generators, which are
    set before every step from (seed, step, part, rank). ``trained`` is the part of ``step`` whose parameters are
    optimised (those that require a gradient) and whose state is saved: all that moves must lie inside it. Batch norm
    takes its statistics over the samples that one process has in one part, unless ``sync_batch_norm`` is on.

    ``fingerprint``: settings of the recipe (a mapping, nested ones too); a run goes on with equal ones only.
    ``resume``: goes on from ``last.pt``; where there is none it starts anew, so that one command serves a job that may
    be killed at any time. Without it a folder that holds a run is refused (ValueError). ``display``: who is told of
    steps and rows, for a program of many runs; None shows a bar or lines.

    ``run`` raises FloatingPointError when a loss or gradient is not finite, in all processes, and KeyboardInterrupt
    after Ctrl-C or SIGTERM. In both cases, as after any other error, the state after the last whole step is saved; a
    second Ctrl-C does not wait for the step under way.
    """

    def __init__(
        self,
        step: nn.Module,
        dataset: Dataset[Any],
        settings: LoopSettings,
        folder: Path,
        *,
        trained: nn.Module,
        evaluate: Evaluation | None = None,
        fingerprint: Mapping[str, Any] | str = "",
        device: torch.device = torch.device("cpu"),  # noqa: B008  # cannot change
        processes: Processes | None = None,
        resume: bool = False,
        display: Display | None = None,
    ) -> None:
        self.processes = processes or Processes()
        self.device = self.processes.device(device)
        _check(settings, self.device, dataset, evaluate)
        self.share = Share(settings.batch_size, settings.accumulation, self.processes.rank, self.processes.count)
        self.dataset, self.settings, self.folder, self.evaluate = dataset, settings, folder.absolute(), evaluate
        self.fingerprint = flat_settings(fingerprint) | flat_settings(settings.deciding(), "loop.")
        if settings.sync_batch_norm and self.processes.count > 1:
            step = nn.SyncBatchNorm.convert_sync_batchnorm(step)
        self.step, self.trained = step.to(self.device), trained
        self.parameters = [parameter for parameter in trained.parameters() if parameter.requires_grad]
        if not self.parameters:
            raise ValueError("trained must have a parameter that requires a gradient (got none)")
        self.optimizer = build_optimizer(trained, settings)
        self.scaler = torch.amp.GradScaler(self.device.type, enabled=settings.precision == "float16")
        self.average = MovingAverage(trained, settings.average_decay) if settings.average_decay else None
        self.steps, self.seconds, self.evaluated_at, self.best = 0, 0.0, 0, -math.inf
        self.values: dict[str, float] = {}  # of the evaluation at step `evaluated_at`
        state = self.processes.from_first(lambda: self._stored_state(resume))
        if state is not None:
            self._restore(state)
        self.log: RunLog | None = None
        if self.processes.is_first:
            self.log = RunLog(self.folder, self.steps, settings.tensorboard)
            self.log.pending = [tuple(row) for row in state["pending"]] if state is not None else []
        self.model = self.processes.wrap(self.step, self.device)
        self._stop, self._said = StopSignals(), ""
        self._given, self._display = display, display or Silence()
        self._moving = self._changed = False

    def run(self) -> int:
        """Trains to the last step; returns the number of steps made over all its starts."""
        with StopSignals() as self._stop, self._opened_display() as display:
            self._display = display
            self._greet()
            try:
                self._train()
            finally:
                # Weights that moved in part are worse than the last checkpoint.
                if self._changed and not self._moving:
                    self.save()
                if self.log is not None:
                    self.log.close()
                display.say(f"{self.steps} of {self.settings.steps} steps are done; run folder {self.folder}")
            stopped = self.processes.sum([self._stop.requested], self.device)[0]  # also waits for the saving
        if stopped:
            raise KeyboardInterrupt
        return self.steps

    def averaged(self) -> AbstractContextManager[None]:
        """A block in which ``trained`` holds the weights that are evaluated: the moving average where there is one."""
        return self.average.swapped_in(self.trained) if self.average is not None else nullcontext()

    # Steps -----------------------------------------------------------------------------------------------------------

    def _train(self) -> None:
        settings = self.settings
        self._evaluate_if_due()  # a run that was stopped in the middle of an evaluation does it now
        if self.steps >= settings.steps:
            return
        self.step.train()
        pin = self.device.type == "cuda"
        steps = range(self.steps, settings.steps)
        batches = load_batches(self.dataset, self.share, steps, settings.workers, settings.seed, settings.prefetch, pin)
        parts = iter(batches)
        stopped = False
        while self.steps < settings.steps and not stopped:
            stopped = self._one_step(parts)
            if settings.is_due(settings.log_every, self.steps):
                self._write_row()
            if settings.is_due(settings.epoch_steps or settings.log_every, self.steps):
                self._report_faults()
            self._evaluate_if_due()
            if settings.is_due(settings.checkpoint_every, self.steps):
                self.save()

    def _one_step(self, parts: Iterator[Any]) -> bool:
        """Returns whether any process was asked to stop. Whatever ends it before the weights move puts back the
        running means, which have moved by then: the step will be done again."""
        start = time.perf_counter()
        loss = data_s = 0.0
        stopped = False
        buffers = [(buffer, buffer.clone()) for buffer in self.trained.buffers()]
        try:
            self.optimizer.zero_grad(set_to_none=True)
            for part in range(self.share.parts):
                asked = time.perf_counter()
                batch = next(parts)
                data_s += time.perf_counter() - asked
                part_loss, part_stopped = self._backward(to_device(batch, self.device), part)
                loss += part_loss / self.share.parts
                stopped = stopped or part_stopped
            self._finish_gradient()
        except BaseException:
            for buffer, before in buffers:
                buffer.copy_(before)
            raise
        self._move()
        seconds = time.perf_counter() - start
        self.seconds += seconds
        if self.log is not None:
            self.log.note(loss, data_s, seconds - data_s)
        self._display.show(self.steps, loss, data_s, seconds - data_s)
        return stopped

    def _backward(self, batch: Any, part: int) -> tuple[float, bool]:
        """Adds one part's gradient; returns its loss, and whether to stop, over all processes."""
        seed_everything(self.settings.seed, self.steps, part, self.processes.rank)
        model, sum_later = self.model, part < self.share.parts - 1
        with model.no_sync() if isinstance(model, DistributedDataParallel) and sum_later else nullcontext():
            losses = model(batch)
            loss = losses.mean()
            value = float(loss.detach())
            # Agreed before anyone goes backward: a process that stopped alone would leave the others waiting.
            facts = [value, not math.isfinite(value), self._stop.requested]
            total, bad, stopped = self.processes.sum(facts, self.device)
            if bad:
                self._refuse_loss(losses.detach(), batch, part, total / self.processes.count)
            self.scaler.scale(loss / self.share.parts).backward()
        return total / self.processes.count, stopped > 0

    def _finish_gradient(self) -> None:
        """Unscales, clips and checks it; it is the same in all processes by now."""
        self.scaler.unscale_(self.optimizer)
        norm = float(nn.utils.clip_grad_norm_(self.parameters, self.settings.clip_norm or math.inf))
        # Under loss scaling an overflow is expected: the scaler leaves out the step and scales less.
        if not math.isfinite(norm) and not self.scaler.is_enabled():
            first = self.steps * self.settings.batch_size
            samples = f"samples {first} to {first + self.settings.batch_size - 1}"
            raise FloatingPointError(f"the gradient became {norm} at step {self.steps} with a finite loss, {samples}")

    def _move(self) -> None:
        set_rate(self.optimizer, self.settings.learning_rate_at(self.steps))
        self._moving = self._changed = True
        self.scaler.step(self.optimizer)
        self.scaler.update()
        if self.average is not None:
            self.average.update(self.trained)
        self.steps += 1
        self._moving = False

    def _refuse_loss(self, losses: Tensor, batch: Any, part: int, value: float) -> NoReturn:
        numbers = getattr(batch, "number", None)
        known = numbers.tolist() if isinstance(numbers, Tensor) else self.share.numbers(self.steps, part)
        mine = [(n, x) for n, x in zip(known, losses.tolist(), strict=True) if not math.isfinite(x)]
        found = sorted(item for items in self.processes.gather(mine) for item in items)
        path = self.folder / NON_FINITE
        if self.processes.is_first:
            samples = [{"number": number, "loss": str(loss)} for number, loss in found]
            write_text_atomic(path, json.dumps({"step": self.steps, "samples": samples}, indent=1) + "\n")
        names = ", ".join(str(number) for number, _ in found)
        raise FloatingPointError(f"the loss became {value} at step {self.steps}, samples {names} (listed in {path})")

    def _opened_display(self) -> AbstractContextManager[Display]:
        if self._given is not None:
            return nullcontext(self._given)
        return open_display(self.log is None, self.steps, self.settings.steps)

    # Between steps ---------------------------------------------------------------------------------------------------

    def _greet(self) -> None:
        start = f"goes on from step {self.steps}" if self.steps else "starts at step 0"
        self._display.say(f"run folder {self.folder}: {start} of {self.settings.steps}")
        if self.log is not None and self.settings.tensorboard and not self.log.has_tensorboard:
            self._display.say("TensorBoard is not installed: the log goes to CSV files only")

    def _write_row(self) -> None:
        if self.log is not None:
            rate = self.settings.learning_rate_at(self.steps - 1)
            self._display.row(self.steps, self.log.write(self.steps, rate))
        faults: Faults | None = getattr(self.dataset, "faults", None)
        if faults is not None:
            errors = [error for error in self.processes.gather(_error_of(faults)) if error is not None]
            if errors:
                raise errors[0]

    def _report_faults(self) -> None:
        faults: Faults | None = getattr(self.dataset, "faults", None)
        if faults is None:
            return
        reports = self.processes.gather(faults.report())
        lines = [f"process {rank}: {text}" for rank, text in enumerate(reports) if text]
        text = "\n".join(lines) if self.processes.count > 1 else reports[0] or ""
        if text and text != self._said:
            self._display.say(text)
        self._said = text

    def _evaluate_if_due(self) -> None:
        done = self.evaluated_at == self.steps
        if self.evaluate is None or done or not self.settings.is_due(self.settings.evaluate_every, self.steps):
            return
        values = self.processes.from_first(self._values)
        self.evaluated_at, self.values, self._changed = self.steps, dict(values), True
        if self.log is not None:
            self.log.write_evaluation(self.steps, values)
        self._display.say(f"held-out at step {self.steps}: " + "  ".join(f"{k} {v:.4g}" for k, v in values.items()))
        name = self.settings.best
        if name and name not in values:
            raise ValueError(f"best must be a value of the evaluation: {', '.join(values)} (got {name!r})")
        if name and values[name] > self.best:
            self.best = float(values[name])
            if self.processes.is_first:
                save_state(self.folder / BEST, self._state())

    def _values(self) -> dict[str, float]:
        assert self.evaluate is not None
        self.step.eval()
        try:
            with self.averaged():
                return dict(self.evaluate())
        finally:
            self.step.train()

    # Files -----------------------------------------------------------------------------------------------------------

    def save(self) -> None:
        """Writes ``last.pt``, in the first process."""
        if self.processes.is_first:
            save_state(self.folder / LAST, self._state())
        self._changed = False

    def _state(self) -> dict[str, Any]:
        assert self.log is not None
        return {
            "module": self.trained.state_dict(),
            "average": self.average.state_dict() if self.average is not None else None,
            "optimizer": self.optimizer.state_dict(),
            "scaler": self.scaler.state_dict(),
            "steps": self.steps,
            "seconds": self.seconds,
            "evaluated_at": self.evaluated_at,
            "best": self.best,
            "values": self.values,
            "pending": [list(row) for row in self.log.pending],
            "settings": self.fingerprint,
        }

    def _stored_state(self, resume: bool) -> dict[str, Any] | None:
        self.folder.mkdir(parents=True, exist_ok=True)
        held = [name for name in (LAST, BEST, LOG, EVALUATION) if (self.folder / name).is_file()]
        if held and not resume:
            raise ValueError(
                f"{self.folder} already holds a run ({', '.join(held)}): --resume goes on with it, "
                "or choose another folder"
            )
        remove_parts(self.folder)
        if LAST not in held:
            return None
        state = load_state(self.folder / LAST)
        require_same_settings(self.folder / LAST, state["settings"], self.fingerprint)
        return state

    def _restore(self, state: Mapping[str, Any]) -> None:
        self.trained.load_state_dict(state["module"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.scaler.load_state_dict(state["scaler"])
        if self.average is not None:
            self.average.load_state_dict(state["average"])
        self.steps, self.seconds = state["steps"], state["seconds"]
        self.evaluated_at, self.best, self.values = state["evaluated_at"], state["best"], dict(state["values"])


def _check(settings: LoopSettings, device: torch.device, dataset: Dataset[Any], evaluate: Evaluation | None) -> None:
    if settings.sync_batch_norm and device.type != "cuda":
        raise ValueError(f"sync_batch_norm needs CUDA: torch has it for no other device (got {device.type})")
    if settings.best and evaluate is None:
        raise ValueError(f"best={settings.best!r} needs an evaluation, and the run has none")
    length = len(dataset) if hasattr(dataset, "__len__") else math.inf
    if length < settings.steps * settings.batch_size:
        raise ValueError(
            f"the data set must have steps x batch_size = {settings.steps} x {settings.batch_size} samples "
            f"(got {length})"
        )


def _error_of(faults: Faults) -> Exception | None:
    try:
        faults.check()
    except Exception as error:
        return error
    return None
