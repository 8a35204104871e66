"""Precise RoI pooling of boxes over a feature pyramid, each box on the level of its size.

The values are those of :mod:`ebm_tracker.models.roi_pool`, box by box. What is done here is to touch no more cells
than the boxes reach: a box reaches some 30 x 30 cells of a map that may have 200 x 336. Neighbouring boxes of a level
(the candidates around one object, in training) are pooled together from the window that they reach.

The level is a function of the box, also while a box is refined: f(x, y) is then one function of y, the one that was
trained, with a gradient everywhere but where a box changes its level.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from ebm_tracker.adapters.detection.levels import box_levels
from ebm_tracker.models.roi_pool import bin_weights, hat_integral, wide_dtype

BINS = 7
"""Bins of a pooled box, down and across."""
GROUP = 32
"""Boxes that share a window, at most: larger groups waste work on cells that few of them reach."""
SPREAD = 2.0
"""A group's window has at most so many times the cells of the largest of its boxes."""
CHUNK = 1024
"""Boxes whose bin weights are held at a time."""


def pyramid_pool(
    maps: Sequence[Tensor], boxes_xyxy: Tensor, image_index: Tensor, strides: Sequence[int], bins: int = BINS
) -> Tensor:
    """Bin averages of boxes: (N, C, bins, bins), rows before columns, in channels-last memory.

    ``maps``: one (B, C, H, W) per level, finest first; ``strides``: their pixels per cell. Fastest in channels-last
    memory. ``boxes_xyxy`` (N, 4): corners in pixels of the images that the maps were made of; ``image_index`` (N,): of
    which of the B images. Cell i lies at coordinate i times the stride, as in torchvision's RoIAlign. The map is zero
    outside. A box with no area gives zeros. Differentiable in boxes and maps. Maps in half precision, a cache's, are
    pooled in float32, which the result has.
    Raises ValueError for shapes that do not fit and for an image that is not there.
    """
    check_pool_arguments(maps, boxes_xyxy, image_index, strides)
    channels = maps[0].shape[1]
    if not len(boxes_xyxy):
        return boxes_xyxy[:, :1, None, None].expand(0, channels, bins, bins).to(_working_dtype(maps[0]))
    levels = box_levels(boxes_xyxy, strides)
    order = (levels + len(strides) * image_index).argsort(stable=True)
    cells = [level.permute(0, 2, 3, 1) for level in maps]  # (B, H, W, C)
    pooled = []
    for chosen in order.split(CHUNK):
        boxes = _Boxes(boxes_xyxy[chosen], levels[chosen], cells, strides)
        pooled += boxes.pool_groups(cells, image_index[chosen].tolist(), bins)
    restored = torch.cat(pooled)[order.argsort()]
    return restored.permute(0, 3, 1, 2)


def check_pool_arguments(
    maps: Sequence[Tensor], boxes_xyxy: Tensor, image_index: Tensor, strides: Sequence[int]
) -> None:
    """Raises ValueError for what :func:`pyramid_pool` cannot use."""
    if len(maps) != len(strides) or not maps:
        raise ValueError(f"maps and strides must be one or more of the same number (got {len(maps)}, {len(strides)})")
    if boxes_xyxy.ndim != 2 or boxes_xyxy.shape[1] != 4:
        raise ValueError(f"boxes_xyxy must be (N, 4) (got {tuple(boxes_xyxy.shape)})")
    if image_index.shape != boxes_xyxy.shape[:1]:
        raise ValueError(f"image_index must be ({len(boxes_xyxy)},), one per box (got {tuple(image_index.shape)})")
    images = maps[0].shape[0]
    if len(image_index) and not 0 <= int(image_index.min()) <= int(image_index.max()) < images:
        found = f"{int(image_index.min())} to {int(image_index.max())}"
        raise ValueError(f"image_index must lie in 0..{images - 1} (got {found})")


def _working_dtype(features: Tensor) -> torch.dtype:
    return torch.promote_types(features.dtype, torch.float32)


@dataclass(frozen=True)
class _Group:
    """Boxes ``part`` of image ``image`` and level ``level``; the window's first column and row, and its end."""

    image: int
    level: int
    part: slice
    window: tuple[int, int, int, int]


