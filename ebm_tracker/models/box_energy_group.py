"""Energies of the boxes of several targets in one frame: the same functions as box_energy, in one batch.

One target's modulation moves into its layer's weight, which costs nothing per frame but gives every target a weight
of its own. For several it multiplies the cells instead, so that one weight, read once per step, serves all boxes:

    W vec(K (m * M)) = (W m) vec(K M),    dE/dK = (W^T (v * [hidden > 0])) (m * M)^T.

Only the products with the cells, of which each target has its own, are one per target. Values equal those of the
targets alone up to rounding.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from weakref import WeakKeyDictionary

import torch
from torch import Tensor

from ebm_tracker.models.box_energy import BoxEnergy, _BinWeights, _Edges, _EdgeTable, _fold, _Level
from ebm_tracker.models.energy_head import STRIDES, EnergyHead, EnergyMaps

_shared_levels: WeakKeyDictionary[EnergyHead, tuple[_Level, ...]] = WeakKeyDictionary()


def _levels_of(head: EnergyHead) -> tuple[_Level, ...]:
    """The head's layers without a modulation; folded once per head, which must not train further."""
    levels = _shared_levels.get(head)
    weight = head.iou_predictor.weight.detach()
    if levels is None or levels[0].weight.device != weight.device:
        blocks = (head.fc3_rt, head.fc4_rt)
        readouts = weight[0].split([block.linear.out_features for block in blocks])
        levels = tuple(
            _fold(block, weight.new_ones(block.channels), readouts[i], STRIDES[i]) for i, block in enumerate(blocks)
        )
        _shared_levels[head] = levels
    return levels


class GroupBoxEnergy:
    """f(x, y) of G targets in one frame x.

    ``targets``: of one head; ``maps``: (G, C, H, W), of every target's crop. Boxes come as (G * n, 4), n of each
    target, one target after the other. Raises ValueError when the numbers of targets and maps differ, or for targets
    of different heads.
    """

    def __init__(self, targets: Sequence[BoxEnergy], maps: EnergyMaps) -> None:
        if not targets or any(len(level) != len(targets) for level in maps):
            raise ValueError(f"{len(targets)} targets need as many maps (got {[len(level) for level in maps]})")
        head = targets[0].head
        if any(target.head is not head for target in targets):
            raise ValueError("the targets of a group must share one head")
        self.count = len(targets)
        self.offset, self._table = targets[0].offset, targets[0].edges
        self._levels = _levels_of(head)
        self._maps_hwc = tuple(level.detach().permute(0, 2, 3, 1) for level in maps)
        self._modulation = tuple(
            torch.cat([target.modulation[i].detach() for target in targets])[:, None] for i in range(len(maps))
        )  # (G, 1, C)
        self._windows: _GroupWindows | None = None

    def _weights(self, boxes_xywh: Tensor) -> _GroupBinWeights:
        edges = _GroupEdges(boxes_xywh, self)
        if self._windows is None or not self._windows.hold(edges):
            self._windows = _GroupWindows(edges, self)
        return _GroupBinWeights(edges, self._table, self._windows)

    @torch.no_grad()
    def values(self, boxes_xywh: Tensor) -> Tensor:
        """Boxes (G * n, 4) in crop pixels -> energies (G * n,)."""
        weights = self._weights(boxes_xywh)
        return self._energies([self._hidden(weights, i) for i in range(len(self._levels))])

    @torch.no_grad()
    def value_and_grad(self, boxes_xywh: Tensor) -> tuple[Tensor, Tensor]:
        """Boxes (G * n, 4) -> energies (G * n,) and their gradient with respect to x, y, w, h (G * n, 4)."""
        weights = self._weights(boxes_xywh)
        hidden = [self._hidden(weights, i) for i in range(len(self._levels))]
        for index, level in enumerate(self._levels):
            weights.pull_back(index, ((hidden[index] > 0) * level.readout) @ level.weight)
        return self._energies(hidden), weights.box_gradient()

    def _hidden(self, weights: _BinWeights, index: int) -> Tensor:
        level = self._levels[index]
        return torch.addmm(level.bias, weights.pooled(index), level.weight.t())

    def _energies(self, hidden: list[Tensor]) -> Tensor:
        shares = [h.relu() @ level.readout for h, level in zip(hidden, self._levels, strict=True)]
        return sum(shares, start=self.offset.expand(len(hidden[0])))


class _GroupEdges(_Edges):
    """As for one target, with what the boxes of each reach."""

    def __init__(self, boxes_xywh: Tensor, group: GroupBoxEnergy) -> None:
        super().__init__(boxes_xywh, group._table)
        self.each = len(boxes_xywh) // group.count
        self.low: list[list[float]] = []
        self.high: list[list[float]] = []
        if self.reach is not None:
            boxes = boxes_xywh.unflatten(0, (group.count, self.each)).to(group._table.wide)
            self.low = boxes[..., :2].amin(1).tolist()
            self.high = (boxes[..., :2] + boxes[..., 2:]).amax(1).tolist()


