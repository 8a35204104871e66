"""The list of jobs that engines work off: what is next, and what becomes of the answers.

Only the process that holds the list takes locks and writes files; a worker that is killed leaves nothing behind.
"""

from __future__ import annotations

import errno
import re
import time
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from ebm_tracker.errors import one_line
from ebm_tracker.evaluation.benchmark.job_run import Failed, Finished, failure_of
from ebm_tracker.evaluation.benchmark.jobs import Job
from ebm_tracker.evaluation.benchmark.lock import FileLock
from ebm_tracker.evaluation.result_tree import BoxFormat, ResultError, sequence_files, write_result
from ebm_tracker.files import write_text_atomic
from ebm_tracker.stop import StopSignals

_DISK_FULL = {errno.ENOSPC, errno.EDQUOT}
_PART = re.compile(r"(_time|_object_presence_scores|_failed)?\.\d+\.part\.txt")


@dataclass(frozen=True)
class Tally:
    """Where the work stands. ``jobs``: to do in this session; ``frames``: in those, as far as it is known;
    ``frames_done``: tracked in this session; ``frames_closed``: no longer to do, tracked or given up; ``seconds``:
    since the first frame; ``in_hand``: jobs that are being tracked."""

    jobs: int
    jobs_closed: int
    frames: int
    frames_done: int
    frames_closed: int
    failed: int
    seconds: float
    in_hand: tuple[str, ...]

    @property
    def frames_per_second(self) -> float:
        """Of all workers together, since the first frame; 0 before it."""
        return self.frames_done / self.seconds if self.seconds > 0 else 0.0

    @property
    def seconds_left(self) -> float | None:
        """Estimate from the pace so far; None before the first frame."""
        pace = self.frames_per_second
        return max(self.frames - self.frames_closed, 0) / pace if pace else None


class Display(Protocol):
    """Shows how the work goes."""

    def show(self, tally: Tally) -> None:
        """Called several times a second."""

    def say(self, text: str) -> None:
        """A line that stays."""


class Engine(Protocol):
    """Works off a list, in this process or in others."""

    def run(self, work: WorkList, alone: bool) -> None:
        """Ends when the list is empty or ``work.stopping``; gives back what it has in hand. ``alone``: with one
        worker, for jobs that lost theirs.

        Raises TrackerBuildError when no tracker can be made.
        """


