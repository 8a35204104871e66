"""The figures of a one-pass evaluation, as the OTB benchmark introduced them, and their mean over sequences."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np

from ebm_tracker.evaluation.flavours.base import Curves, ScoringError, SequenceScores, Values

AUC, OP50, OP75, PRECISION, NORM_PRECISION = ("AUC", "OP50", "OP75", "Precision", "Norm. Precision")
OVERLAPS_21: Values = np.linspace(0, 1, 21)
"""0, 0.05, ..., 1 in float64, where 0.5 and 0.75 are exact."""
PIXELS_51: Values = np.arange(51, dtype=np.float64)
PARTS_51: Values = np.arange(51, dtype=np.float64) / 100
"""0, 0.01, ..., 0.5."""


def one_pass_figures(curves: Curves) -> dict[str, float]:
    """Percent, of curves over the thresholds above.

    AUC: mean of the 21 success values. OP50, OP75: success at 0.5 and 0.75. Precision: at 20 pixels.
    Norm. Precision: at 0.2.
    """
    figures = {
        AUC: float(curves.success.mean()),
        OP50: float(curves.success[10]),
        OP75: float(curves.success[15]),
    }
    if curves.precision is not None:
        figures[PRECISION] = float(curves.precision[20])
    if curves.normalized_precision is not None:
        figures[NORM_PRECISION] = float(curves.normalized_precision[20])
    return {name: 100 * share for name, share in figures.items()}


def mean_curves(curves: Sequence[Curves], weights: Sequence[float] | None = None) -> Curves:
    """Their mean, all weighing the same unless weights say otherwise. Raises ScoringError for none."""
    if not curves:
        raise ScoringError("there is no sequence to average over")
    success = mean_curve((c.success for c in curves), weights)
    assert success is not None
    return Curves(
        success,
        mean_curve((c.precision for c in curves), weights),
        mean_curve((c.normalized_precision for c in curves), weights),
    )


def mean_curve(curves: Iterable[Values | None], weights: Sequence[float] | None = None) -> Values | None:
    """Their mean; None where there are none."""
    present = [curve for curve in curves if curve is not None]
    return np.average(present, axis=0, weights=weights) if present else None


def mean_over_sequences(scores: Sequence[SequenceScores]) -> Curves:
    """Curves over sequences, every sequence weighing the same. Raises ScoringError for none."""
    return mean_curves([score.curves for score in scores])
