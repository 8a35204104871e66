"""Folders of frames with and without ground truth."""

from __future__ import annotations

import warnings
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from ebm_tracker.annotations import AnnotationError, AnnotationWarning
from ebm_tracker.errors import VideoError
from ebm_tracker.evaluation.sequences import open_frame_folder


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A sequence of three frames as benchmarks have it, still without ground truth."""
    home = tmp_path / "seq"
    (home / "img").mkdir(parents=True)
    for number in (1, 2, 3):
        Image.new("RGB", (32, 24), (number, 0, 0)).save(home / "img" / f"{number:04d}.png")
    return home


@pytest.mark.parametrize("name", ["groundtruth.txt", "groundtruth_rect.txt"])
@pytest.mark.parametrize("given", [".", "img"])
def test_first_box_from_the_truth(folder: Path, name: str, given: str) -> None:
    (folder / name).write_text("1,2,3,4\n5,6,7,8\n9,10,11,12\n")
    sequence = open_frame_folder(folder / given)
    assert sequence.name == "seq"
    assert sequence.init_box_xywh == (1, 2, 3, 4)
    np.testing.assert_array_equal(sequence.truth_xywh, [[1, 2, 3, 4], [5, 6, 7, 8], [9, 10, 11, 12]])
    assert [frame[0, 0, 0] for frame in sequence.frames if frame is not None] == [1, 2, 3]


def test_given_box_wins(folder: Path) -> None:
    (folder / "groundtruth.txt").write_text("1,2,3,4\n5,6,7,8\n9,10,11,12\n")
    sequence = open_frame_folder(folder, (5.5, 5, 5, 5))
    assert sequence.init_box_xywh == (5.5, 5, 5, 5)
    assert sequence.truth_xywh is not None


def test_images_beside_the_truth(folder: Path) -> None:
    (folder / "img" / "groundtruth.txt").write_text("1,2,3,4\n" * 3)
    sequence = open_frame_folder(folder / "img")
    assert (sequence.name, sequence.init_box_xywh) == ("img", (1, 2, 3, 4))


def test_no_truth(folder: Path) -> None:
    assert open_frame_folder(folder, (1, 2, 3, 4)).truth_xywh is None
    with pytest.raises(
        AnnotationError, match=r"seq holds neither groundtruth\.txt nor groundtruth_rect\.txt"
    ):
        open_frame_folder(folder)


@pytest.mark.parametrize("text", ["", "NaN,NaN,NaN,NaN\n1,2,3,4\n1,2,3,4\n", "0,0,0,0\n1,2,3,4\n1,2,3,4\n"])
@pytest.mark.filterwarnings("ignore::ebm_tracker.annotations.AnnotationWarning")
def test_target_absent_in_the_first_frame(folder: Path, text: str) -> None:
    (folder / "groundtruth.txt").write_text(text)
    with pytest.raises(AnnotationError, match="no box for the first frame"):
        open_frame_folder(folder)


@pytest.mark.parametrize("rows", [2, 4])
def test_length_mismatch_warns(folder: Path, rows: int) -> None:
    (folder / "groundtruth.txt").write_text("1,2,3,4\n" * rows)
    with pytest.warns(AnnotationWarning, match=rf"groundtruth\.txt has {rows} boxes for 3 frames"):
        sequence = open_frame_folder(folder)
    assert sequence.truth_xywh is not None and len(sequence.truth_xywh) == rows


def test_secret_truth_has_one_row(folder: Path) -> None:
    (folder / "groundtruth.txt").write_text("1,2,3,4")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert open_frame_folder(folder).init_box_xywh == (1, 2, 3, 4)


def test_no_folder(tmp_path: Path) -> None:
    with pytest.raises(VideoError, match="no folder"):
        open_frame_folder(tmp_path / "nowhere")
