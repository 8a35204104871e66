"""Coordinates in which boxes are refined: relative ones (ours, IoU-Net*) and plain corners (IoU-Net).

Relative: y = (cx / w0, cy / h0, log w, log h) with (w0, h0) each box's own size before refinement (section 4.1 of the
paper; PROTOCOL 3.4). The arithmetic is that of :mod:`ebm_tracker.boxes`.
"""

from __future__ import annotations

import torch
from torch import Tensor

from ebm_tracker.boxes import SIDE_LIMITS, gradient_to_relative, relative_to_xywh, xywh_to_relative, xywh_to_xyxy


def sides(boxes_xyxy: Tensor) -> Tensor:
    """(..., 4) corners -> (..., 2) width and height."""
    return boxes_xyxy[..., 2:] - boxes_xyxy[..., :2]


def xyxy_to_xywh(boxes_xyxy: Tensor) -> Tensor:
    """(..., 4) corners -> (..., 4) first corner and size."""
    return torch.cat((boxes_xyxy[..., :2], sides(boxes_xyxy)), dim=-1)


def xyxy_to_relative(boxes_xyxy: Tensor, reference_wh: Tensor) -> Tensor:
    """(..., 4) pixels -> (..., 4) relative to sizes (..., 2), which broadcast. Sides must be positive."""
    return xywh_to_relative(xyxy_to_xywh(boxes_xyxy), reference_wh)


def relative_to_xyxy(boxes_rel: Tensor, reference_wh: Tensor) -> Tensor:
    """Inverse of :func:`xyxy_to_relative`."""
    return xywh_to_xyxy(relative_to_xywh(boxes_rel, reference_wh))


def corner_gradient_to_relative(grad_xyxy: Tensor, boxes_xyxy: Tensor, reference_wh: Tensor) -> Tensor:
    """d f / d(x0, y0, x1, y1) -> d f / d(relative), all (..., 4): moving x alone moves both corners, w the second."""
    grad_xywh = torch.cat((grad_xyxy[..., :2] + grad_xyxy[..., 2:], grad_xyxy[..., 2:]), dim=-1)
    return gradient_to_relative(grad_xywh, xyxy_to_xywh(boxes_xyxy), reference_wh)


def usable(boxes_xyxy: Tensor) -> Tensor:
    """Which boxes (N, 4) have coordinates at all, (N,): finite, with sides within ``boxes.SIDE_LIMITS``."""
    wh = sides(boxes_xyxy)
    return boxes_xyxy.isfinite().all(-1) & (wh >= SIDE_LIMITS[0]).all(-1) & (wh <= SIDE_LIMITS[1]).all(-1)
