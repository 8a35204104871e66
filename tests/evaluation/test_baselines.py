"""OpenCV's trackers and the one that never moves."""

from __future__ import annotations

import builtins
import sys
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from ebm_tracker.evaluation.baselines import (
    BASELINES,
    BaselineError,
    LastBoxTracker,
    OpenCvTracker,
    find_creator,
    import_opencv,
    whole_box,
)

cv2 = pytest.importorskip("cv2", reason="needs ebm-tracker[baselines]")
KINDS = sorted(BASELINES)
BOX = (100, 80, 40, 40)


def frame(x: int, y: int, side: int = 40, width: int = 320, height: int = 240) -> np.ndarray:
    """USERS_ASK's frame maker: a textured square at (x, y) on a dim texture; RGB here, no two channels alike."""
    made = cv2.GaussianBlur((np.random.RandomState(0).rand(height, width, 3) * 60 + 60).astype(np.uint8), (0, 0), 3)
    patch = cv2.GaussianBlur((np.random.RandomState(1).rand(side, side, 3) * 255).astype(np.uint8), (0, 0), 2)
    patch = cv2.normalize(patch, None, 0, 255, cv2.NORM_MINMAX)
    left, top, right, bottom = max(x, 0), max(y, 0), min(x + side, width), min(y + side, height)
    if right > left and bottom > top:
        made[top:bottom, left:right] = patch[top - y : bottom - y, left - x : right - x]
    return np.ascontiguousarray(made[:, :, ::-1])


MOTION = [frame(100 + 3 * i, 80) for i in range(20)]
SHORT = MOTION[:5]


def iou(a: Any, b: Any) -> float:
    w = min(a[0] + a[2], b[0] + b[2]) - max(a[0], b[0])
    h = min(a[1] + a[3], b[1] + b[3]) - max(a[1], b[1])
    inter = max(w, 0) * max(h, 0)
    return inter / (a[2] * a[3] + b[2] * b[3] - inter)


def boxes(tracker: OpenCvTracker, frames: list[np.ndarray] = SHORT, color: str = "rgb") -> list[Any]:
    tracker.initialize(frames[0], BOX, color)
    return [tracker.track(item, color).box_xywh for item in frames[1:]]


@pytest.mark.parametrize("kind", KINDS)
def test_follows_a_moving_square(kind: str) -> None:
    found = boxes(OpenCvTracker(kind), MOTION)
    assert iou(found[-1], (157, 80, 40, 40)) > 0.7
    assert np.isfinite(found).all()


@pytest.mark.parametrize("kind", KINDS)
def test_is_what_opencv_gives_by_hand(kind: str) -> None:
    """Box and colour order: a loop over cv2 with BGR frames and whole numbers."""
    tracker = OpenCvTracker(kind, seed=3)
    ours = boxes(tracker)
    plain = getattr(cv2, f"Tracker{BASELINES[kind].name}_create")()
    tracker.initialize(MOTION[0], BOX)  # seeds as before; its own start is not used
    if kind == "mil":  # draws while it starts, too
        import ctypes

        ctypes.CDLL(None).srand(3)
    plain.init(np.ascontiguousarray(MOTION[0][:, :, ::-1]), BOX)
    by_hand = [plain.update(np.ascontiguousarray(item[:, :, ::-1])) for item in SHORT[1:]]
    assert ours == [box for _, box in by_hand]
    assert all(found for found, _ in by_hand)


@pytest.mark.parametrize("kind", KINDS)
def test_bgr_with_its_name_is_rgb(kind: str) -> None:
    swapped = [item[:, :, ::-1] for item in SHORT]
    assert boxes(OpenCvTracker(kind), swapped, "bgr") == boxes(OpenCvTracker(kind))


def test_channels_are_not_mixed_up() -> None:
    """What OpenCV is handed has blue first."""
    tracker = OpenCvTracker("kcf")
    got = []
    tracker.initialize(MOTION[0], BOX)
    tracker._tracker = SimpleNamespace(update=lambda image: got.append(image) or (True, BOX))
    tracker.track(MOTION[1])
    assert np.array_equal(got[0], MOTION[1][:, :, ::-1]) and got[0].flags.c_contiguous


@pytest.mark.parametrize("kind", KINDS)
def test_a_second_start_is_a_fresh_object(kind: str) -> None:
    fresh = boxes(OpenCvTracker(kind, seed=5))
    used = OpenCvTracker(kind, seed=5)
    boxes(used, SHORT[::-1])
    assert boxes(used) == fresh


