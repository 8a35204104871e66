"""OTB-100's dialects, on miniature trees with the exact names and lengths."""

from __future__ import annotations

from typing import Any

import pytest


def add(tree: Any, folder: str, count: int, rows: int | None = None, separator: str = ",", first: int = 1) -> None:
    tree.images(f"{folder}/img", "%04d.jpg", range(first, first + count))
    tree.boxes(f"{folder}/groundtruth_rect.txt", count if rows is None else rows, separator)


@pytest.mark.parametrize("separator", [",", "\t", " ", ", ", "  "])
def test_separators(tree: Any, separator: str) -> None:
    add(tree, "Deer", 71, separator=separator)
    (deer,) = tree.open("otb").sequences
    assert deer.name == "Deer" and deer.aliases == ()
    assert deer.init_box_xywh == (1.0, 2.0, 30.0, 40.0)
    assert tree.numbers_of(deer) == list(range(1, 72))
    assert deer.frames.frame_count == 71 and deer.visible is None


def test_what_is_not_there_is_named_with_its_count(tree: Any) -> None:
    add(tree, "Deer", 71)
    benchmark = tree.open("otb")
    assert (benchmark.official_count, benchmark.runs, benchmark.metrics) == (100, 5, "pytracking")
    assert len(benchmark.problems) == 99
    (woman,) = tree.problems_of(benchmark, "Woman")
    assert "0 of 597 images" in woman and "Woman" in woman.split(": ", 1)[1]
    assert not tree.problems_of(benchmark, "Deer")


def test_david_starts_at_image_300(tree: Any) -> None:
    tree.images("David/img", "%04d.jpg", range(1, 771))
    tree.boxes("David/groundtruth_rect.txt", 471)
    (david,) = tree.open("otb").sequences
    assert david.frames.paths[0].name == "0300.jpg" and david.frames.paths[-1].name == "0770.jpg"
    assert tree.numbers_of(david) == list(range(1, 472))


def test_david_with_a_row_for_each_of_the_770_images_is_not_guessed_at(tree: Any) -> None:
    add(tree, "Deer", 71)
    tree.images("David/img", "%04d.jpg", range(1, 771))
    path = tree.boxes("David/groundtruth_rect.txt", 770)
    benchmark = tree.open("otb")
    assert [s.name for s in benchmark.sequences] == ["Deer"]
    assert tree.problems_of(benchmark, "David") == [f"David: {path} has 770 boxes for 471 frames"]


@pytest.mark.parametrize(("rows", "start"), [(354, 1), (349, 6)])
def test_tiger1_loses_its_first_five_frames_and_rows(tree: Any, rows: int, start: int) -> None:
    tree.images("Tiger1/img", "%04d.jpg", range(1, 355))
    tree.boxes("Tiger1/groundtruth_rect.txt", rows, "\t", start)
    (tiger,) = tree.open("otb").sequences
    assert tiger.frames.paths[0].name == "0006.jpg" and tiger.frames.frame_count == 349
    assert tree.numbers_of(tiger) == list(range(6, 355))
    assert tiger.init_box_xywh == (6.0, 12.0, 30.0, 40.0)


def test_tiger1_with_another_count_is_left_out(tree: Any) -> None:
    add(tree, "Deer", 71)
    add(tree, "Tiger1", 354, rows=350)
    (problem,) = tree.problems_of(tree.open("otb"), "Tiger1")
    assert problem.endswith("has 350 boxes instead of 354 or, without the first 5, 349")


def test_human4_takes_its_second_file(tree: Any) -> None:
    tree.images("Human4/img", "%04d.jpg", range(1, 668))
    tree.text("Human4/groundtruth_rect.1.txt", "")
    tree.boxes("Human4/groundtruth_rect.2.txt", 667)
    (human,) = tree.open("otb").sequences
    assert human.name == "Human4_2" and "Human4-2" in human.aliases and human.frames.frame_count == 667


def test_two_targets_in_one_folder(tree: Any) -> None:
    tree.images("Jogging/img", "%04d.jpg", range(1, 308))
    tree.boxes("Jogging/groundtruth_rect.1.txt", 307)
    tree.boxes("Jogging/groundtruth_rect.2.txt", 307, start=1001)
    benchmark = tree.open("otb")
    first, second = benchmark.sequences
    assert (first.name, second.name) == ("Jogging_1", "Jogging_2")
    assert (tree.numbers_of(first)[0], tree.numbers_of(second)[0]) == (1, 1001)
    assert first.frames.paths == second.frames.paths
    for alias in ("Jogging.2", "Jogging-2", "jogging2", "JOGGING_2"):
        assert [s.name for s in benchmark.only([alias]).sequences] == ["Jogging_2"]


