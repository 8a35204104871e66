"""Whole runs in this process: what is done, skipped, failed, refused."""

from __future__ import annotations

import errno
import json
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest

from ebm_tracker.errors import EbmError
from ebm_tracker.evaluation.benchmark import (
    ManifestError,
    SerialEngine,
    Summary,
    TrackerBuildError,
    default_runs,
    run_benchmark,
)
from ebm_tracker.evaluation.benchmark import worklist as worklist_module
from ebm_tracker.evaluation.benchmark.lock import FileLock
from ebm_tracker.evaluation.result_tree import BoxFormat, read_result
from ebm_tracker.stop import StopSignals

LENGTHS = {"a": 6, "b": 4, "c": 9}


def run(made: ModuleType, out: Path, factory: Any = None, traps: dict[str, int] | None = None, **more: Any) -> Summary:
    benchmark = made.made_benchmark(more.pop("lengths", LENGTHS), traps, runs=1)
    return run_benchmark(factory or made.Wandering(), benchmark, out, **more)


def test_every_sequence_has_boxes_times_and_scores_with_a_row_per_frame(made: ModuleType, tmp_path: Path) -> None:
    summary = run(made, tmp_path)
    folder = tmp_path / "made" / "wandering"
    assert summary.done == ("wandering/a", "wandering/b", "wandering/c") and summary.complete
    assert summary.folders == (folder,)
    for name, count in LENGTHS.items():
        result = read_result(folder / f"{name}.txt")
        assert result.boxes_xywh.shape == (count, 4)
        assert result.boxes_xywh[0].tolist() == [4, 5, 8, 9]
        assert result.seconds is not None and len(result.seconds) == count
        assert len((folder / f"{name}_object_presence_scores.txt").read_text().split()) == count
    assert {path.name for path in folder.glob(".*")} == set()


def test_boxes_are_those_of_a_tracker_made_for_the_sequence_alone(made: ModuleType, tmp_path: Path) -> None:
    run(made, tmp_path / "all", seed=5)
    for name in LENGTHS:
        run(made, tmp_path / name, seed=5, lengths={name: LENGTHS[name]})
        one = made.files_of(tmp_path / name)
        assert one and one.items() <= made.files_of(tmp_path / "all").items()


def test_runs_have_their_own_seeds_and_folders(made: ModuleType, tmp_path: Path) -> None:
    run(made, tmp_path / "both", runs=2, seed=7)
    folders = sorted(path.name for path in (tmp_path / "both" / "made").iterdir())
    assert folders == ["wandering_000", "wandering_001"]
    run(made, tmp_path / "second", seed=8)
    second = made.files_of(tmp_path / "second" / "made" / "wandering")
    assert made.files_of(tmp_path / "both" / "made" / "wandering_001") == second
    assert made.files_of(tmp_path / "both" / "made" / "wandering_000") != second


def test_one_tracker_serves_a_run_unless_it_asks_for_more(made: ModuleType, tmp_path: Path) -> None:
    log = tmp_path / "log"
    run(made, tmp_path / "1", made.Wandering(log=log), runs=2, seed=3, threads=4, devices=("cpu",))
    assert [line.split()[:3] for line in log.read_text().splitlines()] == [["3", "cpu", "4"], ["4", "cpu", "4"]]
    log.unlink()
    run(made, tmp_path / "2", made.Wandering(log=log, fresh_per_sequence=True))
    assert len(log.read_text().splitlines()) == 3


def test_what_is_done_is_skipped(made: ModuleType, tmp_path: Path) -> None:
    run(made, tmp_path)
    before = made.files_of(tmp_path, times=True)
    summary = run(made, tmp_path, made.Wandering(build_trap="raise"))  # needs no tracker
    assert (summary.done, summary.skipped, summary.complete) == ((), 3, True)
    assert made.files_of(tmp_path, times=True) == before


def test_a_session_that_does_nothing_leaves_no_trace(made: ModuleType, tmp_path: Path) -> None:
    run(made, tmp_path)
    manifest = tmp_path / "made" / "wandering" / "ebm_run.json"
    before = manifest.read_bytes()
    summary = run(made, tmp_path, workers=2, threads=7)
    assert summary.warnings == () and manifest.read_bytes() == before