class _GroupWindows:
    """Per level and target a square of cells that holds all that its boxes reach, of one size for all targets."""

    MARGIN = 2.0  # pixels; with several targets one of them leaves its window sooner

    def __init__(self, edges: _GroupEdges, group: GroupBoxEnergy) -> None:
        table, limits = group._table, [min(level.shape[1:3]) for level in group._maps_hwc]
        numbers = [value for row in edges.low + edges.high for value in row]
        self.whole = not numbers or not all(map(math.isfinite, numbers))
        self._low = [[value - self.MARGIN for value in row] for row in edges.low]
        self._high = [[value + self.MARGIN for value in row] for row in edges.high]
        firsts, sides = self._spans(table.strides, limits, group.count)
        self.shapes: list[tuple[int, int]] = []
        self.cells: list[Tensor] = []  # (G, h, w * C)
        starts = []
        for level, maps in enumerate(group._maps_hwc):
            side = sides[level]
            corners = [[min(first, limits[level] - side) for first in pair] for pair in firsts[level]]
            windows = [
                maps[i, top : top + side, left : left + side].reshape(side * side, -1)
                for i, (left, top) in enumerate(corners)
            ]
            self.shapes.append((side, side))
            modulated = torch.stack(windows) * group._modulation[level]  # (G, h * w, C)
            self.cells.append(modulated.reshape(group.count, side, -1))
            starts.append(corners)
        # (G, 2, edges), then the cells that each edge is compared with, for all boxes of a target.
        origins = table.fraction.new_tensor(starts).permute(1, 2, 0)[:, :, table.levels]
        grid = torch.arange(max(sides), device=origins.device, dtype=origins.dtype)
        self.grid = (origins[..., None] + grid).repeat_interleave(edges.each, dim=0)

    def _spans(self, strides: list[int], limits: list[int], targets: int) -> tuple[list[list[list[int]]], list[int]]:
        """First cells, by level, target and axis, and by level how many cells its longest span has."""
        if self.whole:
            return [[[0, 0]] * targets for _ in strides], limits
        firsts, sides = [], []
        for stride, limit in zip(strides, limits, strict=True):
            side, of_level = 1, []
            for low, high in zip(self._low, self._high, strict=True):
                pair = [min(max(int(value / stride) - 1, 0), limit - 1) for value in low]
                lasts = [int(value / stride) + 2 for value in high]
                side = max(side, *(min(last, limit) - first for first, last in zip(pair, lasts, strict=True)))
                of_level.append(pair)
            firsts.append(of_level)
            sides.append(side)
        return firsts, sides

    def hold(self, edges: _GroupEdges) -> bool:
        """Whether all boxes still lie in the windows."""
        if self.whole:
            return True
        pairs = [*zip(self._low, edges.low, strict=True), *zip(edges.high, self._high, strict=True)]
        return all(a <= b for smaller, larger in pairs for a, b in zip(smaller, larger, strict=True))


class _GroupBinWeights(_BinWeights):
    """As for one target; cells are (G, h, w * C). The products go down first, then across: with more boxes the
    weights' outer products cost more than they save."""

    def __init__(self, edges: _Edges, table: _EdgeTable, windows: _GroupWindows) -> None:
        super().__init__(edges, table, windows)
        self._columns: dict[int, Tensor] = {}  # by level: cells averaged down, (N * bins, w, C)

    def _across(self, index: int) -> Tensor:
        """Weights across for every row of bins, (N * bins, bins, w)."""
        across, down, _ = self._level(index)
        return across.repeat_interleave(down.shape[1], dim=0)

    def pooled(self, index: int) -> Tensor:
        """Bin averages (N, bins * bins * C), ordered row, column, channel."""
        across, down, cells = self._level(index)
        groups, height, _ = cells.shape
        columns = torch.bmm(down.reshape(groups, -1, height), cells)  # (G, n * bins, w * C)
        columns = self._columns[index] = columns.reshape(len(across) * down.shape[1], across.shape[2], -1)
        return torch.bmm(self._across(index), columns).reshape(len(across), -1)

    def pull_back(self, index: int, pooled_gradient: Tensor) -> None:
        """Takes dE/dpooled (N, bins * bins * C) of one level back to its weights."""
        across, down, cells = self._level(index)
        (count, bins, width), (groups, height, _), rows = across.shape, cells.shape, self.table.slices[index]
        columns = self._columns[index]
        gradient = pooled_gradient.reshape(count * bins, bins, -1)
        # The narrow factor second: transposed, these two products take 0.6 of the time.
        to_across = torch.bmm(columns, gradient.transpose(1, 2))  # (N * bins, w, bins)
        self.gradient[:, 0, rows, :width] = to_across.reshape(count, bins, width, bins).sum(1).transpose(1, 2)
        to_columns = torch.bmm(self._across(index).transpose(1, 2), gradient)  # (N * bins, w, C)
        to_down = torch.bmm(cells, to_columns.reshape(groups, -1, cells.shape[2]).transpose(1, 2))  # (G, h, n * bins)
        self.gradient[:, 1, rows, :height] = to_down.transpose(1, 2).reshape(count, bins, height)
