"""Which level of a feature pyramid a box is pooled from (Lin et al., CVPR 2017, eq 1).

    k = floor(4 + log2(sqrt(w h) / 224)),  clamped to the pyramid's levels, level k having stride 2^k.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

CANONICAL_SIDE = 224
"""Side in pixels of a square box that belongs to level ``CANONICAL_LEVEL``."""
CANONICAL_LEVEL = 4
ROUNDING = 1e-6
"""Added before the floor, as torchvision does: a box of exactly 224 pixels must not fall by rounding."""


def box_levels(boxes_xyxy: Tensor, strides: Sequence[int]) -> Tensor:
    """Number of the map that each box is pooled from: (N, 4) in pixels -> (N,) int64 in [0, len(strides)).

    ``strides``: pixels per cell of the maps, powers of two, finest first. The rule clamps between the first and the
    last of them, as torchvision's does: where both are equal (MobileNetV3's two maps of stride 32) every box belongs
    to the first map. A box with no area, or with coordinates that are not numbers, belongs to the finest.
    """
    if len(strides) == 1:
        return boxes_xyxy.new_zeros(len(boxes_xyxy), dtype=torch.long)
    finest, coarsest = (int(math.log2(stride)) for stride in (strides[0], strides[-1]))
    sides = boxes_xyxy.detach()[:, 2:] - boxes_xyxy.detach()[:, :2]
    side = sides.clamp(min=0).prod(-1).sqrt()
    level = torch.floor(CANONICAL_LEVEL + torch.log2(side / CANONICAL_SIDE) + ROUNDING)
    return level.nan_to_num(nan=finest).clamp(finest, coarsest).long() - finest
