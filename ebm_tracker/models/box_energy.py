"""Energies of boxes and their gradient in one frame, for refinement: no autograd graph, few large products.

In eval mode the head is, per level,  relu(W pool(modulation * map) + b)  followed by one linear layer. Two things
make it cheap. Pooling is linear, so the modulation moves from the map into W once per target. And for a few boxes
the pooled values are one matrix product of the bins' weights with the cells that any box reaches, whose gradient
with respect to the box edges has a closed form:

    E = v . relu(W vec(K M) + b) + c,    K[(r, c), (y, x)] = Ay[r, y] Ax[c, x],
    dE/dK = (W^T (v * [hidden > 0])) M^T,   d A[p, i] / d edge_p = -hat(edge_p - i) / size,  and so on.

Values and gradients equal the head's own under autograd (tested against it and against golden numbers).
"""

from __future__ import annotations

import math
from typing import NamedTuple, Protocol

import torch
from torch import Tensor

from ebm_tracker.models.energy_head import STRIDES, EnergyHead, EnergyMaps, LinearBlock, Modulation
from ebm_tracker.models.roi_pool import hat_integral, wide_dtype


class _Level(NamedTuple):
    """Folded layers of one stride: ``weight`` (hidden, bins * bins * C) with inputs ordered row, column,
    channel; ``bias`` (hidden,); ``readout`` (hidden,), the last layer's share."""

    weight: Tensor
    bias: Tensor
    readout: Tensor
    bins: int
    stride: int


class BoxEnergy:
    """The energy function of one target. ``frame(maps)`` fixes the frame; the result maps boxes to energies.

    Raises ValueError for a head in training mode, whose batch norms have no fixed statistics to fold.
    """

    def __init__(self, head: EnergyHead, modulation: Modulation) -> None:
        if head.training:
            raise ValueError("BoxEnergy folds batch norms and needs a head in eval mode")
        blocks = (head.fc3_rt, head.fc4_rt)
        readouts = head.iou_predictor.weight.detach()[0].split([block.linear.out_features for block in blocks])
        self.head, self.modulation = head, modulation
        self.offset = head.iou_predictor.bias.detach()
        self.levels = tuple(
            _fold(block, modulation[i].detach()[0], readouts[i], STRIDES[i]) for i, block in enumerate(blocks)
        )
        self.edges = _EdgeTable([(level.bins, level.stride) for level in self.levels], self.offset)

    def frame(self, maps: EnergyMaps) -> FrameBoxEnergy:
        """Fixes the maps (1, C, H, W) of a frame."""
        # (H, W, C): a view when the convolutions ran in channels-last memory.
        return FrameBoxEnergy(self, tuple(m.detach()[0].permute(1, 2, 0).contiguous() for m in maps))


def _fold(block: LinearBlock, modulation: Tensor, readout: Tensor, stride: int) -> _Level:
    mean, variance = block.bn.running_mean, block.bn.running_var
    assert mean is not None and variance is not None
    gain = block.bn.weight.detach() / (variance + block.bn.eps).sqrt()
    bias = (block.linear.bias.detach() - mean) * gain + block.bn.bias.detach()
    weight = block.linear.weight.detach().reshape(-1, block.channels, block.bins * block.bins)
    weight = (weight * gain[:, None, None] * modulation[:, None]).transpose(1, 2)
    return _Level(weight.reshape(len(gain), -1).contiguous(), bias, readout.contiguous(), block.bins, stride)


class FrameBoxEnergy:
    """f(x, y) for one frame x. Made by :meth:`BoxEnergy.frame`."""

    def __init__(self, target: BoxEnergy, maps_hwc: tuple[Tensor, ...]) -> None:
        self.target, self.maps_hwc = target, maps_hwc
        self._windows: _Windows | None = None

    def _weights(self, boxes_xywh: Tensor) -> _BinWeights:
        """The boxes' bins. Refinement moves boxes little: the cells cut out for one step mostly serve the next."""
        edges = _Edges(boxes_xywh, self.target.edges)
        if self._windows is None or not self._windows.hold(edges):
            self._windows = _Windows(edges, self.target.edges, self.maps_hwc)
        return _BinWeights(edges, self.target.edges, self._windows)

    @torch.no_grad()
    def values(self, boxes_xywh: Tensor) -> Tensor:
        """Boxes (N, 4) in crop pixels -> energies (N,)."""
        weights = self._weights(boxes_xywh)
        return self._energies([self._hidden(weights, i) for i in range(len(self.maps_hwc))])

    @torch.no_grad()
    def value_and_grad(self, boxes_xywh: Tensor) -> tuple[Tensor, Tensor]:
        """Boxes (N, 4) -> energies (N,) and their gradient with respect to x, y, w, h (N, 4)."""
        weights = self._weights(boxes_xywh)
        hidden = [self._hidden(weights, i) for i in range(len(self.maps_hwc))]
        for index, level in enumerate(self.target.levels):
            weights.pull_back(index, ((hidden[index] > 0) * level.readout) @ level.weight)
        return self._energies(hidden), weights.box_gradient()

    def _hidden(self, weights: _BinWeights, index: int) -> Tensor:
        level = self.target.levels[index]
        return torch.addmm(level.bias, weights.pooled(index), level.weight.t())

    def _energies(self, hidden: list[Tensor]) -> Tensor:
        shares = [h.relu() @ level.readout for h, level in zip(hidden, self.target.levels, strict=True)]
        return sum(shares, start=self.target.offset.expand(len(hidden[0])))


