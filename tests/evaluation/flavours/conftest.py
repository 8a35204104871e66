"""Sequences that have true boxes and no frames, and random boxes that are close to them."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
import pytest

from ebm_tracker.evaluation.sequences import TrackingSequence


class NoFrames:
    """Scores need none."""

    name = "made"
    frames_per_second = 25.0
    frame_count: int | None = None
    bad_frames = 0

    def __iter__(self) -> Iterator[np.ndarray | None]:
        raise AssertionError("scoring reads no frames")


@pytest.fixture(scope="session")
def with_truth() -> Callable[..., TrackingSequence]:
    def make(
        truth: object,
        visible: object = None,
        size_wh: tuple[int, int] | None = None,
        name: str = "made",
        aliases: tuple[str, ...] = (),
    ) -> TrackingSequence:
        boxes = np.array(truth, dtype=np.float64).reshape(-1, 4)
        flags = None if visible is None else np.array(visible, dtype=np.bool_)
        x, y, w, h = boxes[0].tolist()
        return TrackingSequence(name, NoFrames(), (x, y, w, h), boxes, flags, size_wh, aliases=aliases)

    return make


def make_random_boxes(
    rng: np.random.Generator, n: int, nan: bool = False, integers: bool = False
) -> tuple[np.ndarray, np.ndarray]:
    """(truth, predicted) of n frames on a grid of quarters of a pixel, so that equal numbers are equal exactly.

    Truth: some rows touch the left or upper border, some have a side of 0; ``nan`` makes some NaN. Predicted: from
    exact to far off, some with a side of 0; never NaN.
    """
    step = 1.0 if integers else 0.25
    truth = np.column_stack([rng.uniform(1, 200, (n, 2)), rng.uniform(2, 60, (n, 2))])
    truth[1:, 0][rng.random(n - 1) < 0.1] = 0
    truth[1:, 1][rng.random(n - 1) < 0.05] = 0
    truth[1:, 2][rng.random(n - 1) < 0.05] = 0
    if nan:
        truth[1:][rng.random(n - 1) < 0.15] = np.nan
    noise = rng.normal(0, 1, (n, 4)) * rng.choice([0, 2, 10, 40], (n, 1), p=[0.2, 0.4, 0.3, 0.1])
    predicted = np.nan_to_num(truth, nan=30.0) + noise
    predicted[:, 2:] = np.abs(predicted[:, 2:])
    predicted[rng.random(n) < 0.05, 2] = 0
    predicted[rng.random(n) < 0.05, 3] = 0
    return np.round(truth / step) * step, np.round(predicted / step) * step


@pytest.fixture(scope="session")
def random_boxes() -> Callable[..., tuple[np.ndarray, np.ndarray]]:
    return make_random_boxes
