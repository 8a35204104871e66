"""Result files to the byte."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from ebm_tracker.annotations import read_boxes
from ebm_tracker.evaluation.results import TrackRecord, read_record, result_paths, write_record


@pytest.fixture
def record() -> TrackRecord:
    record = TrackRecord()
    record.append((64, 33.0, 51, 69), 1.0, "tracked", 0.5)
    record.append((64.12345, 32.9996, 50.0004, 1e3), 0.98765432, "tracked", 0.04)
    record.append((-3.5, 0.0, 1.0, 2.0), 0.0, "lost", 0.01)
    return record


def test_exact_text(tmp_path: Path, record: TrackRecord) -> None:
    paths = result_paths(tmp_path, "clip.v1")
    write_record(record, paths)
    assert (tmp_path / "clip.v1.txt").read_bytes() == (
        b"64.000,33.000,51.000,69.000\n64.123,33.000,50.000,1000.000\n-3.500,0.000,1.000,2.000\n"
    )
    assert (tmp_path / "clip.v1_time.txt").read_bytes() == b"0.500000\n0.040000\n0.010000\n"
    assert (tmp_path / "clip.v1_scores.csv").read_bytes() == (
        b"frame,score,status\n0,1.000000,tracked\n1,0.987654,tracked\n2,0.000000,lost\n"
    )
    assert len(list(tmp_path.iterdir())) == 3


def test_names(tmp_path: Path) -> None:
    paths = result_paths(tmp_path, "a")
    names = [path.name for path in (paths.boxes, paths.times, paths.scores, paths.video, paths.sheet)]
    assert names == ["a.txt", "a_time.txt", "a_scores.csv", "a.mp4", "a_sheet.png"]


def test_round_trip(tmp_path: Path, record: TrackRecord) -> None:
    paths = result_paths(tmp_path, "a")
    write_record(record, paths)
    again = read_record(paths)
    np.testing.assert_allclose(again.boxes_xywh, record.boxes_xywh, atol=5.1e-4)
    np.testing.assert_array_equal(read_boxes(paths.boxes), again.boxes_xywh)
    assert again.scores == pytest.approx(record.scores, abs=1e-6)
    assert again.seconds == record.seconds
    assert again.statuses == ["tracked", "tracked", "lost"]


def test_pace_leaves_the_first_frame_out(record: TrackRecord) -> None:
    assert record.frames_per_second == pytest.approx(2 / 0.05)
    assert TrackRecord().frames_per_second == 0
    assert TrackRecord().boxes_xywh.shape == (0, 4)