class _EdgeTable:
    """Constants of the bins' edges. Both maps and both axes are handled as one list of edges, level after level:
    edge e lies at (corner + fraction_e * side) / stride_e cells, and bin b between edges b and b + 1. The bin
    between two levels is none; its coefficient is zero."""

    def __init__(self, bins_and_strides: list[tuple[int, int]], like: Tensor) -> None:
        self.wide = wide_dtype(like.device)
        fraction, inverse_stride, per_side = [], [], []
        for bins, stride in bins_and_strides:
            fraction += [k / bins for k in range(bins + 1)]
            inverse_stride += [1 / stride] * (bins + 1)
            per_side += [float(bins * stride)] * bins + [0.0]
        self.slices: list[slice] = []
        for bins, _ in bins_and_strides:
            start = self.slices[-1].stop + 1 if self.slices else 0
            self.slices.append(slice(start, start + bins))
        self.strides = [stride for _, stride in bins_and_strides]
        self.levels = like.new_tensor(
            [i for i, (bins, _) in enumerate(bins_and_strides) for _ in range(bins + 1)], dtype=torch.long
        )
        self.fraction = like.new_tensor(fraction, dtype=self.wide)
        self.inverse_stride = like.new_tensor(inverse_stride, dtype=self.wide)
        self.bins_per_side = like.new_tensor(per_side[:-1], dtype=self.wide)  # 1 / (bin size in cells) * side
        # Columns: d edge / d corner and d edge / d side.
        self.jacobian = torch.stack((self.inverse_stride, self.fraction * self.inverse_stride), dim=1).to(like.dtype)


class _Edges:
    """Bin edges of N boxes in cells, (N, 2, edges), and what they reach, in pixels."""

    def __init__(self, boxes_xywh: Tensor, table: _EdgeTable) -> None:
        self.dtype = boxes_xywh.dtype
        boxes = boxes_xywh.to(table.wide)
        corner, side = boxes[:, :2], boxes[:, 2:]
        valid = (side > 0).all(1, keepdim=True)
        self.inverse_side = valid / torch.where(valid, side, 1.0)  # zero for an empty box
        positions = torch.addcmul(corner[..., None], side[..., None], table.fraction)
        self.cells = positions * table.inverse_stride
        self.reach: tuple[list[float], list[float]] | None = None
        if boxes.device.type == "cpu":  # elsewhere reading numbers back costs more than it saves
            low, high = positions.aminmax(dim=0)
            self.reach = low[:, 0].tolist(), high[:, table.slices[0].stop].tolist()


class _CellWindows(Protocol):
    """Cells cut out of the maps: per level their height and width and their values, (h * w, C), and the positions
    that the edges of boxes (N, 2, edges) are compared with, (2, edges, count) or one such table per box."""

    shapes: list[tuple[int, int]]
    cells: list[Tensor]
    grid: Tensor


