"""What is left of a track: complete files, whatever ended it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from ebm_tracker.evaluation.recorder import TrackRecorder
from ebm_tracker.evaluation.results import read_record
from ebm_tracker.evaluation.runner import track_sequence
from ebm_tracker.evaluation.sequences import TrackingSequence
from ebm_tracker.video import VideoFile

Make = Callable[..., TrackingSequence]
NAMES = {"made.txt", "made_time.txt", "made_scores.csv", "made.mp4", "made_sheet.png"}


def record_all(tracker: Any, sequence: TrackingSequence, folder: Path, **options: Any) -> TrackRecorder:
    with TrackRecorder(sequence, folder, "stand-in", **options) as recorder:
        for step in track_sequence(tracker, sequence):
            recorder.add(step)
    return recorder


def test_all_files(stand_in: Any, make_sequence: Make, picture: np.ndarray, tmp_path: Path) -> None:
    bigger = np.zeros((90, 100, 3), np.uint8)
    recorder = record_all(stand_in, make_sequence([picture, picture, None, bigger]), tmp_path)
    assert {path.name for path in tmp_path.iterdir()} == NAMES
    assert len(read_record(recorder.paths)) == 4
    video = VideoFile(recorder.paths.video)
    assert (video.size_wh, video.frame_count, video.frames_per_second) == (
        (320, 240),
        4,
        25,
    )  # enlarged 4 times
    with Image.open(recorder.paths.sheet) as sheet:
        assert sheet.width > 1500
    assert recorder.scores is None


def test_truth_is_scored(stand_in: Any, make_sequence: Make, picture: np.ndarray, tmp_path: Path) -> None:
    truth = np.array([(10 + 2 * i, 20 + i, 20, 20) for i in range(4)], dtype=float)
    truth[2] = np.nan
    recorder = record_all(stand_in, make_sequence([picture] * 5, truth), tmp_path)
    assert recorder.scores is not None
    assert recorder.scores.auc == pytest.approx(20 / 21)
    assert recorder.scores.frames == 2


def test_truth_of_the_first_frame_only_gives_no_scores(
    stand_in: Any, make_sequence: Make, picture: np.ndarray, tmp_path: Path
) -> None:
    recorder = record_all(stand_in, make_sequence([picture] * 3, np.array([(10.0, 20, 20, 20)])), tmp_path)
    assert recorder.scores is None


@pytest.mark.parametrize("error", [KeyboardInterrupt, RuntimeError])
def test_interruption_keeps_complete_files(
    stand_in: Any, make_sequence: Make, picture: np.ndarray, tmp_path: Path, error: type[BaseException]
) -> None:
    with pytest.raises(error):
        record_all(stand_in, make_sequence([picture] * 3 + [error()] + [picture] * 3), tmp_path)
    assert {path.name for path in tmp_path.iterdir()} == NAMES
    assert len((tmp_path / "made.txt").read_text().splitlines()) == 3
    assert len((tmp_path / "made_scores.csv").read_text().splitlines()) == 4
    assert len(list(VideoFile(tmp_path / "made.mp4"))) == 3


def test_without_video(stand_in: Any, make_sequence: Make, picture: np.ndarray, tmp_path: Path) -> None:
    record_all(stand_in, make_sequence([picture] * 2), tmp_path, save_video=False)
    assert {path.name for path in tmp_path.iterdir()} == NAMES - {"made.mp4"}


def test_nothing_done_leaves_nothing(
    stand_in: Any, make_sequence: Make, picture: np.ndarray, tmp_path: Path
) -> None:
    with pytest.raises(KeyboardInterrupt):
        record_all(stand_in, make_sequence([KeyboardInterrupt()]), tmp_path)
    assert not list(tmp_path.iterdir())
