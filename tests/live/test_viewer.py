"""Session, viewer and recorder with a stand-in tracker: every gesture and key, and what is written."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ebm_tracker.live.picture import draw_objects, fit_scale, id_color
from ebm_tracker.live.recorder import LiveRecorder
from ebm_tracker.live.session import LiveSession, drawn_box
from ebm_tracker.live.sources import FileSource, Grabbed
from ebm_tracker.live.viewer import LiveViewer
from ebm_tracker.tracking import Status, TrackOutput
from ebm_tracker.video import VideoFile

SIZE = (100, 480)  # height, width: shown 1280 / 480 times as large


class Frames:
    name, frames_per_second, bad_frames = "walk", 1000.0, 0

    def __init__(self, count: int = 8) -> None:
        self.frame_count: int | None = count

    def __iter__(self) -> Any:
        for number in range(self.frame_count or 0):
            yield None if number == 5 else np.full((*SIZE, 3), 10 * number, np.uint8)


@pytest.fixture
def said() -> list[str]:
    return []


@pytest.fixture
def viewer(walkers: Any, tmp_path: Path, said: list[str]) -> LiveViewer:
    session = LiveSession(walkers, lambda tracker, frame, key: np.full_like(frame, 222))
    viewer = LiveViewer(session, FileSource(Frames()), LiveRecorder(tmp_path, "walk", 25.0, False), said.append)
    viewer.advance()
    return viewer


def at(viewer: LiveViewer, x: float, y: float) -> tuple[float, float]:
    return x * viewer.scale, y * viewer.scale


def drag(viewer: LiveViewer, start: tuple[float, float], end: tuple[float, float]) -> None:
    viewer.press(at(viewer, *start))
    viewer.move(at(viewer, *end))
    viewer.release(at(viewer, *end))


CORNERS = ((20.0, 10.0), (60.0, 40.0))


@pytest.mark.parametrize("flip", range(4))
def test_a_box_is_drawn_in_any_direction(viewer: LiveViewer, flip: int) -> None:
    (x0, y0), (x1, y1) = CORNERS
    start = (x1 if flip & 1 else x0, y1 if flip & 2 else y0)
    end = (x0 if flip & 1 else x1, y0 if flip & 2 else y1)
    drag(viewer, start, end)
    assert viewer.session.ids == (1,)
    assert viewer.session.tracker.boxes[1] == pytest.approx((20, 10, 40, 30))  # type: ignore[attr-defined]


def test_a_click_is_refused_politely(viewer: LiveViewer, said: list[str]) -> None:
    drag(viewer, (20, 10), (21, 11))
    assert viewer.session.ids == () and "drag a box" in said[-1]
    assert drawn_box((5, 5), (5, 50)) is None and drawn_box((9, 9), (5, 4)) == (5, 4, 4, 5)


def test_the_picture_stands_still_while_a_box_is_drawn(viewer: LiveViewer) -> None:
    viewer.key("space")
    viewer.press((10.0, 10.0))
    assert viewer.advance() is None
    viewer.move((400.0, 99.0))
    white = np.array(viewer.picture())
    assert (white[:, 400 - 1] == 255).all(axis=-1).sum() > 50  # the box being drawn
    viewer.release((400.0, 99.0))
    assert viewer.advance() is not None


def test_a_drag_out_of_the_window_ends_at_its_edge(viewer: LiveViewer) -> None:
    drag(viewer, (400, 60), (4000, -50))
    assert viewer.session.tracker.boxes[1] == pytest.approx((400, 0, 80, 60))  # type: ignore[attr-defined]


def test_pause_step_and_the_end(viewer: LiveViewer, said: list[str]) -> None:
    assert viewer.paused and viewer.advance() is None  # a file waits on its first frame
    viewer.key("right")
    stepped = viewer.advance()
    assert stepped is not None and stepped.index == 1 and viewer.paused and viewer.advance() is None
    viewer.key("space")
    for _ in range(400):
        viewer.advance()
    assert viewer.session.current is not None and viewer.session.current.index == 7
    assert said.count("walk ends after 8 frames") == 1 and viewer.paused


def test_objects_are_added_removed_and_forgotten(viewer: LiveViewer, said: list[str]) -> None:
    drag(viewer, (20, 10), (60, 40))
    drag(viewer, (30, 15), (50, 35))
    assert viewer.session.ids == (1, 2)
    viewer.remove_at(at(viewer, 40, 20))  # in both: the smaller one goes
    assert viewer.session.ids == (1,) and said[-1] == "removed 2"
    viewer.remove_at(at(viewer, 300, 90))
    assert said[-1] == "there is no object to remove here"
    drag(viewer, (100, 10), (150, 40))
    assert viewer.session.ids == (1, 3)  # 2 is not used again
    viewer.key("r")
    assert viewer.session.ids == ()
    current = viewer.session.current
    assert current is not None and current.outputs == {}


def test_the_other_objects_go_on(viewer: LiveViewer) -> None:
    drag(viewer, (20, 10), (60, 40))
    viewer.key("right")
    viewer.advance()
    drag(viewer, (100, 10), (150, 40))
    viewer.key("right")
    frame = viewer.advance()
    assert frame is not None
    assert frame.outputs[1].box_xywh[:2] == pytest.approx((24, 12))
    assert frame.outputs[2].box_xywh[:2] == pytest.approx((102, 11))
    assert viewer.session.tracker.started == 1  # type: ignore[attr-defined]


def test_a_bad_frame_shows_the_last_good_one_and_lost(viewer: LiveViewer) -> None:
    drag(viewer, (20, 10), (60, 40))
    for _ in range(5):
        viewer.key("right")
        frame = viewer.advance()
    assert frame is not None and frame.is_bad and frame.index == 5 and frame.frame[0, 0, 0] == 40
    assert frame.outputs[1].status is Status.LOST


def test_density_help_and_quit(viewer: LiveViewer, said: list[str]) -> None:
    viewer.key("d")
    assert "when there is an object" in said[-1]
    drag(viewer, (20, 10), (60, 40))
    picture = viewer.picture()
    assert picture is not None and (picture[150, -5:] == 222).all()
    viewer.key("d")
    assert (np.array(viewer.picture())[150, -5:] == 0).all()
    before = np.array(viewer.picture())
    viewer.key("h")
    assert (np.array(viewer.picture()) != before).any()
    viewer.key("x")
    assert not viewer.quit
    viewer.key("q")
    assert viewer.quit


def test_rows_snapshot_and_video(viewer: LiveViewer, tmp_path: Path) -> None:
    drag(viewer, (20, 10), (60, 40))
    viewer.key("v")
    viewer.key("s")
    for _ in range(3):
        viewer.key("right")
        viewer.advance()
    assert viewer.recorder.recording
    viewer.recorder.close()
    names = [path.name for path in viewer.recorder.files]
    assert names == ["walk_snapshot_001.png", "walk_objects_001.csv", "walk_live_001.mp4"]
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(names)
    with (tmp_path / names[1]).open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [(row["frame"], row["id"], float(row["x"])) for row in rows] == [
        ("0", "1", 20.0), ("1", "1", 22.0), ("2", "1", 24.0), ("3", "1", 26.0)
    ]
    video = VideoFile(tmp_path / names[2])
    assert len(list(video)) == 3 and video.size_wh == (1280, 268)


def test_a_live_video_shows_when_frames_came(tmp_path: Path) -> None:
    recorder = LiveRecorder(tmp_path, "cam", 10.0, real_time=True)
    recorder.start_video((64, 48))
    grays = [20, 120, 220]
    for gray, arrived in zip(grays, (5.0, 5.5, 5.6), strict=True):
        recorder.show(np.full((48, 64, 3), gray, np.uint8), arrived)
    recorder.close()
    means = [round(frame.mean(), -1) for frame in VideoFile(recorder.files[0]) if frame is not None]
    assert means == [20.0] + [120.0] * 5 + [220.0]


def test_ids_of_any_kind_have_colours_of_their_own() -> None:
    colors = [id_color(number) for number in range(1, 101)]
    assert len(set(colors)) == 100 and id_color("left hand") == id_color("left hand")
    near = min(
        sum(abs(a - b) for a, b in zip(colors[i], colors[j], strict=True)) for i in range(12) for j in range(i)
    )
    assert near > 40


def test_twelve_objects_are_drawn_each_in_its_colour() -> None:
    outputs: dict[int | str, TrackOutput] = {
        number: TrackOutput((20.0 + 40 * (number % 4), 50.0 + 60 * (number // 4), 30.0, 30.0), 0.5, Status.TRACKED)
        for number in range(12)
    }
    picture = draw_objects(np.zeros((300, 200, 3), np.uint8), outputs)
    for number, output in outputs.items():
        x, y, _, h = (round(value) for value in output.box_xywh)
        assert tuple(picture[y + h - 1, x + 12]) == id_color(number)


def test_pictures_are_readable_and_fit() -> None:
    assert fit_scale((176, 144)) == 4 and fit_scale((640, 480)) == 1
    assert fit_scale((3840, 2160)) == pytest.approx(1 / 3)


def test_a_session_before_its_first_frame(walkers: Any) -> None:
    session = LiveSession(walkers)
    assert session.step(Grabbed(None, 0.0, 0)) is None
    with pytest.raises(RuntimeError, match="when there is a frame"):
        session.add((0, 0, 5, 5))
    session.step(Grabbed(np.zeros((20, 20, 3), np.uint8), 0.0, 1))
    assert session.add((0, 0, 5, 5), "a") == "a"
    with pytest.raises(ValueError, match="already"):
        session.add((0, 0, 5, 5), "a")
    with pytest.raises(ValueError, match="no object 7"):
        session.remove(7)
