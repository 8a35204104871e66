"""GOT-10k's val and test."""

from __future__ import annotations

from typing import Any

import pytest


def add(tree: Any, split: str, number: int, count: int, rows: int, cover: str | None = None) -> str:
    home = f"{split}/GOT-10k_{split.title()}_{number:06d}"
    tree.images(home, "%08d.jpg", range(1, count + 1))
    tree.boxes(f"{home}/groundtruth.txt", rows)
    if cover is not None:
        tree.text(f"{home}/cover.label", "".join(f"{c}\n" for c in cover))
    return home


def test_val_is_visible_where_something_is_covered_by_the_image(tree: Any) -> None:
    home = add(tree, "val", 1, 5, 5, "80138")
    tree.text(f"{home}/absence.label", "0\n0\n0\n1\n0\n")
    tree.text(f"{home}/meta_info.ini", "[METAINFO]\nurl: x\nresolution: (1920, 1080)\nmotion_class: run\n")
    tree.text("val/list.txt", "GOT-10k_Val_000001\n")
    benchmark = tree.open("got10k_val")
    (video,) = benchmark.sequences
    assert video.visible.tolist() == [True, False, True, True, True]  # cover decides, as in the toolkit
    assert video.size_wh == (1920, 1080) and video.frames.frames_per_second == 10
    assert tree.numbers_of(video) == [1, 2, 3, 4, 5] and not benchmark.truth_is_secret
    assert (benchmark.runs, benchmark.metrics, benchmark.official_count) == (3, "got10k", 180)
    assert video.frames.paths[0] == tree.root / home / "00000001.jpg"
    assert benchmark.problems == (f"val: 1 of 180 sequences in {tree.root / 'val'}",)


def test_labels_of_absence_alone_and_none(tree: Any) -> None:
    home = add(tree, "val", 1, 3, 3)
    tree.text(f"{home}/absence.label", "0\n1\n0\n")
    add(tree, "val", 2, 3, 3)
    first, second = tree.open("got10k_val").sequences
    assert first.visible.tolist() == [True, False, True] and second.visible is None and second.size_wh is None


def test_test_has_one_row_and_no_labels(tree: Any) -> None:
    home = add(tree, "test", 1, 7, 1)
    tree.text(f"{home}/groundtruth.txt", "347.0000,443.0000,429.0000,272.0000\n")
    tree.text(f"{home}/meta_info.ini", "[METAINFO]\nresolution = 640x480\n")
    benchmark = tree.open("got10k_test")
    (video,) = benchmark.sequences
    assert video.init_box_xywh == (347.0, 443.0, 429.0, 272.0) and video.truth_xywh.shape == (1, 4)
    assert video.frames.frame_count == 7 and video.size_wh == (640, 480) and benchmark.truth_is_secret


def test_the_order_is_that_of_the_list(tree: Any) -> None:
    for number in (1, 2, 10):
        add(tree, "val", number, 2, 2)
    names = [f"GOT-10k_Val_{n:06d}" for n in (10, 2, 3)]
    tree.text("val/list.txt", "\r\n".join(names))
    benchmark = tree.open("got10k_val")
    assert [s.name for s in benchmark.sequences] == names[:2]
    assert tree.problems_of(benchmark, names[2])[0].startswith(f"{names[2]}: 0 images")


def test_the_root_may_be_the_split(tree: Any) -> None:
    add(tree, "val", 1, 2, 2)
    (tree.root / "val/GOT-10k_Val_000001").rename(tree.root / "GOT-10k_Val_000001")
    (tree.root / "val").rmdir()
    assert len(tree.open("got10k_val").sequences) == 1


def test_labels_that_do_not_fit(tree: Any) -> None:
    add(tree, "val", 1, 3, 3, "888")
    add(tree, "val", 2, 3, 3, "88")
    add(tree, "val", 3, 4, 3, "880")
    add(tree, "val", 4, 2, 3, "880")
    benchmark = tree.open("got10k_val")
    assert [s.name[-1] for s in benchmark.sequences] == ["1", "3", "4"]
    assert "2 flags for 3 boxes" in tree.problems_of(benchmark, "GOT-10k_Val_000002")[0]
    assert benchmark.sequences[1].visible.tolist() == [True, True, False]
    assert benchmark.sequences[1].frames.frame_count == 3
    assert benchmark.sequences[2].visible.tolist() == [True, True] and len(benchmark.sequences[2].truth_xywh) == 2
    assert "3 boxes for 4 frames" in tree.problems_of(benchmark, "GOT-10k_Val_000003")[0]


@pytest.mark.parametrize("line", ["GOT-10k_Val_000001/../../x", "GOT-10k_Val_..\\x"])
def test_names_that_lead_elsewhere_are_refused(tree: Any, line: str) -> None:
    add(tree, "val", 1, 3, 3)
    tree.text("val/list.txt", f"{line}\nGOT-10k_Val_000001\n")
    benchmark = tree.open("got10k_val")
    assert [s.name for s in benchmark.sequences] == ["GOT-10k_Val_000001"]
    assert any("plain names" in problem for problem in benchmark.problems)
