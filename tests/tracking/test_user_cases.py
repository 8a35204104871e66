"""What users of trackers ran into, as exact inputs with the right values (cases T1 to T11)."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest
import torch

from ebm_tracker.boxes import BoxXYWH
from ebm_tracker.drawing import annotate
from ebm_tracker.evaluation import TrackingSequence, track_sequence
from ebm_tracker.tracking import Status, Tracker, TrackOutput

Frames = Callable[..., np.ndarray]
Trackers = Callable[..., Tracker]
Overlap = Callable[[BoxXYWH, BoxXYWH], float]
BOX = (100.0, 80.0, 40.0, 40.0)
BLACK = np.zeros((240, 320, 3), np.uint8)


def follow(tracker: Tracker, frames: Sequence[Any], box: Any, color: str = "rgb") -> list[TrackOutput]:
    """Outputs for all frames but the first."""
    tracker.initialize(frames[0], box, color=color)
    return [tracker.track(f, color=color) for f in frames[1:]]


def has_corner_inside(box: BoxXYWH, width: int = 320, height: int = 240) -> bool:
    x, y, w, h = box
    return any(0 <= a <= width and 0 <= b <= height for a in (x, x + w) for b in (y, y + h))


def sound(box: BoxXYWH) -> bool:
    return all(math.isfinite(v) for v in box) and box[2] > 0 and box[3] > 0


def test_t1_motion(frame: Frames, make_tracker: Trackers, iou: Overlap) -> None:
    outputs = follow(make_tracker(), [frame(100 + 3 * i, 80) for i in range(20)], BOX)
    assert all(sound(o.box_xywh) and 0 <= o.score <= 1 for o in outputs)
    assert all(o.status is Status.TRACKED for o in outputs)
    assert iou(outputs[-1].box_xywh, (157, 80, 40, 40)) > 0.7


def test_t2_thin_box_gives_a_low_score(make_tracker: Trackers) -> None:
    black = np.zeros((720, 1280, 3), np.uint8)
    (output,) = follow(make_tracker(), [black, black], (5, 5, 500, 10))
    assert sound(output.box_xywh)
    assert output.score < 0.25 and output.status is Status.LOST


@pytest.mark.parametrize(
    ("box", "got"),
    [
        ((100, 80, 0, 0), "got w=0, h=0"),
        ((100, 80, 1, 0), "got w=1, h=0"),
        ((140, 120, -40, -40), "got w=-40, h=-40"),
    ],
    ids=["t3-zero", "t3-click", "t4-negative"],
)
def test_t3_t4_boxes_without_area(
    frame: Frames, make_tracker: Trackers, iou: Overlap, box: tuple[int, ...], got: str
) -> None:
    tracker = make_tracker()
    with pytest.raises(ValueError, match=r"width and height must be > 0 \(" + got):
        tracker.initialize(frame(100, 80), box)
    with pytest.raises(RuntimeError, match="initialize"):
        tracker.track(frame(100, 80))
    (output,) = follow(tracker, [frame(100, 80)] * 2, BOX)  # still usable
    assert iou(output.box_xywh, BOX) > 0.5


def test_t5_box_outside_the_image(frame: Frames, make_tracker: Trackers) -> None:
    with pytest.raises(ValueError, match=r"outside the image .*x=1000, y=1000.*320x240"):
        make_tracker().initialize(frame(100, 80), (1000, 1000, 40, 40))


def test_t5_box_partly_outside_the_image(frame: Frames, make_tracker: Trackers, iou: Overlap) -> None:
    for output in follow(make_tracker(), [frame(-20, 80)] * 3, (-20, 80, 40, 40)):
        assert output.status is Status.TRACKED
        x, y, w, h = output.box_xywh
        clipped = (max(x, 0.0), y, x + w - max(x, 0.0), h)
        overlaps = iou(output.box_xywh, (-20, 80, 40, 40)), iou(clipped, (0, 80, 20, 40))
        assert max(overlaps) > 0.5, overlaps


@pytest.mark.parametrize("kind", [tuple, list, np.array, torch.tensor])
def test_t6_float_boxes_are_kept(frame: Frames, make_tracker: Trackers, kind: Callable[..., Any]) -> None:
    box = (100.5, 80.2, 40.1, 40.7)
    tracker = make_tracker()
    tracker.initialize(frame(100, 80), kind(box))
    # The first output of a video is the box it was started with; a frame that cannot be read shows it.
    assert tracker.track(None).box_xywh == pytest.approx(box, abs=1e-3)
    assert tracker.track(frame(100, 80)).status is Status.TRACKED


def test_t6_first_row_of_a_result_is_the_given_box(frame: Frames, make_tracker: Trackers) -> None:
    box = (100.5, 80.2, 40.1, 40.7)
    steps = track_sequence(make_tracker(), TrackingSequence("one", [frame(100, 80)] * 2, box))
    assert next(steps).box_xywh == pytest.approx(box, abs=1e-3)


@pytest.mark.parametrize("box", [(math.nan, 80, 40, 40), (100, 80, math.inf, 40)])
def test_t6_boxes_that_are_not_finite(frame: Frames, make_tracker: Trackers, box: tuple[float, ...]) -> None:
    with pytest.raises(ValueError, match="finite"):
        make_tracker().initialize(frame(100, 80), box)


@pytest.mark.parametrize("shape", [(240, 320), (240, 320, 1)])
def test_t7_gray(frame: Frames, make_tracker: Trackers, shape: tuple[int, ...]) -> None:
    frames = [frame(100 + 3 * i, 80) for i in range(5)]
    gray = [np.rint(f @ np.array([0.299, 0.587, 0.114])).astype(np.uint8).reshape(shape) for f in frames]
    tracker = make_tracker()
    colored = follow(tracker, frames, BOX)[-1].box_xywh
    np.testing.assert_allclose(follow(tracker, gray, BOX)[-1].box_xywh, colored, atol=3)


def _bgra(image: np.ndarray) -> np.ndarray:
    alpha = np.full((*image.shape[:2], 1), 255, np.uint8)
    return np.concatenate((image[:, :, ::-1], alpha), axis=2)


def _view(image: np.ndarray) -> np.ndarray:
    """The same pixels in every second column of a wider array that is also stored upside down."""
    wide = np.zeros((image.shape[0], 2 * image.shape[1], 3), np.uint8)
    wide[::-1, ::2] = image
    return wide[::-1, ::2]


@pytest.mark.parametrize(
    ("convert", "color"),
    [
        (_bgra, "bgr"),
        (lambda f: f.astype(np.uint16) * 257, "rgb"),
        (lambda f: f.astype(np.float32) / 255, "rgb"),
        (lambda f: f.astype(np.float64) / 255, "rgb"),
        (_view, "rgb"),
        (lambda f: torch.from_numpy(f.copy()), "rgb"),
        (lambda f: torch.from_numpy(f.copy()).permute(2, 0, 1), "rgb"),
        (lambda f: f[:, :, ::-1], "bgr"),
    ],
    ids=["bgra", "uint16", "float32", "float64", "view", "tensor", "planes", "bgr"],
)
def test_t8_pixel_types(
    frame: Frames, make_tracker: Trackers, convert: Callable[[np.ndarray], Any], color: str
) -> None:
    """All of them hold the same 8-bit pixels, so the boxes are equal bit by bit."""
    frames = [frame(100 + 3 * i, 80) for i in range(5)]
    tracker = make_tracker()
    expected = follow(tracker, frames, BOX)
    assert follow(tracker, [convert(f) for f in frames], BOX, color) == expected


def test_t8_color_order_matters(frame: Frames, make_tracker: Trackers) -> None:
    """Otherwise the test above would say nothing about ``color``."""
    frames = [frame(100 + 3 * i, 80) for i in range(3)]
    tracker = make_tracker()
    assert follow(tracker, frames, BOX) != follow(tracker, frames, BOX, "bgr")


def test_t8b_same_seed_gives_equal_bits(frame: Frames, make_tracker: Trackers) -> None:
    frames = [frame(100 + 3 * i, 80 + i) for i in range(13)]  # beyond the first filter update
    runs = [follow(make_tracker(seed), frames, BOX) for seed in (5, 5, 6)]
    assert runs[0] == runs[1]
    assert runs[0] != runs[2]


def test_t9_target_leaves(frame: Frames, make_tracker: Trackers) -> None:
    outputs = follow(make_tracker(), [frame(100 + 12 * i, 80) for i in range(40)], BOX)
    statuses = [Status.TRACKED, *(o.status for o in outputs)]
    assert all(s is Status.TRACKED for s in statuses[:15])  # the target is wholly inside up to frame 15
    assert all(s is Status.LOST for s in statuses[24:])
    assert max(o.score for o in outputs[24:]) < 0.25 < 0.5 < min(o.score for o in outputs[:14])
    assert all(sound(o.box_xywh) and has_corner_inside(o.box_xywh) for o in outputs)


def test_t9b_twelve_objects_at_once(frame: Frames, make_tracker: Trackers, iou: Overlap) -> None:
    """Twelve trackers on one network; all of their boxes can be drawn on one picture."""
    corners = [(20 + 75 * (k % 4), 15 + 75 * (k // 4)) for k in range(12)]

    def crowd(shift: int) -> np.ndarray:
        """Textures of different sizes, so that the twelve are not twelve times the same."""
        image = frame(-500, 0).copy()
        for k, (x, y) in enumerate(corners):
            s = 28 + k
            image[y : y + s, x + shift : x + shift + s] = frame(x, y, s)[y : y + s, x : x + s, [k % 3, 1, 2]]
        return image

    trackers = [make_tracker(seed=k) for k in range(12)]
    for k, tracker in enumerate(trackers):
        tracker.initialize(crowd(0), (*corners[k], 28 + k, 28 + k))
    outputs = [[tracker.track(crowd(shift)) for tracker in trackers] for shift in (2, 4)][-1]
    picture = crowd(4)
    for k, (output, (x, y)) in enumerate(zip(outputs, corners, strict=True)):
        assert iou(output.box_xywh, (x + 4, y, 28 + k, 28 + k)) > 0.4, k
        drawn = annotate(picture, output.box_xywh, output.status.value, output.score, k)
        assert drawn.shape >= picture.shape
        picture = drawn


def test_t10_black_frames_and_return(frame: Frames, make_tracker: Trackers, iou: Overlap) -> None:
    frames = [frame(100, 80)] * 5 + [BLACK] * 20 + [frame(100, 80)] * 10
    outputs = follow(make_tracker(), frames, BOX)
    black, back = outputs[4:24], outputs[24:]
    assert all(o.status is Status.LOST and o.score < 0.25 for o in black)
    assert all(sound(o.box_xywh) and o.box_xywh[2] * o.box_xywh[3] <= 4 * 1600 for o in outputs)
    assert any(iou(o.box_xywh, BOX) > 0.5 and o.status is Status.TRACKED for o in back[:5])
    assert iou(back[-1].box_xywh, BOX) > 0.5


def test_t10_target_gone_and_back_elsewhere(frame: Frames, make_tracker: Trackers, iou: Overlap) -> None:
    frames = [frame(100 + 4 * i, 80) for i in range(10)] + [frame(-500, 80)] * 10 + [frame(140, 80)] * 5
    outputs = follow(make_tracker(), frames, BOX)
    assert all(o.status is Status.LOST for o in outputs[9:19])
    assert any(iou(o.box_xywh, (140, 80, 40, 40)) > 0.5 for o in outputs[19:])
    assert iou(outputs[-1].box_xywh, (140, 80, 40, 40)) > 0.5 and outputs[-1].status is Status.TRACKED


def test_t11_frame_size_changes(frame: Frames, make_tracker: Trackers, iou: Overlap) -> None:
    """The rule is: the box is scaled with the frame."""
    doubled = frame(100, 80).repeat(2, axis=0).repeat(2, axis=1)
    outputs = follow(make_tracker(), [frame(100, 80)] * 3 + [doubled] * 3, BOX)
    for output in outputs[2:]:
        assert output.status is Status.TRACKED
        assert iou(output.box_xywh, (200, 160, 80, 80)) > 0.5
    last_small, first_big = outputs[1].box_xywh, outputs[2].box_xywh
    assert iou(first_big, tuple(2 * v for v in last_small)) > 0.85  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "bad",
    [None, np.zeros((0, 0, 3), np.uint8), np.empty(0), torch.zeros(0, 0, 3, dtype=torch.uint8)],
    ids=["none", "empty", "flat-empty", "empty-tensor"],
)
def test_t11_frames_that_cannot_be_read(frame: Frames, make_tracker: Trackers, iou: Overlap, bad: Any) -> None:
    tracker = make_tracker()
    before = follow(tracker, [frame(100 + 3 * i, 80) for i in range(3)], BOX)[-1]
    lost = tracker.track(bad)
    assert lost == TrackOutput(before.box_xywh, 0.0, Status.LOST)
    found = tracker.track(frame(112, 80))
    assert found.status is Status.TRACKED
    assert iou(found.box_xywh, (112, 80, 40, 40)) > 0.5


def test_t11b_initialize_again_is_a_fresh_tracker(frame: Frames, make_tracker: Trackers) -> None:
    frames = [frame(150 - 3 * i, 60 + 2 * i) for i in range(13)]
    used = make_tracker()
    follow(used, [frame(100 + 5 * i, 80) for i in range(12)], BOX)
    start = (150, 60, 40, 40)
    assert follow(used, frames, start) == follow(make_tracker(), frames, start)
