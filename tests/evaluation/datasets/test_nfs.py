"""NFS at 30 frames a second: repacked by pytracking, and the original download."""

from __future__ import annotations

from typing import Any

import pytest


def corners(count: int, start: int = 0) -> str:
    """Lines of the original: id x1 y1 x2 y2 frame lost occluded generated "label"; x1 is the row's number."""
    rows = range(start, start + count)
    return "".join(f'0 {k + 1} {2 * (k + 1)} {k + 31} {2 * (k + 1) + 40} {k} 0 0 1 "the thing"\n' for k in rows)


@pytest.mark.parametrize("separator", ["\t", ",", " "])
def test_repacked(tree: Any, separator: str) -> None:
    tree.images("sequences/bee", "%05d.jpg", range(1, 46))
    tree.boxes("anno/nfs_bee.txt", 45, separator)
    benchmark = tree.open("nfs")
    (bee,) = benchmark.sequences
    assert (bee.name, bee.aliases, bee.frames.frames_per_second) == ("nfs_bee", ("bee",), 30.0)
    assert tree.numbers_of(bee) == list(range(1, 46)) and bee.frames.paths[0].name == "00001.jpg"
    assert len(benchmark.problems) == 99 and not tree.problems_of(benchmark, "nfs_bee")


@pytest.mark.parametrize(("images", "rows", "used"), [(45, 44, 44), (45, 46, 45), (44, 45, 44), (46, 45, 45)])
def test_a_difference_of_one_is_known_and_cut(tree: Any, images: int, rows: int, used: int) -> None:
    tree.images("sequences/bee", "%05d.jpg", range(1, images + 1))
    tree.boxes("anno/nfs_bee.txt", rows)
    benchmark = tree.open("nfs")
    (bee,) = benchmark.sequences
    assert bee.frames.frame_count == used and tree.numbers_of(bee) == list(range(1, used + 1))
    assert not tree.problems_of(benchmark, "nfs_bee")


def test_a_difference_of_more_is_said(tree: Any) -> None:
    tree.images("sequences/bee", "%05d.jpg", range(1, 46))
    tree.boxes("anno/nfs_bee.txt", 40)
    tree.images("sequences/car_jumping", "%05d.jpg", range(1, 21))
    tree.boxes("anno/nfs_car_jumping.txt", 22)
    benchmark = tree.open("nfs")
    assert [s.name for s in benchmark.sequences] == ["nfs_bee"] and tree.numbers_of(benchmark.sequences[0])[-1] == 40
    assert "40 boxes for 45 frames; the first 40" in tree.problems_of(benchmark, "nfs_bee")[0]
    assert "20 of 21 images" in tree.problems_of(benchmark, "nfs_car_jumping")[0]


@pytest.mark.parametrize("rows", [353, 360, 361, 345])
def test_original_takes_every_eighth_row(tree: Any, rows: int) -> None:
    tree.images("bee/30/bee", "%05d.jpg", range(1, 46))
    tree.text("bee/30/bee.txt", corners(rows))
    (bee,) = tree.open("nfs").sequences
    used = min(45, (rows + 7) // 8)
    assert tree.numbers_of(bee) == [8 * k + 1 for k in range(used)]
    assert bee.init_box_xywh == (1.0, 2.0, 30.0, 40.0)  # w = x2 - x1, nothing added
    assert bee.frames.paths[0] == tree.root / "bee/30/bee/00001.jpg" and bee.frames.frame_count == used


def test_original_that_somebody_has_thinned(tree: Any) -> None:
    tree.images("bee/30/bee", "%05d.jpg", range(1, 46))
    tree.text("bee/30/bee.txt", corners(45))
    assert tree.numbers_of(tree.open("nfs").sequences[0]) == list(range(1, 46))


def test_original_of_another_rate_is_left_out(tree: Any) -> None:
    for name, count in (("bee", 45), ("yoyo", 67)):
        tree.images(f"{name}/30/{name}", "%05d.jpg", range(1, count + 1))
    tree.text("bee/30/bee.txt", corners(45 * 4))
    tree.text("yoyo/30/yoyo.txt", corners(67 * 8))
    benchmark = tree.open("nfs")
    assert [s.name for s in benchmark.sequences] == ["nfs_yoyo"]
    assert "has 180 boxes, of which every 8th makes 23, for 45 images" in tree.problems_of(benchmark, "nfs_bee")[0]


@pytest.mark.parametrize("text", ["0 1 2 x 4 0\n", "0 1 2\n", "", "\udcff"])
def test_original_that_cannot_be_read(tree: Any, text: str) -> None:
    tree.images("yoyo/30/yoyo", "%05d.jpg", range(1, 68))
    tree.text("yoyo/30/yoyo.txt", corners(67 * 8))
    tree.images("bee/30/bee", "%05d.jpg", range(1, 46))
    tree.text("bee/30/bee.txt", text.encode("utf-8", "surrogateescape"))
    benchmark = tree.open("nfs")
    assert [s.name for s in benchmark.sequences] == ["nfs_yoyo"]
    assert "bee.txt" in tree.problems_of(benchmark, "nfs_bee")[0]


def test_odd_names(tree: Any) -> None:
    for name, count in (("footbal_skill", 131), ("MachLoop_jet", 99), ("zebra_fish", 671)):
        tree.images(f"sequences/{name}", "%05d.jpg", range(1, count + 1))
        tree.boxes(f"anno/nfs_{name}.txt", count)
    benchmark = tree.open("nfs30")
    assert [s.name for s in benchmark.sequences] == ["nfs_MachLoop_jet", "nfs_footbal_skill", "nfs_zebra_fish"]
