"""What is drawn lies where the box is, in the colour of the status, and leaves the frame alone."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from ebm_tracker.drawing import (
    OTHER_COLOR,
    STATUS_COLORS,
    TRUTH_COLOR,
    annotate,
    blank_frame,
    draw_pill,
    enlargement,
    label_position,
    status_color,
)


@pytest.fixture
def frame() -> np.ndarray:
    return np.full((240, 320, 3), 90, np.uint8)


def is_color(picture: np.ndarray, color: tuple[int, int, int]) -> np.ndarray:
    return (picture == np.array(color, np.uint8)).all(axis=2)


@pytest.mark.parametrize("status", STATUS_COLORS)
def test_box_lies_on_its_edge(frame: np.ndarray, status: str) -> None:
    before = frame.copy()
    picture = annotate(frame, (100, 80, 60, 40), status, 0.5, 7)
    np.testing.assert_array_equal(frame, before)
    rows, columns = np.nonzero(is_color(picture, STATUS_COLORS[status]))
    below = rows > 100  # away from the label
    assert (columns.min(), columns[below].max(), rows.max()) == (99, 160, 120)
    assert not is_color(picture[85:115, 105:155], STATUS_COLORS[status]).any()


def test_truth_is_drawn_when_there_is_one(frame: np.ndarray) -> None:
    box = (100.0, 80.0, 60.0, 40.0)
    with_truth = annotate(frame, box, "tracked", 0.5, 0, (20, 150, 30, 30))
    rows, columns = np.nonzero(is_color(with_truth, TRUTH_COLOR))
    assert (rows.min(), rows.max(), columns.min(), columns.max()) == (150, 179, 20, 49)
    absent = annotate(frame, box, "tracked", 0.5, 0, (np.nan,) * 4)
    np.testing.assert_array_equal(absent, annotate(frame, box, "tracked", 0.5, 0))


def test_truth_is_seen_where_both_boxes_agree(frame: np.ndarray) -> None:
    box = (100.0, 80.0, 60.0, 40.0)
    picture = annotate(frame, box, "tracked", 0.5, 0, box)
    edge = picture[82:118, 96:104]
    for color in (TRUTH_COLOR, STATUS_COLORS["tracked"]):
        assert is_color(edge, color).any(axis=1).sum() >= 8


CORNERS = [(x, y) for x in (-70, 0, 7, 30, 260, 310) for y in (-50, 0, 7, 25, 120, 200, 235)]


@pytest.mark.parametrize("size_wh", [(12, 12), (50, 36), (400, 300)])
@pytest.mark.parametrize("scale", [1, 1.3, 3])
@pytest.mark.parametrize("index", [0, 12345])
def test_label_and_frame_number_keep_apart(
    frame: np.ndarray, size_wh: tuple[int, int], scale: float, index: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    drawn: list[tuple[float, float, float, float]] = []

    def note(draw: Any, at_xy: tuple[float, float], text: str, *rest: Any) -> tuple[float, float]:
        size = draw_pill(draw, at_xy, text, *rest)
        drawn.append((*at_xy, at_xy[0] + size[0], at_xy[1] + size[1]))
        return size

    monkeypatch.setattr("ebm_tracker.drawing.draw_pill", note)
    for x, y in CORNERS:
        drawn.clear()
        annotate(frame, (x, y, *size_wh), "uncertain", 0.5, index, scale=scale)
        label, badge = drawn
        assert 0 <= label[0] < label[2] <= 320 * scale and 0 <= label[1] < label[3] <= 240 * scale, (x, y)
        apart = label[0] >= badge[2] or label[1] >= badge[3] or label[2] <= badge[0] or label[3] <= badge[1]
        assert apart, (x, y, label, badge)


def test_label_stands_above_its_box_or_below_it() -> None:
    def place(x: float, y: float, h: float = 40) -> tuple[float, float]:
        return label_position((320, 240), (x, y, 60, h), (80, 16), (20, 16), 4)

    assert place(100, 80) == (100, 60)
    assert place(100, 5) == (100, 49)  # no room above
    assert place(10, 30) == (10, 74)  # the number is above
    assert place(10, 30, 300) == (30, 10)  # beside the number, no room below
    assert place(-20, -30, 300) == (30, 2)
    assert place(300, 80) == (238, 60)


@pytest.mark.parametrize(
    "box",
    [
        (-500, -500, 20, 20),
        (1000, 1000, 9, 9),
        (-50, -50, 900, 900),
        (5, 5, 0, 0),
        (0, 0, 0.2, 300),
        (0, 0, 1e300, 1e300),
        (-1e12, 5, 1e12, 1e12),
        (np.nan,) * 4,
    ],
)
def test_any_box_can_be_drawn(frame: np.ndarray, box: tuple[float, float, float, float]) -> None:
    assert annotate(frame, box, "lost", 0.0, 0).shape == frame.shape


def test_a_box_from_far_outside_keeps_its_edge_inside(frame: np.ndarray) -> None:
    picture = annotate(frame, (-1e12, 80, 1e12 + 160, 40), "lost", 0.0, 0)
    rows, columns = np.nonzero(is_color(picture, STATUS_COLORS["lost"]))
    below = rows > 100  # away from the label
    assert (columns[below].min(), columns[below].max(), rows.max()) == (0, 160, 120)


@pytest.mark.parametrize("size_wh", [(1, 1), (16, 16), (3000, 20)])
def test_any_frame_can_be_drawn_on(size_wh: tuple[int, int]) -> None:
    width, height = size_wh
    frame = np.zeros((height, width, 3), np.uint8)
    assert annotate(frame, (0, 0, 5, 5), "tracked", 1.0, 0).shape == frame.shape
    assert blank_frame(size_wh, 3).shape == frame.shape


def test_scale_enlarges_the_picture_and_the_box(frame: np.ndarray) -> None:
    picture = annotate(frame, (100, 80, 60, 40), "tracked", 0.5, 0, scale=2)
    assert picture.shape == (480, 640, 3)
    rows, columns = np.nonzero(is_color(picture, STATUS_COLORS["tracked"]))
    assert abs(int(rows.max()) - 240) <= 3 and abs(int(columns.min()) - 200) <= 3
    assert annotate(frame, (0, 0, 9, 9), "tracked", 0.5, 0, scale=0.25).shape == (60, 80, 3)


def test_enlargement_and_unknown_status() -> None:
    assert [enlargement(size) for size in ((176, 144), (640, 480), (320, 240), (8, 8), (0, 5))] == [
        3,
        1,
        2,
        4,
        4,
    ]
    assert status_color("something") == OTHER_COLOR
