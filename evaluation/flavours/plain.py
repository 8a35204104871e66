"""Our own plain rules: only frames after the first in which there is a target."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from ebm_tracker.annotations import Boxes, is_present
from ebm_tracker.evaluation.flavours.arithmetic import share_above, share_up_to
from ebm_tracker.evaluation.flavours.base import Curves, ScoringError, SequenceScores, Values
from ebm_tracker.evaluation.flavours.inputs import boxes_and_truth, has_nan, length_note, nan_note
from ebm_tracker.evaluation.flavours.one_pass import (
    AUC,
    OP50,
    OP75,
    OVERLAPS_21,
    PIXELS_51,
    PRECISION,
    mean_over_sequences,
    one_pass_figures,
)
from ebm_tracker.evaluation.metrics import centre_errors, overlaps
from ebm_tracker.evaluation.sequences import TrackingSequence


class PlainFlavour:
    """Judges each sequence as ``evaluation.metrics.score_boxes`` does.

    Boxes and truth are cut to the shorter of both, the first frame and those without a target (NaN, or a side of 0)
    are left out, flags are not read. NaN in a result is a miss.
    """

    name: str = "plain"
    title: str = "plain rules"
    rules: str = (
        "Strict thresholds, only frames after the first that have a true box. Every sequence weighs the same; AUC is "
        "the mean of 21 success rates, Precision is read at 20 pixels."
    )
    figures: tuple[str, ...] = (AUC, OP50, OP75, PRECISION)
    success_thresholds: Values = OVERLAPS_21
    precision_thresholds: Values | None = PIXELS_51
    normalized_thresholds: Values | None = None
    pools_frames: bool = False
    missing_is_zeros: bool = False

    def judge(self, predicted_xywh: Boxes, sequence: TrackingSequence) -> SequenceScores:
        """See the class and ``Flavour.judge``."""
        predicted, truth = boxes_and_truth(predicted_xywh, sequence)
        notes = length_note(len(predicted), len(truth), "only those are compared")
        notes += nan_note(has_nan(predicted), "they count as misses")
        overlap = np.full(len(truth), np.nan)
        n = min(len(predicted), len(truth))
        judged = is_present(truth[:n])
        judged[0] = False
        if not judged.any():
            raise ScoringError(f"{sequence.name} has no true box after the first frame")
        predicted, truth = predicted[:n][judged], truth[:n][judged]
        overlap[:n][judged] = overlaps(predicted, truth)
        frames = int(judged.sum())
        curves = Curves(
            share_above(overlap, OVERLAPS_21, frames),
            share_up_to(centre_errors(predicted, truth), PIXELS_51, frames),
        )
        return SequenceScores(sequence.name, one_pass_figures(curves), curves, frames, overlap, notes)

    def summarize(self, scores: Sequence[SequenceScores]) -> tuple[Mapping[str, float], Curves]:
        """The mean over sequences."""
        curves = mean_over_sequences(scores)
        return one_pass_figures(curves), curves
