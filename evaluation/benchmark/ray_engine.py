"""Workers on a Ray cluster: sequences go out, records come back, and this process writes the files.

The cluster's machines need this package and the benchmark under the same path; the results only have to be reachable
from here.
"""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Mapping
from types import TracebackType
from typing import Any

from ebm_tracker.errors import EbmError, one_line
from ebm_tracker.evaluation.benchmark.job_run import Failed, Finished, TrackerBench, TrackerBuildError
from ebm_tracker.evaluation.benchmark.jobs import Job, TrackerFactory, flag
from ebm_tracker.evaluation.benchmark.serial import REFRESH_S
from ebm_tracker.evaluation.benchmark.worklist import WorkList
from ebm_tracker.evaluation.sequences import TrackingSequence

_REPORT_S = 2.0
_PATIENCE_S = 60.0
_EARLY_DEATHS = 3


class RayError(EbmError):
    """Ray is not installed, its cluster cannot be reached, or has no room for a single worker."""


class RemoteBench:
    """What runs on the cluster, as an actor with two threads: one tracks, one answers."""

    def __init__(self, factory: TrackerFactory, device: str | None, threads: int) -> None:
        self._bench = TrackerBench(factory, device, threads)
        self._frames = 0

    def track(self, sequence: TrackingSequence, seed: int) -> Finished | Failed | TrackerBuildError:
        """One job."""
        self._frames = 0
        try:
            return self._bench.track(sequence, seed, self._count)
        except TrackerBuildError as error:
            return error

    def frames(self) -> int:
        """Frames of the job that are done."""
        return self._frames

    def _count(self, frames: int) -> None:
        self._frames = frames