def test_seed() -> None:
    """Only MIL has random parts, and says so."""
    for kind in KINDS:
        same = boxes(OpenCvTracker(kind, seed=0)) == boxes(OpenCvTracker(kind, seed=1))
        assert same == BASELINES[kind].deterministic, kind


@pytest.mark.parametrize("kind", KINDS)
def test_missing_frames_are_lost_with_the_last_box(kind: str) -> None:
    tracker = OpenCvTracker(kind)
    tracker.initialize(MOTION[0], BOX)
    before = tracker.track(MOTION[1]).box_xywh
    for missing in (None, np.zeros((0, 0, 3), np.uint8)):
        out = tracker.track(missing)
        assert (out.box_xywh, out.score, out.status) == (before, 0.0, "lost")
    after = tracker.track(MOTION[2])
    assert (after.score, after.status) == (1.0, "tracked")
    assert iou(after.box_xywh, (106, 80, 40, 40)) > 0.6


@pytest.mark.parametrize("kind", KINDS)
def test_a_frame_of_another_size_is_lost(kind: str) -> None:
    tracker = OpenCvTracker(kind)
    tracker.initialize(MOTION[0], BOX)
    before = tracker.track(MOTION[1]).box_xywh
    out = tracker.track(frame(206, 160, 80, 640, 480))
    assert (out.box_xywh, out.status) == (before, "lost")
    assert tracker.track(MOTION[2]).status == "tracked"


def test_not_found_and_exceptions_are_lost_with_the_last_box() -> None:
    tracker = OpenCvTracker("kcf")
    tracker.initialize(MOTION[0], BOX)

    def fail(image: np.ndarray) -> Any:
        raise cv2.error("assertion")

    answers = [lambda image: (False, (0, 0, 0, 0)), fail, lambda image: (True, (5, 5, 0, 9)),
               lambda image: (True, (float("nan"), 1, 2, 3))]  # fmt: skip
    for answer in answers:
        tracker._tracker = SimpleNamespace(update=answer)
        out = tracker.track(MOTION[1])
        assert (out.box_xywh, out.score, out.status) == (BOX, 0.0, "lost")


def test_kcf_loses_a_target_that_leaves() -> None:
    tracker = OpenCvTracker("kcf")
    tracker.initialize(frame(100, 80), BOX)
    outs = [tracker.track(frame(100 + 12 * i, 80)) for i in range(1, 40)]
    assert {out.status for out in outs[24:]} == {"lost"}
    assert all(out.box_xywh[2] > 0 for out in outs)


@pytest.mark.parametrize("kind", KINDS)
def test_a_box_half_outside(kind: str) -> None:
    """T5, which ends in std::bad_alloc for MIL when the box is handed on as it is."""
    tracker = OpenCvTracker(kind)
    tracker.initialize(frame(-20, 80), (-20, 80, 40, 40))
    for _ in range(3):
        assert iou(tracker.track(frame(-20, 80)).box_xywh, (0, 80, 20, 40)) > 0.5


@pytest.mark.parametrize("kind", KINDS)
def test_tiny_boxes_start(kind: str) -> None:
    """MIL hangs on some of these when they are handed on as they are."""
    for box in ((100, 80, 1, 1), (100, 80, 4, 4), (319.6, 239.7, 0.3, 0.2), (100.4, 80.2, 2.2, 9.7)):
        tracker = OpenCvTracker(kind)
        tracker.initialize(MOTION[0], box)
        assert np.isfinite(tracker.track(MOTION[0]).box_xywh).all()


@pytest.mark.parametrize(
    ("box", "message"),
    [
        ((100, 80, 0, 0), "width and height must be > 0"),
        ((140, 120, -40, -40), "width and height must be > 0"),
        ((1000, 1000, 40, 40), "outside the image"),
        ((320, 0, 5, 5), "outside the image"),
        ((float("nan"), 80, 40, 40), "finite numbers"),
        ((1, 2, 3), "four numbers"),
        ("wide", "four numbers"),
    ],
)
def test_boxes_that_cannot_be(box: Any, message: str) -> None:
    tracker = OpenCvTracker("kcf")
    tracker.initialize(MOTION[0], BOX)
    with pytest.raises(ValueError, match=message):
        tracker.initialize(MOTION[0], box)
    assert tracker.track(MOTION[1]).status == "tracked"  # as before the mistake


