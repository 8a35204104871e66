"""TrackingNet's test set, whose files have one row, and its training sets."""

from __future__ import annotations

from typing import Any

import pytest


def add(tree: Any, folder: str, name: str, count: int, rows: int = 1) -> None:
    tree.images(f"{folder}/frames/{name}", "%d.jpg", range(count))
    tree.boxes(f"{folder}/anno/{name}.txt", rows)


def test_one_row_of_truth(tree: Any) -> None:
    add(tree, "TEST", "-a_0", 12)
    tree.text("TEST/anno/-a_0.txt", " 12.00, 34.50,  56.00,78.25\n")
    tree.images("TEST/frames/b_1", "%d.jpg", range(3))
    tree.text("TEST/anno/b_1.txt", "-3.50,2,900,8")  # no line end, a corner outside
    benchmark = tree.open("trackingnet")
    first, second = benchmark.sequences
    assert (first.name, first.init_box_xywh) == ("-a_0", (12.0, 34.5, 56.0, 78.25))
    assert first.truth_xywh.shape == (1, 4) and second.init_box_xywh == (-3.5, 2.0, 900.0, 8.0)
    assert benchmark.truth_is_secret
    assert (benchmark.runs, benchmark.metrics, benchmark.official_count) == (1, "trackingnet", 511)
    assert benchmark.problems == (f"TEST: 2 of 511 files in {tree.root / 'TEST/anno'}",)


def test_images_are_in_the_order_of_their_numbers(tree: Any) -> None:
    for number in range(12):
        tree.picture(f"TEST/frames/a_0/{number}.jpg", 20 * number)
    tree.boxes("TEST/anno/a_0.txt", 1)
    (video,) = tree.open("trackingnet").sequences
    assert [p.name for p in video.frames.paths] == [f"{k}.jpg" for k in range(12)]
    assert [round(int(frame[0, 0, 0]) / 20) for frame in video.frames] == list(range(12))


def test_other_files_among_the_images_are_ignored(tree: Any) -> None:
    add(tree, "TEST", "a_0", 12)
    for name in ("cover.jpg", "7_small.jpg", "._3.jpg", "12.png"):
        tree.text(f"TEST/frames/a_0/{name}", "")
    tree.text("TEST/anno/._a_0.txt", b"left over of an archive")
    benchmark = tree.open("trackingnet")
    assert [s.frames.frame_count for s in benchmark.sequences] == [12]
    assert benchmark.problems == (f"TEST: 1 of 511 files in {tree.root / 'TEST/anno'}",)


def test_the_root_may_be_test_itself(tree: Any) -> None:
    add(tree, ".", "a_0", 4)
    assert [s.frames.frame_count for s in tree.open("trackingnet").sequences] == [4]


def test_holes_archives_and_missing_frames(tree: Any) -> None:
    for name in ("a_0", "b_0", "c_0"):
        add(tree, "TEST", name, 12)
    (tree.root / "TEST/frames/b_0/7.jpg").unlink()
    (tree.root / "TEST/frames/c_0").rename(tree.root / "TEST/frames/elsewhere")
    tree.text("TEST/anno/d_0.txt", "1,2,3,4")
    tree.text("TEST/zips/d_0.zip", b"PK")
    benchmark = tree.open("trackingnet")
    assert [s.name for s in benchmark.sequences] == ["a_0"]
    assert "7.jpg missing" in tree.problems_of(benchmark, "b_0")[0]
    assert tree.problems_of(benchmark, "c_0")[0].startswith("c_0: 0 images")
    assert "unpack" in tree.problems_of(benchmark, "d_0")[0]


def test_training_sets(tree: Any) -> None:
    add(tree, "TRAIN_11", "z_0", 5, 5)
    add(tree, "TRAIN_11", "a_0", 6, 4)
    add(tree, "TRAIN_3", "m_0", 2, 2)
    held_out = tree.open("trackingnet_train")
    assert [s.name for s in held_out.sequences] == ["a_0", "z_0"]
    assert tree.numbers_of(held_out.sequences[0]) == [1, 2, 3, 4]
    assert held_out.notes[0].endswith("has 4 boxes for 6 frames; the first 4 of both are used")
    assert not held_out.truth_is_secret and held_out.official_count is None
    both = tree.open("trackingnet_train", sets=(3, 11))
    assert [s.name for s in both.sequences] == ["m_0", "a_0", "z_0"]


def test_a_training_file_of_one_row_is_no_secret_but_a_fault(tree: Any) -> None:
    add(tree, "TRAIN_11", "a_0", 6, 1)
    add(tree, "TRAIN_11", "b_0", 6, 6)
    benchmark = tree.open("trackingnet_train")
    assert [s.name for s in benchmark.sequences] == ["b_0"]
    assert tree.problems_of(benchmark, "a_0")[0].endswith("has 1 box for 6 frames")


@pytest.mark.parametrize("sets", [(), (12,), (-1,), (1, 1)])
def test_sets_that_there_are_not(tree: Any, sets: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match="different numbers of 0 to 11"):
        tree.open("trackingnet_train", sets=sets)