@pytest.mark.parametrize("rows", [0, 3, 12])
def test_a_file_with_another_number_of_rows_is_done_again(
    made: ModuleType, tmp_path: Path, lines: Any, rows: int
) -> None:
    run(made, tmp_path)
    before = made.files_of(tmp_path)
    boxes = tmp_path / "made" / "wandering" / "c.txt"
    boxes.write_text("1,2,3,4\n" * rows)
    summary = run(made, tmp_path, display=lines)
    assert (summary.done, summary.skipped) == (("wandering/c",), 2)
    assert made.files_of(tmp_path) == before
    assert lines.lines == [f"{boxes} has {rows} rows for 9 frames: tracked again"]


def test_a_failure_is_recorded_and_the_rest_goes_on_and_a_retry_clears_it(
    made: ModuleType, tmp_path: Path, lines: Any
) -> None:
    summary = run(made, tmp_path, made.Wandering(traps={1: "raise"}), {"b": 1}, display=lines)
    assert summary.failed == {"wandering/b": "ZeroDivisionError: the tracker lost its head"}
    assert summary.done == ("wandering/a", "wandering/c") and not summary.complete and summary.left == 1
    assert lines.lines == ["wandering/b: failed: ZeroDivisionError: the tracker lost its head"]
    folder = tmp_path / "made" / "wandering"
    text = (folder / "b_failed.txt").read_text()
    assert text.startswith("ZeroDivisionError: the tracker lost its head\n\nTraceback") and "in spring" in text
    assert not (folder / "b.txt").exists()
    again = run(made, tmp_path)
    assert again.done == ("wandering/b",) and again.complete
    assert not (folder / "b_failed.txt").exists()
    run(made, tmp_path / "unbroken")
    assert made.files_of(tmp_path / "made") == made.files_of(tmp_path / "unbroken" / "made")


def test_a_tracker_that_exits_ends_its_sequence_only(made: ModuleType, tmp_path: Path) -> None:
    summary = run(made, tmp_path, made.Wandering(traps={1: "exit"}), {"a": 1})
    assert summary.failed == {"wandering/a": "SystemExit: 3"} and len(summary.done) == 2


def test_after_an_error_a_new_tracker_is_made(made: ModuleType, tmp_path: Path) -> None:
    log = tmp_path / "log"
    run(made, tmp_path / "out", made.Wandering(traps={1: "raise"}, log=log), {"a": 1})
    assert len(log.read_text().splitlines()) == 2


def test_a_sequence_without_a_first_frame_fails(made: ModuleType, tmp_path: Path) -> None:
    benchmark = made.made_benchmark(LENGTHS, runs=1)
    benchmark.sequences[1].frames.gaps = (0,)
    summary = run_benchmark(made.Wandering(), benchmark, tmp_path)
    assert summary.failed == {"wandering/b": "the first frame of b cannot be decoded"}


def test_frames_that_cannot_be_decoded_are_counted_and_tracked_over(
    made: ModuleType, tmp_path: Path, lines: Any
) -> None:
    benchmark = made.made_benchmark(LENGTHS, runs=1)
    benchmark.sequences[2].frames.gaps = (3, 4)
    summary = run_benchmark(made.Wandering(), benchmark, tmp_path, display=lines)
    assert summary.bad_frames == {"wandering/c": 2} and summary.complete
    assert lines.lines == ["wandering/c: 2 frames could not be decoded, the rest was tracked"]
    boxes = read_result(tmp_path / "made" / "wandering" / "c.txt").boxes_xywh
    assert len(boxes) == 9 and np.array_equal(boxes[2], boxes[4]) and not np.array_equal(boxes[4], boxes[5])


