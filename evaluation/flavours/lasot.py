"""The rules of the official LaSOT evaluation in MATLAB."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from ebm_tracker.annotations import Boxes
from ebm_tracker.evaluation.flavours.arithmetic import (
    centre_shifts,
    exact_overlaps,
    lengths,
    previous_rows,
    share_above,
    share_up_to,
)
from ebm_tracker.evaluation.flavours.base import Curves, ScoringError, SequenceScores, Values
from ebm_tracker.evaluation.flavours.inputs import (
    all_of_row,
    any_of_row,
    boxes_and_truth,
    has_nan,
    length_note,
    nan_note,
    visible_flags,
)
from ebm_tracker.evaluation.flavours.one_pass import (
    AUC,
    NORM_PRECISION,
    OP50,
    OP75,
    OVERLAPS_21,
    PARTS_51,
    PIXELS_51,
    PRECISION,
    mean_curve,
    one_pass_figures,
)
from ebm_tracker.evaluation.sequences import TrackingSequence


class LasotFlavour:
    """Judges as the LaSOT toolkit does, in this order.

    A long result is cut, a short one refused. NaN or a side that is not above 0, after the first row: the row before,
    unless the true box is NaN. The first box is the true one. Absent frames are not counted but stay in the divisor.
    Of those left, a true box whose four numbers are not all above 0 is a miss in overlap and a hit in both centres.
    A sequence whose curve is zero everywhere is left out of that curve's mean.
    Normalised distances exactly on a threshold reach it; in MATLAB that depends on the last digit.
    """

    name: str = "lasot"
    title: str = "LaSOT toolkit"
    rules: str = (
        "Strict thresholds; absent frames are not counted but stay in the divisor, the first box is taken as right. "
        "Every sequence weighs the same, those whose curve is zero everywhere are left out; AUC is the mean of 21 "
        "success rates, Precision is read at 20 pixels, the normalised one at 0.2."
    )
    figures: tuple[str, ...] = (AUC, OP50, OP75, PRECISION, NORM_PRECISION)
    success_thresholds: Values = OVERLAPS_21
    precision_thresholds: Values | None = PIXELS_51
    normalized_thresholds: Values | None = PARTS_51
    pools_frames: bool = False
    missing_is_zeros: bool = False

    def judge(self, predicted_xywh: Boxes, sequence: TrackingSequence) -> SequenceScores:
        """See the class and ``Flavour.judge``."""
        predicted, truth = boxes_and_truth(predicted_xywh, sequence)
        frames = len(truth)
        visible = visible_flags(sequence, frames)
        if len(predicted) < frames:
            raise ScoringError(f"{len(predicted)} boxes for {frames} true ones: the LaSOT toolkit refuses short ones")
        notes = length_note(len(predicted), frames, "")
        predicted = predicted[:frames]
        notes += nan_note(has_nan(predicted), "they take the box before")
        with np.errstate(invalid="ignore"):
            bad = (has_nan(predicted) | any_of_row(predicted[:, 2:] <= 0)) & ~has_nan(truth)
            valid = all_of_row(truth > 0)
        predicted = previous_rows(predicted, bad)
        predicted[0] = truth[0]

        present = np.ones(frames, np.bool_) if visible is None else visible
        compared = valid & present
        overlap = np.where(compared, exact_overlaps(predicted, truth), np.nan)
        shifts = centre_shifts(predicted, truth)[compared]
        error, relative = np.full((2, frames), -1.0)
        error[compared] = lengths(shifts)
        relative[compared] = lengths(shifts / truth[compared, 2:])
        curves = Curves(
            share_above(overlap, OVERLAPS_21, frames),
            share_up_to(error[present], PIXELS_51, frames),
            share_up_to(relative[present], PARTS_51, frames),
        )
        return SequenceScores(sequence.name, one_pass_figures(curves), curves, frames, overlap, notes)

    def summarize(self, scores: Sequence[SequenceScores]) -> tuple[Mapping[str, float], Curves]:
        """The mean over sequences."""
        if not scores:
            raise ScoringError("there is no sequence to average over")
        curves = Curves(
            _mean_of_nonzero([score.curves.success for score in scores]),
            _mean_of_nonzero([score.curves.precision for score in scores]),
            _mean_of_nonzero([score.curves.normalized_precision for score in scores]),
        )
        return one_pass_figures(curves), curves


def _mean_of_nonzero(curves: Sequence[Values | None]) -> Values:
    present = [curve for curve in curves if curve is not None]
    mean = mean_curve(curve for curve in present if curve.any())
    return np.zeros_like(present[0]) if mean is None else mean
