"""VOT's folders: polygons, tags, both places of images."""

from __future__ import annotations

from typing import Any

POLYGON = "10,20,40,20,40,60,10,60"


def add(tree: Any, name: str, count: int, images: str = "color") -> None:
    tree.images(f"{name}/{images}", "%08d.jpg", range(1, count + 1))
    tree.text(f"{name}/groundtruth.txt", f"{POLYGON}\n" * count)


def test_list_polygons_tags_and_metadata(tree: Any) -> None:
    for name in ("ants1", "zebrafish1", "extra"):
        add(tree, name, 4)
    tree.text("list.txt", "zebrafish1\nants1\n")
    tree.text("ants1/groundtruth.txt", f"{POLYGON}\n1.5,2,3,4\nNaN,NaN,NaN,NaN\n20,10,30,20,20,30,10,20\n")
    tree.text("ants1/occlusion.tag", "0\n0\n1\n0\n")
    tree.text("ants1/camera_motion.tag", "0\n0\n0\n0\n")
    tree.text("ants1/size_change.label", "1\n1\n1\n1\n")
    tree.text("ants1/sequence", "name=ants1\nfps=20\nformat=default\nchannels.color=color/%08d.jpg\n")
    benchmark = tree.open("vot2018")
    zebrafish, ants = benchmark.sequences
    assert (zebrafish.name, ants.name) == ("zebrafish1", "ants1")
    assert ants.truth_xywh[[0, 1, 3]].tolist() == [[10, 20, 30, 40], [1.5, 2, 3, 4], [10, 10, 20, 20]]
    assert ants.attributes == ("occlusion", "size_change") and zebrafish.attributes == ()
    assert (ants.frames.frames_per_second, zebrafish.frames.frames_per_second) == (20, 25)
    assert (benchmark.runs, benchmark.metrics, benchmark.official_count) == (15, "plain", None)
    assert benchmark.problems == ()


def test_images_beside_the_truth_and_no_list(tree: Any) -> None:
    add(tree, "b2", 3, ".")
    add(tree, "b10", 3, "img")
    tree.text("readme/notes.txt", "x")
    assert [(s.name, s.frames.frame_count) for s in tree.open("vot").sequences] == [("b2", 3), ("b10", 3)]


def test_a_workspace_of_the_toolkit(tree: Any) -> None:
    add(tree, "sequences/ants1", 3)
    tree.text("sequences/list.txt", "ants1\n")
    assert [s.name for s in tree.open("vot").sequences] == ["ants1"]


def test_what_is_wrong_is_said(tree: Any) -> None:
    for name in ("a", "c", "d", "e"):
        add(tree, name, 4)
    tree.text("list.txt", "a\nb\nc\nd\ne\n../a\n\n")
    tree.text("c/groundtruth.txt", f"{POLYGON}\n1,2,3\n")
    for image in (tree.root / "d/color").iterdir():
        image.unlink()
    tree.text("e/occlusion.tag", "0\nyes\n")
    tree.text("e/sequence", "fps=fast\n")
    benchmark = tree.open("vot")
    assert [s.name for s in benchmark.sequences] == ["a", "e"]
    assert "there is no folder" in tree.problems_of(benchmark, "b")[0]
    assert "line 2" in tree.problems_of(benchmark, "c")[0]
    assert tree.problems_of(benchmark, "d")[0].startswith("d: 0 images in ")
    assert "occlusion.tag" in tree.problems_of(benchmark, "e")[0] and benchmark.sequences[1].attributes == ()
    assert any("'../a'" in problem for problem in benchmark.problems)
