"""`ebm live` without a window, and its flags."""

from __future__ import annotations

import argparse
import csv
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from ebm_tracker.cli.live import parse_object, positive_seconds
from ebm_tracker.cli.parser import main
from ebm_tracker.live.window import NoDisplay, open_display
from ebm_tracker.tracking import Status, TrackOutput


class Still:
    """Says the boxes it was given."""

    def __init__(self) -> None:
        self.boxes: dict[Any, Any] = {}

    @property
    def ids(self) -> tuple[Any, ...]:
        return tuple(self.boxes)

    def initialize(self, frame: Any, boxes: Any, color: str = "rgb") -> None:
        self.boxes = dict(boxes)

    def add(self, frame: Any, object_id: Any, box_xywh: Any, color: str = "rgb") -> None:
        self.boxes[object_id] = box_xywh

    def track(self, frame: Any, color: str = "rgb") -> dict[Any, TrackOutput]:
        return {key: TrackOutput(box, 0.5, Status.TRACKED) for key, box in self.boxes.items()}


@pytest.fixture
def shots(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr("ebm_tracker.cli.live_session.load_objects_tracker", lambda args: Still())
    monkeypatch.delenv("DISPLAY", raising=False)
    monkeypatch.delenv("WAYLAND_DISPLAY", raising=False)
    monkeypatch.setattr("sys.platform", "linux")
    folder = tmp_path / "walk"
    folder.mkdir()
    for number in range(4):
        Image.fromarray(np.full((48, 64, 3), 40 * number, np.uint8)).save(folder / f"{number}.png")
    return folder


def test_without_a_display_it_says_so_once_and_goes_on(
    shots: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    objects = ["--init", "1,2,10,12", "--init", "left hand=-5,3,20,20"]
    assert main(["live", "--source", str(shots), *objects, "--out", str(out)]) == 0
    text = capsys.readouterr().out
    assert text.count("there is no display") == 1
    assert "walk ends after 4 frames" in text and str(out / "walk_live_001.mp4") in text
    with (out / "walk_objects_001.csv").open(newline="") as file:
        rows = [(row["frame"], row["id"], float(row["x"]), float(row["h"])) for row in csv.DictReader(file)]
    assert rows == [(str(n), *row) for n in range(4) for row in (("1", 1.0, 12.0), ("left hand", -5.0, 20.0))]


def test_a_display_that_cannot_be_reached_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("pygame", reason="the window needs the extra live")
    monkeypatch.setattr("sys.platform", "linux")
    monkeypatch.setenv("DISPLAY", "127.0.0.1:6999")
    for name in ("WAYLAND_DISPLAY", "SDL_VIDEODRIVER"):
        monkeypatch.delenv(name, raising=False)
    with pytest.raises(NoDisplay):
        open_display()


def test_a_second_run_keeps_the_first_ones_files(shots: Path, tmp_path: Path) -> None:
    for _ in range(2):
        main(["live", "--source", str(shots), "--init", "1,2,10,12", "--out", str(tmp_path / "out")])
    names = sorted(path.name for path in (tmp_path / "out").iterdir())
    assert names == ["walk_live_001.mp4", "walk_live_002.mp4", "walk_objects_001.csv", "walk_objects_002.csv"]


@pytest.mark.parametrize(
    ("flags", "expected"),
    [
        ([], "give objects by --init"),
        (["--headless"], "--headless needs --init"),
        (["--source", "b", "--init", "1,2,3,4"], "a window shows one --source (got 2)"),
    ],
)
def test_what_is_missing_is_said(
    shots: Path, flags: list[str], expected: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["live", "--source", str(shots), *flags]) == 2
    assert expected in capsys.readouterr().err


def test_a_folder_that_cannot_be_used_is_said_before_anything_is_loaded(
    shots: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def never(args: Any) -> Any:
        raise AssertionError("loaded")

    monkeypatch.setattr("ebm_tracker.cli.live_session.load_objects_tracker", never)
    (tmp_path / "file").write_text("x")
    follow = ["live", "--source", str(shots), "--init", "1,2,10,12", "--out"]
    for out, expected in ((tmp_path / "file", "is no folder"), (shots, "among the frames")):
        assert main([*follow, str(out)]) == 2
        assert expected in capsys.readouterr().err


def test_seconds_also_end_the_wait_for_a_first_frame(shots: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Silent:
        name, is_live, frames_per_second, frame_count = "cam", True, 25.0, None
        dropped = bad_frames = size_changes = reconnects = 0
        ended, end_reason, status = False, "", "cam: reconnecting"

        def read(self, timeout: float) -> None:
            return None

        def close(self) -> None:
            return None

    monkeypatch.setattr("ebm_tracker.cli.live_session.open_source", lambda word: Silent())
    assert main(["live", "--source", "0", "--init", "1,2,10,12", "--seconds", "0.1"]) == 2


def test_objects_are_read_as_numbers_or_names() -> None:
    assert parse_object("1,2,3,4") == (None, (1, 2, 3, 4))
    assert parse_object("7=1,2,3,4") == (7, (1, 2, 3, 4))
    assert parse_object("a=b=1,2,3,4") == ("a=b", (1, 2, 3, 4))
    for text in ("=1,2,3,4", "1=1,2,3", "1,2,0,4"):
        with pytest.raises(argparse.ArgumentTypeError):
            parse_object(text)


@pytest.mark.parametrize("text", ["0", "-1", "nan", "inf", "soon"])
def test_seconds_are_above_zero(text: str) -> None:
    with pytest.raises(argparse.ArgumentTypeError):
        positive_seconds(text)
