from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from types import ModuleType

import pytest

from ebm_tracker.evaluation.benchmark.job_run import describe, is_out_of_memory
from ebm_tracker.evaluation.benchmark.jobs import Job, plan_jobs, plan_runs
from ebm_tracker.evaluation.benchmark.worklist import WorkList, is_done
from ebm_tracker.evaluation.result_tree import BoxFormat
from ebm_tracker.stop import StopSignals
from ebm_tracker.video import VideoError, VideoFile


def test_runs_and_jobs_in_order(made: ModuleType, tmp_path: Path) -> None:
    factory = made.Wandering()
    runs = plan_runs(factory, tmp_path, 2, seed=9)
    assert [(run.folder, run.seed) for run in runs] == [
        (tmp_path / "made" / "wandering_000", 9),
        (tmp_path / "made" / "wandering_001", 10),
    ]
    (single,) = plan_runs(factory, tmp_path, 1, seed=9)
    assert (single.folder, single.seed) == (tmp_path / "made" / "wandering", 9)
    jobs = plan_jobs(runs, made.made_benchmark({"a": 1, "b": 2}).sequences)
    assert [job.name for job in jobs] == ["wandering_000/a", "wandering_000/b", "wandering_001/a", "wandering_001/b"]
    assert [job.seed for job in jobs] == [9, 9, 10, 10]


def test_workers_get_the_longest_sequence_of_a_run_first(made: ModuleType, tmp_path: Path) -> None:
    runs = plan_runs(made.Wandering(), tmp_path, 2, seed=0)
    for run in runs:
        run.folder.mkdir(parents=True)
    jobs = plan_jobs(runs, made.made_benchmark({"a": 3, "b": 9, "c": 5}).sequences)
    work = WorkList(jobs, BoxFormat.PRECISE, StopSignals(), made_display())
    work.sort_longest_first()
    order = []
    while (job := work.next_job()) is not None:
        order.append(job.name)
        work.close(job, made_result())
    assert order == [f"wandering_00{run}/{name}" for run in (0, 1) for name in "bca"]


def made_display() -> object:
    from ebm_tracker.evaluation.benchmark.display import Silent

    return Silent()


def made_result() -> object:
    from ebm_tracker.evaluation.benchmark.job_run import Failed

    return Failed("no")


def test_a_video_is_done_when_boxes_and_times_agree(made: ModuleType, tmp_path: Path) -> None:
    """The number of frames that a container states is often not the number that come out of it."""
    sequence = made.made_benchmark({"clip": 1}).sequences[0]
    video = VideoFile.__new__(VideoFile)
    video.frame_count = 100
    job = Job(replace(sequence, frames=video), tmp_path, 0)
    assert not is_done(job)
    (tmp_path / "clip.txt").write_text("1,2,3,4\n" * 98)
    assert is_done(job)  # by a program that writes no times
    (tmp_path / "clip_time.txt").write_text("0.1\n" * 98)
    assert is_done(job)
    (tmp_path / "clip.txt").write_text("1,2,3,4\n" * 40)
    assert not is_done(job)


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (MemoryError(), True),
        (RuntimeError("CUDA out of memory. Tried to allocate 2 GiB"), True),
        (RuntimeError("[enforce fail at alloc_cpu.cpp] DefaultCPUAllocator: can't allocate memory"), True),
        (type("OutOfMemoryError", (RuntimeError,), {})("device 0"), True),
        (RuntimeError("the target is out of sight"), False),
    ],
)
def test_what_counts_as_out_of_memory(error: Exception, expected: bool) -> None:
    assert is_out_of_memory(error) is expected


def test_errors_in_one_line() -> None:
    assert describe(VideoError("no frames\nthere")) == "no frames there"
    assert describe(KeyError("x")) == "KeyError: 'x'"
    assert describe(ValueError()) == "ValueError"
