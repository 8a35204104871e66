"""Worker processes that may die without harm."""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import pickle
import signal
import sys
import time
from collections.abc import Iterator, Sequence
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess

from ebm_tracker.errors import EbmError
from ebm_tracker.evaluation.benchmark import worker
from ebm_tracker.evaluation.benchmark.job_run import Failed, Finished, TrackerBuildError, describe
from ebm_tracker.evaluation.benchmark.jobs import Job, TrackerFactory
from ebm_tracker.evaluation.benchmark.serial import REFRESH_S
from ebm_tracker.evaluation.benchmark.worklist import WorkList

_PATIENCE_S = 3.0  # for workers to end by themselves: a frame of a slow tracker
_EARLY_DEATHS = 3
_THREAD_VARIABLES = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")


class ProcessEngine:
    """Spawned processes, each with a tracker of its own.

    A worker that dies (SIGKILL, a crash, the kernel's out-of-memory killer) costs only time: its job comes again in a
    new one. Where a job runs out of memory, its worker ends and is not replaced as long as others go on.

    Args:
        workers: how many; worker i gets ``devices[i % len(devices)]``.
        threads: CPU threads of each; None leaves the libraries' choice.
    """

    def __init__(
        self,
        factory: TrackerFactory,
        workers: int,
        devices: Sequence[str | None] = (None,),
        threads: int | None = None,
    ) -> None:
        self._factory = factory
        self._limit = workers
        self._devices = tuple(devices)
        self._threads = threads
        self._crew: list[_Worker] = []
        self._early_deaths = 0

    def run(self, work: WorkList, alone: bool = False) -> None:
        """Works off the list; no worker is left when it ends, however it ends."""
        _check_picklable(self._factory)
        work.sort_longest_first()
        limit = 1 if alone else self._limit
        try:
            while not work.stopping:
                self._hire(work, limit)
                self._assign(work)
                if not self._crew:
                    return
                for member in self._heard_from():
                    limit = self._hear(work, member, limit)
                work.refresh()
        finally:
            self._dismiss_all(work)

    def _hire(self, work: WorkList, limit: int) -> None:
        idle = sum(member.job is None for member in self._crew)
        while len(self._crew) < limit and work.waiting > idle:
            taken = {member.slot for member in self._crew}
            slot = next(number for number in range(limit) if number not in taken)
            device = self._devices[slot % len(self._devices)]
            self._crew.append(_Worker(slot, self._factory, device, self._threads))
            idle += 1

    def _assign(self, work: WorkList) -> None:
        for member in list(self._crew):
            if not member.ready or member.job is not None:
                continue
            job = work.next_job()
            if job is None:
                member.dismiss()
                self._crew.remove(member)
                continue
            member.job = job
            try:
                member.connection.send((job.sequence, job.seed))
            except (BrokenPipeError, ConnectionResetError):
                continue  # it has died: noticed below
            except (pickle.PicklingError, TypeError, AttributeError) as error:
                member.job = None
                work.close(job, Failed(f"the sequence cannot be sent to a worker process ({describe(error)})"))

    def _heard_from(self) -> list[_Worker]:
        sources = {source: member for member in self._crew for source in (member.connection, member.process.sentinel)}
        heard = wait(list(sources), REFRESH_S)
        return list({id(member): member for source in heard if (member := sources[source])}.values())  # type: ignore[index]

    def _hear(self, work: WorkList, member: _Worker, limit: int) -> int:
        """Takes what the worker says, or its death, and returns how many workers there may be from now on."""
        try:
            while member.connection.poll():
                answer: worker.Answer = member.connection.recv()
                limit = self._take(work, member, answer, limit)
                if member not in self._crew:
                    return limit
        except (EOFError, OSError, pickle.UnpicklingError):
            self._bury(work, member)
            return limit
        if not member.process.is_alive() and not member.connection.poll():
            self._bury(work, member)
        return limit

    def _take(self, work: WorkList, member: _Worker, answer: worker.Answer, limit: int) -> int:
        if isinstance(answer, TrackerBuildError):
            raise answer
        if isinstance(answer, worker.Ready):
            member.ready, self._early_deaths = True, 0
            return limit
        assert member.job is not None
        if isinstance(answer, int):
            work.progress(member.job, answer)
            return limit
        job, member.job = member.job, None
        assert isinstance(answer, Finished | Failed)
        work.close(job, answer)
        if isinstance(answer, Failed) and answer.out_of_memory:
            member.dismiss()  # gives all of its memory back
            self._crew.remove(member)
            return max(limit - 1, 1)
        return limit

    def _bury(self, work: WorkList, member: _Worker) -> None:
        self._crew.remove(member)
        member.kill()
        reason = f"its worker {how_it_ended(member.process.exitcode)}"
        if member.job is not None:
            work.lost(member.job, reason)
        elif not member.ready:
            self._early_deaths += 1
            if self._early_deaths >= _EARLY_DEATHS:
                raise TrackerBuildError(
                    f"worker processes end before they begin: the last one {how_it_ended(member.process.exitcode)}; "
                    "a script that calls this needs `if __name__ == '__main__':` around its call"
                )

    def _dismiss_all(self, work: WorkList) -> None:
        try:
            for member in self._crew:
                member.dismiss(wait_s=0)
            end = time.monotonic() + _PATIENCE_S
            for member in self._crew:
                member.process.join(max(end - time.monotonic(), 0))
        finally:
            for member in self._crew:
                member.kill()
                if member.job is not None:
                    work.put_back(member.job)
            self._crew.clear()


