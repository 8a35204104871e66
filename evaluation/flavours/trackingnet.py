"""The rules of the TrackingNet server."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from ebm_tracker.annotations import Boxes
from ebm_tracker.evaluation.flavours.arithmetic import (
    centre_shifts,
    exact_overlaps,
    lengths,
    share_at_least,
    share_up_to,
    trapezoid_area,
)
from ebm_tracker.evaluation.flavours.base import Curves, SequenceScores, Values
from ebm_tracker.evaluation.flavours.inputs import boxes_and_truth, has_nan, length_note, nan_note
from ebm_tracker.evaluation.flavours.one_pass import NORM_PRECISION, OVERLAPS_21, PRECISION, mean_over_sequences
from ebm_tracker.evaluation.sequences import TrackingSequence

SUCCESS = "Success"
PIXELS_21: Values = np.linspace(0, 50, 21)
PARTS_21: Values = np.linspace(0, 0.5, 21)


class TrackingNetFlavour:
    """Judges as the server's published code does.

    All numbers of both sides are rounded to integers, halves to even. The first box is the true one. A long result is
    cut; what a short one lacks, and NaN, misses everything, even the overlap threshold 0, which a box of zeros
    reaches. Every frame counts. Figures are areas under the curves over 21 thresholds: overlaps 0 to 1, reached or
    passed; distances 0 to 50 pixels, and 0 to half of the true box's sides.
    """

    name: str = "trackingnet"
    title: str = "TrackingNet server"
    rules: str = (
        "Boxes rounded to integers, the first one taken as right; a missing sequence counts as zeros. Every sequence "
        "weighs the same; the figures are areas under the curves, Precision that up to 50 pixels."
    )
    figures: tuple[str, ...] = (SUCCESS, PRECISION, NORM_PRECISION)
    success_thresholds: Values = OVERLAPS_21
    precision_thresholds: Values | None = PIXELS_21
    normalized_thresholds: Values | None = PARTS_21
    pools_frames: bool = False
    missing_is_zeros: bool = True

    def judge(self, predicted_xywh: Boxes, sequence: TrackingSequence) -> SequenceScores:
        """See the class and ``Flavour.judge``."""
        given, truth = boxes_and_truth(predicted_xywh, sequence)
        truth = np.round(truth)
        frames = len(truth)
        notes = length_note(len(given), frames, "the missing ones count as misses")
        notes += nan_note(has_nan(given), "they count as misses")
        predicted = np.full((frames, 4), np.nan)
        predicted[: len(given)] = np.round(given[:frames])
        predicted[0] = truth[0]
        overlap = exact_overlaps(predicted, truth)
        shifts = centre_shifts(predicted, truth)
        with np.errstate(invalid="ignore", divide="ignore"):
            relative = lengths(shifts / truth[:, 2:])
        curves = Curves(
            share_at_least(overlap, OVERLAPS_21, frames),
            share_up_to(lengths(shifts), PIXELS_21, frames),
            share_up_to(relative, PARTS_21, frames),
        )
        return SequenceScores(sequence.name, _areas(curves), curves, frames, overlap, notes)

    def summarize(self, scores: Sequence[SequenceScores]) -> tuple[Mapping[str, float], Curves]:
        """The mean over sequences."""
        curves = mean_over_sequences(scores)
        return _areas(curves), curves


def _areas(curves: Curves) -> dict[str, float]:
    assert curves.precision is not None and curves.normalized_precision is not None
    return {
        SUCCESS: 100 * trapezoid_area(curves.success),
        PRECISION: 100 * trapezoid_area(curves.precision),
        NORM_PRECISION: 100 * trapezoid_area(curves.normalized_precision),
    }
