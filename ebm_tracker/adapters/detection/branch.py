"""The confidence branch: Precise RoI pooling of a box, two layers, one number per class. That number is f(x, y).

As IoU-Net's it is the box's predicted overlap with the object, as ours the logarithm of an unnormalised density.
For refinement :meth:`ConfidenceBranch.of_image` gives the values and their gradient with respect to the boxes without
an autograd graph: two products with the first layer's weight, W x and W^T g, take nearly all of its time.
"""

from __future__ import annotations

from copy import deepcopy
from typing import Protocol, cast

import torch
from torch import Tensor, nn

from ebm_tracker.adapters.detection.base import FrozenDetector, Pyramid
from ebm_tracker.adapters.detection.pooling import BINS, PooledBoxes, pyramid_pool

CHUNK = 128
"""Boxes whose values and gradients are computed at a time: of more the pooled values leave the processor's cache."""
READOUT_STD = 0.001
"""Spread of the last layer's first weights (appendix B.2 of the paper)."""


class ImageEnergy(Protocol):
    """f(x, .) of one image: what non-maximum suppression, refinement and densities need of a model.

    ``boxes_xyxy`` (N, 4) in input pixels, ``labels`` (N,) from 1.
    """

    def values(self, boxes_xyxy: Tensor, labels: Tensor) -> Tensor:
        """f (N,) of each box at its own class."""
        ...

    def value_and_grad(self, boxes_xyxy: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        """f (N,) and its gradient (N, 4) with respect to the corners."""
        ...


class TwoLayers(nn.Module):
    """FC, ReLU, FC, ReLU on pooled maps (N, C, bins, bins).

    The first layer's inputs are ordered row, column, channel, as pooled values lie in memory; torchvision's box head
    has the channel first.
    """

    def __init__(self, channels: int, bins: int = BINS, hidden: int = 1024) -> None:
        super().__init__()
        self.channels = channels
        self.first = nn.Linear(bins * bins * channels, hidden)
        self.second = nn.Linear(hidden, hidden)

    @classmethod
    def from_box_head(cls, fc6: nn.Linear, fc7: nn.Linear, channels: int) -> TwoLayers:
        """A copy of torchvision's two layers that learns."""
        bins = round((fc6.in_features // channels) ** 0.5)
        layers = cls(channels, bins, fc6.out_features).to(fc6.weight.device, fc6.weight.dtype)
        with torch.no_grad():
            weight = fc6.weight.view(fc6.out_features, channels, -1).transpose(1, 2)
            layers.first.weight.copy_(weight.reshape_as(layers.first.weight))
            layers.first.bias.copy_(fc6.bias)
            layers.second.weight.copy_(fc7.weight)
            layers.second.bias.copy_(fc7.bias)
        return layers

    def forward(self, pooled: Tensor) -> Tensor:
        """(N, C, bins, bins) -> (N, hidden)."""
        flat = pooled.permute(0, 2, 3, 1).flatten(1)
        return cast(Tensor, self.second(self.first(flat).relu()).relu())


class ConfidenceBranch(nn.Module):
    """f(x, y) of boxes from a frozen detector's maps.

    ``trunk``: (N, C, bins, bins) -> (N, ``features``); ``classes`` K, with the background, whose number is not used.
    Batch norms in a trunk stay in eval mode: candidates around a few objects have no statistics worth learning.
    """

    def __init__(self, trunk: nn.Module, features: int, classes: int, bins: int = BINS) -> None:
        super().__init__()
        self.trunk, self.classes, self.bins = trunk, classes, bins
        self.readout = nn.Linear(features, classes)
        nn.init.normal_(self.readout.weight, std=READOUT_STD)
        nn.init.zeros_(self.readout.bias)
        self.train(self.training)

    @classmethod
    def of_detector(cls, detector: FrozenDetector) -> ConfidenceBranch:
        """With the trunk a copy of the detector's box head: of its two layers, or of the whole head where that is made
        otherwise (torchvision's ``fasterrcnn_resnet50_fpn_v2`` has convolutions in it)."""
        head = detector.box_head
        fc6, fc7 = getattr(head, "fc6", None), getattr(head, "fc7", None)
        trunk: nn.Module
        if isinstance(fc6, nn.Linear) and isinstance(fc7, nn.Linear):
            trunk = TwoLayers.from_box_head(fc6, fc7, detector.channels)
        else:
            trunk = deepcopy(head).requires_grad_(True)
        branch = cls(trunk, detector.feature_size, detector.classes, detector.pool_size)
        return branch.to(detector.device)

    def train(self, mode: bool = True) -> ConfidenceBranch:
        super().train(mode)
        for module in self.trunk.modules():
            if isinstance(module, nn.modules.batchnorm._BatchNorm):
                module.eval()
        return self

    def forward(self, pyramid: Pyramid, boxes_xyxy: Tensor, image_index: Tensor, labels: Tensor) -> Tensor:
        """f (N,) of boxes (N, 4) in input pixels, at ``image_index`` (N,) and their own class ``labels`` (N,).

        Differentiable in the parameters and, once, in the boxes.
        """
        pooled = pyramid_pool(pyramid.maps, boxes_xyxy, image_index, pyramid.strides, self.bins)
        return self.of_pooled(pooled.to(self.readout.weight.dtype), labels)

    def of_pooled(self, pooled: Tensor, labels: Tensor) -> Tensor:
        """f (N,) of boxes that were pooled before, (N, C, bins, bins)."""
        check_labels(labels, len(pooled), self.classes)
        numbers = self.readout(self.trunk(pooled))
        return cast(Tensor, numbers.gather(1, labels[:, None])[:, 0])

    def of_image(self, pyramid: Pyramid, index: int = 0) -> ImageEnergy:
        """f of image ``index`` with the parameters as they are, for refinement."""
        if isinstance(self.trunk, TwoLayers):
            return _FastImageEnergy(self, pyramid, index)
        return AutogradImageEnergy(self, pyramid, index)


def check_labels(labels: Tensor, count: int, classes: int) -> None:
    """Raises ValueError unless ``labels`` is (count,), whole numbers from 1 to below ``classes``: 0 is the background,
    of which no branch learns anything."""
    if labels.shape != (count,) or labels.dtype not in (torch.int64, torch.int32, torch.int16):
        raise ValueError(f"labels must be ({count},) whole numbers (got {tuple(labels.shape)} of {labels.dtype})")
    if count and not 1 <= int(labels.min()) <= int(labels.max()) < classes:
        found = f"{int(labels.min())} to {int(labels.max())}"
        raise ValueError(f"labels must lie in 1..{classes - 1} (got {found})")


class AutogradImageEnergy:
    """By autograd, for any trunk."""

    def __init__(self, branch: ConfidenceBranch, pyramid: Pyramid, index: int) -> None:
        self.branch, self.strides = branch, pyramid.strides
        like = branch.readout.weight
        # (H, W, C): a view when the convolutions ran in channels-last memory.
        self.cells = [
            level[index].detach().permute(1, 2, 0).contiguous().to(like.device, like.dtype) for level in pyramid.maps
        ]

    def _f(self, boxes_xyxy: Tensor, labels: Tensor) -> Tensor:
        maps = [level.permute(2, 0, 1)[None] for level in self.cells]
        pooled = pyramid_pool(maps, boxes_xyxy, torch.zeros_like(labels), self.strides, self.branch.bins)
        return self.branch.of_pooled(pooled, labels)

    @torch.no_grad()
    def values(self, boxes_xyxy: Tensor, labels: Tensor) -> Tensor:
        """See :class:`ImageEnergy`."""
        check_labels(labels, len(boxes_xyxy), self.branch.classes)
        parts = [self._f(*part) for part in zip(boxes_xyxy.split(CHUNK), labels.split(CHUNK), strict=True)]
        return torch.cat(parts)

    def value_and_grad(self, boxes_xyxy: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        """See :class:`ImageEnergy`."""
        check_labels(labels, len(boxes_xyxy), self.branch.classes)
        parts = [self._part(*part) for part in zip(boxes_xyxy.split(CHUNK), labels.split(CHUNK), strict=True)]
        return torch.cat([f for f, _ in parts]), torch.cat([grad for _, grad in parts])

    def _part(self, boxes_xyxy: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        with torch.enable_grad():
            leaf = boxes_xyxy.detach().requires_grad_(True)
            f = self._f(leaf, labels)
            (grad,) = torch.autograd.grad(f.sum(), leaf)
        return f.detach(), grad


class _FastImageEnergy(AutogradImageEnergy):
    """The same numbers for a trunk of two layers, in closed form."""

    @torch.no_grad()
    def _part(self, boxes_xyxy: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        trunk = cast(TwoLayers, self.branch.trunk)
        pooled = PooledBoxes(self.cells, boxes_xyxy, self.strides, self.branch.bins)
        first = trunk.first(pooled.values)
        second = trunk.second(first.relu())
        readout = self.branch.readout.weight[labels]  # (N, hidden)
        f = (second.relu() * readout).sum(1) + self.branch.readout.bias[labels]
        into_first = (((second > 0) * readout) @ trunk.second.weight) * (first > 0)
        return f, pooled.pull_back(into_first @ trunk.first.weight)
