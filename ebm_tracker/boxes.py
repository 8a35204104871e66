"""Axis-aligned boxes: formats, overlap, the relative coordinates of the energy model.

Formats: ``xywh`` is top-left corner and size, ``cxcywh`` centre and size, ``xyxy`` two corners; all in pixels,
with pixel ``i`` covering the interval [i, i + 1). Relative coordinates are

    boxes_rel = (cx / w0, cy / h0, log w, log h)

with a reference size (w0, h0): the true box's size in training, the start box's size in refinement
(Gustafsson et al., section 4.1; PROTOCOL 3.4).
"""

from __future__ import annotations

import math
import reprlib
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

BoxXYWH = tuple[float, float, float, float]

SIDE_LIMITS = (1e-3, 1e6)
"""Shortest and longest side of a first box in pixels: a thousandth is what results are written to."""


def parse_box_xywh(box: Any, name: str = "box") -> BoxXYWH:
    """Four floats (x, y, w, h) from a list, tuple, array or tensor of four numbers.

    Raises ValueError, naming what came, when there are not four finite numbers or a side is not positive.
    """
    values = box.tolist() if hasattr(box, "tolist") else box
    if not isinstance(values, Sequence) or isinstance(values, (str, bytes)):
        raise ValueError(f"{name} must be four numbers x, y, w, h (got {reprlib.repr(box)})")
    if len(values) == 1 and isinstance(values[0], Sequence) and not isinstance(values[0], (str, bytes)):
        values = values[0]
    try:
        numbers = [float(v) for v in values]
    except (TypeError, ValueError, OverflowError):
        raise ValueError(f"{name} must be four numbers x, y, w, h (got {reprlib.repr(box)})") from None
    if len(numbers) != 4:
        raise ValueError(f"{name} must be four numbers x, y, w, h (got {len(numbers)} of them: {reprlib.repr(box)})")
    x, y, w, h = numbers
    if not all(math.isfinite(v) for v in numbers):
        raise ValueError(f"{name} must hold finite numbers (got x={x:g}, y={y:g}, w={w:g}, h={h:g})")
    if w <= 0 or h <= 0:
        raise ValueError(f"{name}: width and height must be > 0 (got w={w:g}, h={h:g})")
    return x, y, w, h


def check_inside(box_xywh: BoxXYWH, frame_wh: tuple[int, int], name: str = "box") -> None:
    """Raises ValueError when no part of the box lies in a frame of that size, or a side is beyond SIDE_LIMITS."""
    x, y, w, h = box_xywh
    if not (SIDE_LIMITS[0] <= min(w, h) and max(w, h) <= SIDE_LIMITS[1]):
        raise ValueError(
            f"{name}: width and height must be {SIDE_LIMITS[0]:g} to {SIDE_LIMITS[1]:g} pixels (got w={w:g}, h={h:g})"
        )
    frame_w, frame_h = frame_wh
    if x >= frame_w or y >= frame_h or x + w <= 0 or y + h <= 0:
        raise ValueError(
            f"{name} lies outside the image (got x={x:g}, y={y:g}, w={w:g}, h={h:g}; image {frame_w}x{frame_h})"
        )


def xywh_to_xyxy(boxes_xywh: Tensor) -> Tensor:
    """(..., 4) x, y, w, h -> (..., 4) x0, y0, x1, y1."""
    return torch.cat((boxes_xywh[..., :2], boxes_xywh[..., :2] + boxes_xywh[..., 2:]), dim=-1)


def xywh_to_relative(boxes_xywh: Tensor, ref_wh: Tensor) -> Tensor:
    """(..., 4) pixels -> (..., 4) relative; ``ref_wh`` (..., 2) broadcasts. Sides must be positive."""
    xy, wh = boxes_xywh[..., :2], boxes_xywh[..., 2:]
    return torch.cat(((xy + 0.5 * wh) / ref_wh, wh.log()), dim=-1)


def relative_to_xywh(boxes_rel: Tensor, ref_wh: Tensor) -> Tensor:
    """Inverse of :func:`xywh_to_relative`."""
    wh = boxes_rel[..., 2:].exp()
    return torch.cat((boxes_rel[..., :2] * ref_wh - 0.5 * wh, wh), dim=-1)


def gradient_to_relative(grad_xywh: Tensor, boxes_xywh: Tensor, ref_wh: Tensor) -> Tensor:
    """Chain rule: d f / d(x, y, w, h) -> d f / d(relative), all (..., 4).

    x = cx_rel * w0 - exp(lw) / 2 and w = exp(lw), so d/dcx_rel = w0 * d/dx and
    d/dlw = w * (d/dw - d/dx / 2).
    """
    grad_xy, grad_wh = grad_xywh[..., :2], grad_xywh[..., 2:]
    return torch.cat((grad_xy * ref_wh, boxes_xywh[..., 2:] * (grad_wh - 0.5 * grad_xy)), dim=-1)


def iou_xywh(a_xywh: Tensor, b_xywh: Tensor) -> Tensor:
    """Intersection over union of boxes (..., 4) that broadcast against each other; (...) in [0, 1]."""
    a, b = xywh_to_xyxy(a_xywh), xywh_to_xyxy(b_xywh)
    sides = (torch.minimum(a[..., 2:], b[..., 2:]) - torch.maximum(a[..., :2], b[..., :2])).clamp(min=0)
    inter = sides.prod(-1)
    union = a_xywh[..., 2:].prod(-1) + b_xywh[..., 2:].prod(-1) - inter
    return torch.where(union > 0, inter / union.clamp(min=torch.finfo(union.dtype).tiny), torch.zeros_like(union))
