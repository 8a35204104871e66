"""Worker processes: same files as one process, whatever happens to the workers."""

from __future__ import annotations

import os
import time
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from ebm_tracker.errors import EbmError
from ebm_tracker.evaluation.benchmark import Summary, TrackerBuildError, run_benchmark
from ebm_tracker.evaluation.benchmark.pool import how_it_ended

LENGTHS = {"a": 30, "b": 12, "c": 9, "d": 20}


def run(made: ModuleType, out: Path, factory: Any, traps: dict[str, int] | None = None, **more: Any) -> Summary:
    benchmark = made.made_benchmark(more.pop("lengths", LENGTHS), traps, runs=more.pop("field_runs", 1))
    return run_benchmark(factory, benchmark, out, workers=more.pop("workers", 2), **more)


@pytest.fixture(scope="module")
def unbroken(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """The files of one process, of two runs."""
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(Path(__file__).resolve().parent))
        import made_benchmark as made  # type: ignore[import-not-found]

        out = tmp_path_factory.mktemp("unbroken")
        run(made, out, made.Wandering(), workers=1, field_runs=2)
        files: dict[str, bytes] = made.files_of(out)
        return files


def is_running(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def test_two_workers_write_what_one_process_writes(
    made: ModuleType, tmp_path: Path, unbroken: dict[str, bytes]
) -> None:
    log = tmp_path / "log"
    factory = made.Wandering(log=log, pause_s=0.002)
    summary = run(made, tmp_path / "out", factory, field_runs=2, threads=3, devices=("cuda:0", "cuda:1"))
    assert summary.complete and len(summary.done) == 8
    assert made.files_of(tmp_path / "out") == unbroken
    built = {tuple(line.split()) for line in log.read_text().splitlines()}
    assert {line[2:4] for line in built} == {("3", "3")}  # what it is told, and what OpenMP is
    by_worker: dict[str, set[str]] = {}
    for _, device, _, _, pid in built:
        by_worker.setdefault(pid, set()).add(device)
    assert sorted(map(tuple, by_worker.values())) == [("cuda:0",), ("cuda:1",)]
    assert str(os.getpid()) not in by_worker
    assert "OMP_NUM_THREADS" not in os.environ or os.environ["OMP_NUM_THREADS"] != "3"
    assert not any(is_running(int(pid)) for pid in by_worker)


def test_a_killed_worker_costs_nothing_but_time(
    made: ModuleType, tmp_path: Path, lines: Any, unbroken: dict[str, bytes]
) -> None:
    factory = made.Wandering(traps={1: f"kill_once {tmp_path / 'sprung'}"})
    summary = run(made, tmp_path / "out", factory, {"b": 1}, field_runs=2, display=lines)
    assert (tmp_path / "sprung").exists()
    assert summary.complete and len(summary.done) == 8
    (line,) = lines.lines
    assert "killed by SIGKILL" in line and "again at the end" in line
    got = made.files_of(tmp_path / "out")
    # The corner of b's pictures, which holds the trap's number, is part of what the tracker sees.
    assert got.keys() == unbroken.keys()
    assert {k: v for k, v in got.items() if "/b" not in k} == {k: v for k, v in unbroken.items() if "/b" not in k}
    run(made, tmp_path / "one", made.Wandering(), {"b": 1}, field_runs=2, workers=1)
    assert got == made.files_of(tmp_path / "one")


def test_a_worker_killed_twice_by_a_sequence_is_a_failure(made: ModuleType, tmp_path: Path) -> None:
    summary = run(made, tmp_path, made.Wandering(traps={1: "kill"}), {"d": 1})
    assert summary.failed == {"wandering/d": "its worker was killed by SIGKILL, twice"}
    assert set(summary.done) == {"wandering/a", "wandering/b", "wandering/c"}
    folder = tmp_path / "made" / "wandering"
    assert (folder / "d_failed.txt").read_text() == "its worker was killed by SIGKILL, twice\n"
    assert not list(folder.glob(".*"))


def test_failures_of_workers_are_recorded_with_their_traceback(made: ModuleType, tmp_path: Path) -> None:
    summary = run(made, tmp_path, made.Wandering(traps={1: "raise", 2: "exit"}), {"a": 1, "c": 2})
    assert summary.failed == {
        "wandering/a": "ZeroDivisionError: the tracker lost its head",
        "wandering/c": "SystemExit: 3",
    }
    assert "in spring" in (tmp_path / "made" / "wandering" / "a_failed.txt").read_text()


def test_where_memory_ends_one_worker_less_goes_on_and_the_job_comes_last(
    made: ModuleType, tmp_path: Path, lines: Any
) -> None:
    log = tmp_path / "log"
    factory = made.Wandering(traps={1: f"memory_once {tmp_path / 'sprung'}"}, log=log, pause_s=0.03)
    lengths = {"a": 20, **dict.fromkeys("bcdefgh", 10)}  # seconds for one worker: time enough to start another
    summary = run(made, tmp_path / "out", factory, {"a": 1}, lengths=lengths, display=lines)
    assert summary.complete and summary.done[-1] == "wandering/a"
    assert "ran out of memory" in lines.lines[0]
    # Two at first; the one that ran out is not replaced; a fresh one at the end.
    assert len({line.split()[-1] for line in log.read_text().splitlines()}) == 3


def test_a_tracker_that_cannot_be_made_ends_all_workers(made: ModuleType, tmp_path: Path) -> None:
    log = tmp_path / "log"
    with pytest.raises(TrackerBuildError, match="made wandering cannot be made: ZeroDivisionError"):
        run(made, tmp_path / "out", made.Wandering(build_trap="raise", log=log))
    assert not any(is_running(int(line.split()[-1])) for line in log.read_text().splitlines())
    assert not list((tmp_path / "out" / "made" / "wandering").glob(".*"))


def test_a_tracker_that_cannot_be_sent_is_named(made: ModuleType, tmp_path: Path) -> None:
    factory = made.Wandering(traps={1: lambda: None})
    with pytest.raises(EbmError, match="made wandering cannot be sent to worker processes .*: use one worker"):
        run(made, tmp_path, factory)


def test_a_sequence_that_cannot_be_sent_fails_alone(made: ModuleType, tmp_path: Path) -> None:
    benchmark = made.made_benchmark(LENGTHS, runs=1)
    benchmark.sequences[1].frames.gaps = iter(())  # generators and open files cannot be pickled
    benchmark.sequences[1].frames.gaps = (lambda: None,)
    summary = run_benchmark(made.Wandering(), benchmark, tmp_path, workers=2)
    assert list(summary.failed) == ["wandering/b"] and "cannot be sent" in summary.failed["wandering/b"]
    assert len(summary.done) == 3


def test_a_worker_that_does_not_end_when_asked_is_killed(
    made: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ebm_tracker.evaluation.benchmark.pool._PATIENCE_S", 0.2)

    class StopWhenSprung:
        def __enter__(self) -> StopWhenSprung:
            return self

        def __exit__(self, *_: object) -> None:
            pass

        @property
        def requested(self) -> bool:
            return (tmp_path / "sprung").exists()

    monkeypatch.setattr("ebm_tracker.evaluation.benchmark.run.StopSignals", StopWhenSprung)
    log = tmp_path / "log"
    factory = made.Wandering(traps={1: f"hang {tmp_path / 'sprung'}"}, log=log)
    start = time.monotonic()
    summary = run(made, tmp_path / "out", factory, {"a": 1})
    assert summary.interrupted and "wandering/a" not in summary.done and time.monotonic() - start < 60
    assert not any(is_running(int(line.split()[-1])) for line in log.read_text().splitlines())
    assert not list((tmp_path / "out" / "made" / "wandering").glob(".*"))


def test_exit_codes_in_words() -> None:
    assert how_it_ended(-9) == "was killed by SIGKILL"
    assert how_it_ended(-200) == "was killed by signal 200"
    assert how_it_ended(1) == "ended with exit code 1"
