"""LaSOT by class and flat, with its flags."""

from __future__ import annotations

import errno
import os
from typing import Any

import numpy as np
import pytest


def add(tree: Any, home: str, count: int, occluded: set[int] = frozenset(), outside: set[int] = frozenset()) -> None:
    tree.images(f"{home}/img", "%08d.jpg", range(1, count + 1))
    tree.boxes(f"{home}/groundtruth.txt", count)
    for file, where in (("full_occlusion", occluded), ("out_of_view", outside)):
        tree.text(f"{home}/{file}.txt", ",".join(str(int(i in where)) for i in range(count)))
    tree.text(f"{home}/nlp.txt", "a thing that moves")


@pytest.mark.parametrize("home", ["airplane/airplane-1", "airplane-1"])
def test_both_layouts(tree: Any, home: str) -> None:
    add(tree, home, 9, {2, 3}, {3, 8})
    benchmark = tree.open("lasot")
    (airplane,) = benchmark.sequences
    assert airplane.name == "airplane-1" and airplane.frames.frame_count == 9
    assert airplane.frames.paths[0] == tree.root / home / "img/00000001.jpg"
    assert tree.numbers_of(airplane) == list(range(1, 10))
    assert np.flatnonzero(~airplane.visible).tolist() == [2, 3, 8]
    assert (benchmark.official_count, len(benchmark.problems)) == (280, 279)


def test_test_and_train_are_apart_and_in_the_order_of_the_list(tree: Any) -> None:
    for name in ("airplane-2", "airplane-15", "airplane-9", "zebra-1", "zebra-10"):
        add(tree, f"{name.split('-')[0]}/{name}", 3)
    assert [s.name for s in tree.open("lasot").sequences] == ["airplane-9", "airplane-15", "zebra-10"]
    train = tree.open("lasot_train")
    assert [s.name for s in train.sequences] == ["airplane-2", "zebra-1"]
    assert (train.official_count, len(train.problems)) == (1120, 1118)


def test_zero_boxes_of_absent_frames_are_accepted(tree: Any) -> None:
    add(tree, "airplane-1", 3, {1})
    tree.text("airplane-1/groundtruth.txt", "1,2,3,4\n0,0,0,0\n1,2,3,4\n")
    (airplane,) = tree.open("lasot").sequences
    assert airplane.truth_xywh.tolist()[1] == [0, 0, 0, 0] and airplane.visible.tolist() == [True, False, True]


def test_what_does_not_fit_is_left_out(tree: Any) -> None:
    for name in ("airplane-1", "airplane-9", "airplane-13", "airplane-15", "bear-2"):
        add(tree, name, 5)
    tree.text("airplane-9/out_of_view.txt", "0,0,0")
    (tree.root / "airplane-13/full_occlusion.txt").unlink()
    tree.text("airplane-15/full_occlusion.txt", "0,0,no,0,0")
    (tree.root / "bear-2/img/00000003.jpg").unlink()
    benchmark = tree.open("lasot")
    assert [s.name for s in benchmark.sequences] == ["airplane-1"]
    assert "has 3 flags for 5 boxes" in tree.problems_of(benchmark, "airplane-9")[0]
    assert "full_occlusion.txt cannot be read" in tree.problems_of(benchmark, "airplane-13")[0]
    assert "not only numbers" in tree.problems_of(benchmark, "airplane-15")[0]
    assert tree.problems_of(benchmark, "bear-2")[0].startswith("bear-2: 3 of 4 images in ")


def test_one_box_more_than_images(tree: Any) -> None:
    add(tree, "monkey-17", 5, {4})
    (tree.root / "monkey-17/img/00000005.jpg").unlink()
    benchmark = tree.open("lasot")
    (monkey,) = benchmark.sequences
    assert monkey.frames.frame_count == len(monkey.truth_xywh) == len(monkey.visible) == 4
    assert "5 boxes for 4 frames; the first 4" in tree.problems_of(benchmark, "monkey-17")[0]


def test_an_archive_that_is_not_unpacked_is_hinted_at(tree: Any) -> None:
    add(tree, "airplane-1", 3)
    tree.text("bear.zip", b"PK")
    assert tree.problems_of(tree.open("lasot"), "bear-2")[0].endswith("unpack bear.zip")


def test_attributes_of_the_evaluation_toolkit(tree: Any) -> None:
    add(tree, "airplane-1", 3)
    tree.text("annos/att/airplane-1.txt", "0,1,0,0,0,1,0,0,1,0,0,0,1,0\n")
    assert tree.open("lasot").sequences[0].attributes == ("POC", "ROT", "SV", "LR")


def test_a_folder_that_cannot_be_listed_leaves_the_others(tree: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    add(tree, "airplane-1", 3)
    add(tree, "bear-2", 3)
    real, bad = os.scandir, tree.root / "bear-2" / "img"

    def scandir(folder: Any) -> Any:
        if folder == bad:
            raise PermissionError(errno.EACCES, "Permission denied")
        return real(folder)

    monkeypatch.setattr(os, "scandir", scandir)
    benchmark = tree.open("lasot")
    assert [s.name for s in benchmark.sequences] == ["airplane-1"]
    assert f"{bad} cannot be listed (Permission denied)" in benchmark.problems
