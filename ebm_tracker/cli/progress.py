"""What ``ebm track`` shows while it runs."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Protocol

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn
from rich.text import Text

from ebm_tracker.evaluation.runner import Step
from ebm_tracker.evaluation.sequences import TrackingSequence

_PLAIN_SECONDS = 2.0
_STYLES = {"tracked": "green", "uncertain": "yellow", "lost": "bold red"}


class ProgressDisplay(Protocol):
    """Shows the step that was just done."""

    def show(self, step: Step, frames_per_second: float) -> None: ...


@contextmanager
def open_progress(console: Console, sequence: TrackingSequence) -> Iterator[ProgressDisplay]:
    """A live line on a terminal; elsewhere a plain line every two seconds, for logs."""
    total = sequence.frames.frame_count
    if not console.is_terminal:
        plain = PlainLines(console, total)
        try:
            yield plain
        finally:
            plain.finish()
        return
    columns = (
        BarColumn(bar_width=24),
        TextColumn("{task.fields[count]}", markup=False),
        TextColumn("{task.fields[facts]}", markup=False),
        TextColumn("{task.fields[status]}", markup=True),
    )
    with Progress(*columns, console=console) as progress:
        yield LiveLine(progress, total)


def count_text(done: int, total: int | None) -> str:
    """How many frames are done; in words, because files and pictures number the frames from 0."""
    return f"{done} of {total} frames" if total else f"{done} frames"


def facts_text(step: Step, frames_per_second: float) -> str:
    """Pace, box and score of a step."""
    x, y, w, h = step.box_xywh
    pace = f"{frames_per_second:5.1f} frames/s" if frames_per_second else "initialised"
    return f"{pace}  box {x:.1f},{y:.1f},{w:.1f},{h:.1f}  score {step.score:.2f}"


class LiveLine:
    """A bar and the facts, rewritten in place."""

    def __init__(self, progress: Progress, total: int | None) -> None:
        self._progress = progress
        self._task = progress.add_task("", total=total, count=count_text(0, total), facts="", status="")
        self._total = total

    def show(self, step: Step, frames_per_second: float) -> None:
        status = Text(step.status, style=_STYLES.get(step.status, "")).markup
        facts, done = facts_text(step, frames_per_second), step.index + 1
        count = count_text(done, self._total)
        self._progress.update(self._task, completed=done, count=count, facts=facts, status=status)


class PlainLines:
    """A line for the first frame, then at most one every two seconds, and one for the last frame."""

    def __init__(self, console: Console, total: int | None) -> None:
        self._console = console
        self._total = total
        self._printed = -_PLAIN_SECONDS
        self._pending = ""

    def show(self, step: Step, frames_per_second: float) -> None:
        facts = facts_text(step, frames_per_second)
        self._pending = f"{count_text(step.index + 1, self._total)}  {facts}  {step.status}"
        if time.monotonic() - self._printed >= _PLAIN_SECONDS:
            self.finish()

    def finish(self) -> None:
        """Prints what is not printed yet."""
        if self._pending:
            self._console.print(self._pending, markup=False, soft_wrap=True)
            self._pending = ""
            self._printed = time.monotonic()
