"""The rules of pytracking's analysis, which most published figures on OTB, NFS, UAV123 and LaSOT follow."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from enum import Enum

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
    refuse_rows,
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
    mean_over_sequences,
    one_pass_figures,
)
from ebm_tracker.evaluation.sequences import TrackingSequence


class Rules(Enum):
    """What depends on the data set."""

    UAV = "uav"
    """True boxes may be NaN; the centre of a frame without a true box counts as hit."""
    LASOT = "lasot"
    """A short result is refused; absent frames are misses everywhere."""
    GOT10K = "got10k"
    """As others; its visibility labels are not read."""
    OTHERS = "others"
    """The centre of a frame without a true box counts as miss, its normalised centre as hit."""


class PytrackingFlavour:
    """Judges as pytracking does, in this order.

    NaN or a negative side: refused. A zero side after the first row: the row before, unless the true box is NaN. A long
    result is cut, a short one filled with zeros (LaSOT: refused). The first box is the true one. A true box is valid
    when its four numbers are all above 0, so one that touches the left or upper border is not, and where flags say
    that it is visible. A frame without a valid true box stays in the divisor: its overlap is a miss; its centre a hit
    on UAV123 and a miss elsewhere; its normalised centre a hit, but a miss where LaSOT flags the target absent.

    On boxes of integers the success and precision curves are those of pytracking's own code. Two things are as the
    formulas have them and not as its rounding does: an overlap is never above 1 (there the first frame may be, when it
    has fractions), and a normalised distance exactly on a threshold reaches it (there it depends on the last digit).
    """

    name: str = "pytracking"
    title: str = "pytracking toolkit"
    rules: str = (
        "Strict thresholds, all frames in the divisor, the first box taken as right; frames without a valid true box "
        "(all four numbers above 0) miss in overlap. Every sequence weighs the same; AUC is the mean of 21 success "
        "rates, Precision is read at 20 pixels, the normalised one at 0.2."
    )
    figures: tuple[str, ...] = (AUC, OP50, OP75, PRECISION, NORM_PRECISION)
    success_thresholds: Values = OVERLAPS_21
    precision_thresholds: Values | None = PIXELS_51
    normalized_thresholds: Values | None = PARTS_51
    pools_frames: bool = False
    missing_is_zeros: bool = False

    def __init__(self, dataset: Rules = Rules.OTHERS) -> None:
        self.dataset = dataset

    def judge(self, predicted_xywh: Boxes, sequence: TrackingSequence) -> SequenceScores:
        """See the class and ``Flavour.judge``."""
        predicted, truth = boxes_and_truth(predicted_xywh, sequence)
        visible = None if self.dataset is Rules.GOT10K else visible_flags(sequence, len(truth))
        if self.dataset is not Rules.UAV and has_nan(truth).any():
            raise ScoringError(f"the true boxes of {sequence.name} hold NaN, which pytracking accepts for UAV123 only")
        refuse_rows(has_nan(predicted), "is not four numbers, which pytracking refuses")
        refuse_rows(any_of_row(predicted[:, 2:] < 0), "has a negative side, which pytracking refuses")
        notes = length_note(len(predicted), len(truth), "the missing ones count as misses")
        predicted = self._fit(predicted, truth)
        predicted[0] = truth[0]

        valid = all_of_row(truth > 0)
        if visible is not None:
            valid &= visible
        overlap = np.where(valid, exact_overlaps(predicted, truth), np.nan)
        shifts = centre_shifts(predicted, truth)[valid]
        error = np.full(len(truth), -1.0 if self.dataset is Rules.UAV else np.inf)
        error[valid] = lengths(shifts)
        relative = np.full(len(truth), -1.0)
        relative[valid] = lengths(shifts / truth[valid, 2:])
        if self.dataset is Rules.LASOT and visible is not None:
            error[~visible] = relative[~visible] = np.inf
        frames = len(truth)
        curves = Curves(
            share_above(overlap, OVERLAPS_21, frames),
            share_up_to(error, PIXELS_51, frames),
            share_up_to(relative, PARTS_51, frames),
        )
        return SequenceScores(sequence.name, one_pass_figures(curves), curves, frames, overlap, notes)

    def _fit(self, predicted: Boxes, truth: Boxes) -> Boxes:
        """As many rows as the truth has, zero sides replaced."""
        frames = len(truth)
        if self.dataset is Rules.LASOT and len(predicted) < frames:
            raise ScoringError(f"{len(predicted)} boxes for {frames} true ones: on LaSOT pytracking refuses short ones")
        predicted = predicted[:frames]
        bad = any_of_row(predicted[:, 2:] == 0) & ~has_nan(truth[: len(predicted)])
        # First the replacing, then the filling: rows that are filled in stay zero.
        predicted = previous_rows(predicted, bad)
        return np.concatenate([predicted, np.zeros((frames - len(predicted), 4))])

    def summarize(self, scores: Sequence[SequenceScores]) -> tuple[Mapping[str, float], Curves]:
        """The mean over sequences."""
        curves = mean_over_sequences(scores)
        return one_pass_figures(curves), curves
