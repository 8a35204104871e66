"""The rules of the got10k toolkit: those for GOT-10k itself, and those for OTB and the sets that it treats alike."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from ebm_tracker.annotations import Boxes
from ebm_tracker.evaluation.flavours.arithmetic import (
    centre_shifts,
    exact_overlaps,
    lengths,
    share_above,
    share_up_to,
)
from ebm_tracker.evaluation.flavours.base import Curves, ScoringError, SequenceScores, Values
from ebm_tracker.evaluation.flavours.inputs import (
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
    PIXELS_51,
    PRECISION,
    mean_curves,
    mean_over_sequences,
    one_pass_figures,
)
from ebm_tracker.evaluation.sequences import TrackingSequence

AO, SR50, SR75 = ("AO", "SR50", "SR75")
OVERLAPS_101: Values = np.linspace(0, 1, 101)
PARTS_51_EVEN: Values = np.linspace(0, 0.5, 51)
NAN_IS_A_MISS = "they count as misses"


class Got10kOtbFlavour:
    """Judges as the toolkit's OTB experiment does, and those derived from it.

    Boxes and truth are cut to the shorter of both; the first box is the true one. Frames whose true box is NaN leave
    numerator and divisor; zeros, which LaSOT writes for absent targets, stay, and flags are not read. NaN in a result
    is a miss. On LaSOT there is a normalised figure, the mean of its curve; distances are divided by the true box's
    sides, by 1 where those are smaller.
    """

    name: str = "got10k"
    title: str = "got10k toolkit"
    success_thresholds: Values = OVERLAPS_21
    precision_thresholds: Values | None = PIXELS_51
    pools_frames: bool = False
    missing_is_zeros: bool = False

    def __init__(self, normalized: bool = False) -> None:
        self.normalized = normalized

    @property
    def rules(self) -> str:
        """Two sentences."""
        tail = ", the normalised one is the mean of 51 rates" if self.normalized else ""
        return (
            "Strict thresholds, frames whose true box is NaN left out, the first box taken as right. Every sequence "
            f"weighs the same; AUC is the mean of 21 success rates, Precision is read at 20 pixels{tail}."
        )

    @property
    def figures(self) -> tuple[str, ...]:
        """Names, the main one first."""
        return (AUC, OP50, OP75, PRECISION, *((NORM_PRECISION,) if self.normalized else ()))

    @property
    def normalized_thresholds(self) -> Values | None:
        """Parts of the true box's sides."""
        return PARTS_51_EVEN if self.normalized else None

    def judge(self, predicted_xywh: Boxes, sequence: TrackingSequence) -> SequenceScores:
        """See the class and ``Flavour.judge``."""
        predicted, truth = boxes_and_truth(predicted_xywh, sequence)
        notes = length_note(len(predicted), len(truth), "only those are compared")
        overlap = np.full(len(truth), np.nan)
        n = min(len(predicted), len(truth))
        predicted, truth = predicted[:n], truth[:n]
        predicted[0] = truth[0]
        notes += nan_note(has_nan(predicted) & ~has_nan(truth), NAN_IS_A_MISS)
        known = ~has_nan(truth)
        if not known.any():
            raise ScoringError(f"no true box of {sequence.name} is known")
        predicted, truth = predicted[known], truth[known]
        overlap[:n][known] = np.nan_to_num(exact_overlaps(predicted, truth))
        shifts = centre_shifts(predicted, truth)
        frames = len(truth)
        curves = Curves(
            share_above(overlap, OVERLAPS_21, frames),
            share_up_to(lengths(shifts), PIXELS_51, frames),
            share_up_to(lengths(shifts / np.maximum(truth[:, 2:], 1)), PARTS_51_EVEN, frames)
            if self.normalized
            else None,
        )
        return SequenceScores(sequence.name, self._figures_of(curves), curves, frames, overlap, notes)

    def summarize(self, scores: Sequence[SequenceScores]) -> tuple[Mapping[str, float], Curves]:
        """The mean over sequences."""
        curves = mean_over_sequences(scores)
        return self._figures_of(curves), curves

    def _figures_of(self, curves: Curves) -> dict[str, float]:
        figures = one_pass_figures(curves)
        if curves.normalized_precision is not None:
            figures[NORM_PRECISION] = 100 * float(curves.normalized_precision.mean())
        return figures


class Got10kFlavour:
    """Judges as the toolkit's GOT-10k experiment does.

    Results must have the truth's length. The first frame is left out, and frames in which nothing of the target is
    visible (``cover.label`` 0, which sequences give as ``visible``). Boxes are clipped to the image: a corner outside
    moves in and the side stays as long as it was, unless it ends outside. All frames of all sequences weigh the same.
    NaN in a result counts as overlap 0; in the toolkit the whole average overlap becomes NaN.
    The toolkit pools the frames of all repetitions, which gives the mean over runs as long as every sequence has
    equally many.
    """

    name: str = "got10k"
    title: str = "GOT-10k toolkit"
    rules: str = (
        "Frames after the first in which the target is visible, boxes clipped to the image. All frames weigh the "
        "same; AO is the mean overlap, SR50 and SR75 the shares of overlaps above 0.5 and 0.75."
    )
    figures: tuple[str, ...] = (AO, SR50, SR75)
    success_thresholds: Values = OVERLAPS_101
    precision_thresholds: Values | None = None
    normalized_thresholds: Values | None = None
    pools_frames: bool = True
    missing_is_zeros: bool = False

    def judge(self, predicted_xywh: Boxes, sequence: TrackingSequence) -> SequenceScores:
        """See the class and ``Flavour.judge``."""
        predicted, truth = boxes_and_truth(predicted_xywh, sequence)
        if len(predicted) != len(truth):
            raise ScoringError(f"{len(predicted)} boxes for {len(truth)} true ones: GOT-10k takes whole results only")
        notes = nan_note(has_nan(predicted), NAN_IS_A_MISS)
        visible = visible_flags(sequence, len(truth))
        judged = ~has_nan(truth) if visible is None else visible & ~has_nan(truth)
        judged[0] = False
        if not judged.any():
            raise ScoringError(f"{sequence.name} has no visible target after the first frame")
        if sequence.size_wh is None:
            notes += (f"the size of the frames of {sequence.name} is not known, so boxes are not clipped to them",)
        else:
            predicted, truth = (_clip(boxes, sequence.size_wh) for boxes in (predicted, truth))
        overlap = np.full(len(truth), np.nan)
        overlap[judged] = np.nan_to_num(exact_overlaps(predicted[judged], truth[judged]))
        frames = int(judged.sum())
        curves = Curves(share_above(overlap, OVERLAPS_101, frames))
        figures = {
            AO: 100 * float(overlap[judged].mean()),
            SR50: 100 * float(curves.success[50]),
            SR75: 100 * float(curves.success[75]),
        }
        return SequenceScores(sequence.name, figures, curves, frames, overlap, notes)

    def summarize(self, scores: Sequence[SequenceScores]) -> tuple[Mapping[str, float], Curves]:
        """The mean over frames."""
        frames = [float(score.frames) for score in scores]
        curves = mean_curves([score.curves for score in scores], frames)
        mean = {name: float(np.average([s.figures[name] for s in scores], weights=frames)) for name in self.figures}
        return mean, curves


def _clip(boxes_xywh: Boxes, size_wh: tuple[int, int]) -> Boxes:
    corner = np.clip(boxes_xywh[:, :2], 0, size_wh)
    sides = np.clip(boxes_xywh[:, 2:], 0, size_wh - corner)
    return np.concatenate([corner, sides], axis=1)
