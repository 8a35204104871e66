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

from typing import NamedTuple

import torch
from torch import Tensor

from ebm_tracker.models.energy_head import STRIDES, TEST_BINS, EnergyHead, EnergyMaps, LinearBlock, Modulation
from ebm_tracker.models.roi_pool import hat_integral, wide_dtype


class _Level(NamedTuple):
    """Folded layers of one stride: ``weight`` (hidden, bins * bins * C) with inputs ordered row, column,
    channel; ``bias`` (hidden,); ``readout`` (hidden,), the last layer's share."""

    weight: Tensor
    bias: Tensor
    readout: Tensor
    bins: int
    scale: float


class BoxEnergy:
    """The energy function of one target. ``frame(maps)`` fixes the frame; the result maps boxes to energies."""

    def __init__(self, head: EnergyHead, modulation: Modulation) -> None:
        if head.training:
            raise ValueError("BoxEnergy folds batch norms and needs a head in eval mode")
        split = head.fc3_rt.linear.out_features
        readouts = head.iou_predictor.weight.detach()[0].split((split, head.fc4_rt.linear.out_features))
        self.offset = head.iou_predictor.bias.detach()
        self.levels = tuple(
            _fold(block, modulation[i].detach()[0], readouts[i], 1 / STRIDES[i])
            for i, block in enumerate((head.fc3_rt, head.fc4_rt))
        )

    def frame(self, maps: EnergyMaps) -> FrameBoxEnergy:
        """Fixes the maps (1, C, H, W) of a frame."""
        # (H, W, C): a view when the convolutions ran in channels-last memory.
        return FrameBoxEnergy(self, tuple(m.detach()[0].permute(1, 2, 0).contiguous() for m in maps))


def _fold(block: LinearBlock, modulation: Tensor, readout: Tensor, scale: float) -> _Level:
    gain = block.bn.weight.detach() / (block.bn.running_var + block.bn.eps).sqrt()  # type: ignore[operator]
    bias = (block.linear.bias.detach() - block.bn.running_mean) * gain + block.bn.bias.detach()  # type: ignore[operator]
    weight = block.linear.weight.detach().reshape(-1, block.channels, block.bins * block.bins)
    weight = (weight * gain[:, None, None] * modulation[:, None]).transpose(1, 2)
    return _Level(weight.reshape(len(gain), -1).contiguous(), bias, readout.contiguous(), block.bins, scale)


class FrameBoxEnergy:
    """f(x, y) for one frame x. Made by :meth:`BoxEnergy.frame`."""

    def __init__(self, target: BoxEnergy, maps_hwc: tuple[Tensor, ...]) -> None:
        self.target, self.maps_hwc = target, maps_hwc

    @torch.no_grad()
    def values(self, boxes_xywh: Tensor) -> Tensor:
        """Boxes (N, 4) in crop pixels -> energies (N,)."""
        return self._evaluate(boxes_xywh, with_gradient=False)[0]

    @torch.no_grad()
    def value_and_grad(self, boxes_xywh: Tensor) -> tuple[Tensor, Tensor]:
        """Boxes (N, 4) -> energies (N,) and their gradient with respect to x, y, w, h (N, 4)."""
        energies, gradient = self._evaluate(boxes_xywh, with_gradient=True)
        assert gradient is not None
        return energies, gradient

    def _evaluate(self, boxes_xywh: Tensor, with_gradient: bool) -> tuple[Tensor, Tensor | None]:
        energies = self.target.offset.expand(len(boxes_xywh))
        gradient = torch.zeros_like(boxes_xywh) if with_gradient else None
        for level, cells_hwc in zip(self.target.levels, self.maps_hwc, strict=True):
            bins = _Bins(boxes_xywh, level.bins, level.scale, cells_hwc)
            hidden = torch.addmm(level.bias, bins.pooled(), level.weight.t())
            energies = energies + hidden.relu() @ level.readout
            if gradient is not None:
                pooled_gradient = ((hidden > 0) * level.readout) @ level.weight
                gradient += bins.box_gradient(pooled_gradient)
        return energies, gradient


