"""The loop over a stand-in tracker."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from ebm_tracker.errors import VideoError
from ebm_tracker.evaluation.runner import TrackerOutputError, status_name, track_sequence
from ebm_tracker.evaluation.sequences import TrackingSequence

Make = Callable[..., TrackingSequence]


def test_one_step_per_frame(stand_in: Any, make_sequence: Make, picture: np.ndarray) -> None:
    steps = list(track_sequence(stand_in, make_sequence([picture, picture, None, picture])))
    assert [step.index for step in steps] == [0, 1, 2, 3]
    assert [step.box_xywh for step in steps] == [
        (10, 20, 20, 20),
        (12, 21, 20, 20),
        (12, 21, 20, 20),
        (14, 22, 20, 20),
    ]
    assert [step.score for step in steps] == [1, 0.5, 0, 0.25]
    assert [step.status for step in steps] == ["tracked", "tracked", "lost", "tracked"]
    assert [step.frame is None for step in steps] == [False, False, True, False]
    assert all(step.seconds >= 0 for step in steps)
    assert all(type(value) is float for step in steps for value in step.box_xywh)


@pytest.mark.parametrize("items", [[], [None]])
def test_no_first_frame(stand_in: Any, make_sequence: Make, items: list[Any]) -> None:
    with pytest.raises(VideoError, match="first frame of made"):
        list(track_sequence(stand_in, make_sequence(items)))


@pytest.mark.parametrize(
    "answer",
    [
        None,
        (1, 2, 3, 4),
        {"target_bbox": (1, 2, 3, 4)},
        SimpleNamespace(box_xywh=(1, 2, 3), score=1, status="tracked"),
        SimpleNamespace(box_xywh="wide", score=1, status="tracked"),
        SimpleNamespace(box_xywh=(1, 2, 3, 4), status="tracked"),
        SimpleNamespace(box_xywh=(1, 2, 3, 4), score=None, status="tracked"),
        SimpleNamespace(box_xywh=(1, 2, 3, 4), score=1),
    ],
)
def test_an_answer_without_a_box(
    stand_in: Any, make_sequence: Make, picture: np.ndarray, monkeypatch: pytest.MonkeyPatch, answer: Any
) -> None:
    monkeypatch.setattr(stand_in, "track", lambda frame: answer)
    with pytest.raises(TrackerOutputError, match=r"box_xywh of four numbers, a score and a status \(got .* frame 1\)"):
        list(track_sequence(stand_in, make_sequence([picture, picture])))


def test_interruption_leaves_the_steps_before_it(
    stand_in: Any, make_sequence: Make, picture: np.ndarray
) -> None:
    steps = []
    with pytest.raises(KeyboardInterrupt):
        for step in track_sequence(stand_in, make_sequence([picture, picture, KeyboardInterrupt(), picture])):
            steps.append(step)
    assert len(steps) == 2


def test_status_name_of_a_string() -> None:
    assert status_name("lost") == "lost"
