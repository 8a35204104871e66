"""How well boxes fit: overlap, success and precision of one sequence (arrays in, numbers out)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ebm_tracker.annotations import Boxes, is_present

# The 21 overlaps of the success curve; in float64, so that 0.5 and 0.75 are met exactly.
SUCCESS_THRESHOLDS = np.linspace(0, 1, 21)
PRECISION_PIXELS = 20.0


@dataclass(frozen=True)
class Scores:
    """Figures of one sequence, each the share of frames in 0..1.

    Attributes:
        auc: area under the success curve: the mean over the 21 thresholds of the share of frames with a
            larger overlap. A perfect tracker reaches 20/21, because no overlap is larger than 1.
        op50: share of frames with overlap above 0.5.
        op75: share of frames with overlap above 0.75.
        precision: share of frames whose centre is at most 20 pixels off.
        frames: how many frames were judged.
    """

    auc: float
    op50: float
    op75: float
    precision: float
    frames: int


def overlaps(boxes_xywh: Boxes, others_xywh: Boxes) -> NDArray[np.float64]:
    """(n, 4) and (n, 4) -> (n,) intersection over union; 0 where a box holds NaN or both have no area."""
    a, b = np.asarray(boxes_xywh, np.float64), np.asarray(others_xywh, np.float64)
    low = np.maximum(a[:, :2], b[:, :2])
    high = np.minimum(a[:, :2] + a[:, 2:], b[:, :2] + b[:, 2:])
    shared = np.clip(high - low, 0, None).prod(axis=1)
    union = a[:, 2] * a[:, 3] + b[:, 2] * b[:, 3] - shared
    with np.errstate(invalid="ignore"):
        usable = union > 0  # False for NaN
    return np.divide(shared, union, out=np.zeros_like(union), where=usable)


def centre_errors(boxes_xywh: Boxes, others_xywh: Boxes) -> NDArray[np.float64]:
    """(n, 4) and (n, 4) -> (n,) distance of the centres in pixels; infinite where a box holds NaN."""
    a, b = np.asarray(boxes_xywh, np.float64), np.asarray(others_xywh, np.float64)
    shift = (a[:, :2] + a[:, 2:] / 2) - (b[:, :2] + b[:, 2:] / 2)
    distance = np.hypot(shift[:, 0], shift[:, 1])
    return np.where(np.isnan(distance), np.inf, distance)


def score_boxes(predicted_xywh: Boxes, truth_xywh: Boxes) -> Scores:
    """Judges a sequence's boxes.

    Box n is compared with truth n, as far as both go. The first frame is left out, its box was given; so are
    the frames whose true box is absent (NaN, or a side of 0).

    Raises ValueError when no frame is left to judge.
    """
    n = min(len(predicted_xywh), len(truth_xywh))
    predicted, truth = np.asarray(predicted_xywh, np.float64)[1:n], np.asarray(truth_xywh, np.float64)[1:n]
    judged = is_present(truth)
    if not judged.any():
        raise ValueError(f"no frame after the first has a true box (got {n} frames)")
    predicted, truth = predicted[judged], truth[judged]
    overlap = overlaps(predicted, truth)
    return Scores(
        auc=float((overlap[:, None] > SUCCESS_THRESHOLDS).mean()),
        op50=float((overlap > 0.5).mean()),
        op75=float((overlap > 0.75).mean()),
        precision=float((centre_errors(predicted, truth) <= PRECISION_PIXELS).mean()),
        frames=int(judged.sum()),
    )
