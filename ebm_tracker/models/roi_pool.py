"""Precise RoI pooling in plain torch: exact, differentiable in features and boxes, no compile step.

A feature map is read as the bilinear interpolant of its cells, cell (i, j) at coordinate exactly (i, j) and
zero outside. PrRoI pooling (Jiang et al., ECCV 2018) averages that function over every bin of a box. Bilinear
interpolation is a product of hat functions, so the integral separates:

    bin average = Ay F Ax^T / bin area,   Ay[p, i] = integral of hat(y - i) over the p-th row of bins,

which is a pair of matrix products, with H(t), the integral of hat from -infinity to t, in closed form.
"""

from __future__ import annotations

import torch
from torch import Tensor


def wide_dtype(device: torch.device) -> torch.dtype:
    """float64, or float32 on Apple GPUs, which have nothing wider."""
    return torch.float32 if device.type == "mps" else torch.float64


def hat_integral(t: Tensor) -> Tensor:
    """H(t) = integral of max(0, 1 - |s|) over s < t: 0 below -1, 1 above 1."""
    t = t.clamp(-1, 1)
    return 0.5 + t - 0.5 * t * t.abs()


def bin_weights(low: Tensor, high: Tensor, bins: int, cells: int) -> Tensor:
    """Averaging weights along one axis: row p holds the mean of each cell's hat function over bin p.

    ``low``, ``high`` (...): the interval's ends in cell coordinates; returns (..., bins, cells). An empty or
    inverted interval gives zeros (and zero gradient). Computed in float64 where the device has it and returned
    in the input's type: differences of H over a bin of 1e-3 cells would lose half of float32's digits.
    """
    wide = wide_dtype(low.device)
    size = (high.to(wide) - low.to(wide)) / bins
    valid = size > 0
    safe = torch.where(valid, size, torch.ones_like(size))
    edges = low.to(wide)[..., None] + safe[..., None] * torch.arange(bins + 1, device=low.device, dtype=wide)
    grid = torch.arange(cells, device=low.device, dtype=wide)
    integral = hat_integral(edges[..., None] - grid)  # (..., bins + 1, cells)
    weights = integral.diff(dim=-2) / safe[..., None, None]
    return (weights * valid[..., None, None]).to(low.dtype)


def box_bin_weights(
    boxes_xyxy: Tensor, bins_hw: tuple[int, int], map_hw: tuple[int, int], scale: float
) -> tuple[Tensor, Tensor]:
    """Row and column weights of boxes (..., 4) in pixels: (..., bins_h, H) and (..., bins_w, W).

    An empty box (a side <= 0) gives zeros in both, so that its pooled value and gradient vanish.
    """
    boxes = boxes_xyxy * scale
    rows = bin_weights(boxes[..., 1], boxes[..., 3], bins_hw[0], map_hw[0])
    columns = bin_weights(boxes[..., 0], boxes[..., 2], bins_hw[1], map_hw[1])
    return rows, columns


def prroi_pool(features: Tensor, boxes_xyxy: Tensor, bins_hw: tuple[int, int], scale: float) -> Tensor:
    """Average of the interpolated map over each bin of each box.

    ``features`` (B, C, H, W); ``boxes_xyxy`` (B, N, 4) corners in pixels; ``scale``: cells per pixel (1/8).
    Returns (B, N, C, bins_h, bins_w). The integral is divided by the bin's area whether or not the bin sticks
    out of the map. Differentiable (twice, away from cell edges) in ``features`` and ``boxes_xyxy``.
    """
    return pool_channels_last(features.permute(0, 3, 2, 1), boxes_xyxy, bins_hw, scale).permute(0, 1, 4, 3, 2)


def pool_channels_last(features_whc: Tensor, boxes_xyxy: Tensor, bins_hw: tuple[int, int], scale: float) -> Tensor:
    """:func:`prroi_pool` without its permutes: features (B, W, H, C) -> (B, N, bins_w, bins_h, C).

    With the columns first, both products are plain batched matrix products on contiguous memory: the permutes
    of the obvious order cost more than the arithmetic.
    """
    batch, width, height, channels = features_whc.shape
    boxes = boxes_xyxy.shape[1]
    rows, columns = box_bin_weights(boxes_xyxy, bins_hw, (height, width), scale)
    strips = columns.reshape(batch, boxes * bins_hw[1], width) @ features_whc.reshape(batch, width, height * channels)
    strips = strips.reshape(batch, boxes, bins_hw[1], height, channels)
    return rows[:, :, None] @ strips  # (B, N, bins_w, bins_h, C)
