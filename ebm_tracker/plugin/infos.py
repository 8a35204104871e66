"""What pytracking says in ``info``: which objects start, and with which boxes."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from typing import Any

import numpy as np

from ebm_tracker.boxes import BoxXYWH, parse_box_xywh

ObjectId = Hashable
SINGLE: ObjectId = None
"""Key of the only object, where pytracking gives none."""


def starting_boxes(info: Mapping[str, Any]) -> dict[ObjectId, BoxXYWH] | None:
    """Boxes of the objects that start in this frame: {SINGLE: box} where ``info`` is about one object, by id where it
    is about several (maybe none of them), None where it says nothing about starts.

    A missing box is taken around the object's mask. Raises ValueError for what is no box, or an empty mask.
    """
    boxes, mask = info.get("init_bbox"), info.get("init_mask")
    if isinstance(boxes, Mapping):
        ids = info.get("init_object_ids", list(boxes))
        return {i: _box(boxes.get(i), mask, i) for i in ids}
    if boxes is not None:
        return {SINGLE: parse_box_xywh(boxes, "init_bbox")}
    if mask is None:
        return {} if "init_object_ids" in info else None
    ids = info.get("init_object_ids")
    if not ids or len(ids) == 1 and "init_other" in info:  # the wrapper's masks hold one object
        return {SINGLE: box_of_mask(np.asarray(mask) != 0)}
    return {i: _box(None, mask, i) for i in ids}


def _box(box: Any, mask: Any, object_id: ObjectId) -> BoxXYWH:
    if box is not None:
        return parse_box_xywh(box, f"init_bbox of object {object_id}")
    if mask is None:
        raise ValueError(f"object {object_id} starts without init_bbox or init_mask")
    return box_of_mask(np.asarray(mask) == int(str(object_id)), f"init_mask of object {object_id}")


def box_of_mask(mask: Any, name: str = "init_mask") -> BoxXYWH:
    """The smallest box around the true pixels of (H, W). Raises ValueError when there are none."""
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    if not rows.size:
        raise ValueError(f"{name} holds no pixel of the object")
    x, y = float(columns[0]), float(rows[0])
    return x, y, float(columns[-1]) + 1 - x, float(rows[-1]) + 1 - y