def test_no_memory_is_tried_once_more_at_the_end(made: ModuleType, tmp_path: Path, lines: Any) -> None:
    factory = made.Wandering(traps={1: f"memory_once {tmp_path / 'sprung'}"})
    summary = run(made, tmp_path / "out", factory, {"a": 1}, display=lines)
    assert summary.done == ("wandering/b", "wandering/c", "wandering/a") and summary.complete
    assert "out of memory" in lines.lines[0] and "at the end" in lines.lines[0]
    summary = run(made, tmp_path / "never", made.Wandering(traps={1: "memory"}), {"a": 1})
    assert summary.failed == {"wandering/a": "MemoryError: CUDA out of memory"}


@pytest.mark.parametrize("box_format", BoxFormat)
def test_boxes_that_are_no_numbers_are_a_failure(made: ModuleType, tmp_path: Path, box_format: BoxFormat) -> None:
    summary = run(made, tmp_path, made.Wandering(traps={1: "nan"}), {"a": 1}, box_format=box_format)
    assert list(summary.failed) == ["wandering/a"] and "frame 1 is not finite" in summary.failed["wandering/a"]
    first = "4\t5\t8\t9\n" if box_format is BoxFormat.PYTRACKING else "4.000,5.000,8.000,9.000\n"
    assert (tmp_path / "made" / "wandering" / "b.txt").read_text().startswith(first)


def test_other_weights_or_seeds_are_refused_before_anything_changes(made: ModuleType, tmp_path: Path) -> None:
    run(made, tmp_path, runs=2)
    (tmp_path / "made" / "wandering_000").rename(tmp_path / "away")
    before = made.files_of(tmp_path, times=True)
    with pytest.raises(ManifestError, match="weights aa11, but this run has weights bb22"):
        run(made, tmp_path, made.Wandering(weights="bb22"), runs=2)
    with pytest.raises(ManifestError, match="seed 1, but this run has seed 2"):
        run(made, tmp_path, runs=2, seed=1)
    assert made.files_of(tmp_path, times=True) == before
    assert not (tmp_path / "made" / "wandering_000").exists()


def test_results_of_others_are_not_mixed_with_ours(made: ModuleType, tmp_path: Path) -> None:
    folder = tmp_path / "made" / "wandering"
    folder.mkdir(parents=True)
    (folder / "a.txt").write_text("1,2,3,4\n")
    with pytest.raises(ManifestError, match="another program"):
        run(made, tmp_path)
    assert (folder / "a.txt").read_text() == "1,2,3,4\n"


def test_what_a_killed_writer_left_is_removed(made: ModuleType, tmp_path: Path) -> None:
    run(made, tmp_path, lengths={"a": 6})
    folder = tmp_path / "made" / "wandering"
    ours = [folder / f".b{end}.77.part.txt" for end in ("", "_time", "_object_presence_scores", "_failed")]
    others = [folder / ".bb.77.part.txt", folder / ".b_time_2.77.part.txt", folder / "b.77.part.txt"]
    for path in [*ours, *others, folder / ".zzz.lock"]:
        path.touch()
    run(made, tmp_path)
    assert not any(path.exists() for path in ours) and all(path.exists() for path in others)
    assert not list(folder.glob(".*.lock"))


def test_a_locked_sequence_is_passed_over_and_reported(made: ModuleType, tmp_path: Path) -> None:
    folder = tmp_path / "made" / "wandering"
    folder.mkdir(parents=True)
    lock = FileLock(folder / ".b.lock")
    assert lock.acquire()
    summary = run(made, tmp_path)
    assert summary.done == ("wandering/a", "wandering/c") and summary.busy == ("wandering/b",)
    assert summary.left == 1 and not summary.complete and not (folder / "b.txt").exists()
    assert json.loads((folder / "ebm_run.json").read_text())["times_valid"] is False
    lock.release()
    assert run(made, tmp_path).done == ("wandering/b",)


