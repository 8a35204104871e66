"""What a run shows while it trains: a bar on a terminal, plain lines in a file or a pipe."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import timedelta
from typing import Protocol

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn


class Display(Protocol):
    """``show`` after every step, ``row`` at every row of the log, ``say`` for everything else."""

    def show(self, steps: int, loss: float, data_s: float, step_s: float) -> None: ...

    def row(self, steps: int, row: Mapping[str, float]) -> None: ...

    def say(self, text: str) -> None: ...


@contextmanager
def open_display(quiet: bool, done: int, total: int) -> Iterator[Display]:
    """``quiet``: shows nothing, for all processes but the first. ``done`` of ``total`` steps stand at the start."""
    if quiet:
        yield Silence()
        return
    console = Console()
    if not console.is_terminal:
        yield PlainLines(console, total)
        return
    columns = (
        TextColumn("training"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("loss {task.fields[loss]}  data {task.fields[data_s]:.2f} s  step {task.fields[step_s]:.2f} s"),
        TextColumn("left"),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=console, speed_estimate_period=120) as progress:
        yield Bar(progress, done, total)


class Silence:
    """Shows nothing."""

    def show(self, steps: int, loss: float, data_s: float, step_s: float) -> None:
        pass

    def row(self, steps: int, row: Mapping[str, float]) -> None:
        pass

    def say(self, text: str) -> None:
        pass


class Bar:
    """Loss and times of the last step behind a bar; what is said stands above it."""

    def __init__(self, progress: Progress, done: int, total: int) -> None:
        self._progress = progress
        self._task = progress.add_task("", total=total, completed=done, loss="-", data_s=0.0, step_s=0.0)

    def show(self, steps: int, loss: float, data_s: float, step_s: float) -> None:
        self._progress.update(self._task, completed=steps, loss=f"{loss:.3f}", data_s=data_s, step_s=step_s)

    def row(self, steps: int, row: Mapping[str, float]) -> None:
        pass

    def say(self, text: str) -> None:
        self._progress.console.print(text, markup=False, highlight=False, soft_wrap=True)


class PlainLines:
    """A line for every row of the log, at once: whoever reads the file sees how far it is."""

    def __init__(self, console: Console, total: int) -> None:
        self._console, self._total = console, total

    def show(self, steps: int, loss: float, data_s: float, step_s: float) -> None:
        pass

    def row(self, steps: int, row: Mapping[str, float]) -> None:
        left = timedelta(seconds=round((self._total - steps) * (row["data_s"] + row["step_s"])))
        times = f"data {row['data_s']:.3f} s  step {row['step_s']:.3f} s  rate {row['rate']:.3g}  left {left}"
        self.say(f"step {steps} of {self._total}  loss {row['loss']:.4f}  {times}")

    def say(self, text: str) -> None:
        self._console.print(text, markup=False, highlight=False, soft_wrap=True)
        self._console.file.flush()
