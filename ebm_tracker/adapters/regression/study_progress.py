"""One progress for the many trainings of a study, and the processes that share them."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, ProcessPoolExecutor, wait
from contextlib import contextmanager
from datetime import timedelta
from multiprocessing import get_context, parent_process
from typing import Any, Protocol

import torch
from rich.console import Console
from rich.progress import BarColumn, TaskProgressColumn, TextColumn, TimeRemainingColumn
from rich.progress import Progress as Bar

PLAIN_S = 10.0
"""Seconds between two lines where there is no terminal."""
POLL_S = 0.5


class Progress:
    """A training's Display that passes on its steps. ``add(n)`` is told of n more of them."""

    def __init__(self, add: Callable[[int], None] = lambda steps: None) -> None:
        self._add, self._seen = add, 0

    def show(self, steps: int, loss: float, data_s: float, step_s: float) -> None:
        self.finish(steps)

    def row(self, steps: int, row: Mapping[str, float]) -> None:
        pass

    def say(self, text: str) -> None:
        pass

    def finish(self, steps: int) -> None:
        """``steps`` of this training are done, in this start or an earlier one."""
        self._add(steps - self._seen)
        self._seen = steps


class StudyProgress:
    """Steps of all trainings together. ``draw(done, text)`` shows them."""

    def __init__(self, draw: Callable[[int, str], None]) -> None:
        self._draw, self._done, self._text = draw, 0, ""

    def part(self, text: str) -> Progress:
        """The progress of the training that begins now."""
        self._text = text
        return Progress(self.add)

    def add(self, steps: int) -> None:
        """So many more are done."""
        self._done += steps
        self._draw(self._done, self._text)

    def at(self, done: int, text: str) -> None:
        """So many are done in all."""
        self._done, self._text = done, text
        self._draw(done, text)


@contextmanager
def open_progress(total: int, *, quiet: bool = False) -> Iterator[StudyProgress]:
    """A bar on a terminal, a line now and then elsewhere."""
    console = Console()
    if quiet:
        yield StudyProgress(lambda done, text: None)
    elif console.is_terminal:
        columns = (
            TextColumn("{task.description}", markup=False),
            BarColumn(),
            TaskProgressColumn(),
            TextColumn("left"),
            TimeRemainingColumn(),
        )
        with Bar(*columns, console=console, speed_estimate_period=120) as bar:
            task = bar.add_task("", total=total)
            yield StudyProgress(lambda done, text: bar.update(task, completed=done, description=text))
    else:
        yield StudyProgress(_Lines(console, total).draw)


class _Lines:
    def __init__(self, console: Console, total: int) -> None:
        self._console, self._total = console, total
        self._last = self._start = time.monotonic()
        self._first: int | None = None

    def draw(self, done: int, text: str) -> None:
        now = time.monotonic()
        if self._first is None:  # what an earlier start did costs no time now
            self._first, self._start = done, now
        if now - self._last < PLAIN_S and done < self._total:
            return
        self._last = now
        left = ""
        if self._first < done < self._total:
            seconds = (now - self._start) / (done - self._first) * (self._total - done)
            left = f", {timedelta(seconds=round(seconds))} left"
        self._console.print(f"{100 * done // self._total:3d} %  {text}{left}", markup=False, soft_wrap=True)
        self._console.file.flush()


class Trainer(Protocol):
    """What the processes share: it can be pickled."""

    def train(self, run: int, name: str, progress: Progress | None = None) -> Any:
        """One training."""
        ...


def work_off(trainer: Trainer, jobs: Sequence[tuple[int, str]], workers: int, progress: StudyProgress) -> None:
    """Does ``trainer.train(*job)`` for every job, ``workers`` at once, each in a process with one thread.

    After Ctrl-C, or an error in one of them, the others stop after the step under way, and keep it.
    """
    context = get_context("spawn")  # torch's threads do not survive a fork
    done, stop = context.Value("q", 0), context.Event()
    pool = ProcessPoolExecutor(workers, mp_context=context, initializer=_begin, initargs=(trainer, done, stop))
    try:
        waiting = {pool.submit(_train, *job) for job in jobs}
        while waiting:
            finished, waiting = wait(waiting, POLL_S, FIRST_COMPLETED)
            for one in finished:
                one.result()
            progress.at(done.value, f"{len(jobs) - len(waiting)} of {len(jobs)} trainings")
    finally:
        stop.set()
        pool.shutdown(cancel_futures=True)


_shared: list[Any] = []
_training = threading.Lock()


def _begin(trainer: Trainer, done: Any, stop: Any) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # a terminal's Ctrl-C reaches all processes: the first one decides
    torch.set_num_threads(1)
    _shared[:] = (trainer, done, stop)
    threading.Thread(target=_leave_with_parent, args=(stop,), daemon=True).start()


def _leave_with_parent(stop: Any) -> None:
    """Ends a process whose parent was killed, once its training has saved what it has."""
    parent = parent_process()
    if parent is not None:
        parent.join()
        stop.set()
        with _training:
            os._exit(1)


def _train(run: int, name: str) -> None:
    trainer, done, stop = _shared

    def add(steps: int) -> None:
        with done.get_lock():
            done.value += steps
        if stop.is_set():
            raise KeyboardInterrupt  # between two steps

    with _training:
        if stop.is_set():  # the pool hands out a job or two in advance
            raise KeyboardInterrupt
        trainer.train(run, name, Progress(add))
