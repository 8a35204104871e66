"""A tracker over a benchmark, from the plan to the summary."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from ebm_tracker.errors import EbmError
from ebm_tracker.evaluation.benchmark.display import Silent
from ebm_tracker.evaluation.benchmark.jobs import Run, TrackerFactory, flag, plan_jobs, plan_runs
from ebm_tracker.evaluation.benchmark.manifest import (
    Manifest,
    Session,
    check_folder,
    describe_session,
    join_folder,
    mark_shared,
)
from ebm_tracker.evaluation.benchmark.pool import ProcessEngine
from ebm_tracker.evaluation.benchmark.serial import SerialEngine
from ebm_tracker.evaluation.benchmark.worklist import Display, Engine, WorkList, is_done, remove_stale_locks
from ebm_tracker.evaluation.datasets.benchmark import Benchmark
from ebm_tracker.evaluation.result_tree import BoxFormat, sequence_files
from ebm_tracker.evaluation.sequences import TrackingSequence
from ebm_tracker.stop import StopSignals


@dataclass(frozen=True)
class Summary:
    """What became of the jobs, which are named ``run folder/sequence``.

    Attributes:
        done: tracked in this session.
        skipped: how many were done before, or by another process meanwhile.
        failed: what went wrong, by job.
        busy: those that another process has in hand.
        left: how many are not done, the failed and the busy ones among them.
        bad_frames: how many frames could not be decoded, by job.
        folders: where the results of the runs lie.
        interrupted: whether Ctrl-C or SIGTERM ended the work.
        problem: why nothing more could be written, if so.
        warnings: what differs from earlier sessions in the same folders.
    """

    done: tuple[str, ...]
    skipped: int
    failed: Mapping[str, str]
    busy: tuple[str, ...]
    left: int
    bad_frames: Mapping[str, int]
    folders: tuple[Path, ...]
    interrupted: bool
    problem: str | None
    warnings: tuple[str, ...]

    @property
    def complete(self) -> bool:
        """Whether every sequence of every run has its result."""
        return self.left == 0


def default_runs(factory: TrackerFactory, benchmark: Benchmark) -> int:
    """As many as the field averages on this benchmark; one for a tracker without random parts."""
    return 1 if flag(factory, "deterministic") else benchmark.runs


def run_benchmark(
    factory: TrackerFactory,
    benchmark: Benchmark,
    results: Path,
    *,
    runs: int | None = None,
    first_run: int | None = None,
    seed: int = 0,
    workers: int = 1,
    devices: Sequence[str | None] = (None,),
    threads: int | None = None,
    box_format: BoxFormat = BoxFormat.PRECISE,
    engine: Engine | None = None,
    display: Display | None = None,
) -> Summary:
    """Tracks every sequence of the benchmark that has no result yet, and writes the result tree below ``results``.

    Several processes, also on several machines, may work in the same folder. Ctrl-C and SIGTERM end it between two
    frames; called again, it goes on.

    Args:
        runs: how many times; run r has the seed ``seed + r``. None: ``default_runs``.
        first_run: number of the first of them. None: 0, and a single run is not numbered.
        workers: 1 tracks in this process; more are processes of their own, worker i on ``devices[i % len(devices)]``.
        devices: names as the factory takes them; None leaves it the choice.
        threads: CPU threads of each worker; None leaves the libraries' choice.
        engine: instead of this process or processes, such as a RayEngine.
        display: gets the progress; None shows nothing.

    Raises ManifestError when a folder holds results of another tracker, preset, seed or format; TrackerBuildError when
    the tracker cannot be made; EbmError when the folders cannot be made or the tracker not be sent to processes.
    """
    for name, value in (("runs", runs), ("workers", workers), ("threads", threads)):
        if value is not None and value < 1:
            raise ValueError(f"{name} must be at least 1 (got {value})")
    count = default_runs(factory, benchmark) if runs is None else runs
    planned = plan_runs(factory, results, count, seed, first_run)
    crowd = -(-workers // max(len(devices), 1))
    session = describe_session(_device_text(factory, devices), threads, workers, crowd)
    warnings = _join(planned, factory, session, box_format, benchmark.sequences)
    display = display or Silent()
    for warning in warnings:
        display.say(f"warning: {warning}")
    if engine is None and workers == 1:
        engine = SerialEngine(factory, devices[0], threads)
    engine = engine or ProcessEngine(factory, workers, devices, threads)
    with StopSignals() as stop:
        work = WorkList(plan_jobs(planned, benchmark.sequences), box_format, stop, display)
        engine.run(work, alone=False)
        while not work.stopping and work.second_round():
            engine.run(work, alone=True)
        work.refresh()
    for run in planned:
        remove_stale_locks(run.folder)
        if work.shared and work.problem is None:
            mark_shared(run.folder, session)
    return Summary(
        done=tuple(work.done),
        skipped=work.skipped,
        failed=dict(work.failed),
        busy=tuple(job.name for job in work.busy),
        left=work.left,
        bad_frames=dict(work.bad_frames),
        folders=tuple(run.folder for run in planned),
        interrupted=stop.requested,
        problem=work.problem,
        warnings=tuple(warnings),
    )


def _join(
    runs: Sequence[Run],
    factory: TrackerFactory,
    session: Session,
    box_format: BoxFormat,
    sequences: Sequence[TrackingSequence],
) -> list[str]:
    """Makes the folders and puts the manifests there; nothing is changed when one of them is refused."""
    facts = {str(key): str(value) for key, value in factory.facts().items()}
    manifests = [Manifest(factory.tracker, factory.parameter, r.seed, box_format.value, facts) for r in runs]
    for run, manifest in zip(runs, manifests, strict=True):
        check_folder(run.folder, manifest, any(sequence_files(run.folder, s.name).boxes.exists() for s in sequences))
    warnings: list[str] = []
    for run, manifest in zip(runs, manifests, strict=True):
        if all(is_done(job) for job in plan_jobs([run], sequences)):
            continue  # a session that does nothing leaves no trace
        try:
            run.folder.mkdir(parents=True, exist_ok=True)
            warnings += join_folder(run.folder, manifest, session)
        except OSError as error:
            raise EbmError(f"results cannot be written to {run.folder} ({error.strerror or error})") from error
    return warnings


def _device_text(factory: TrackerFactory, devices: Sequence[str | None]) -> str:
    """What a manifest calls the devices: the kind, without numbers."""
    if flag(factory, "ignores_device"):
        return "cpu"
    return ", ".join(sorted({(device or "auto").split(":")[0] for device in devices}))
