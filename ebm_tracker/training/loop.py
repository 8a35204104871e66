"""The training loop: steps, schedule, log, checkpoint, resume. It knows no model and no data set.

A run that was stopped and started again continues with the same pairs, the same sampled boxes and the same
optimiser state as if it had never stopped.
"""

from __future__ import annotations

import csv
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset

from ebm_tracker.files import atomic_path, write_text_atomic

Losses = Callable[[Any, torch.Generator], Tensor]
"""(batch, generator) -> losses (B,), with the module under training inside."""
Evaluation = Callable[[], Mapping[str, float]]


@dataclass(frozen=True)
class LoopSettings:
    """``milestones``: steps at which the learning rate is multiplied by ``decay``; ``workers``: processes that
    make batches; ``*_every``: in steps."""

    steps: int
    batch_size: int = 16
    learning_rate: float = 1e-3
    milestones: tuple[int, ...] = ()
    decay: float = 0.2
    warmup: int = 0
    workers: int = 1
    seed: int = 0
    log_every: int = 20
    evaluate_every: int = 500
    checkpoint_every: int = 200

    def learning_rate_at(self, step: int) -> float:
        """Rate of step number ``step`` (from 0): linear warm-up, then steps down."""
        passed = sum(step >= milestone for milestone in self.milestones)
        warm = min(1.0, (step + 1) / (self.warmup + 1))
        return self.learning_rate * warm * self.decay**passed


class Training:
    """One run in one folder: ``log.csv``, ``evaluation.csv`` and ``last.pt`` (module, optimiser, generator,
    step; plain tensors, read with ``weights_only``).

    The constructor resumes when ``last.pt`` exists; ``run`` returns the step reached. Ctrl-C saves first.
    """

    def __init__(
        self,
        module: nn.Module,
        losses: Losses,
        dataset: Dataset[Any],
        settings: LoopSettings,
        folder: Path,
        evaluate: Evaluation | None = None,
        fingerprint: str = "",
    ) -> None:
        self.module, self.losses, self.dataset = module, losses, dataset
        self.settings, self.folder, self.evaluate = settings, folder, evaluate
        self.fingerprint = fingerprint
        self.optimizer = torch.optim.Adam(module.parameters(), lr=settings.learning_rate)
        self.generator = torch.Generator().manual_seed(settings.seed)
        self.step = 0
        self.seconds = 0.0
        folder.mkdir(parents=True, exist_ok=True)
        if self._last.is_file():
            self._resume()

    @property
    def _last(self) -> Path:
        return self.folder / "last.pt"

    def run(self) -> int:
        """Trains to the last step. Raises FloatingPointError when the loss stops being finite."""
        settings = self.settings
        if self.step >= settings.steps:
            return self.step
        self.module.train()
        order = range(self.step * settings.batch_size, settings.steps * settings.batch_size)
        loader: Iterable[Any] = DataLoader(
            self.dataset,
            batch_size=settings.batch_size,
            sampler=order,
            num_workers=settings.workers,
            prefetch_factor=4 if settings.workers else None,
        )
        columns = (
            TextColumn("training"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("loss {task.fields[loss]:.3f}  data {task.fields[data]:.2f}s  step {task.fields[work]:.2f}s"),
            TimeRemainingColumn(),
        )
        with Progress(*columns) as progress:
            task = progress.add_task("", total=settings.steps, completed=self.step, loss=0.0, data=0.0, work=0.0)
            try:
                self._steps(loader, progress, task)
            finally:
                # Whatever stopped the run, an interrupt included, costs at most the step under way.
                self.save()
        return self.step

    def _steps(self, loader: Iterable[Any], progress: Progress, task: Any) -> None:
        settings = self.settings
        recent: list[tuple[float, float, float]] = []
        clock = time.perf_counter()
        for batch in loader:
            ready = time.perf_counter()
            rate = settings.learning_rate_at(self.step)
            value = self._update(batch, rate)
            done = time.perf_counter()
            self.seconds += done - clock
            recent.append((value, ready - clock, done - ready))
            clock = done
            progress.update(task, completed=self.step, loss=value, data=recent[-1][1], work=recent[-1][2])
            if self.step % settings.log_every == 0 or self.step == settings.steps:
                means = [sum(column) / len(recent) for column in zip(*recent, strict=True)]
                row = {"step": self.step, "loss": means[0], "data_s": means[1], "step_s": means[2], "rate": rate}
                self._append("log.csv", row)
                if not progress.console.is_terminal:
                    progress.console.print(" ".join(f"{k}={v:.5g}" for k, v in row.items()))
                recent.clear()
            if self.step % settings.checkpoint_every == 0:
                self.save()
            if self.evaluate and (self.step % settings.evaluate_every == 0 or self.step == settings.steps):
                self._evaluate(progress)
                clock = time.perf_counter()

    def _update(self, batch: Any, rate: float) -> float:
        """One step; returns its loss. Whatever stops it before the weights move, Ctrl-C included, also puts back the
        generator and the running means, which have moved by then: the step will be done again."""
        generator = self.generator.get_state()
        buffers = [(buffer, buffer.clone()) for buffer in self.module.buffers()]
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        try:
            loss = self.losses(batch, self.generator).mean()
            value = float(loss.detach())
            if not torch.isfinite(loss):
                raise FloatingPointError(f"the loss became {value} at step {self.step}")
            self.optimizer.zero_grad(set_to_none=True)
            loss.backward()
        except BaseException:
            self.generator.set_state(generator)
            for buffer, before in buffers:
                buffer.copy_(before)
            raise
        self.optimizer.step()
        self.step += 1
        return value

    def _evaluate(self, progress: Progress) -> None:
        assert self.evaluate is not None
        self.module.eval()
        row = {"step": float(self.step), **self.evaluate()}
        self.module.train()
        self._append("evaluation.csv", row)
        progress.console.print("held-out: " + " ".join(f"{k}={v:.4g}" for k, v in row.items()))

    def _append(self, name: str, row: Mapping[str, float]) -> None:
        path = self.folder / name
        fresh = not path.is_file()
        with path.open("a", newline="") as file:
            writer = csv.DictWriter(file, list(row))
            if fresh:
                writer.writeheader()
            writer.writerow({k: f"{v:.6g}" for k, v in row.items()})

    def save(self) -> None:
        """Writes ``last.pt`` beside, then renames."""
        state = {
            "module": self.module.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "generator": self.generator.get_state(),
            "step": self.step,
            "seconds": self.seconds,
            "fingerprint": self.fingerprint,
        }
        with atomic_path(self._last) as part:
            torch.save(state, part)

    def _resume(self) -> None:
        state = torch.load(self._last, map_location="cpu", weights_only=True)
        if state["fingerprint"] != self.fingerprint:
            raise ValueError(
                f"{self._last.absolute()} belongs to a run with other settings "
                f"({state['fingerprint']}, now {self.fingerprint}); choose another folder"
            )
        self.module.load_state_dict(state["module"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.generator.set_state(state["generator"])
        self.step, self.seconds = int(state["step"]), float(state["seconds"])
        self._drop_rows_after(self.step)

    def _drop_rows_after(self, step: int) -> None:
        """Rows logged after the checkpoint will be logged again."""
        for name in ("log.csv", "evaluation.csv"):
            path = self.folder / name
            if not path.is_file():
                continue
            lines = path.read_text().splitlines()
            kept = lines[:1] + [line for line in lines[1:] if float(line.split(",")[0]) <= step]
            write_text_atomic(path, "".join(line + "\n" for line in kept))