class _Windows:
    """Per level a square of cells that holds all that the boxes reach, with a margin for their next moves.

    On an accelerator, and for boxes that are not finite, the whole maps.
    """

    MARGIN = 1.0  # pixels

    def __init__(self, edges: _Edges, table: _EdgeTable, maps_hwc: tuple[Tensor, ...]) -> None:
        self.whole = edges.reach is None or not all(map(math.isfinite, edges.reach[0] + edges.reach[1]))
        spans = []
        for stride, cells in zip(table.strides, maps_hwc, strict=True):
            for axis, limit in ((0, cells.shape[1]), (1, cells.shape[0])):
                if self.whole:
                    spans.append((0, limit, limit))
                    continue
                assert edges.reach is not None
                first = int((edges.reach[0][axis] - self.MARGIN) / stride) - 1
                last = int((edges.reach[1][axis] + self.MARGIN) / stride) + 2
                first = min(max(first, 0), limit - 1)
                spans.append((first, min(max(last, first + 1), limit) - first, limit))
        if edges.reach is not None and not self.whole:
            self.low = [v - self.MARGIN for v in edges.reach[0]]
            self.high = [v + self.MARGIN for v in edges.reach[1]]
        self.count = max(length for _, length, _ in spans)
        starts = [max(min(first, limit - self.count), 0) for first, _, limit in spans]
        corners = list(zip(starts[::2], starts[1::2], strict=True))
        windows = [
            cells[top : top + self.count, left : left + self.count]
            for (left, top), cells in zip(corners, maps_hwc, strict=True)
        ]
        self.shapes = [(window.shape[0], window.shape[1]) for window in windows]
        self.cells = [window.reshape(-1, window.shape[2]) for window in windows]  # (h * w, C)
        origins = table.fraction.new_tensor(corners).t()[:, table.levels]  # (2, edges)
        grid = torch.arange(self.count, device=origins.device, dtype=origins.dtype)
        self.grid = origins[..., None] + grid  # (2, edges, count): the cells that each edge is compared with

    def hold(self, edges: _Edges) -> bool:
        """Whether the boxes still lie in the windows."""
        if self.whole or edges.reach is None:
            return self.whole
        low, high = edges.reach
        return (
            self.low[0] <= low[0] and self.low[1] <= low[1] and high[0] <= self.high[0] and high[1] <= self.high[1]
        )


class _BinWeights:
    """Weights of N boxes' bins over the windows' cells, and what flows back into them."""

    def __init__(self, edges: _Edges, table: _EdgeTable, windows: _CellWindows) -> None:
        self.table, self.windows = table, windows
        distance = edges.cells[..., None] - windows.grid  # (N, 2, edges, count)
        inverse_size = (edges.inverse_side[..., None] * table.bins_per_side)[..., None]  # (N, 2, bins, 1)
        dtype = edges.dtype
        self.weights = (hat_integral(distance).diff(dim=2) * inverse_size).to(dtype)  # (N, 2, bins, count)
        self.hats = (1 - distance.abs()).clamp_(min=0).to(dtype)  # (N, 2, edges, count): d H / d edge
        self.inverse_size, self.inverse_side = inverse_size.to(dtype), edges.inverse_side.to(dtype)
        self.gradient = torch.zeros_like(self.weights)

    def _level(self, index: int) -> tuple[Tensor, Tensor, Tensor]:
        """Weights across (N, bins, w) and down (N, bins, h), and the window's cells (h * w, C)."""
        height, width = self.windows.shapes[index]
        rows = self.table.slices[index]
        return self.weights[:, 0, rows, :width], self.weights[:, 1, rows, :height], self.windows.cells[index]

    def pooled(self, index: int) -> Tensor:
        """Bin averages (N, bins * bins * C), ordered row, column, channel."""
        across, down, cells = self._level(index)
        kernel = down[:, :, None, :, None] * across[:, None, :, None, :]
        return (kernel.reshape(-1, len(cells)) @ cells).reshape(len(across), -1)

    def pull_back(self, index: int, pooled_gradient: Tensor) -> None:
        """Takes dE/dpooled (N, bins * bins * C) of one level back to its weights."""
        across, down, cells = self._level(index)
        shape = (len(across), down.shape[1], across.shape[1], down.shape[2], across.shape[2])
        kernel_gradient = (pooled_gradient.reshape(-1, cells.shape[1]) @ cells.t()).reshape(shape)
        rows = self.table.slices[index]
        self.gradient[:, 0, rows, : shape[4]] = (kernel_gradient * down[:, :, None, :, None]).sum((1, 3))
        self.gradient[:, 1, rows, : shape[3]] = (kernel_gradient * across[:, None, :, None, :]).sum((2, 4))

    def box_gradient(self) -> Tensor:
        """dE/d(x, y, w, h) (N, 4), after ``pull_back`` of every level.

        A weight is (H(next edge) - H(edge)) / size, with edges linear in corner and side and size linear in side.
        """
        scaled = self.gradient * self.inverse_size
        ahead = (scaled * self.hats[:, :, 1:]).sum(-1) @ self.table.jacobian[1:]  # (N, 2, corner and side)
        behind = (scaled * self.hats[:, :, :-1]).sum(-1) @ self.table.jacobian[:-1]
        edges = ahead - behind
        size = (self.gradient * self.weights).sum((2, 3)) * self.inverse_side
        return torch.cat((edges[..., 0], edges[..., 1] - size), dim=1)
