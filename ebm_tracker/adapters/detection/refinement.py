"""Refinement of an image's boxes by Algorithm 1, all of them side by side."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum
from typing import NamedTuple

import torch
from torch import Tensor

from ebm_tracker.adapters.detection.branch import ImageEnergy
from ebm_tracker.adapters.detection.coordinates import (
    corner_gradient_to_relative,
    relative_to_xyxy,
    sides,
    usable,
    xyxy_to_relative,
)
from ebm_tracker.energy import Acceptance, ascend
from ebm_tracker.models.roi_pool import wide_dtype


class Coordinates(Enum):
    """In which the steps are taken."""

    RELATIVE = "relative"
    """(cx / w0, cy / h0, log w, log h), with steps of their own for position and size."""
    CORNERS = "corners"
    """The corners in input pixels, the step multiplied by the box's width and height (IoU-Net)."""


@dataclass(frozen=True)
class RefineSettings:
    """Algorithm 1 and what comes before it. The defaults are the paper's for our loss (appendix B.3).

    ``position_step``, ``size_step``: step lengths (CORNERS has the first alone); ``decay``: of a box's step length
    when its step is refused; ``steps``: T; ``nms_threshold``: overlap above which a box is suppressed; ``most``: boxes
    of an image that are kept, by class score.
    """

    position_step: float = 1e-4
    size_step: float = 4e-4
    decay: float = 0.5
    steps: int = 10
    coordinates: Coordinates = Coordinates.RELATIVE
    nms_threshold: float = 0.5
    most: int = 100

    def __post_init__(self) -> None:
        if not (self.position_step > 0 and self.size_step > 0):
            raise ValueError(f"step lengths must be > 0 (got {self.position_step} and {self.size_step})")
        if not 0 < self.decay <= 1:
            raise ValueError(f"decay must lie in (0, 1] (got {self.decay})")
        if self.steps < 0 or self.most < 1:
            raise ValueError(f"steps must be >= 0 and most >= 1 (got {self.steps} and {self.most})")
        if not 0 <= self.nms_threshold <= 1:
            raise ValueError(f"nms_threshold must lie in 0..1 (got {self.nms_threshold})")


OURS = RefineSettings()
IOU_NET_STAR = RefineSettings(0.002, 0.008, decay=0.2)
IOU_NET = RefineSettings(0.5, 0.5, decay=0.1, coordinates=Coordinates.CORNERS)


class RefinedBoxes(NamedTuple):
    """``boxes_xyxy`` (N, 4) and ``f`` (N,) there, NaN for a box that could not be refined."""

    boxes_xyxy: Tensor
    f: Tensor


@torch.no_grad()
def refine_boxes(
    energy: ImageEnergy, boxes_xyxy: Tensor, labels: Tensor, settings: RefineSettings = OURS
) -> RefinedBoxes:
    """Climbs f from boxes (N, 4) in input pixels, each at its own class ``labels`` (N,) and with its own step length.

    Every box is relative to its own size. One with no area or without finite coordinates stays as it is; so does, to
    the bit, one that no step improves. Boxes are not clipped: where f ends is not for the image's border to say.
    """
    kept = usable(boxes_xyxy)
    f = torch.full(boxes_xyxy.shape[:1], torch.nan, dtype=boxes_xyxy.dtype, device=boxes_xyxy.device)
    if not bool(kept.any()):
        return RefinedBoxes(boxes_xyxy.clone(), f)
    start, own = boxes_xyxy[kept], labels[kept]
    # cx / w0 of a small box far from the origin would lose digits that a step of 1e-4 needs.
    wide = start.to(wide_dtype(start.device))
    reference = sides(wide)
    if settings.coordinates is Coordinates.RELATIVE:

        def value_and_grad(y: Tensor) -> tuple[Tensor, Tensor]:
            boxes = relative_to_xyxy(y, reference)
            value, grad = energy.value_and_grad(boxes.to(start.dtype), own)
            return value, corner_gradient_to_relative(grad.to(y.dtype), boxes, reference)

        y = xyxy_to_relative(wide, reference)
        lengths = [settings.position_step] * 2 + [settings.size_step] * 2
        scale: Callable[[Tensor], Tensor] | None = None
    else:

        def value_and_grad(y: Tensor) -> tuple[Tensor, Tensor]:
            value, grad = energy.value_and_grad(y.to(start.dtype), own)
            return value, grad.to(y.dtype)

        y, lengths = wide, [settings.position_step] * 4
        scale = _sides_twice
    found = ascend(
        value_and_grad,
        y,
        step_length=lengths,
        steps=settings.steps,
        acceptance=Acceptance.RISING,
        decay=settings.decay,
        step_scale=scale,
    )
    ends = relative_to_xyxy(found.y, reference) if scale is None else found.y
    moved = (found.y != y).any(-1, keepdim=True)
    refined = boxes_xyxy.clone()
    refined[kept] = torch.where(moved, ends.to(start.dtype), start)
    if found.f is not None:
        f[kept] = found.f.to(f.dtype)
    return RefinedBoxes(refined, f)


def _sides_twice(boxes_xyxy: Tensor) -> Tensor:
    return sides(boxes_xyxy).repeat(1, 2)
