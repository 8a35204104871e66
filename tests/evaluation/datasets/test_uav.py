"""UAV123's layout: parts of videos, rows of NaN, attributes."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from ebm_tracker.evaluation.datasets.attributes import UAV_ORDER

SEQ, ANNO = "data_seq/UAV123", "anno/UAV123"


def add(tree: Any, name: str, count: int, folder: str | None = None, first: int = 1) -> None:
    tree.images(f"{SEQ}/{folder or name}", "%06d.jpg", range(first, first + count))
    tree.boxes(f"{ANNO}/{name}.txt", count)


def test_names_and_aliases(tree: Any) -> None:
    add(tree, "uav5", 139)
    benchmark = tree.open("uav")
    (uav5,) = benchmark.sequences
    assert (uav5.name, uav5.aliases) == ("uav_uav5", ("uav5",))
    assert (benchmark.title, benchmark.official_count, benchmark.metrics) == ("UAV123", 123, "pytracking")
    assert len(benchmark.problems) == 122
    assert benchmark.only(["UAV5"]).sequences == (uav5,)


def test_parts_share_the_image_at_their_border(tree: Any) -> None:
    add(tree, "car8_1", 1357, "car8")
    add(tree, "car8_2", 1219, "car8", first=1357)
    first, second = tree.open("uav123").sequences
    assert first.frames.paths[-1] == second.frames.paths[0] == tree.root / SEQ / "car8/001357.jpg"
    assert second.frames.paths[-1].name == "002575.jpg"
    assert (len(tree.numbers_of(first)), len(tree.numbers_of(second))) == (1357, 1219)
    assert second.init_box_xywh == (1.0, 2.0, 30.0, 40.0)  # its own file's first row


def test_rows_of_nan_stay_and_mean_absent(tree: Any) -> None:
    add(tree, "uav5", 139)
    rows = ["NaN,NaN,NaN,NaN" if 50 <= k < 60 else f"{k},{2 * k},30,40" for k in range(139)]
    tree.text(f"{ANNO}/uav5.txt", "\r\n".join(rows) + "\r\n")
    tree.text(f"{ANNO}/uav6.txt", "NaN,NaN,NaN,NaN\n" + "1,2,3,4\n" * 108)
    tree.images(f"{SEQ}/uav6", "%06d.jpg", range(1, 110))
    benchmark = tree.open("uav")
    (uav5,) = benchmark.sequences
    assert uav5.truth_xywh is not None
    assert np.flatnonzero(np.isnan(uav5.truth_xywh).all(axis=1)).tolist() == list(range(50, 60))
    assert np.isnan(uav5.truth_xywh).any(axis=1).sum() == 10 and uav5.visible is None
    assert "has no box for the first frame" in tree.problems_of(benchmark, "uav_uav6")[0]


def test_rows_at_the_border_and_without_size_are_accepted(tree: Any) -> None:
    add(tree, "uav6", 109)
    tree.text(f"{ANNO}/uav6.txt", "0,0,30,40\n" + "5,0,0,0\n" * 108)
    (uav6,) = tree.open("uav").sequences
    assert uav6.init_box_xywh == (0.0, 0.0, 30.0, 40.0)


@pytest.mark.parametrize(("rows", "is_kept"), [(1218, True), (1220, False), (1, False)])
def test_a_part_in_the_middle_of_a_video_with_another_length(tree: Any, rows: int, is_kept: bool) -> None:
    add(tree, "car8_1", 1357, "car8")
    tree.images(f"{SEQ}/car8", "%06d.jpg", range(1357, 2576))
    tree.boxes(f"{ANNO}/car8_2.txt", rows)
    benchmark = tree.open("uav")
    assert [s.name for s in benchmark.sequences] == ["uav_car8_1", "uav_car8_2"][: 1 + is_kept]
    assert f"has {rows:,} box{'es' * (rows > 1)} for 1,219 frames" in tree.problems_of(benchmark, "uav_car8_2")[0]


def test_missing_tail_of_a_shared_folder_costs_only_the_last_part(tree: Any) -> None:
    add(tree, "car8_1", 1357, "car8")
    tree.boxes(f"{ANNO}/car8_2.txt", 1219)
    benchmark = tree.open("uav")
    assert [s.name for s in benchmark.sequences] == ["uav_car8_1"]
    assert "1 of 1,219 images" in tree.problems_of(benchmark, "uav_car8_2")[0]


def test_attributes(tree: Any) -> None:
    add(tree, "uav5", 139)
    add(tree, "uav6", 109)
    tree.text(f"{ANNO}/att/uav5.txt", "1,0,1,0,0,0,0,0,0,0,0,1\n")
    tree.text(f"{ANNO}/att/uav6.txt", "1,0,1\n")
    benchmark = tree.open("uav")
    assert len(set(UAV_ORDER)) == 12
    assert [s.attributes for s in benchmark.sequences] == [("SV", "LR", "SOB"), ()]
    assert "must hold 12 flags" in tree.problems_of(benchmark, "uav_uav6")[0]


def test_the_root_may_be_the_folder_above(tree: Any) -> None:
    tree.images("UAV123/data_seq/UAV123/uav6", "%06d.jpg", range(1, 110))
    tree.boxes("UAV123/anno/UAV123/uav6.txt", 109)
    assert [s.name for s in tree.open("uav").sequences] == ["uav_uav6"]


def test_left_overs_of_archives_are_no_images(tree: Any) -> None:
    add(tree, "uav6", 109)
    tree.text(f"{SEQ}/uav6/._000001.jpg", b"x")
    tree.text(f"{SEQ}/uav6/Thumbs.db", b"x")
    assert tree.open("uav").sequences[0].frames.frame_count == 109
