"""Regions and images as TraX names them -> boxes and files."""

from __future__ import annotations

import re
from enum import Enum
from pathlib import Path
from urllib.parse import unquote

import numpy as np

from ebm_tracker.annotations import split_numbers
from ebm_tracker.evaluation.sequences import BoxXYWH
from ebm_tracker.evaluation.vot.messages import TraxError


class PolygonRule(Enum):
    """What box stands for a polygon."""

    HULL = "hull"
    """The smallest axis-aligned box around it."""
    AREA = "area"
    """Of a turned rectangle: a box around its centre with the hull's aspect and about the rectangle's own area, as
    most entries of VOT 2016 to 2019 had it."""


def parse_region(text: str, rule: PolygonRule = PolygonRule.HULL) -> BoxXYWH:
    """The box of "x,y,w,h" or "x1,y1,x2,y2,...". Raises TraxError for anything else."""
    try:
        values = np.array(split_numbers(text), np.float64)
    except ValueError:
        values = np.empty(0)
    if len(values) == 4 and np.isfinite(values).all():
        x, y, w, h = values.tolist()
    elif len(values) >= 6 and len(values) % 2 == 0 and np.isfinite(values).all():
        x, y, w, h = _box_of_polygon(values.reshape(-1, 2), rule)
    else:
        raise TraxError(f"regions must be a rectangle x,y,w,h or a polygon (got {text[:80]!r})")
    return x, y, w, h


def _box_of_polygon(corners_xy: np.ndarray[tuple[int, ...], np.dtype[np.float64]], rule: PolygonRule) -> list[float]:
    low, high = corners_xy.min(axis=0), corners_xy.max(axis=0)
    if rule is PolygonRule.HULL or len(corners_xy) != 4:
        return [*low.tolist(), *(high - low).tolist()]
    hull_area = float(np.prod(high - low))
    sides = np.linalg.norm(corners_xy[1] - corners_xy[0]), np.linalg.norm(corners_xy[2] - corners_xy[1])
    scale = float(np.sqrt(sides[0] * sides[1] / hull_area)) if hull_area > 0 else 1.0
    size = scale * (high - low) + 1
    return [*(corners_xy.mean(axis=0) - size / 2).tolist(), *size.tolist()]


def format_region(box_xywh: BoxXYWH) -> str:
    """"x,y,w,h" with four decimals."""
    return ",".join(f"{value:.4f}" for value in box_xywh)


def image_path(uri: str) -> Path:
    """The file that "file:///a/b.jpg" names.

    Percent signs are escapes by the rule, yet vot-trax's client writes names as they are: so the name as it stands
    goes first, and where there is no such file it is decoded. Raises TraxError when neither is there.
    """
    text = re.sub(r"^file://(localhost(?=/))?", "", uri)
    for name in (text, unquote(text)):
        name = re.sub(r"^/(?=[A-Za-z]:)", "", name)  # file:///c:/...
        path = Path(name)
        try:
            if path.is_file():
                return path
        except (OSError, ValueError):  # too long, or with a zero in it
            continue
    raise TraxError(f"there is no image {uri[:200]}")
