"""The tree of result files: to the byte, back again, and the folders of other toolkits."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from ebm_tracker.evaluation.result_tree import (
    BoxFormat,
    ResultError,
    boxes_text,
    find_results,
    read_result,
    result_paths_of,
    run_folder,
    sequence_files,
    write_object_results,
    write_result,
)
from ebm_tracker.evaluation.results import TrackRecord
from ebm_tracker.evaluation.sequences import TrackingSequence


class NoFrames:
    name = "none"
    frames_per_second = 25.0
    frame_count = 0
    bad_frames = 0

    def __iter__(self):  # type: ignore[no-untyped-def]
        return iter(())


def sequence(name: str, *aliases: str) -> TrackingSequence:
    return TrackingSequence(name, NoFrames(), (1, 2, 3, 4), aliases=aliases)


def record() -> TrackRecord:
    record = TrackRecord()
    record.append((10, 20, 30, 40), 1.0, "tracked", 0.25)
    record.append((10.9, -0.4, 5.6, 7.99), 0.5, "tracked", 0.015625)
    return record


def write(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path


def test_numbers_are_cut_towards_zero_between_tabs() -> None:
    # BENCHMARKS.md section 15, vector 8.
    boxes = np.array([[10.9, -0.4, 5.6, 7.99], [-1.9, 0.0, 3.0, 1e6 + 0.5]])
    assert boxes_text(boxes, BoxFormat.PYTRACKING) == "10\t0\t5\t7\n-1\t0\t3\t1000000\n"


def test_precise_text() -> None:
    assert boxes_text(np.array([[10.9, -0.4, 5.6, 7.9996]])) == "10.900,-0.400,5.600,8.000\n"


@pytest.mark.parametrize("box_format", BoxFormat)
def test_a_box_that_is_not_finite_is_refused_before_anything_is_written(
    tmp_path: Path, box_format: BoxFormat
) -> None:
    bad = record()
    bad.append((1, 2, float("nan"), 4), 0.5, "lost", 0.1)
    with pytest.raises(ResultError, match="box of frame 2 is not finite"):
        write_result(tmp_path, "a", bad, box_format)
    assert list(tmp_path.iterdir()) == []


def test_files_of_a_run_to_the_byte(tmp_path: Path) -> None:
    folder = run_folder(tmp_path, "ebm", "default", 2)
    assert folder == tmp_path / "ebm" / "default_002"
    folder.mkdir(parents=True)
    write(folder / "a_failed.txt", "it broke")
    write_result(folder, "a", record())
    assert {p.name: p.read_bytes() for p in folder.iterdir()} == {
        "a.txt": b"10.000,20.000,30.000,40.000\n10.900,-0.400,5.600,7.990\n",
        "a_time.txt": b"0.250000\n0.015625\n",
        "a_object_presence_scores.txt": b"1.000000\n0.500000\n",
    }


@pytest.mark.parametrize(
    ("box_format", "second"), [(BoxFormat.PRECISE, [10.9, -0.4, 5.6, 7.99]), (BoxFormat.PYTRACKING, [10, 0, 5, 7])]
)
def test_round_trip(tmp_path: Path, box_format: BoxFormat, second: list[float]) -> None:
    write_result(tmp_path, "GOT-10k_Val_000001", record(), box_format)
    (path,) = result_paths_of(tmp_path, sequence("GOT-10k_Val_000001"))
    result = read_result(path)
    assert result.path == path and result.times_problem is None
    np.testing.assert_array_equal(result.boxes_xywh, [[10, 20, 30, 40], second])
    np.testing.assert_array_equal(result.seconds, [0.25, 0.015625])


@pytest.mark.parametrize("name", ["", ".", "..", "../a", "a/b", "a\\b", "a\0b"])
def test_a_name_does_not_lead_out_of_the_folder(tmp_path: Path, name: str) -> None:
    with pytest.raises(ResultError, match="must be the name of a file"):
        sequence_files(tmp_path, name)


def test_runs(tmp_path: Path) -> None:
    for name in ("default_001", "default_000", "default_00x", "default_0000", "other_000"):
        (tmp_path / "ebm" / name).mkdir(parents=True)
    write(tmp_path / "ebm" / "default_002", "a file")
    results = find_results(tmp_path / "ebm" / "default")
    assert results.name == "ebm default"
    assert [p.name for p in results.folders] == ["default_000", "default_001"]
    assert find_results(tmp_path / "ebm" / "default_001", "Ours").folders == (tmp_path / "ebm" / "default_001",)
    assert find_results(tmp_path / "ebm" / "default_001", "Ours").name == "Ours"
    (tmp_path / "ebm" / "default").mkdir()
    assert [p.name for p in find_results(tmp_path / "ebm" / "default").folders] == ["default"]
    with pytest.raises(ResultError, match=r"no results .*nothing, nor runs .*nothing_000"):
        find_results(tmp_path / "ebm" / "nothing")


def test_runs_of_a_name_with_pattern_signs(tmp_path: Path) -> None:
    (tmp_path / "lr[1e-3]_000").mkdir()
    (tmp_path / "lr1_000").mkdir()
    assert [p.name for p in find_results(tmp_path / "lr[1e-3]").folders] == ["lr[1e-3]_000"]


@pytest.mark.parametrize(
    "names",
    [
        ["Jogging_1.txt"],  # pytracking
        ["Jogging-1.txt"],  # pysot
        ["Jogging.1.txt"],  # got10k
        ["jogging_1.txt"],
        ["Jogging_1/Jogging_1_001.txt", "Jogging_1/Jogging_1_002.txt"],  # got10k with repetitions
        ["baseline/Jogging-1/Jogging-1_001.txt"],  # pysot, VOT
        ["baseline/jogging-1/jogging-1_001.txt", "baseline/jogging-1/jogging-1_002.txt"],
    ],
)
def test_files_are_found_under_every_name(tmp_path: Path, names: list[str]) -> None:
    for name in names:
        write(tmp_path / name, "1,2,3,4\n")
    for name in ("Jogging_1_time.txt", "Jogging_10.txt", "Jogging_2.txt", "Jogging_1/notes.txt"):
        write(tmp_path / name, "0.1\n")
    found = result_paths_of(tmp_path, sequence("Jogging_1", "Jogging-1", "Jogging.1"))
    assert [p.relative_to(tmp_path).as_posix() for p in found] == names
    assert result_paths_of(tmp_path, sequence("Skating2_1")) == []


def test_the_exact_name_goes_first(tmp_path: Path) -> None:
    write(tmp_path / "car.txt", "1,2,3,4\n")
    if (tmp_path / "CAR.txt").exists():
        pytest.skip("this file system does not tell upper from lower case")
    write(tmp_path / "Car.txt", "1,2,3,4\n")
    assert [p.name for p in result_paths_of(tmp_path, sequence("Car"))] == ["Car.txt"]
    assert [p.name for p in result_paths_of(tmp_path, sequence("car"))] == ["car.txt"]


def test_nan_rows_stay(tmp_path: Path) -> None:
    path = write(tmp_path / "a.txt", "1,2,3,4\nNaN,NaN,NaN,NaN\n5,nan,7,8\n9,10,11,12\n")
    boxes = read_result(path).boxes_xywh
    assert boxes[[0, 3]].tolist() == [[1, 2, 3, 4], [9, 10, 11, 12]]
    assert np.isnan(boxes[[1, 2]]).all()


@pytest.mark.parametrize("text", ["1,2,3,4\n5,6,7,8\n", "1\t2\t3\t4\r\n5\t6\t7\t8", "\ufeff1 2 3 4\n\n5, 6, 7, 8,\n"])
def test_separators(tmp_path: Path, text: str) -> None:
    (tmp_path / "a.txt").write_bytes(text.encode())
    assert read_result(tmp_path / "a.txt").boxes_xywh.tolist() == [[1, 2, 3, 4], [5, 6, 7, 8]]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("1,2,3,4\n1,2,three,4\n", "a.txt, line 2: not only numbers (got '1,2,three,4')"),
        ("1,2,3,4\n\n1,2,3\n", "a.txt, line 3: needs 4 numbers x,y,w,h or 8 of a polygon (got 3)"),
        ("1,2,3,4\n1\t2\t3\t4\t0.5\n", "a.txt, line 2: needs 4 numbers x,y,w,h or 8 of a polygon (got 5)"),
        ("1,2,3,4\n1,2,inf,4\n", "a.txt, frame 1: a number is infinite"),
        ("\n", "a.txt holds no box"),
        ("1,2,3,4\n1,2,3,4\n2\n0\n", "a.txt, line 3: 2 is one of VOT's codes"),
        ("1\n1,2,3,4\n", "a.txt, line 1: 1 is one of VOT's codes"),
    ],
)
def test_one_sentence_names_file_and_line(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(ResultError) as caught:
        read_result(write(tmp_path / "a.txt", text))
    assert str(caught.value).startswith(f"{tmp_path}/{message}")
    assert "\n" not in str(caught.value)


def test_missing_and_binary_files(tmp_path: Path) -> None:
    with pytest.raises(ResultError, match=r"a\.txt cannot be read \(No such file"):
        read_result(tmp_path / "a.txt")
    (tmp_path / "a.txt").write_bytes(b"\xff\xd8\xff\xe0")
    with pytest.raises(ResultError, match=r"a\.txt is not a text file"):
        read_result(tmp_path / "a.txt")


def test_vot_initialisation_code_becomes_the_given_box(tmp_path: Path) -> None:
    path = write(tmp_path / "a" / "a_001.txt", "1.0000\r\n5,6,7,8\r\n")
    assert read_result(path, (1, 2, 3, 4.5)).boxes_xywh.tolist() == [[1, 2, 3, 4.5], [5, 6, 7, 8]]


def test_times_of_repetitions_are_columns(tmp_path: Path) -> None:
    for k in (1, 2, 3):
        write(tmp_path / "a" / f"a_00{k}.txt", "1,2,3,4\n5,6,7,8\n")
    times = write(tmp_path / "a" / "a_time.txt", "0.50000000,0.60000000,0.70000000\n0.01,0.02,0.03\n")
    paths = result_paths_of(tmp_path, sequence("a"))
    assert [read_result(p).seconds.tolist() for p in paths] == [[0.5, 0.01], [0.6, 0.02], [0.7, 0.03]]  # type: ignore[union-attr]
    times.write_text("0.500000\n0.010000\n")  # one column, as pytracking's packer writes it
    assert [read_result(p).seconds.tolist() for p in paths] == [[0.5, 0.01]] * 3  # type: ignore[union-attr]


def test_times_in_a_folder_of_their_own(tmp_path: Path) -> None:
    path = write(tmp_path / "a.txt", "1,2,3,4\n")
    write(tmp_path / "times" / "a_time.txt", "0.125\n")
    np.testing.assert_array_equal(read_result(path).seconds, [0.125])


def test_a_name_that_looks_like_a_repetition_keeps_its_own_times(tmp_path: Path) -> None:
    path = write(tmp_path / "clip_001.txt", "1,2,3,4\n")
    write(tmp_path / "clip_time.txt", "9\n")  # of the sequence "clip"
    assert read_result(path).seconds is None
    write(tmp_path / "clip_001_time.txt", "0.5\n")
    np.testing.assert_array_equal(read_result(path).seconds, [0.5])


@pytest.mark.parametrize(
    ("times", "message"),
    [("soon\n", "cannot be read as times"), ("0.1\n-1\n", "not finite or below 0"), ("nan\n", "not finite or below 0")],
)
def test_unusable_times_are_said_and_do_not_cost_the_boxes(tmp_path: Path, times: str, message: str) -> None:
    path = write(tmp_path / "a.txt", "1,2,3,4\n")
    write(tmp_path / "a_time.txt", times)
    result = read_result(path)
    assert result.boxes_xywh.tolist() == [[1, 2, 3, 4]] and result.seconds is None
    assert result.times_problem is not None and message in result.times_problem and "a_time.txt" in result.times_problem


def test_objects_have_files_of_their_own(tmp_path: Path) -> None:
    write_object_results(tmp_path, "walk", {1: record(), "b": record()}, BoxFormat.PYTRACKING)
    ends = (".txt", "_object_presence_scores.txt", "_time.txt")
    names = {f"walk_{key}{end}" for key in ("1", "b") for end in ends}
    assert {path.name for path in tmp_path.iterdir()} == names
    assert (tmp_path / "walk_b.txt").read_text() == "10\t20\t30\t40\n10\t0\t5\t7\n"
    with pytest.raises(ResultError, match="name of a file"):
        write_object_results(tmp_path / "no", "walk", {1: record(), "../x": record()})
    assert not (tmp_path / "no").exists()
