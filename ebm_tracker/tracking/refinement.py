"""Box refinement in one frame: random start boxes, ascent on the energy, the mean of the best."""

from __future__ import annotations

from typing import Protocol

import torch
from torch import Tensor

from ebm_tracker.boxes import gradient_to_relative, relative_to_xywh, xywh_to_relative
from ebm_tracker.energy import Acceptance, Refinement, ascend
from ebm_tracker.tracking.config import BoxSpace, RefinementSettings


class BoxFunction(Protocol):
    """The energy of boxes (N, 4), as FrameBoxEnergy of one object and GroupBoxEnergy of several have it."""

    def values(self, boxes_xywh: Tensor) -> Tensor:
        """Energies (N,)."""

    def value_and_grad(self, boxes_xywh: Tensor) -> tuple[Tensor, Tensor]:
        """Energies (N,) and their gradient (N, 4)."""


def start_boxes(box_xywh: Tensor, settings: RefinementSettings, generator: torch.Generator) -> Tensor:
    """The box (4,) itself and ``settings.boxes`` - 1 randomly moved and resized copies, (boxes, 4)."""
    xy, wh = box_xywh[:2], box_xywh[2:]
    side = wh.prod().sqrt()
    noise = torch.rand((settings.boxes - 1, 4), generator=generator, dtype=torch.float32).to(box_xywh) - 0.5
    centers = xy + 0.5 * wh + settings.jitter[0] * side * noise[:, :2]
    sizes = (wh + settings.jitter[1] * side * noise[:, 2:]).clamp(min=float(wh.min()) * settings.min_side_share)
    return torch.cat((box_xywh[None], torch.cat((centers - 0.5 * sizes, sizes), dim=1)))


def refine(
    energy: BoxFunction,
    boxes_xywh: Tensor,
    settings: RefinementSettings,
    *,
    objects: int = 1,
    upstream: bool = False,
) -> tuple[Tensor, Tensor]:
    """Ascent from (N, 4) boxes: refined boxes (N, 4) and the energies (N,) to rank them by.

    ``objects``: how many the boxes belong to, equally many to each, one after the other. The reference size of
    relative coordinates is that of an object's first box, for all of its boxes. ``upstream``: rank by the
    energies before the last step, as pytracking does, instead of those of the boxes themselves.
    """
    acceptance = Acceptance.ALWAYS if settings.decay == 1 else Acceptance.UNDO
    position, size = settings.step_length
    steps = (position, position, size, size)
    if settings.space is BoxSpace.IMAGE:
        result = ascend(
            energy.value_and_grad,
            boxes_xywh,
            step_length=steps,
            steps=settings.steps,
            acceptance=acceptance,
            decay=settings.decay,
            step_scale=lambda boxes: boxes[:, 2:].repeat(1, 2),
            value=energy.values,
            final_value=not upstream,
        )
        return result.y, _ranking(result)
    count = len(boxes_xywh) // objects
    ref_wh = boxes_xywh[::count, 2:]
    if objects > 1:
        ref_wh = ref_wh.repeat_interleave(count, dim=0)

    def relative(boxes_rel: Tensor) -> tuple[Tensor, Tensor]:
        boxes = relative_to_xywh(boxes_rel, ref_wh)
        f, gradient = energy.value_and_grad(boxes)
        return f, gradient_to_relative(gradient, boxes, ref_wh)

    result = ascend(
        relative,
        xywh_to_relative(boxes_xywh, ref_wh),
        step_length=steps,
        steps=settings.steps,
        acceptance=acceptance,
        decay=settings.decay,
        value=lambda boxes_rel: energy.values(relative_to_xywh(boxes_rel, ref_wh)),
        final_value=not upstream,
    )
    return relative_to_xywh(result.y, ref_wh), _ranking(result)


def _ranking(result: Refinement) -> Tensor:
    return result.f_before_last if result.f is None else result.f


def select_box(boxes_xywh: Tensor, energies: Tensor, settings: RefinementSettings) -> tuple[float, ...] | None:
    """Mean x, y, w, h of the ``best`` boxes by energy, or None when no box survives.

    Sides are clamped to at least one crop pixel; boxes that are too long or not finite are dropped.
    """
    boxes = torch.cat((boxes_xywh[:, :2], boxes_xywh[:, 2:].clamp(min=1)), dim=1)
    aspect = boxes[:, 2] / boxes[:, 3]
    keep = (aspect < settings.max_aspect) & (aspect > 1 / settings.max_aspect)
    keep &= boxes.isfinite().all(1) & energies.isfinite()
    boxes, energies = boxes[keep], energies[keep]
    if len(boxes) == 0:
        return None
    best = energies.topk(min(settings.best, len(boxes))).indices
    return tuple(boxes[best].mean(0).tolist())
