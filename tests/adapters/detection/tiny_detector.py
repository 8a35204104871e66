"""A Faster R-CNN of a few thousand random weights, and energies that are known, for the tests of inference."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache

import torch
from torch import Tensor, nn
from torch.nn import functional
from torchvision.models.detection import FasterRCNN
from torchvision.models.detection.anchor_utils import AnchorGenerator
from torchvision.models.detection.faster_rcnn import FastRCNNPredictor, TwoMLPHead
from torchvision.ops import MultiScaleRoIAlign

from ebm_tracker.adapters.detection import FrozenDetector, Pyramid

CHANNELS, CLASSES, HIDDEN = 4, 4, 16
STRIDES = (4, 8)


class Backbone(nn.Module):
    out_channels = CHANNELS

    def __init__(self) -> None:
        super().__init__()
        self.mix = nn.Conv2d(3, CHANNELS, 3, padding=1)

    def forward(self, images: Tensor) -> dict[str, Tensor]:
        mixed = self.mix(images)
        return {str(i): functional.avg_pool2d(mixed, stride) for i, stride in enumerate(STRIDES)}


@cache
def tiny_detector() -> FrozenDetector:
    torch.manual_seed(0)
    model = FasterRCNN(
        Backbone(),
        rpn_anchor_generator=AnchorGenerator(((16,), (40,)), ((0.5, 1.0, 2.0),) * 2),
        box_roi_pool=MultiScaleRoIAlign(["0", "1"], 7, 2),
        box_head=TwoMLPHead(CHANNELS * 49, HIDDEN),
        box_predictor=FastRCNNPredictor(HIDDEN, CLASSES),
        min_size=96,
        max_size=160,
        rpn_post_nms_top_n_test=60,
    )
    return FrozenDetector(model)


def image(height: int = 60, width: int = 80, seed: int = 0) -> Tensor:
    coarse = torch.rand((1, 3, 7, 9), generator=torch.Generator().manual_seed(seed))
    return functional.interpolate(coarse, (height, width), mode="bilinear")[0]


class KnownBranch:
    """f(boxes (N, 4) in input pixels, labels (N,)) -> (N,), the same for every image."""

    def __init__(self, f: Callable[[Tensor, Tensor], Tensor]) -> None:
        self.f = f

    def of_image(self, pyramid: Pyramid, index: int = 0) -> KnownBranch:
        return self

    def values(self, boxes_xyxy: Tensor, labels: Tensor) -> Tensor:
        return self.f(boxes_xyxy, labels).detach()

    def value_and_grad(self, boxes_xyxy: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        with torch.enable_grad():
            leaf = boxes_xyxy.clone().requires_grad_()
            f = self.f(leaf, labels)
            (grad,) = torch.autograd.grad(f.sum(), leaf)
        return f.detach(), grad