class RayEngine:
    """Actors on a Ray cluster, which may die without harm: their jobs come again in new ones.

    Connects when it is made; ``close``, or the end of a ``with`` block, disconnects.

    Args:
        workers: how many; None: one for each GPU of the cluster, else for each ``threads`` CPUs.
        device: as the factory takes it. Unless it is "cpu", each worker gets a GPU of its own where there are any.
        threads: CPU threads of each worker.
        address: of the cluster's head, or "auto"; None starts a cluster on this machine that ends with this process.

    Raises RayError.
    """

    def __init__(
        self,
        factory: TrackerFactory,
        workers: int | None = None,
        device: str | None = None,
        threads: int = 1,
        address: str | None = None,
    ) -> None:
        self._ray = _import_ray()
        self._factory = factory
        self._device = device
        self._threads = threads
        _connect(self._ray, address, (workers or 1) * threads)
        resources: Mapping[str, float] = self._ray.cluster_resources()
        cpus, gpus = int(resources.get("CPU", 0)), int(resources.get("GPU", 0))
        self._gpus_each = 1 if gpus and device != "cpu" and not flag(factory, "ignores_device") else 0
        if cpus < threads:
            self.close()
            raise RayError(f"the Ray cluster has {cpus} CPUs, too few for one worker with {threads} threads")
        self.workers = workers or (gpus if self._gpus_each else max(cpus // threads, 1))
        self.devices = tuple(f"cuda:{n}" for n in range(self.workers)) if self._gpus_each else ("cpu",)
        """What the manifest is told: a device for each worker where each has a GPU."""
        self._crew: list[_Member] = []
        self._early_deaths = 0

    def __enter__(self) -> RayEngine:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Disconnects; a cluster that was started here ends."""
        self._ray.shutdown()

    def run(self, work: WorkList, alone: bool = False) -> None:
        """Works off the list; no actor is left when it ends, however it ends."""
        work.sort_longest_first()
        limit = 1 if alone else self.workers
        waiting_since: float | None = time.monotonic()
        try:
            while not work.stopping:
                self._hire(work, limit)
                self._assign(work)
                if not self._crew:
                    return
                for member in self._heard_from():
                    limit = self._hear(work, member, limit)
                if waiting_since is not None and any(member.ready for member in self._crew):
                    waiting_since = None
                if waiting_since is not None and time.monotonic() - waiting_since > _PATIENCE_S:
                    waiting_since = None
                    work.say("the Ray cluster has had no room for a worker yet; waiting (Ctrl-C ends this)")
                work.refresh()
        finally:
            for member in self._crew:
                self._ray.kill(member.actor)
                if member.job is not None:
                    work.put_back(member.job)
            self._crew.clear()

    def _hire(self, work: WorkList, limit: int) -> None:
        idle = sum(member.job is None for member in self._crew)
        while len(self._crew) < limit and work.waiting > idle:
            options = {"num_cpus": self._threads, "num_gpus": self._gpus_each, "max_concurrency": 2}
            remote = self._ray.remote(RemoteBench).options(**options)
            self._crew.append(_Member(remote.remote(self._factory, self._device, self._threads)))
            idle += 1

    def _assign(self, work: WorkList) -> None:
        for member in list(self._crew):
            if not member.ready or member.job is not None:
                continue
            job = work.next_job()
            if job is None:
                self._dismiss(member)
            else:
                member.start(job)

    def _heard_from(self) -> list[_Member]:
        refs = {ref: member for member in self._crew for ref in member.open_refs()}
        ready, _ = self._ray.wait(list(refs), num_returns=1, timeout=REFRESH_S)
        return [refs[ref] for ref in ready]

    def _hear(self, work: WorkList, member: _Member, limit: int) -> int:
        """Takes what the actor says, or its death, and returns how many there may be from now on."""
        ready, _ = self._ray.wait(member.open_refs(), num_returns=1, timeout=0)
        for ref in ready:
            try:
                answer = self._ray.get(ref)
            except self._ray.exceptions.RayActorError:
                self._bury(work, member)
                return limit
            except self._ray.exceptions.RayError as error:  # it could not be sent, or not come back
                answer = Failed(f"Ray: {one_line(error)}", str(error))
            if isinstance(answer, TrackerBuildError):
                raise answer
            if not member.ready:
                member.ready, self._early_deaths = True, 0
            elif ref == member.frames_ref:
                member.frames_ref = None
                if member.job is not None:
                    work.progress(member.job, answer)
            elif member.job is not None:
                work.close(member.end(), answer)
                if isinstance(answer, Failed) and answer.out_of_memory:
                    self._dismiss(member)  # gives all of its memory back
                    return max(limit - 1, 1)
        return limit

    def _bury(self, work: WorkList, member: _Member) -> None:
        self._crew.remove(member)
        if member.job is not None:
            work.lost(member.end(), "its worker on the cluster died")
            return
        self._early_deaths += not member.ready
        if self._early_deaths >= _EARLY_DEATHS:
            raise RayError("workers on the Ray cluster die before they begin: is this package installed there?")

    def _dismiss(self, member: _Member) -> None:
        self._crew.remove(member)
        self._ray.kill(member.actor)


class _Member:
    """An actor and what was asked of it."""

    def __init__(self, actor: Any) -> None:
        self.actor = actor
        self.ready = False
        self.job: Job | None = None
        self.frames_ref: Any = actor.frames.remote()  # the first answer says that it is there
        self._result_ref: Any = None
        self._asked = time.monotonic()

    def start(self, job: Job) -> None:
        """Sends it a job."""
        self.job, self.frames_ref = job, None
        self._result_ref = self.actor.track.remote(job.sequence, job.seed)

    def end(self) -> Job:
        """Its job, which it has no longer."""
        assert self.job is not None
        job, self.job, self._result_ref = self.job, None, None
        return job

    def open_refs(self) -> list[Any]:
        """What it has not answered yet; asks for its frames now and then."""
        now = time.monotonic()
        if self.job is not None and self.frames_ref is None and now - self._asked > _REPORT_S:
            self.frames_ref, self._asked = self.actor.frames.remote(), now
        return [ref for ref in (self._result_ref, self.frames_ref) if ref is not None]


def _import_ray() -> Any:
    try:
        import ray
    except ImportError as error:
        raise RayError("--engine ray needs Ray: pip install 'ebm-tracker[ray]'") from error
    return ray


def _connect(ray: Any, address: str | None, cpus: int) -> None:
    """Connects to the cluster, or starts one here. Ray sets a handler for SIGTERM; ours comes back."""
    main = threading.current_thread() is threading.main_thread()
    before = signal.getsignal(signal.SIGTERM) if main else None
    options: dict[str, Any] = {"log_to_driver": False, "logging_level": "ERROR"}
    if address is None:
        options |= {"num_cpus": cpus, "include_dashboard": False}
    else:
        options["address"] = address
    try:
        ray.init(**options)
    except (ConnectionError, RuntimeError, ValueError, OSError) as error:
        raise RayError(f"the Ray cluster {address or 'on this machine'} cannot be used: {one_line(error)}") from error
    finally:
        if main and before is not None:
            signal.signal(signal.SIGTERM, before)
