"""What all flavours count with: overlaps, shifts between centres, shares of frames.

Two conventions need no switch. With right = x + w - 1 and side = right - left + 1, as several toolkits write it, the
ones cancel: overlaps "with" and "without" the extra pixel are one number. And constants in the centre (w / 2,
(w - 1) / 2, (w + 1) / 2) drop out of differences.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ebm_tracker.annotations import Boxes
from ebm_tracker.evaluation.flavours.base import Values


def exact_overlaps(boxes_xywh: Boxes, others_xywh: Boxes) -> Values:
    """(n, 4) and (n, 4) -> (n,) intersection over union; NaN where a box holds NaN or both have no area.

    Never above 1: where rounding makes it so, for two equal boxes with fractions, it is 1. pytracking keeps what
    rounding gives, and counts some of such frames above the threshold 1.
    """
    low = np.maximum(boxes_xywh[:, :2], others_xywh[:, :2])
    high = np.minimum(boxes_xywh[:, :2] + boxes_xywh[:, 2:], others_xywh[:, :2] + others_xywh[:, 2:])
    sides = np.maximum(high - low, 0)
    shared = sides[:, 0] * sides[:, 1]
    union = boxes_xywh[:, 2] * boxes_xywh[:, 3] + others_xywh[:, 2] * others_xywh[:, 3] - shared
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.minimum(shared / union, 1)


def centre_shifts(boxes_xywh: Boxes, others_xywh: Boxes) -> NDArray[np.float64]:
    """(n, 4) and (n, 4) -> (n, 2) from the others' centres to the boxes', pixels."""
    shift = boxes_xywh - others_xywh
    return shift[:, :2] + shift[:, 2:] / 2


def lengths(shifts: NDArray[np.float64]) -> Values:
    """(n, 2) -> (n,)."""
    return np.hypot(shifts[:, 0], shifts[:, 1])


def share_above(values: Values, thresholds: Values, frames: int) -> Values:
    """(n,) and (t,) -> (t,) #{value > threshold} / frames; NaN is above nothing."""
    ordered = np.sort(values[~np.isnan(values)])
    return (ordered.size - np.searchsorted(ordered, thresholds, side="right")) / frames


def share_at_least(values: Values, thresholds: Values, frames: int) -> Values:
    """(n,) and (t,) -> (t,) #{value >= threshold} / frames; NaN reaches nothing."""
    ordered = np.sort(values[~np.isnan(values)])
    return (ordered.size - np.searchsorted(ordered, thresholds, side="left")) / frames


def share_up_to(values: Values, thresholds: Values, frames: int) -> Values:
    """(n,) and (t,) -> (t,) #{value <= threshold} / frames; NaN is below nothing."""
    ordered = np.sort(values[~np.isnan(values)])
    return np.searchsorted(ordered, thresholds, side="right") / frames


def trapezoid_area(curve: Values) -> float:
    """Area under the curve over evenly spaced thresholds, divided by their span: 1 for a curve of ones."""
    return float((curve[:-1] + curve[1:]).mean() / 2)


def previous_rows(boxes_xywh: Boxes, bad: NDArray[np.bool_]) -> Boxes:
    """The boxes with bad rows replaced by the last row before them that is not bad; the first row always stays."""
    source = np.maximum.accumulate(np.where(bad, 0, np.arange(len(bad))))
    return boxes_xywh[source]
