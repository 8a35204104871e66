"""What every flavour of scores gives: figures and curves of one sequence, and of all of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from ebm_tracker.annotations import Boxes
from ebm_tracker.errors import EbmError
from ebm_tracker.evaluation.sequences import TrackingSequence

Values = NDArray[np.float64]
"""(n,) numbers."""


class ScoringError(EbmError):
    """Boxes that cannot be judged by the rules of a flavour, or a flavour that is not known."""


@dataclass(frozen=True)
class Curves:
    """Shares of frames in 0..1.

    Attributes:
        success: (T,) share of frames with a larger overlap than each of the flavour's ``success_thresholds``.
        precision: (P,) share of frames whose centre is at most as far off as each of ``precision_thresholds``
            (pixels); None where the flavour has none.
        normalized_precision: (N,) the same for distances divided by the true box's width and height, and
            ``normalized_thresholds``; None where the flavour has none.
    """

    success: Values
    precision: Values | None = None
    normalized_precision: Values | None = None


@dataclass(frozen=True)
class SequenceScores:
    """One sequence, of one run or averaged over runs.

    Attributes:
        name: the sequence's.
        figures: percent 0..100, by the names in the flavour's ``figures``.
        curves: what the figures are read from.
        frames: the divisor: how many frames the shares are shares of.
        overlaps: (n,) intersection over union for each true box; NaN where the flavour does not compare boxes
            (absent targets, a first frame that is left out).
        notes: what was odd about the boxes and what was done about it, one sentence each.
    """

    name: str
    figures: Mapping[str, float]
    curves: Curves
    frames: int
    overlaps: Values
    notes: tuple[str, ...] = ()

    @property
    def mean_overlap(self) -> float:
        """Percent 0..100, over the frames whose boxes are compared; 0 where there is none."""
        judged = self.overlaps[~np.isnan(self.overlaps)]
        return 100 * float(judged.mean()) if judged.size else 0.0


class Flavour(Protocol):
    """The rules of one toolkit.

    Attributes:
        name: as ``--metrics`` takes it.
        title: for tables: "pytracking toolkit".
        rules: two sentences that say what the figures mean, printed under every table.
        figures: names in the order of the columns, the main one first.
        success_thresholds: (T,) overlaps of the success curve.
        precision_thresholds: (P,) pixels, or None where there is no such curve.
        normalized_thresholds: (N,) parts of the true box's sides, or None where there is no such curve.
        pools_frames: whether every frame weighs the same; False: every sequence does.
        missing_is_zeros: whether a sequence without a result is judged as boxes of zeros; False: it is left out.
    """

    @property
    def name(self) -> str: ...
    @property
    def title(self) -> str: ...
    @property
    def rules(self) -> str: ...
    @property
    def figures(self) -> tuple[str, ...]: ...
    @property
    def success_thresholds(self) -> Values: ...
    @property
    def precision_thresholds(self) -> Values | None: ...
    @property
    def normalized_thresholds(self) -> Values | None: ...
    @property
    def pools_frames(self) -> bool: ...
    @property
    def missing_is_zeros(self) -> bool: ...

    def judge(self, predicted_xywh: Boxes, sequence: TrackingSequence) -> SequenceScores:
        """Scores of (n, 4) boxes, row 0 for the first frame; rows may be NaN, and n may differ from the truth's.

        Raises ScoringError where the rules refuse the boxes or there is nothing to judge. It says which row, not
        which file: that the caller knows.
        """
        ...

    def summarize(self, scores: Sequence[SequenceScores]) -> tuple[Mapping[str, float], Curves]:
        """Figures (percent) and curves over sequences. Raises ScoringError for none."""
        ...
