"""One job after the other, in this process."""

from __future__ import annotations

import time

from ebm_tracker.evaluation.benchmark.job_run import StopJob, TrackerBench
from ebm_tracker.evaluation.benchmark.jobs import Job, TrackerFactory
from ebm_tracker.evaluation.benchmark.worklist import WorkList

REFRESH_S = 0.2


class SerialEngine:
    """Tracks in the calling process, with one tracker for all sequences of a run."""

    def __init__(self, factory: TrackerFactory, device: str | None = None, threads: int | None = None) -> None:
        self._bench = TrackerBench(factory, device, threads)

    def run(self, work: WorkList, alone: bool = False) -> None:
        """Works off the list."""
        while (job := work.next_job()) is not None:
            try:
                outcome = self._bench.track(job.sequence, job.seed, _Watch(work, job))
            except StopJob:
                work.put_back(job)
                return
            except BaseException:
                work.put_back(job)
                raise
            work.close(job, outcome)
            work.refresh()


class _Watch:
    """Called after every frame."""

    def __init__(self, work: WorkList, job: Job) -> None:
        self._work = work
        self._job = job
        self._shown = 0.0

    def __call__(self, frames: int) -> None:
        self._work.progress(self._job, frames)
        if self._work.stopping:
            raise StopJob
        now = time.monotonic()
        if now - self._shown >= REFRESH_S:
            self._shown = now
            self._work.refresh()