class WorkList:
    """Jobs in three states: waiting, in hand (locked by this process), closed.

    Args:
        jobs: what is to be done; those with a whole boxes file are skipped at once.
        box_format: of the files.
        stop: asked before every job and every frame.
        display: gets the lines.
    """

    def __init__(self, jobs: Sequence[Job], box_format: BoxFormat, stop: StopSignals, display: Display) -> None:
        self._format = box_format
        self._stop = stop
        self._display = display
        self._waiting = deque(job for job in jobs if not is_done(job))
        self._again: list[Job] = []
        self._lost_once: set[str] = set()
        self._locks: dict[str, FileLock] = {}
        self._frames_in_hand: dict[str, int] = {}
        self._frames_closed = self._frames_done = 0
        self._jobs = len(self._waiting)
        self._known = [job.frame_count for job in self._waiting if job.frame_count]
        self._first_frame_at: float | None = None
        self._looked_again = False
        self._said_no_locks = False
        self.skipped = len(jobs) - len(self._waiting)
        self.done: list[str] = []
        self.failed: dict[str, str] = {}
        self.busy: list[Job] = []
        self.bad_frames: dict[str, int] = {}
        self.shared = False
        """Whether another process was seen to work in the same folders."""
        self.problem: str | None = None
        """Why nothing more can be written, if so."""

    # What engines call ----------------------------------------------------------------------------------------------

    @property
    def stopping(self) -> bool:
        """Whether work is to end now, finished or not."""
        return self._stop.requested or self.problem is not None

    @property
    def waiting(self) -> int:
        """Jobs that nobody has taken yet."""
        return len(self._waiting)

    def sort_longest_first(self) -> None:
        """Run by run, so that several workers end at about the same time."""
        folders = {job.folder: number for number, job in reversed(list(enumerate(self._waiting)))}
        self._waiting = deque(sorted(self._waiting, key=lambda job: (folders[job.folder], -(job.frame_count or 0))))

    def next_job(self) -> Job | None:
        """Takes a job, locks it and returns it; None when none is left or work is to end."""
        while self._waiting and not self.stopping:
            job = self._waiting.popleft()
            try:
                if self._claim(job):
                    return job
            except OSError as error:
                self._cannot_write(job, error)
        return None

    def progress(self, job: Job, frames: int) -> None:
        """So many frames of the job are done."""
        if self._first_frame_at is None:
            self._first_frame_at = time.monotonic()
        before = self._frames_in_hand.get(job.name, 0)
        self._frames_in_hand[job.name] = frames
        self._frames_done += max(frames - before, 0)

    def refresh(self) -> None:
        """Shows where the work stands."""
        self._display.show(self.tally())

    def say(self, text: str) -> None:
        """Shows a line that stays."""
        self._display.say(text)

    def close(self, job: Job, outcome: Finished | Failed) -> None:
        """Writes the outcome of a job in hand and gives the lock back; one without memory is tried again."""
        if isinstance(outcome, Failed) and outcome.out_of_memory and job.name not in self._lost_once:
            self.lost(job, f"ran out of memory ({outcome.message})")
            return
        try:
            if isinstance(outcome, Finished):
                outcome = self._keep(job, outcome)
            if isinstance(outcome, Failed):
                self._record_failure(job, outcome)
        except OSError as error:
            self._cannot_write(job, error)
        self._let_go(job, closed=True)

    def lost(self, job: Job, reason: str) -> None:
        """A job in hand lost its worker: it comes once more, alone, when the others are done; then it has failed."""
        if job.name in self._lost_once:
            self.close(job, Failed(f"{reason}, twice"))
            return
        self._lost_once.add(job.name)
        self._display.say(f"{job.name}: {reason}; it is tried again at the end, with one worker")
        self._again.append(job)
        self._let_go(job, closed=False)

    def put_back(self, job: Job) -> None:
        """A job in hand ends without a result, because work is to end."""
        if job.name in self._locks:
            self._waiting.appendleft(job)
            self._let_go(job, closed=False)

    # What the run calls ---------------------------------------------------------------------------------------------

    def second_round(self) -> bool:
        """Brings back the jobs that lost their worker and, once, those that another process had; whether any came."""
        back, self._again = self._again, []
        if not self._looked_again:
            back += self.busy
            self.busy, self._looked_again = [], True
        self._waiting.extend(back)
        return bool(back)

    @property
    def left(self) -> int:
        """Jobs that are not done, for whatever reason."""
        return len(self._waiting) + len(self._again) + len(self.busy) + len(self.failed) + len(self._locks)

    def tally(self) -> Tally:
        """Where the work stands."""
        guess = round(sum(self._known) / len(self._known)) if self._known else 0
        return Tally(
            jobs=self._jobs,
            jobs_closed=self._jobs - len(self._waiting) - len(self._again) - len(self.busy) - len(self._locks),
            frames=sum(self._known) + guess * (self._jobs - len(self._known)),
            frames_done=self._frames_done,
            frames_closed=self._frames_closed + sum(self._frames_in_hand.values()),
            failed=len(self.failed),
            seconds=0.0 if self._first_frame_at is None else time.monotonic() - self._first_frame_at,
            in_hand=tuple(self._locks),
        )

    # Inside ---------------------------------------------------------------------------------------------------------

    def _claim(self, job: Job) -> bool:
        lock = FileLock(lock_path(job))
        if not lock.acquire():
            self.busy.append(job)
            self.shared = True
            return False
        if not lock.is_real and not self._said_no_locks:
            self._said_no_locks = True
            self._display.say(f"{job.folder} is on a file system without locks: let only one run at a time write there")
        self._locks[job.name] = lock
        if is_done(job):  # by another process, since the list was made
            self.shared = True
            self.skipped += 1
            self._let_go(job, closed=True)
            return False
        if lock.is_real:
            remove_parts(job)
        rows = job.rows_done()
        if rows is not None:
            wanted = job.rows_wanted()
            path = sequence_files(job.folder, job.sequence.name).boxes
            self._display.say(f"{path} has {rows} rows for {wanted or 'an unknown number of'} frames: tracked again")
        return True

    def _keep(self, job: Job, outcome: Finished) -> Finished | Failed:
        try:
            write_result(job.folder, job.sequence.name, outcome.record, self._format)
        except (ResultError, ValueError, OverflowError) as error:  # boxes that are not finite
            return failure_of(error)
        self.done.append(job.name)
        if outcome.bad_frames:
            self.bad_frames[job.name] = outcome.bad_frames
            self._display.say(f"{job.name}: {outcome.bad_frames} frames could not be decoded, the rest was tracked")
        return outcome

    def _record_failure(self, job: Job, outcome: Failed) -> None:
        self.failed[job.name] = outcome.message
        self._display.say(f"{job.name}: failed: {outcome.message}")
        path = sequence_files(job.folder, job.sequence.name).failure
        write_text_atomic(path, f"{outcome.message}\n\n{outcome.details}".rstrip() + "\n")

    def _cannot_write(self, job: Job, error: OSError) -> None:
        why = "the disk is full" if error.errno in _DISK_FULL else error.strerror or one_line(error)
        self.failed.setdefault(job.name, why)
        if self.problem is None:
            self.problem = f"{job.name} cannot be written to {job.folder} ({why}): stopped, what was written stays"
            self._display.say(self.problem)

    def _let_go(self, job: Job, closed: bool) -> None:
        lock = self._locks.pop(job.name, None)
        if lock is not None:
            lock.release()
        frames = self._frames_in_hand.pop(job.name, 0)
        if closed:
            self._frames_closed += job.frame_count or frames


def is_done(job: Job) -> bool:
    """Whether the boxes file is there and has a row for every frame."""
    rows = job.rows_done()
    wanted = None if rows is None else job.rows_wanted()
    return rows is not None and rows > 0 and wanted in (None, rows)


def lock_path(job: Job) -> Path:
    """The file that stands for the job."""
    return job.folder / f".{job.sequence.name}.lock"


def remove_parts(job: Job) -> None:
    """Removes what a process left that was killed while it wrote this job's files; for the holder of the lock."""
    start = f".{job.sequence.name}"
    for path in job.folder.iterdir():
        if path.name.startswith(start) and _PART.fullmatch(path.name[len(start) :]):
            path.unlink(missing_ok=True)


def remove_stale_locks(folder: Path) -> None:
    """Removes lock files that killed processes left."""
    for path in folder.glob(".*.lock"):
        lock = FileLock(path)
        if lock.acquire():
            lock.release()