class _Boxes:
    """Boxes in cells of their own level, (n, 2 axes), and the cells that they reach: x first."""

    def __init__(self, boxes_xyxy: Tensor, levels: Tensor, cells: Sequence[Tensor], strides: Sequence[int]) -> None:
        self.levels = levels.tolist()
        wide = boxes_xyxy.to(wide_dtype(boxes_xyxy.device))
        self.scale = (1 / wide.new_tensor(list(strides)))[levels, None]  # (n, 1): cells per pixel
        self.low, self.high = wide[:, :2] * self.scale, wide[:, 2:] * self.scale
        limit = wide.new_tensor([(level.shape[2], level.shape[1]) for level in cells])[levels]
        # The hat of cell j is not zero between j - 1 and j + 1; a box beside the map keeps one cell of it.
        first = self.low.detach().floor().nan_to_num(0.0).clamp(min=0).minimum(limit - 1)
        end = (self.high.detach().ceil() + 1).nan_to_num(0.0, posinf=1e9).minimum(limit).maximum(first + 1)
        self.first, self.end = first.long(), end.long()

    def pool_groups(self, cells: Sequence[Tensor], images: list[int], bins: int) -> list[Tensor]:
        """Of each group (n, bins, bins, C)."""
        groups = self._groups(images)
        sizes = [group.part.stop - group.part.start for group in groups]
        origin = torch.tensor([group.window[:2] for group in groups], device=self.low.device)
        origin = origin.repeat_interleave(torch.tensor(sizes, device=origin.device), dim=0)
        count = max(max(right - left, bottom - top) for left, top, right, bottom in (g.window for g in groups))
        dtype = _working_dtype(cells[0])
        weights = bin_weights(self.low - origin, self.high - origin, bins, count).to(dtype)
        pooled = []
        for group, size in zip(groups, sizes, strict=True):
            left, top, right, bottom = group.window
            window = cells[group.level][group.image, top:bottom, left:right]
            across = weights[group.part, 0, :, : right - left]
            down = weights[group.part, 1, :, : bottom - top]
            flat = window.reshape(bottom - top, -1).to(dtype)
            strips = down.reshape(size * bins, -1) @ flat  # (n * bins, w * C)
            strips = strips.view(size, bins, right - left, -1)
            pooled.append(across[:, None] @ strips)
        return pooled

    def _groups(self, images: list[int]) -> list[_Group]:
        groups: list[_Group] = []
        reach = torch.cat((self.first, self.end), dim=1).tolist()
        start, window, largest = 0, tuple(reach[0]), _area(reach[0])
        for i, (own, image, level) in enumerate(zip(reach, images, self.levels, strict=True)):
            union = (*map(min, window[:2], own[:2]), *map(max, window[2:], own[2:]))
            largest_now = max(largest, _area(own))
            same = image == images[start] and level == self.levels[start] and i - start < GROUP
            if same and _area(union) <= SPREAD * largest_now:
                window, largest = union, largest_now
            else:
                groups.append(_Group(images[start], self.levels[start], slice(start, i), window))
                start, window, largest = i, tuple(own), _area(own)
        groups.append(_Group(images[start], self.levels[start], slice(start, len(reach)), window))
        return groups


def _area(window: Sequence[int]) -> int:
    left, top, right, bottom = window
    return (right - left) * (bottom - top)