def test_a_start_that_opencv_refuses() -> None:
    """MIL finds no sample in a box as large as the frame; of legacy, False is the answer."""
    with pytest.raises(BaselineError, match=r"MIL cannot start on box \(0, 0, 320, 240\): \(-215.*posSamples"):
        OpenCvTracker("mil").initialize(MOTION[0], (0, 0, 320, 240))
    tracker = OpenCvTracker("kcf")
    tracker._create = lambda: SimpleNamespace(init=lambda image, box: False)
    with pytest.raises(BaselineError, match="KCF cannot start on box"):
        tracker.initialize(MOTION[0], BOX)


@pytest.mark.parametrize(
    ("box", "least", "expected"),
    [
        ((100.4, 80.2, 40.1, 40.7), 1, (100, 80, 40, 41)),
        ((-20, -3, 40, 10), 1, (0, 0, 20, 7)),
        ((300, 230, 40, 40), 1, (300, 230, 20, 10)),
        ((-5, -5, 400, 300), 1, (0, 0, 320, 240)),
        ((100, 80, 0.2, 0.2), 1, (99, 79, 1, 1)),
        ((319.9, 239.9, 9, 9), 1, (319, 239, 1, 1)),
        ((100, 80, 2, 40), 6, (98, 80, 6, 40)),
        ((0, 80, 2, 40), 6, (0, 80, 6, 40)),
        ((318, 80, 2, 40), 6, (314, 80, 6, 40)),
    ],
)
def test_whole_box(box: Any, least: int, expected: tuple[int, ...]) -> None:
    assert whole_box(box, (320, 240), least) == expected


def test_whole_box_is_inside_always() -> None:
    values = np.random.default_rng(0)
    for _ in range(3000):
        width, height = (int(v) for v in values.integers(1, 50, 2))
        x, y = values.uniform(-60, (width, height)) - 1e-9
        w, h = values.uniform(1e-3, 90, 2) + (max(0, -x), max(0, -y))
        left, top, side_w, side_h = whole_box((x, y, w, h), (width, height), 6)
        assert 0 <= left and left + side_w <= width and side_w >= min(6, width)
        assert 0 <= top and top + side_h <= height and side_h >= min(6, height)


def test_order_of_calls() -> None:
    for tracker in (OpenCvTracker("kcf"), LastBoxTracker()):
        with pytest.raises(RuntimeError, match="call initialize"):
            tracker.track(MOTION[0])
    with pytest.raises(ValueError, match="csrt, kcf, mil"):
        OpenCvTracker("dimp")


def test_threads_are_set() -> None:
    before = cv2.getNumThreads()
    try:
        OpenCvTracker("kcf", threads=2)
        assert cv2.getNumThreads() == 2
        OpenCvTracker("kcf")
        assert cv2.getNumThreads() == 1
    finally:
        cv2.setNumThreads(before)


def test_without_opencv(monkeypatch: pytest.MonkeyPatch) -> None:
    real = builtins.__import__

    def absent(name: str, *args: Any, **kwargs: Any) -> Any:
        if name == "cv2":
            raise ModuleNotFoundError("No module named 'cv2'", name="cv2")
        return real(name, *args, **kwargs)

    monkeypatch.delitem(sys.modules, "cv2")
    monkeypatch.setattr(builtins, "__import__", absent)
    with pytest.raises(BaselineError, match=r"No module named 'cv2'\): pip install 'ebm-tracker\[baselines\]'"):
        import_opencv()


def test_an_opencv_without_the_tracker() -> None:
    plain = SimpleNamespace(__version__="4.10.0", TrackerMIL_create=lambda: "mil")
    assert find_creator(plain, "MIL")() == "mil"
    with pytest.raises(BaselineError, match=r"4\.10\.0 .* without the tracker CSRT: .*opencv-contrib-python-headless"):
        find_creator(plain, "CSRT")
    old = SimpleNamespace(__version__="4.10.0", legacy=SimpleNamespace(TrackerCSRT_create=lambda: "old"))
    assert find_creator(old, "CSRT")() == "old"
    classes = SimpleNamespace(TrackerKCF=SimpleNamespace(create=lambda: "class"))
    assert find_creator(classes, "KCF")() == "class"


def test_last_box_never_moves() -> None:
    tracker = LastBoxTracker()
    tracker.initialize(MOTION[0], np.array([1.5, 2, 3, 4]))
    out = tracker.track(MOTION[5])
    assert (out.box_xywh, out.score, out.status) == ((1.5, 2, 3, 4), 1.0, "tracked")
    assert tracker.track(None).status == "lost"
    with pytest.raises(ValueError, match="must be > 0"):
        tracker.initialize(MOTION[0], (1, 2, 0, 4))
