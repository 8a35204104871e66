"""Figures by closed forms, and equal to the independent judge's."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import numpy as np
import pytest

from ebm_tracker.evaluation.metrics import centre_errors, overlaps, score_boxes

BOX = (10.0, 20.0, 30.0, 40.0)


@pytest.mark.parametrize(
    ("other", "expected"),
    [
        (BOX, 1.0),  # identical
        ((100, 100, 5, 5), 0.0),  # apart
        ((40, 20, 30, 40), 0.0),  # touching edge
        ((40, 60, 30, 40), 0.0),  # touching corner
        ((25, 20, 30, 40), 1 / 3),  # half of each
        ((10, 20, 15, 20), 0.25),  # inside
        ((10, 20, 0, 40), 0.0),  # no area
        ((10, 20, -5, 40), 0.0),  # turned over
        ((np.nan, 20, 30, 40), 0.0),
    ],
)
def test_overlap(other: tuple[float, ...], expected: float) -> None:
    assert overlaps(np.array([BOX]), np.array([other]))[0] == pytest.approx(expected)
    assert overlaps(np.array([other]), np.array([BOX]))[0] == pytest.approx(expected)


def test_overlap_of_two_points_is_zero() -> None:
    assert overlaps(np.zeros((1, 4)), np.zeros((1, 4))).tolist() == [0.0]


def test_centre_error() -> None:
    boxes = np.array([BOX, BOX, (np.nan,) * 4])
    others = np.array([(13, 24, 30, 40), (10, 20, 36, 48), BOX])
    np.testing.assert_allclose(centre_errors(boxes, others), [5, 5, np.inf])


def test_perfect_is_20_of_21() -> None:
    scores = score_boxes(np.array([BOX] * 5), np.array([BOX] * 5))
    assert scores.auc == pytest.approx(20 / 21)
    assert (scores.op50, scores.op75, scores.precision, scores.frames) == (1, 1, 1, 4)


def test_absent_frames_are_ignored() -> None:
    truth = np.array([BOX] * 6)
    truth[2], truth[4] = np.nan, 0
    predicted = np.array([BOX] * 6)
    predicted[2], predicted[4] = np.nan, (9, 9, 9, 9)
    scores = score_boxes(predicted, truth)
    assert scores.auc == pytest.approx(20 / 21)
    assert scores.frames == 3


def test_first_frame_is_left_out_and_thresholds_are_strict() -> None:
    half = (10, 20, 30, 20)  # overlap of exactly 0.5
    truth = np.array([BOX] * 3)
    scores = score_boxes(np.array([(0, 0, 1, 1), half, half]), truth)
    assert scores.op50 == 0
    assert scores.auc == pytest.approx(10 / 21)
    assert scores.precision == 1


@pytest.mark.parametrize("rows", [3, 8])
def test_other_length_compares_what_both_have(rows: int) -> None:
    scores = score_boxes(np.array([BOX] * rows), np.array([BOX] * 5))
    assert scores.frames == min(rows, 5) - 1


@pytest.mark.parametrize("truth", [np.array([BOX]), np.full((4, 4), np.nan), np.zeros((0, 4))])
def test_nothing_to_judge(truth: np.ndarray) -> None:
    with pytest.raises(ValueError, match="no frame after the first has a true box"):
        score_boxes(np.array([BOX] * 4), truth)


def test_equal_to_the_independent_judge(shared_dir: Path) -> None:
    spec = importlib.util.spec_from_file_location("judge", shared_dir / "tools" / "score_boxes.py")
    assert spec is not None and spec.loader is not None
    judge = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(judge)
    rng = np.random.default_rng(0)
    for _ in range(50):
        truth = np.column_stack([rng.uniform(-20, 200, (40, 2)), rng.uniform(1, 90, (40, 2))])
        predicted = truth + rng.normal(0, rng.uniform(0, 20), truth.shape)
        truth[rng.random(40) < 0.1] = np.nan
        truth[rng.random(40) < 0.1, 2] = 0
        predicted[rng.random(40) < 0.1] = np.nan
        predicted = predicted[: rng.integers(20, 41)]
        ours, theirs = score_boxes(predicted, truth), judge.scores(predicted, truth)
        assert (ours.auc, ours.op50, ours.op75, ours.precision, ours.frames) == (
            theirs["auc"],
            theirs["op50"],
            theirs["op75"],
            theirs["p20"],
            theirs["frames"],
        )