class PooledBoxes:
    """Bin averages of boxes of one image, with what it takes to bring a gradient back to the boxes.

    A bin's average is the integral between its edges over its size s, so with e_k the edges of the rows,

        d P_p / d e_p = -R_p / s,  d P_p / d e_(p+1) = R_(p+1) / s,  d P_p / d s = -P_p / s,

    R_k being the averages along the line of edge k, the same product with hats at the edge in place of bin weights.
    Rows and lines take one pass over the cells, and the gradient none.
    """

    def __init__(self, cells: Sequence[Tensor], boxes_xyxy: Tensor, strides: Sequence[int], bins: int = BINS) -> None:
        """``cells``: the image's maps as (H, W, C), contiguous, finest first; ``boxes_xyxy`` (N, 4) in pixels."""
        self.bins = bins
        boxes = _Boxes(boxes_xyxy, box_levels(boxes_xyxy, strides), [level[None] for level in cells], strides)
        side = boxes.high - boxes.low
        valid = (side > 0).all(1, keepdim=True)
        self._inverse_side = valid / torch.where(valid, side, 1.0)  # (N, 2), zero for an empty box
        self._scale = boxes.scale
        dtype, channels = cells[0].dtype, cells[0].shape[2]
        weights, hats = self._tables(boxes, dtype)
        count = len(boxes_xyxy)
        values = cells[0].new_empty(count, bins, bins, channels)
        columns = cells[0].new_empty(count, bins, bins + 1, channels)  # averages along the columns' edges
        rows = cells[0].new_empty(count, bins + 1, bins, channels)
        down, across = torch.cat((weights[:, 1], hats[:, 1]), 1), torch.cat((weights[:, 0], hats[:, 0]), 1)
        reach = torch.cat((boxes.first, boxes.end), dim=1).tolist()
        for i, ((left, top, right, bottom), level) in enumerate(zip(reach, boxes.levels, strict=True)):
            window = cells[level][top:bottom, left:right].reshape(bottom - top, -1)
            strips = (down[i, :, : bottom - top] @ window).view(2 * bins + 1, right - left, channels)
            own = across[i, :, : right - left]
            both = torch.bmm(own.expand(bins, -1, -1), strips[:bins])  # (bins, bins and edges, C)
            values[i], columns[i] = both[:, :bins], both[:, bins:]
            torch.bmm(own[:bins].expand(bins + 1, -1, -1), strips[bins:], out=rows[i])
        self.values = values.flatten(1)
        """(N, bins * bins * C), ordered row, column, channel."""
        self._columns, self._rows = columns, rows

    def _tables(self, boxes: _Boxes, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
        """Weights of the bins (N, 2, bins, cells) and of their edges (N, 2, bins + 1, cells) over each window."""
        count = int((boxes.end - boxes.first).max()) if len(boxes.levels) else 1
        share = torch.arange(self.bins + 1, device=boxes.low.device, dtype=boxes.low.dtype) / self.bins
        edges = torch.lerp((boxes.low - boxes.first)[..., None], (boxes.high - boxes.first)[..., None], share)
        distance = edges[..., None] - torch.arange(count, device=edges.device, dtype=edges.dtype)
        weights = hat_integral(distance).diff(dim=2) * (self.bins * self._inverse_side)[..., None, None]
        return weights.to(dtype), (1 - distance.abs()).clamp(min=0).to(dtype)

    def pull_back(self, gradient: Tensor) -> Tensor:
        """dE/dvalues (N, bins * bins * C) -> dE/d(x0, y0, x1, y1) (N, 4), per pixel."""
        bins = self.bins
        rows = gradient.unflatten(1, (bins, -1)) @ self._rows.flatten(2).transpose(1, 2)  # (N, bins, edges)
        columns = (gradient.unflatten(1, (bins, bins, -1)) @ self._columns.transpose(2, 3)).sum(1)
        edges = torch.stack((_edge_terms(columns), _edge_terms(rows)), dim=1).to(self._scale.dtype)
        # A corner moves the edges in proportion, and the size s of every bin.
        total = (gradient[:, None] @ self.values[:, :, None])[:, 0].to(edges.dtype)  # (N, 1)
        share = torch.arange(bins + 1, device=edges.device, dtype=edges.dtype) / bins
        low = bins * (edges * (1 - share)).sum(-1) + total
        high = bins * (edges * share).sum(-1) - total
        return (torch.cat((low, high), dim=1) * self._inverse_side.repeat(1, 2) * self._scale).to(gradient.dtype)


def _edge_terms(products: Tensor) -> Tensor:
    """From bins' products with the lines of all edges, (N, bins, bins + 1): s dE/d edge, (N, bins + 1)."""
    ahead, behind = products.diagonal(1, 1, 2), products.diagonal(0, 1, 2)
    return functional.pad(ahead, (1, 0)) - functional.pad(behind, (0, 1))
