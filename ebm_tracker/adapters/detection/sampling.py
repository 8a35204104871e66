"""Regions that a box head learns from: proposals matched to the objects of their image, as in Faster R-CNN."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional
from torchvision.ops import box_iou

from ebm_tracker.adapters.detection.base import FrozenDetector, Pyramid

BACKGROUND, NO_REGION = 0, -1
"""Labels of a region without an object, and of a row that fills a batch up."""


class RegionExample(NamedTuple):
    """Regions of one image; a batch has a leading B.

    ``number``: its place in the run; ``features`` (S, F): the box head's; ``labels`` (S,): 1..K - 1, 0 for background,
    -1 for no region; ``offsets`` (S, 4): of the object from the region, in the units of the box coder.
    """

    number: Tensor
    features: Tensor
    labels: Tensor
    offsets: Tensor


@dataclass(frozen=True)
class RegionSampling:
    """``count`` regions of an image, at most the share ``foreground`` of them on objects: an overlap (IoU) of
    ``overlap`` or more. The defaults are torchvision's and maskrcnn-benchmark's."""

    count: int = 512
    foreground: float = 0.25
    overlap: float = 0.5

    def __post_init__(self) -> None:
        if self.count < 1 or not 0 < self.foreground <= 1 or not 0 < self.overlap < 1:
            raise ValueError(
                f"count must be at least 1, foreground above 0 and at most 1, overlap between 0 and 1 (got {self})"
            )

    def choose(self, is_foreground: Tensor) -> Tensor:
        """Numbers of the chosen regions, foreground first, drawn by torch's own generator: (R,) bool -> (<= count,)."""
        front, back = (_shuffled(torch.where(mask)[0]) for mask in (is_foreground, ~is_foreground))
        front = front[: int(self.count * self.foreground)]
        return torch.cat((front, back[: self.count - len(front)]))


@torch.no_grad()
def sample_regions(
    detector: FrozenDetector,
    pyramid: Pyramid,
    objects: Sequence[Mapping[str, Tensor]],
    numbers: Tensor,
    sampling: RegionSampling,
    proposals: Sequence[Tensor] | None = None,
) -> RegionExample:
    """A batch of ``sampling.count`` regions of each of B images.

    ``objects``: of each image "boxes" (M, 4) in its pixels and "labels" (M,), as in torchvision; their boxes are
    proposals too. ``numbers`` (B,). ``proposals``: (R, 4) input pixels each, instead of the detector's own.
    """
    found = detector.proposals(pyramid) if proposals is None else proposals
    chosen, labels, offsets = [], [], []
    for index, (boxes, known) in enumerate(zip(found, objects, strict=True)):
        true_xyxy = pyramid.to_input(known["boxes"].to(boxes), index)
        boxes = torch.cat((boxes, true_xyxy))
        overlap, match = best_object(boxes, true_xyxy)
        is_foreground = overlap >= sampling.overlap
        rows = sampling.choose(is_foreground)
        chosen.append(boxes[rows])
        classes = torch.full_like(match, BACKGROUND)
        offset = boxes.new_zeros(len(boxes), 4)
        if len(true_xyxy):
            classes = torch.where(is_foreground, known["labels"].to(match)[match], classes)
            offset = torch.where(is_foreground[:, None], detector.encode(true_xyxy[match], boxes), offset)
        labels.append(classes[rows])
        offsets.append(offset[rows])
    features = [regions.features for regions in detector.regions(pyramid, chosen)]
    return RegionExample(
        numbers,
        _filled(features, sampling.count, 0),
        _filled(labels, sampling.count, NO_REGION),
        _filled(offsets, sampling.count, 0),
    )


def best_object(boxes_xyxy: Tensor, true_xyxy: Tensor) -> tuple[Tensor, Tensor]:
    """Of each box (R, 4): its largest overlap with an object (M, 4), and which; 0 and 0 where there is no object."""
    if not len(true_xyxy):
        return boxes_xyxy.new_zeros(len(boxes_xyxy)), boxes_xyxy.new_zeros(len(boxes_xyxy), dtype=torch.int64)
    overlap, match = box_iou(true_xyxy, boxes_xyxy).max(0)
    return overlap, match


def _shuffled(numbers: Tensor) -> Tensor:
    return numbers[torch.randperm(len(numbers)).to(numbers.device)]


def _filled(parts: Sequence[Tensor], count: int, value: float) -> Tensor:
    """(B, count, ...) of B tensors with ``count`` rows or fewer."""
    padded = [functional.pad(part, (0, 0) * (part.ndim - 1) + (0, count - len(part)), value=value) for part in parts]
    return torch.stack(padded)
