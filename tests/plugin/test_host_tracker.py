"""Trackers made to pytracking's protocol, under ours."""

from __future__ import annotations

import random
from typing import Any

import numpy as np
import pytest
import torch

from ebm_tracker.plugin.host_tracker import HostError, HostTracker, speaks_pytracking

FRAME = np.arange(24 * 32 * 3, dtype=np.uint8).reshape(24, 32, 3)
BOX = (4.5, 3.0, 8.0, 6.0)


class Params:
    object_presence_score_threshold: float


class Theirs:
    """Answers what it is told to; notes what it is asked."""

    def __init__(self, answers: list[Any], params: Any = None, start: Any = None) -> None:
        self.answers, self.start = list(answers), start
        self.asked: list[Any] = []
        self.params = params

    def initialize(self, image: np.ndarray, info: dict[str, Any]) -> Any:
        self.asked.append((image, info))
        self.draws = (random.random(), float(np.random.rand()), float(torch.rand(1)))
        return self.start

    def track(self, image: np.ndarray, info: dict[str, Any]) -> Any:
        self.asked.append((image, info))
        return self.answers.pop(0)


def host(*answers: Any, **options: Any) -> tuple[HostTracker, Theirs]:
    theirs = Theirs(list(answers), **options)
    tracker = HostTracker(lambda: theirs, "their default")
    tracker.initialize(FRAME, BOX)
    return tracker, theirs


def test_what_they_are_asked_and_answer() -> None:
    first, second = {"target_bbox": [1, 2, 3, 4], "extra": 5}, {"target_bbox": torch.tensor([1.5, 2, 3, 4])}
    tracker, theirs = host(first, second)
    out = tracker.track(FRAME + 1)
    assert (out.box_xywh, out.score, out.status) == ((1, 2, 3, 4), 1.0, "tracked")
    assert tracker.track(FRAME).box_xywh == (1.5, 2, 3, 4)
    (image0, info0), (image1, info1), (_, info2) = theirs.asked
    assert np.array_equal(image0, FRAME) and np.array_equal(image1, FRAME + 1)
    assert info0 == {"init_bbox": list(BOX)} and isinstance(info0["init_bbox"], list)
    assert dict(info1["previous_output"]) == {} and dict(info2["previous_output"]) == first


def test_the_first_answer_is_the_second_calls_previous_output() -> None:
    tracker, theirs = host({"target_bbox": np.array([1, 2, 3, 4])}, start={"state": 1})
    assert tracker.track(FRAME).box_xywh == (1, 2, 3, 4)
    assert dict(theirs.asked[1][1]["previous_output"]) == {"state": 1}


def test_they_see_rgb() -> None:
    tracker, theirs = host({"target_bbox": BOX})
    tracker.track(FRAME[:, :, ::-1], color="bgr")
    assert np.array_equal(theirs.asked[1][0], FRAME) and theirs.asked[1][0].flags.c_contiguous


def test_presence() -> None:
    scores = (0.56, 0.54, 1.7, -3, torch.tensor(0.9))
    answers = [{"target_bbox": BOX, "object_presence_score": score} for score in scores]
    tracker, _ = host(*answers)
    outs = [tracker.track(FRAME) for _ in answers]
    assert [out.status for out in outs] == ["tracked", "lost", "tracked", "lost", "tracked"]
    assert [out.score for out in outs] == pytest.approx([0.56, 0.54, 1, 0, 0.9])
    params = Params()
    params.object_presence_score_threshold = 0.2
    tracker, _ = host({"target_bbox": BOX, "object_presence_score": 0.3}, params=params)
    assert tracker.track(FRAME).status == "tracked"


def test_a_missing_frame_is_lost_and_not_shown() -> None:
    tracker, theirs = host({"target_bbox": [1, 2, 3, 4]})
    for missing in (None, np.zeros((0, 0, 3), np.uint8)):
        out = tracker.track(missing)
        assert (out.box_xywh, out.score, out.status) == (BOX, 0.0, "lost")
    assert tracker.track(FRAME).box_xywh == (1, 2, 3, 4) and len(theirs.asked) == 2


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        (None, r"their default: track must return a dict \(got NoneType\)"),
        ([1, 2, 3, 4], r"track must return a dict \(got list\)"),
        ({"bbox": BOX}, r"must return a target_bbox \(got bbox, frame 1\)"),
        ({}, r"must return a target_bbox \(got nothing"),
        ({"target_bbox": [1, 2, 3]}, r"four numbers \(got \[1, 2, 3\]\)"),
        ({"target_bbox": None}, r"four numbers \(got None\)"),
        ({"target_bbox": {1: BOX}}, r"one box, not boxes by object \(got \[1\]\)"),
        ({"target_bbox": [1, float("nan"), 3, 4]}, r"finite \(got 1, nan, 3, 4 in frame 1\)"),
    ],
)
def test_wrong_answers(answer: Any, message: str) -> None:
    tracker, _ = host(answer)
    with pytest.raises(HostError, match=message):
        tracker.track(FRAME)
    if answer is not None and not isinstance(answer, dict):
        with pytest.raises(HostError, match="initialize must return a dict"):
            host(start=answer)


def test_every_start_has_a_new_tracker_and_the_same_seeds() -> None:
    made: list[Theirs] = []

    def make() -> Theirs:
        random.random(), np.random.rand(), torch.rand(1)  # networks draw when they are built
        made.append(Theirs([{"target_bbox": BOX}]))
        return made[-1]

    tracker = HostTracker(make, "x", seed=3)
    assert len(made) == 1
    for count in (1, 2, 3):
        tracker.initialize(FRAME, BOX)
        tracker.track(FRAME)
        assert len(made) == count
    assert made[0].draws == made[1].draws == made[2].draws
    other = HostTracker(make, "x", seed=4)
    other.initialize(FRAME, BOX)
    assert made[3].draws != made[0].draws


def test_networks_are_loaded_at_once_where_asked() -> None:
    class Loading(Theirs):
        loaded = 0

        def initialize_features(self) -> None:
            self.loaded += 1

    made = [Loading([]), Loading([])]
    HostTracker(lambda: made[0], "x", loaded=True)
    HostTracker(lambda: made[1], "x")
    assert (made[0].loaded, made[1].loaded) == (1, 0)
    HostTracker(lambda: Theirs([]), "x", loaded=True)  # has no such method


def test_order_of_calls_and_bad_frames() -> None:
    tracker = HostTracker(lambda: Theirs([]), "x")
    with pytest.raises(RuntimeError, match="call initialize"):
        tracker.track(FRAME)
    with pytest.raises(ValueError, match="frame must be an image"):
        tracker.initialize(None, BOX)


def test_which_protocol_an_object_speaks() -> None:
    class Ours:
        def initialize(self, frame: Any, box_xywh: Any, color: str = "rgb") -> None: ...

    class Odd:
        def initialize(self) -> None: ...

    assert speaks_pytracking(Theirs([]))
    assert not speaks_pytracking(Ours()) and not speaks_pytracking(Odd())
