"""Your own sequences, and the dialects of ground truth (case T12 of the users' list)."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ebm_tracker.evaluation.datasets.benchmark import BenchmarkError
from ebm_tracker.evaluation.datasets.folder import missing_between
from ebm_tracker.evaluation.datasets.registry import open_benchmark
from ebm_tracker.video import VideoWriter

ROWS = [(10 + i, 20 + i, 30, 40) for i in range(5)]
POLYGONS = "".join(f"{x},{y},{x + w},{y},{x + w},{y + h},{x},{y + h}\n" for x, y, w, h in ROWS)
DIALECTS = {
    "comma": "".join(f"{x},{y},{w},{h}\n" for x, y, w, h in ROWS),
    "tab": "".join(f"{x}\t{y}\t{w}\t{h}\n" for x, y, w, h in ROWS),
    "spaces": "".join(f"{x}  {y} {w}   {h}\n" for x, y, w, h in ROWS),
    "comma and space": "".join(f"{x}, {y}, {w}, {h}\n" for x, y, w, h in ROWS),
    "mixed and a blank line": "10,20,30,40\n\n11\t21\t30\t40\n12 22 30 40\n13, 23,30\t40\n14;24;30;40\n",
    "CRLF and BOM": "\ufeff" + "".join(f"{x},{y},{w},{h}\r\n" for x, y, w, h in ROWS),
    "trailing comma": "".join(f"{x},{y},{w},{h},\n" for x, y, w, h in ROWS),
    "polygon": POLYGONS,
}


@pytest.mark.parametrize("text", DIALECTS.values(), ids=DIALECTS)
def test_t12_every_dialect_gives_the_same_boxes(tree: Any, text: str) -> None:
    tree.images("a/img", "%d.jpg", range(1, 6))
    tree.text("a/groundtruth.txt", text)
    benchmark = tree.open("folder")
    (sequence,) = benchmark.sequences
    assert sequence.truth_xywh.tolist() == [list(map(float, row)) for row in ROWS]
    assert sequence.init_box_xywh == (10.0, 20.0, 30.0, 40.0) and benchmark.problems == ()


def test_t12_a_row_of_nan_stays_absent(tree: Any) -> None:
    tree.images("a", "%d.jpg", range(1, 6))
    tree.text("a/groundtruth.txt", "10,20,30,40\nNaN,NaN,NaN,NaN\n12,22,30,40\n13,23,30,40\n14,24,30,40\n")
    (sequence,) = tree.open("folder").sequences
    assert np.isnan(sequence.truth_xywh).all(axis=1).tolist() == [False, True, False, False, False]


@pytest.mark.parametrize(("rows", "used"), [(4, 4), (6, 5)])
def test_t12_lengths_name_file_and_both_counts(tree: Any, rows: int, used: int) -> None:
    tree.images("a", "%d.jpg", range(1, 6))
    path = tree.boxes("a/groundtruth.txt", rows)
    benchmark = tree.open("folder")
    assert benchmark.notes == (f"a: {path} has {rows} boxes for 5 frames; the first {used} of both are used",)
    assert tree.numbers_of(benchmark.sequences[0]) == list(range(1, used + 1))
    assert benchmark.sequences[0].frames.frame_count == used


def test_a_folder_of_sequences_in_natural_order(tree: Any) -> None:
    for name, images in (("s10", "s10"), ("s2", "s2/img"), ("s1", "s1/color")):
        tree.images(images, "%d.png", range(9, 12))
        tree.boxes(f"{name}/groundtruth_rect.txt", 3)
    tree.text("notes.txt", "no sequence")
    tree.text("papers/list.pdf", "no sequence")
    benchmark = tree.open("folder")
    assert [s.name for s in benchmark.sequences] == ["s1", "s2", "s10"]
    assert [p.name for p in benchmark.sequences[1].frames.paths] == ["9.png", "10.png", "11.png"]
    assert (benchmark.problems, benchmark.official_count, benchmark.runs) == ((), None, 1)
    assert benchmark.metrics == "plain"


def test_one_sequence_itself(tree: Any) -> None:
    tree.images("img", "%d.png", range(3))
    tree.boxes("groundtruth.txt", 3)
    assert [s.name for s in tree.open("folder").sequences] == ["set"]


def test_truth_beside_the_folder_and_beside_the_images(tree: Any) -> None:
    tree.images("a", "%d.png", range(3))
    tree.boxes("a.txt", 3)
    tree.images("b/img", "%d.png", range(3))
    tree.boxes("b/img/groundtruth.txt", 3)
    assert [s.name for s in tree.open("folder").sequences] == ["a", "b"]


def test_a_single_box_starts_a_sequence_without_truth(tree: Any) -> None:
    tree.images("a", "%d.png", range(7))
    tree.boxes("a/groundtruth.txt", 1)
    benchmark = tree.open("folder")
    assert benchmark.truth_is_secret and benchmark.problems == ()
    assert benchmark.sequences[0].frames.frame_count == 7


def write_video(path: Path, count: int) -> None:
    with VideoWriter(path, 10) as writer:
        for i in range(count):
            writer.write(np.full((48, 64, 3), 20 * i, np.uint8))


def test_videos_in_a_folder_and_one_alone(tree: Any) -> None:
    write_video(tree.root / "clip.mp4", 6)
    tree.boxes("clip.txt", 6)
    write_video(tree.root / "short.mp4", 6)
    tree.boxes("short.txt", 4)
    benchmark = tree.open("folder")
    assert [(s.name, s.frames.frame_count) for s in benchmark.sequences] == [("clip", 6), ("short", 6)]
    (problem,) = benchmark.notes
    assert problem.startswith("short: ") and "4 boxes for about 6 frames" in problem
    alone = open_benchmark("folder", tree.root / "clip.mp4")
    assert [s.name for s in alone.sequences] == ["clip"] and len(list(alone.sequences[0].frames)) == 6


def test_what_is_wrong_is_said_and_the_rest_goes_on(tree: Any) -> None:
    tree.images("good", "%d.png", range(3))
    tree.boxes("good/groundtruth.txt", 3)
    tree.images("untold", "%d.png", range(3))
    tree.boxes("empty/groundtruth.txt", 3)
    tree.images("hidden", "%d.png", range(3))
    tree.text("hidden/groundtruth.txt", "5,5,0,0\n1,2,3,4\n1,2,3,4\n")
    tree.text("broken.mp4", b"no video")
    tree.boxes("broken.txt", 3)
    tree.images("good.avi.d", "%d.png", range(1))
    tree.text("twice.mp4", b"")
    tree.images("twice", "%d.png", range(3))
    tree.boxes("twice.txt", 3)
    benchmark = tree.open("folder")
    assert [s.name for s in benchmark.sequences] == ["good", "twice"]
    problem = tree.problems_of(benchmark, "untold")[0]
    assert problem.endswith("in groundtruth.txt and groundtruth_rect.txt in it and in untold.txt beside it")
    assert "3 boxes for 0 frames" in tree.problems_of(benchmark, "empty")[0]
    assert "no box for the first frame" in tree.problems_of(benchmark, "hidden")[0]
    assert "broken.mp4" in tree.problems_of(benchmark, "broken")[0]
    assert "have the same name" in tree.problems_of(benchmark, "twice")[0]


def test_nothing_there(tree: Any, tmp_path: Path) -> None:
    with pytest.raises(BenchmarkError, match="holds no sequence of Folder: it needs folders of images"):
        tree.open("folder")
    with pytest.raises(BenchmarkError, match=r"there is no folder of Folder .*gone"):
        open_benchmark("folder", tmp_path / "gone")


def test_the_shared_sequences(shared_dir: Path) -> None:
    benchmark = open_benchmark("folder", shared_dir / "sequences")
    lengths = {s.name: s.frames.frame_count for s in benchmark.sequences}
    assert lengths == {
        "otb_crossing": 120, "otb_man": 134, "vot_bag": 196, "vot_ball1": 105, "vot_book": 175, "vot_car1": 150
    }  # fmt: skip
    assert benchmark.problems == ()


def test_a_hole_in_the_numbering_shifts_nothing(tree: Any) -> None:
    """Six rows for images 1, 2, 4, 5, 6: the third is missing, not the last."""
    for number in (1, 2, 4, 5, 6):
        tree.picture(f"a/img/{number:04d}.jpg", 40 * number)
    tree.text("a/groundtruth.txt", "".join(f"{n},1,9,9\n" for n in range(1, 7)))
    benchmark = tree.open("folder")
    (sequence,), (note,) = benchmark.sequences, benchmark.notes
    assert note == f"a: 1 of 6 images are missing in {tree.root / 'a/img'} (0003.jpg)" and not benchmark.problems
    assert sequence.truth_xywh is not None and sequence.truth_xywh[:, 0].tolist() == [1, 2, 3, 4, 5, 6]
    assert [frame is None for frame in sequence.frames] == [False, False, True, False, False, False]


@pytest.mark.parametrize(
    ("names", "missing"),
    [
        (["1.jpg", "3.jpg"], ["2.jpg"]),
        (["9.jpg", "12.jpg"], ["10.jpg", "11.jpg"]),
        (["a_08.png", "a_11.png"], ["a_09.png", "a_10.png"]),
        (["000.jpg", "001.jpg"], []),
        (["0.jpg", "5.jpg", "10.jpg"], []),  # every fifth frame of a video: that is how they count
        (["a1.jpg", "b3.jpg"], []),
        (["one.jpg", "2.jpg"], []),
        ([], []),
    ],
)
def test_names_between(names: list[str], missing: list[str]) -> None:
    assert missing_between(names) == missing
