"""Search crops: cutting a square out of a frame, and the map between frame and crop coordinates.

Positions are pixel indices: the centre of pixel i is i, in the frame and in the crop. A frame box x, y, w, h covers
the pixels x .. x + w - 1 and has its centre at x + (w - 1) / 2. A crop box is centre minus half its size: its
centre is a pixel index too, which is how ATOM's training boxes lie, and feature cell i of stride s sits at crop
pixel s i. So both directions of the map below are exact inverses.

ATOM's tracker has two slips here, kept behind ``upstream``: it cuts at the truncated centre but maps with the
rounded one, and it places boxes half a crop pixel off on the way in (a corner at centre - (size - 1) / 2) only.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional


@dataclass(frozen=True)
class CropWindow:
    """Where a crop lies: frame position = ``origin_xy`` + ``scale_xy`` * crop position, both pixel indices.

    ``entry_shift``: added to crop boxes on the way in; 0.5 reproduces ATOM's slip, 0 is right.
    """

    origin_xy: tuple[float, float]
    scale_xy: tuple[float, float]
    entry_shift: float = 0.0

    def point_to_frame(self, point_xy: tuple[float, float]) -> tuple[float, float]:
        """Crop pixel index -> frame pixel index."""
        return (
            self.origin_xy[0] + self.scale_xy[0] * point_xy[0],
            self.origin_xy[1] + self.scale_xy[1] * point_xy[1],
        )

    def point_to_crop(self, point_xy: tuple[float, float]) -> tuple[float, float]:
        """Frame pixel index -> crop pixel index."""
        return (
            (point_xy[0] - self.origin_xy[0]) / self.scale_xy[0],
            (point_xy[1] - self.origin_xy[1]) / self.scale_xy[1],
        )

    def box_to_crop(self, center_xy: tuple[float, float], size_wh: tuple[float, float]) -> tuple[float, ...]:
        """Centre (frame pixel index) and size of a box -> its crop box x, y, w, h."""
        x, y = self.point_to_crop(center_xy)
        w, h = size_wh[0] / self.scale_xy[0], size_wh[1] / self.scale_xy[1]
        return x - w / 2 + self.entry_shift, y - h / 2 + self.entry_shift, w, h

    def box_to_frame(self, box_xywh: tuple[float, ...]) -> tuple[tuple[float, float], tuple[float, float]]:
        """Crop box -> its centre (frame pixel index) and size in frame pixels."""
        x, y, w, h = box_xywh
        return self.point_to_frame((x + w / 2, y + h / 2)), (w * self.scale_xy[0], h * self.scale_xy[1])


def sample_patch(
    frame: NDArray[np.uint8],
    center_xy: tuple[float, float],
    side: float,
    output: int,
    *,
    upstream: bool = False,
) -> tuple[Tensor, CropWindow]:
    """Cuts a square of ``side`` frame pixels around ``center_xy`` and resizes it to ``output`` pixels.

    The frame (H, W, 3) is continued beyond its borders by its last row and column. Large squares are first
    thinned by an integer factor (ATOM does the same: cheap, and what its networks see), then resized bilinearly
    without antialiasing. Returns float RGB 0..255 (1, 3, output, output) and the window that was really cut:
    whole pixels around the truncated centre.

    ``upstream``: the row count as pytracking computes it on torch >= 1.7 (one more row or column at the top or
    left where the frame has it), and the window as ATOM's tracker believes it to be.
    """
    cut = [_Span(c, side, output, limit, upstream) for c, limit in zip(center_xy, frame.shape[1::-1], strict=True)]
    across, down = cut
    if across.inside and down.inside and frame.flags.writeable:  # torch warns of views that are not
        pixels = frame[down.cut, across.cut]  # a view: half of the cost of gathering
    else:
        rows, columns = down.indices(), across.indices()
        left = columns[0]  # whole rows and then columns: half of the cost of both at once
        pixels = frame[:, left : columns[-1] + 1].take(rows, axis=0).take(columns - left, axis=1)  # (rows, columns, 3)
    patch = torch.from_numpy(pixels).permute(2, 0, 1)[None].float()
    if patch.shape[-2:] != (output, output):
        patch = functional.interpolate(patch, (output, output), mode="bilinear", align_corners=False)
    if upstream:
        scale = side / output
        middle = (output - 1) / 2
        x, y = (round(c) - scale * middle for c in center_xy)  # Python rounds half to even, like torch
        return patch, CropWindow((x, y), (scale, scale), entry_shift=0.5)
    return patch, CropWindow((across.origin(output), down.origin(output)), (across.scale(output), down.scale(output)))


class _Span:
    """One axis of the cut: ``count`` pixels, every ``step``-th, from ``first`` on (frame pixel indices)."""

    def __init__(self, center: float, side: float, output: int, limit: int, upstream: bool) -> None:
        position = int(center)  # truncation, as ATOM cuts
        self.step = max(int(side / output - 0.1), 1)
        self.limit = limit
        offset = position % self.step
        coarse = (position - offset) // self.step
        self.count = max(round(side / self.step), 2)
        low = coarse - (self.count - 1) // 2
        # Since torch 1.7 upstream's division of a negative number rounds the other way for even counts, which
        # gives one more pixel unless its border handling takes it away again.
        if upstream and self.count % 2 == 0 and low - 1 >= 0:
            low -= 1
            self.count += 1
        self.first = offset + low * self.step
        self.offset = offset

    @property
    def inside(self) -> bool:
        return self.first >= 0 and self.first + self.step * (self.count - 1) < self.limit

    @property
    def cut(self) -> slice:
        return slice(self.first, self.first + self.step * (self.count - 1) + 1, self.step)

    def indices(self) -> NDArray[np.intp]:
        """Frame indices of the pixels, clamped to the frame's thinned grid."""
        last = self.offset + (self.limit - 1 - self.offset) // self.step * self.step
        return np.clip(self.first + self.step * np.arange(self.count), self.offset, max(last, 0))

    def scale(self, output: int) -> float:
        return self.step * self.count / output

    def origin(self, output: int) -> float:
        """Frame index of crop index 0: crop u shows thinned pixel (u + 1/2) count / output - 1/2."""
        return self.first + 0.5 * self.scale(output) - 0.5 * self.step


@dataclass(frozen=True)
class SearchGeometry:
    """Sizes fixed by the first box. ``scale``: frame pixels per crop pixel; ``base_wh``: the box in the crop."""

    center_xy: tuple[float, float]
    scale: float
    base_wh: tuple[float, float]

    @classmethod
    def around(cls, box_xywh: tuple[float, float, float, float], area_factor: float, crop: int) -> SearchGeometry:
        """The crop's side is ``area_factor`` times sqrt(w h)."""
        x, y, w, h = box_xywh
        scale = area_factor * math.sqrt(w * h) / crop
        return cls((x + (w - 1) / 2, y + (h - 1) / 2), scale, (w / scale, h / scale))