def test_a_lock_that_is_given_back_meanwhile_is_taken_in_the_second_look(
    made: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "made" / "wandering"
    folder.mkdir(parents=True)
    lock = FileLock(folder / ".a.lock")
    assert lock.acquire()
    run_all = SerialEngine.run

    def run_and_release(self: SerialEngine, work: Any, alone: bool = False) -> None:
        run_all(self, work, alone)
        lock.release()

    monkeypatch.setattr(SerialEngine, "run", run_and_release)
    assert run(made, tmp_path).done == ("wandering/b", "wandering/c", "wandering/a")


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EDQUOT, errno.EACCES])
def test_it_stops_where_nothing_can_be_written(
    made: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, lines: Any, code: int
) -> None:
    write = worklist_module.write_result

    def fail_at_b(folder: Path, name: str, *more: Any) -> None:
        if name == "b":
            raise OSError(code, "no luck")
        write(folder, name, *more)

    monkeypatch.setattr(worklist_module, "write_result", fail_at_b)
    summary = run(made, tmp_path, display=lines)
    assert summary.done == ("wandering/a",) and list(summary.failed) == ["wandering/b"] and summary.left == 2
    assert lines.lines == [summary.problem] and summary.problem is not None
    assert ("the disk is full" in summary.problem) == (code != errno.EACCES)
    monkeypatch.undo()
    monkeypatch.syspath_prepend(str(Path(made.__file__).parent))
    assert run(made, tmp_path).done == ("wandering/b", "wandering/c")


def test_a_tracker_that_cannot_be_made_ends_the_run_with_one_sentence(made: ModuleType, tmp_path: Path) -> None:
    with pytest.raises(TrackerBuildError, match="made wandering cannot be made: ZeroDivisionError: the tracker lost"):
        run(made, tmp_path, made.Wandering(build_trap="raise"))
    assert not list((tmp_path / "made" / "wandering").glob("*.txt"))


def test_a_folder_that_cannot_be_made_is_named(made: ModuleType, tmp_path: Path) -> None:
    (tmp_path / "made").write_text("a file")
    with pytest.raises(EbmError, match="results cannot be written to .*wandering .Not a directory"):
        run(made, tmp_path)


def test_a_stop_request_ends_it_between_frames_and_it_goes_on_later(
    made: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class StopAtFrame:
        """As Ctrl-C in the middle of the second sequence."""

        asked = 0

        def __enter__(self) -> StopAtFrame:
            return self

        def __exit__(self, *_: object) -> None:
            pass

        @property
        def requested(self) -> bool:
            self.asked += 1
            return self.asked > 11

    monkeypatch.setattr("ebm_tracker.evaluation.benchmark.run.StopSignals", StopAtFrame)
    summary = run(made, tmp_path)
    assert summary.interrupted and summary.done == ("wandering/a",) and summary.left == 2
    monkeypatch.setattr("ebm_tracker.evaluation.benchmark.run.StopSignals", StopSignals)
    folder = tmp_path / "made" / "wandering"
    assert not (folder / "b.txt").exists() and not list(folder.glob(".*"))
    assert run(made, tmp_path).done == ("wandering/b", "wandering/c")


def test_an_error_of_ours_gives_the_locks_back(
    made: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("ebm_tracker.evaluation.benchmark.job_run.track_sequence", interrupt)
    with pytest.raises(KeyboardInterrupt):
        run(made, tmp_path)
    assert not list((tmp_path / "made" / "wandering").glob(".*.lock"))


def test_runs_default_to_what_the_field_averages(made: ModuleType) -> None:
    benchmark = replace(made.made_benchmark(LENGTHS), runs=5)
    assert default_runs(made.Wandering(), benchmark) == 5
    assert default_runs(made.Wandering(deterministic=True), benchmark) == 1


@pytest.mark.parametrize("name", ["runs", "workers", "threads"])
def test_counts_below_one_are_refused(made: ModuleType, tmp_path: Path, name: str) -> None:
    with pytest.raises(ValueError, match=f"{name} must be at least 1"):
        run(made, tmp_path, **{name: 0})
    assert not list(tmp_path.iterdir())


def test_the_tally_ends_at_the_whole(made: ModuleType, tmp_path: Path, lines: Any) -> None:
    run(made, tmp_path, display=lines)
    last = lines.tallies[-1]
    assert (last.jobs, last.jobs_closed, last.frames, last.frames_closed, last.frames_done) == (3, 3, 19, 19, 19)
    assert last.in_hand == () and last.seconds_left == 0
