"""What happens where files cannot be written, and to names that are odd or taken."""

from __future__ import annotations

import csv
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ebm_tracker.errors import VideoError
from ebm_tracker.files import part_path
from ebm_tracker.live.recorder import LiveRecorder, RecordError, require_folder
from ebm_tracker.live.session import LiveFrame, LiveSession
from ebm_tracker.live.sources import FileSource
from ebm_tracker.live.viewer import LiveViewer
from ebm_tracker.tracking import Status, TrackOutput
from ebm_tracker.video import VideoFile

FULL = Path("/dev/full")  # a device that has no space left
PICTURE = np.zeros((48, 64, 3), np.uint8)
needs_full_device = pytest.mark.skipif(not FULL.is_char_device(), reason="no /dev/full here")


def frame(index: int) -> LiveFrame:
    outputs: Any = {1: TrackOutput((1.0, 2.0, 3.0, 4.0), 0.5, Status.TRACKED)}
    return LiveFrame(PICTURE, False, index, outputs, float(index), 0.0, 0.0, 0.0, 0)


@pytest.fixture
def recorder(tmp_path: Path) -> LiveRecorder:
    return LiveRecorder(tmp_path / "out", "cam", 25.0, False)


@needs_full_device
def test_a_full_disk_ends_the_rows_and_keeps_the_earlier_ones(recorder: LiveRecorder) -> None:
    recorder.add(frame(0))
    rows, recorder._rows = recorder._rows, FULL.open("w")
    assert rows is not None
    with pytest.raises(RecordError, match=r"cam_objects_001.csv cannot be written \(No space left on device\)"):
        recorder.add(frame(1))
    recorder.add(frame(2))  # said once
    with part_path(recorder._rows_path).open("a") as file:
        file.write("1,0.040,1,1.0")  # what went through of the row
    recorder.close()
    (path,) = recorder.files
    with path.open(newline="") as file:
        assert [row["frame"] for row in csv.DictReader(file)] == ["0"]
    assert sorted(recorder.directory.iterdir()) == [path]


def test_a_video_that_cannot_go_on_is_given_up(recorder: LiveRecorder, monkeypatch: pytest.MonkeyPatch) -> None:
    recorder.start_video((64, 48))

    def refuse(picture: Any) -> None:
        raise VideoError("x.mp4 cannot be written (No space left on device)")

    monkeypatch.setattr(recorder._video, "write", refuse)
    with pytest.raises(VideoError):
        recorder.show(PICTURE, 0.0)
    assert not recorder.recording
    recorder.show(PICTURE, 0.1)
    recorder.start_video((64, 48))  # there is space again
    recorder.show(PICTURE, 0.2)
    recorder.close()
    (path,) = recorder.files
    assert path.name == "cam_live_001.mp4" and len(list(VideoFile(path))) == 1


@pytest.mark.parametrize("what", ["snapshot", "video", "rows"])
def test_a_folder_that_went_away_is_named(what: str, tmp_path: Path) -> None:
    (tmp_path / "out").write_text("a file")
    recorder = LiveRecorder(tmp_path / "out", "cam", 25.0, False)
    calls: dict[str, Callable[[], object]] = {
        "snapshot": lambda: recorder.snapshot(PICTURE),
        "video": lambda: recorder.start_video((64, 48)),
        "rows": lambda: recorder.add(frame(0)),
    }
    with pytest.raises(RecordError, match="out cannot be written"):
        calls[what]()
    recorder.close()
    assert recorder.files == []


def test_the_viewer_goes_on_and_says_why(walkers: Any, tmp_path: Path) -> None:
    class Frames:
        name, frames_per_second, bad_frames, frame_count = "walk", 100.0, 0, 4

        def __iter__(self) -> Any:
            return iter([PICTURE] * 4)

    (tmp_path / "out").write_text("a file")
    said: list[str] = []
    recorder = LiveRecorder(tmp_path / "out", "walk", 25.0, False)
    viewer = LiveViewer(LiveSession(walkers), FileSource(Frames()), recorder, said.append)
    viewer.advance()
    viewer.press((50.0, 50.0))
    viewer.release((150.0, 150.0))
    assert viewer.session.ids == (1,) and "out cannot be written" in said[-1]
    for key in ("s", "v"):
        said.clear()
        viewer.key(key)
        assert len(said) == 1 and "out cannot be written" in said[0]
    viewer.key("right")
    shown = viewer.advance()
    assert shown is not None and shown.index == 1 and not viewer.quit


def test_two_sessions_at_once_take_different_names(recorder: LiveRecorder) -> None:
    recorder.add(frame(0))
    # As another process that has not ended would have it.
    mine = part_path(recorder._rows_path)
    other = mine.with_name(mine.name.replace(str(os.getpid()), "1"))
    mine.rename(other)
    second = LiveRecorder(recorder.directory, "cam", 25.0, False)
    second.add(frame(0))
    second.close()
    assert [path.name for path in second.files] == ["cam_objects_002.csv"]
    other.rename(mine)
    recorder.close()
    assert [path.name for path in recorder.files] == ["cam_objects_001.csv"]


@pytest.mark.parametrize(
    ("name", "start"), [("é" * 300, "é" * 75), ("a/b\\c\n", "a_b_c_"), ("", "live"), ("[x] *", "[x] *")]
)
def test_any_name_gives_a_file_name(name: str, start: str, tmp_path: Path) -> None:
    recorder = LiveRecorder(tmp_path, name, 25.0, False)
    recorder.add(frame(0))
    recorder.snapshot(PICTURE)
    recorder.close()
    assert [path.name for path in recorder.files] == [f"{start}_snapshot_001.png", f"{start}_objects_001.csv"]


def test_a_folder_that_cannot_be_is_refused_and_none_is_made(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    for name in ("file", "file/deeper"):
        with pytest.raises(RecordError, match=r"file is no folder"):
            require_folder(tmp_path / name)
    require_folder(tmp_path / "new" / "one")
    assert not (tmp_path / "new").exists()
