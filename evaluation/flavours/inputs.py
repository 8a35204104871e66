"""Checks that come before judging, the same for all flavours."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ebm_tracker.annotations import Boxes
from ebm_tracker.evaluation.flavours.base import ScoringError
from ebm_tracker.evaluation.sequences import TrackingSequence


def boxes_and_truth(predicted_xywh: Boxes, sequence: TrackingSequence) -> tuple[Boxes, Boxes]:
    """Both as float64 arrays, (m, 4) and (n, 4), m >= 1 and n >= 2; copies, to be changed at will.

    A predicted row with an infinite number becomes NaN: no toolkit says what it means.

    Raises ScoringError when there is no predicted box, or no more than one true box.
    """
    predicted = np.array(predicted_xywh, dtype=np.float64)
    if not len(predicted):
        raise ScoringError("there is no box in it")
    predicted[np.isinf(predicted).any(axis=1)] = np.nan
    truth = sequence.truth_xywh
    if truth is None or len(truth) <= 1:
        raise ScoringError(f"the true boxes of {sequence.name} are not known beyond the first frame")
    return predicted, np.array(truth, dtype=np.float64)


def visible_flags(sequence: TrackingSequence, frames: int) -> NDArray[np.bool_] | None:
    """(frames,) the benchmark's own flags; None where it has none. Raises ScoringError when there are too few."""
    if sequence.visible is None:
        return None
    if len(sequence.visible) < frames:
        raise ScoringError(
            f"{sequence.name} has {frames} true boxes but {len(sequence.visible)} flags that say whether it is visible"
        )
    return np.asarray(sequence.visible[:frames], dtype=np.bool_)


def has_nan(boxes_xywh: Boxes) -> NDArray[np.bool_]:
    """(n, 4) -> (n,)."""
    return any_of_row(np.isnan(boxes_xywh))


def any_of_row(flags: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """(n, k) -> (n,)."""
    return np.asarray(flags.any(axis=1))


def all_of_row(flags: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """(n, k) -> (n,)."""
    return np.asarray(flags.all(axis=1))


def refuse_rows(bad: NDArray[np.bool_], fault: str) -> None:
    """Raises ScoringError naming the first bad row, counted from 1 as editors count lines."""
    if bad.any():
        raise ScoringError(f"row {int(bad.argmax()) + 1} {fault} ({int(bad.sum())} of {len(bad)} rows)")


def length_note(predicted: int, truth: int, short: str, long: str = "the rest is not used") -> tuple[str, ...]:
    """What to say when there are fewer (``short``) or more (``long``) boxes than true ones."""
    if predicted == truth:
        return ()
    return (f"{predicted} boxes for {truth} true ones: {short if predicted < truth else long}",)


def nan_note(bad: NDArray[np.bool_], meaning: str) -> tuple[str, ...]:
    """What to say when rows hold NaN."""
    if not bad.any():
        return ()
    return (
        f"{int(bad.sum())} of {len(bad)} rows are not numbers, the first is row {int(bad.argmax()) + 1}: {meaning}",
    )
