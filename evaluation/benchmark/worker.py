"""What runs in a worker process: jobs come through a pipe, answers go back through it."""

from __future__ import annotations

import multiprocessing
import os
import signal
import sys
import threading
import time
from multiprocessing.connection import Connection

from ebm_tracker.evaluation.benchmark.job_run import Failed, Finished, StopJob, TrackerBench, TrackerBuildError
from ebm_tracker.evaluation.benchmark.jobs import TrackerFactory
from ebm_tracker.evaluation.sequences import TrackingSequence

REPORT_S = 0.2

Assignment = tuple[TrackingSequence, int]
"""Sequence and seed; None instead of it ends the worker, in the middle of a sequence too."""


class Ready:
    """The worker's first message."""


Answer = Ready | int | Finished | Failed | TrackerBuildError
"""int: frames of the job that are done."""


def work(connection: Connection, factory: TrackerFactory, device: str | None, threads: int | None) -> None:
    """Tracks what comes until None comes or the pipe ends."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches all processes of a terminal: the parent decides
    threading.Thread(target=_end_with_parent, daemon=True).start()
    bench = TrackerBench(factory, device, threads)
    try:
        connection.send(Ready())
        while (assignment := connection.recv()) is not None:
            sequence, seed = assignment
            answer: Answer
            try:
                answer = bench.track(sequence, seed, _Report(connection))
            except TrackerBuildError as error:
                answer = error
            connection.send(answer)
    except (StopJob, EOFError, BrokenPipeError, ConnectionResetError):
        pass
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(0)  # what libraries would do on the way out takes time and serves nobody


class _Report:
    """Called after every frame."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._sent = time.monotonic()

    def __call__(self, frames: int) -> None:
        if self._connection.poll():  # during a job only one thing can come: the end
            raise StopJob
        now = time.monotonic()
        if now - self._sent >= REPORT_S:
            self._sent = now
            self._connection.send(frames)


def _end_with_parent() -> None:
    """Ends this process when its parent is gone, killed by SIGKILL too, whatever the tracker is doing."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)