class _Bins:
    """The bins of N boxes on one map: their weights over a window of cells that all boxes lie in."""

    def __init__(self, boxes_xywh: Tensor, bins: int, scale: float, cells_hwc: Tensor) -> None:
        self.bins, self.scale = bins, scale
        wide = wide_dtype(boxes_xywh.device)
        boxes = boxes_xywh.to(wide) * scale
        size = boxes[:, 2:] / bins  # (N, 2), x and y
        valid = (size > 0).all(1)[:, None]
        size = torch.where(valid, size, torch.ones_like(size))
        steps = torch.arange(bins + 1, device=boxes.device, dtype=wide)
        edges = boxes[:, :2, None] + size[:, :, None] * steps  # (N, 2, bins + 1)
        left, top, count = _window(edges, cells_hwc.shape[1], cells_hwc.shape[0])
        grid = torch.arange(count, device=boxes.device, dtype=wide)
        origin = grid.new_tensor([[left], [top]])
        distance = (edges - origin)[..., None] - grid  # (N, 2, bins + 1, count)
        inverse = (valid / size)[..., None, None]  # (N, 2, 1, 1), zero for empty boxes
        self.dtype = boxes_xywh.dtype
        self.weights = (hat_integral(distance).diff(dim=2) * inverse).to(self.dtype)  # (N, 2, bins, count)
        self.edge_weights = ((1 - distance.abs()).clamp(min=0) * inverse).to(self.dtype)
        self.inverse = inverse[..., 0, 0].to(self.dtype)
        self.steps = steps.to(self.dtype)
        window = cells_hwc[top : top + count, left : left + count]
        self.cells = window.reshape(-1, cells_hwc.shape[2])  # (count_y * count_x, C)
        self.shape = (len(boxes), bins, bins, window.shape[0], window.shape[1])
        self.across, self.down = self.weights[:, 0, :, : window.shape[1]], self.weights[:, 1, :, : window.shape[0]]

    def pooled(self) -> Tensor:
        """(N, bins * bins * C), ordered row, column, channel."""
        n, bins, _, height, width = self.shape
        kernel = self.down[:, :, None, :, None] * self.across[:, None, :, None, :]
        return (kernel.reshape(n * bins * bins, height * width) @ self.cells).reshape(n, -1)

    def box_gradient(self, pooled_gradient: Tensor) -> Tensor:
        """Pulls dE/dpooled (N, bins * bins * C) back to dE/d(x, y, w, h) (N, 4)."""
        n, bins, _, height, width = self.shape
        kernel_gradient = (pooled_gradient.reshape(n * bins * bins, -1) @ self.cells.t()).reshape(self.shape)
        weights_gradient = torch.zeros_like(self.weights)
        weights_gradient[:, 0, :, :width] = (kernel_gradient * self.down[:, :, None, :, None]).sum((1, 3))
        weights_gradient[:, 1, :, :height] = (kernel_gradient * self.across[:, None, :, None, :]).sum((2, 4))
        # Weight p is (H(edge_{p+1}) - H(edge_p)) / size, edge_p = low + p size, size = side / bins.
        edges_gradient = torch.zeros_like(self.edge_weights[..., 0])  # (N, 2, bins + 1)
        edges_gradient[:, :, 1:] = (weights_gradient * self.edge_weights[:, :, 1:]).sum(-1)
        edges_gradient[:, :, :-1] -= (weights_gradient * self.edge_weights[:, :, :-1]).sum(-1)
        low = edges_gradient.sum(-1)
        size = (edges_gradient * self.steps).sum(-1) - (weights_gradient * self.weights).sum((2, 3)) * self.inverse
        return torch.cat((low, size / bins), dim=1) * self.scale


def _window(edges: Tensor, width: int, height: int) -> tuple[int, int, int]:
    """(left, top, count): a square window of cells that holds all that the edges (N, 2, K) reach.

    On an accelerator the whole map: there the arithmetic is free and reading numbers back is not.
    """
    whole = max(width, height)
    if edges.device.type != "cpu":
        return 0, 0, whole
    bounds = torch.cat((edges[:, :, 0].amin(0), edges[:, :, -1].amax(0)))
    if not bool(bounds.isfinite().all()):
        return 0, 0, whole
    x0, y0, x1, y1 = bounds.tolist()
    left, right = max(int(x0) - 1, 0), min(int(x1) + 2, width)
    top, bottom = max(int(y0) - 1, 0), min(int(y1) + 2, height)
    count = min(max(right - left, bottom - top, 1), whole)
    return max(min(left, width - count), 0), max(min(top, height - count), 0), count