class _Worker:
    """A process, the parent's end of its pipe, and the job it has."""

    def __init__(self, slot: int, factory: TrackerFactory, device: str | None, threads: int | None) -> None:
        context = multiprocessing.get_context("spawn")
        self.slot = slot
        self.job: Job | None = None
        self.ready = False
        self.connection: Connection
        self.connection, theirs = context.Pipe()
        self.process: BaseProcess = context.Process(
            target=worker.work, args=(theirs, factory, device, threads), name=f"ebm-worker-{slot}"
        )
        with _thread_variables(threads), _interrupts_held():
            self.process.start()
        theirs.close()  # so that the pipe ends when the worker does

    def dismiss(self, wait_s: float = _PATIENCE_S) -> None:
        """Asks it to end, and waits for that a while."""
        with contextlib.suppress(OSError):
            self.connection.send(None)
        if wait_s:
            self.process.join(wait_s)
            self.kill()

    def kill(self) -> None:
        """Makes sure that it is gone."""
        if self.process.is_alive():
            self.process.kill()
        self.process.join()
        self.connection.close()


def how_it_ended(code: int | None) -> str:
    """An exit code in words."""
    if code is not None and code < 0:
        try:
            return f"was killed by {signal.Signals(-code).name}"
        except ValueError:
            return f"was killed by signal {-code}"
    return f"ended with exit code {code}"


def _check_picklable(factory: TrackerFactory) -> None:
    try:
        pickle.dumps(factory)
    except (pickle.PicklingError, TypeError, AttributeError) as error:
        name = f"{factory.tracker} {factory.parameter}"
        raise EbmError(f"{name} cannot be sent to worker processes ({describe(error)}): use one worker") from error


@contextlib.contextmanager
def _thread_variables(threads: int | None) -> Iterator[None]:
    """The variables that a child's libraries read when they are loaded; ours are loaded already."""
    if threads is None:
        yield
        return
    before = {name: os.environ.get(name) for name in _THREAD_VARIABLES}
    os.environ.update(dict.fromkeys(_THREAD_VARIABLES, str(threads)))
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


@contextlib.contextmanager
def _interrupts_held() -> Iterator[None]:
    """Starts a child that never sees Ctrl-C, not even before it can ignore it; a Ctrl-C meanwhile comes afterwards."""
    if sys.platform == "win32":
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