def test_folders_of_one_target_each(tree: Any) -> None:
    for number, start in ((1, 1), (2, 1001)):
        tree.images(f"Jogging-{number}/img", "%04d.jpg", range(1, 308))
        tree.boxes(f"Jogging-{number}/groundtruth_rect.txt", 307, start=start)
    found = [(s.name, tree.numbers_of(s)[0]) for s in tree.open("otb").sequences]
    assert found == [("Jogging_1", 1), ("Jogging_2", 1001)]


def test_boards_images_have_five_digits(tree: Any) -> None:
    tree.images("Board/img", "%05d.jpg", range(1, 699))
    tree.boxes("Board/groundtruth_rect.txt", 698)
    (board,) = tree.open("otb").sequences
    assert board.frames.paths[-1].name == "00698.jpg"


@pytest.mark.parametrize(("folder", "ending"), [("img", "jpg"), ("jpg", "png"), ("img", "png"), ("jpg", "jpg")])
def test_kitesurf(tree: Any, folder: str, ending: str) -> None:
    tree.images(f"KiteSurf/{folder}", f"%04d.{ending}", range(1, 85))
    tree.boxes("KiteSurf/groundtruth_rect.txt", 84)
    (kite,) = tree.open("otb").sequences
    assert kite.frames.paths[0] == tree.root / "KiteSurf" / folder / f"0001.{ending}"


def test_case_of_folders_does_not_matter(tree: Any) -> None:
    add(tree, "deer", 71)
    add(tree, "MATRIX", 100)
    assert [s.name for s in tree.open("otb").sequences] == ["Deer", "Matrix"]


def test_more_images_than_the_range_are_ignored(tree: Any) -> None:
    tree.images("Football1/img", "%04d.jpg", range(1, 80))
    tree.boxes("Football1/groundtruth_rect.txt", 74)
    benchmark = tree.open("otb")
    assert benchmark.sequences[0].frames.frame_count == 74 and not tree.problems_of(benchmark, "Football1")


def test_missing_images_leave_the_sequence_out(tree: Any) -> None:
    add(tree, "Deer", 71)
    add(tree, "Skiing", 81)
    for number in (3, 4, 5, 81):
        (tree.root / f"Skiing/img/{number:04d}.jpg").unlink()
    benchmark = tree.open("otb")
    assert [s.name for s in benchmark.sequences] == ["Deer"]
    (problem,) = tree.problems_of(benchmark, "Skiing")
    where = tree.root / "Skiing/img"
    assert problem == f"Skiing: 77 of 81 images in {where} (0003.jpg, 0004.jpg, 0005.jpg and 1 more missing)"


@pytest.mark.parametrize(("rows", "used"), [(329, 329), (500, 472)])
def test_truth_of_another_length_is_cut_and_said(tree: Any, rows: int, used: int) -> None:
    add(tree, "ClifBar", 472, rows=rows)
    benchmark = tree.open("otb")
    (clif,) = benchmark.sequences
    assert tree.numbers_of(clif) == list(range(1, used + 1)) and clif.frames.frame_count == used
    path = tree.root / "ClifBar/groundtruth_rect.txt"
    expected = f"ClifBar: {path} has {rows} boxes for 472 frames; the first {used} of both are used"
    assert tree.problems_of(benchmark, "ClifBar") == [expected]


def test_a_file_that_cannot_be_read_leaves_the_others(tree: Any) -> None:
    add(tree, "Deer", 71)
    add(tree, "Man", 134)
    add(tree, "Skiing", 81)
    tree.text("Man/groundtruth_rect.txt", "1,2,3,4\n1,2,x,4\n")
    (tree.root / "Skiing/groundtruth_rect.txt").unlink()
    benchmark = tree.open("otb")
    assert [s.name for s in benchmark.sequences] == ["Deer"]
    assert "line 2" in tree.problems_of(benchmark, "Man")[0]
    assert "cannot be read" in tree.problems_of(benchmark, "Skiing")[0]


def test_attributes_by_name_and_by_flag(tree: Any) -> None:
    add(tree, "Deer", 71)
    add(tree, "Skiing", 81)
    add(tree, "Man", 134)
    tree.text("Deer/attrs.txt", "MB, FM, IPR, BC, LR\n")
    tree.text("anno/att/skiing.txt", "1,0,1,0,0,0,0,1,0,0,1\n")
    tree.text("Man/attrs.txt", "what is this\n")
    benchmark = tree.open("otb")
    by_name = {s.name: set(s.attributes) for s in benchmark.sequences}
    assert by_name["Deer"] == {"MB", "FM", "IPR", "BC", "LR"}
    assert by_name["Skiing"] == {"IV", "SV", "IPR", "LR"}
    assert by_name["Man"] == set() and "attrs.txt" in tree.problems_of(benchmark, "Man")[0]
