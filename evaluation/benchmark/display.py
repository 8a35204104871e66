"""How a benchmark run shows its progress."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn

from ebm_tracker.evaluation.benchmark.worklist import Display, Tally

_PLAIN_SECONDS = 5.0


class Silent:
    """Shows nothing."""

    def show(self, tally: Tally) -> None:
        """Nothing."""

    def say(self, text: str) -> None:
        """Nothing."""


@contextmanager
def open_display(console: Console) -> Iterator[Display]:
    """A live line on a terminal; elsewhere a plain line every five seconds, for logs."""
    if not console.is_terminal:
        yield PlainLines(console)
        return
    columns = (BarColumn(bar_width=24), TextColumn("{task.description}", markup=False))
    with Progress(*columns, console=console) as progress:
        yield LiveLine(progress)


SURE_AFTER_S = 1.0  # before that, pace and estimate are those of the first message of a worker


def tally_text(tally: Tally) -> str:
    """Sequences, frames, pace and the estimate: ``3 of 30 sequences, 1 failed, 912 of 9000 frames, ...``."""
    parts = [f"{tally.jobs_closed} of {tally.jobs} sequences"]
    if tally.failed:
        parts.append(f"{tally.failed} failed")
    parts.append(f"{tally.frames_closed} of {tally.frames} frames")
    if tally.seconds < SURE_AFTER_S:
        return ", ".join(parts)
    if tally.frames_per_second:
        parts.append(f"{tally.frames_per_second:.1f} frames/s")
    if tally.seconds_left is not None and tally.jobs_closed < tally.jobs:
        parts.append(f"about {duration_text(tally.seconds_left)} left")
    return ", ".join(parts)


def duration_text(seconds: float) -> str:
    """``40 s``, ``12 min``, ``3 h 20 min``."""
    if seconds < 100:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 100 else f"{minutes // 60} h {minutes % 60:02d} min"


class LiveLine:
    """A bar and the text, rewritten in place; lines that stay go above it."""

    def __init__(self, progress: Progress) -> None:
        self._progress = progress
        self._task = progress.add_task("starting", total=None)

    def show(self, tally: Tally) -> None:
        """Rewrites the line."""
        text = "  ".join((tally_text(tally), *tally.in_hand[:2], *(["..."] if len(tally.in_hand) > 2 else [])))
        self._progress.update(
            self._task, description=text, completed=tally.frames_closed, total=tally.frames or None
        )

    def say(self, text: str) -> None:
        """Prints above the line."""
        self._progress.console.print(text, markup=False, highlight=False, soft_wrap=True)


class PlainLines:
    """A line at most every five seconds."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._shown = time.monotonic()

    def show(self, tally: Tally) -> None:
        """Prints the line when it is time."""
        now = time.monotonic()
        if now - self._shown >= _PLAIN_SECONDS:
            self._shown = now
            self.say(tally_text(tally))

    def say(self, text: str) -> None:
        """Prints."""
        self._console.print(text, markup=False, highlight=False, soft_wrap=True)
