"""Reading the target's displacement off an upsampled score map (ATOM, "Online tracking approach")."""

from __future__ import annotations

import enum
import math
from dataclasses import dataclass

import torch
from torch import Tensor


class Outcome(enum.Enum):
    """What the two highest peaks of a score map say about the frame."""

    NORMAL = "normal"
    HARD_NEGATIVE = "hard_negative"
    UNCERTAIN = "uncertain"
    NOT_FOUND = "not_found"


@dataclass(frozen=True)
class LocalizationSettings:
    """Thresholds on the peaks of a score map.

    Args:
        target_not_found: lowest peak that counts as the target.
        distractor: a second peak above this share of the first is a rival of the target.
        hard_negative: a second peak above this share of the first is worth learning from.
        neighborhood: side of the region that belongs to a peak, in target sizes.
        displacement_scale: largest plausible displacement, as a share of half the map's side.
    """

    target_not_found: float = 0.25
    distractor: float = 0.8
    hard_negative: float = 0.5
    neighborhood: float = 2.2
    displacement_scale: float = 0.8


@dataclass(frozen=True)
class Localization:
    """Position of the target within the crop.

    Args:
        displacement_xy: from the centre of the crop, in pixels of the score map.
        peak: highest score of the map, 0 where the map holds a value that is not finite.
        second: highest score away from that peak, 0 where the target was not found.
        outcome: reading of the two peaks.
    """

    displacement_xy: tuple[float, float]
    peak: float
    second: float
    outcome: Outcome


def localize(
    scores: Tensor, target_size_wh: tuple[float, float], settings: LocalizationSettings | None = None
) -> Localization:
    """Find the target in a score map and judge whether something else looks like it.

    Both peaks are measured from the centre of the crop, that is from the previous position of the target.

    Args:
        scores: map (H, W) with zero displacement at index (H // 2, W // 2). Not modified.
        target_size_wh: width and height of the target in pixels of the map.
        settings: thresholds, defaults if None.

    Returns:
        The displacement and its outcome. Where the target is not found, the displacement is still that of the
        highest score; for a map with values that are not finite it is (0, 0).

    Raises:
        ValueError: if `scores` is not a matrix.
    """
    if scores.ndim != 2:
        raise ValueError(f"scores must be one map (H, W), received shape {tuple(scores.shape)}")
    settings = settings or LocalizationSettings()
    if not bool(torch.isfinite(scores).all()):
        return Localization((0.0, 0.0), 0.0, 0.0, Outcome.NOT_FOUND)
    peak, column, row = _highest(scores)
    first_xy = _displacement(scores, column, row)
    if peak < settings.target_not_found:
        return Localization(first_xy, peak, 0.0, Outcome.NOT_FOUND)

    elsewhere = scores.clone()
    rows = _neighborhood(row, settings.neighborhood * target_size_wh[1], scores.shape[0])
    columns = _neighborhood(column, settings.neighborhood * target_size_wh[0], scores.shape[1])
    elsewhere[rows, columns] = 0.0
    second, column, row = _highest(elsewhere)
    second_xy = _displacement(scores, column, row)

    if second > settings.distractor * peak:
        limit = settings.displacement_scale * math.sqrt(scores.shape[0] * scores.shape[1]) / 2.0
        first_length, second_length = math.hypot(*first_xy), math.hypot(*second_xy)
        if first_length < limit < second_length:
            return Localization(first_xy, peak, second, Outcome.HARD_NEGATIVE)
        if second_length < limit < first_length:
            return Localization(second_xy, peak, second, Outcome.HARD_NEGATIVE)
        return Localization(first_xy, peak, second, Outcome.UNCERTAIN)
    if second > settings.hard_negative * peak and second > settings.target_not_found:
        return Localization(first_xy, peak, second, Outcome.HARD_NEGATIVE)
    return Localization(first_xy, peak, second, Outcome.NORMAL)


def _highest(scores: Tensor) -> tuple[float, int, int]:
    """Value, column and row of the first maximum in row-major order."""
    index = int(scores.argmax())
    row, column = divmod(index, scores.shape[1])
    return float(scores[row, column]), column, row


def _displacement(scores: Tensor, column: int, row: int) -> tuple[float, float]:
    return float(column - scores.shape[1] // 2), float(row - scores.shape[0] // 2)


def _neighborhood(center: int, size: float, limit: int) -> slice:
    """Indices within `size / 2` of `center`, both ends included, rounded half to even as upstream rounds."""
    return slice(max(round(center - size / 2), 0), max(min(round(center + size / 2 + 1), limit), 0))
