"""Detection with a confidence branch: guided suppression, the best by class score, refinement."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol, TypeVar

import torch
from torch import Tensor

from ebm_tracker.adapters.detection.base import Detections, FrozenDetector, Pyramid
from ebm_tracker.adapters.detection.branch import ImageEnergy
from ebm_tracker.adapters.detection.nms import best_by_score, guided_nms
from ebm_tracker.adapters.detection.refinement import OURS, RefineSettings, refine_boxes


class Branch(Protocol):
    """What gives f of an image: a ConfidenceBranch, or a function of your own."""

    def of_image(self, pyramid: Pyramid, index: int = 0) -> ImageEnergy: ...


def survivors(energy: ImageEnergy, raw: Detections, settings: RefineSettings = OURS) -> Detections:
    """Of raw boxes in input pixels those to refine: suppression guided by f, scores the best of each cluster, then the
    ``settings.most`` best (and all that equal the last of them), best first."""
    guide = energy.values(raw.boxes_xyxy, raw.labels)
    kept = guided_nms(raw.boxes_xyxy, guide, raw.scores, raw.labels, settings.nms_threshold)
    chosen = best_by_score(kept.scores, settings.most)
    index = kept.index[chosen]
    return Detections(raw.boxes_xyxy[index], kept.scores[chosen], raw.labels[index])


def refined(energy: ImageEnergy, detections: Detections, settings: RefineSettings = OURS) -> Detections:
    """Detections in input pixels with better boxes; scores, labels and their order stay."""
    boxes = refine_boxes(energy, detections.boxes_xyxy, detections.labels, settings).boxes_xyxy
    return Detections(boxes, detections.scores, detections.labels)


class EnergyDetector:
    """A frozen detector with a branch: its images in, better boxes out.

    ``settings``: steps for the loss that the branch was trained with (``OURS``, ``IOU_NET_STAR``, ``IOU_NET``).
    ``temperature``: T of the density p(y | x) = exp(f(x, y) / T) / Z, see ``fit_temperature``; the boxes do not depend
    on it. Raises ValueError unless it is above 0.
    """

    def __init__(
        self, detector: FrozenDetector, branch: Branch, settings: RefineSettings = OURS, *, temperature: float = 1.0
    ) -> None:
        if not temperature > 0:
            raise ValueError(f"temperature must be > 0 (got {temperature})")
        self.detector, self.branch, self.settings, self.temperature = detector, branch, settings, temperature

    def detect(self, images: Sequence[Tensor]) -> list[Detections]:
        """Images (3, H, W) as the detector's ``pyramid`` takes them -> detections of each, in image pixels."""
        return self.detect_in(self.detector.pyramid(images)) if len(images) else []

    @torch.no_grad()
    def detect_in(self, pyramid: Pyramid, raw: Sequence[Detections] | None = None) -> list[Detections]:
        """The same from the features; ``raw``: boxes before suppression in input pixels, where they are at hand."""
        found = []
        for index, boxes in enumerate(self.detector.raw(pyramid) if raw is None else raw):
            energy = self.branch.of_image(pyramid, index)
            better = refined(energy, survivors(energy, boxes, self.settings), self.settings)
            found.append(Detections(pyramid.to_image(better.boxes_xyxy, index), better.scores, better.labels))
        return found


Found = TypeVar("Found", Detections, dict[str, Any])


@torch.no_grad()
def refine(model: EnergyDetector, images: Sequence[Tensor], detections: Sequence[Found]) -> list[Found]:
    """Better boxes for detections that are there already, from this detector or another.

    ``images``: (3, H, W), RGB, float 0..1 or uint8; ``detections``: for each image a Detections or torchvision's dict
    with "boxes" (N, 4) in image pixels and "labels" (N,). Returns the same with the boxes refined and all else as it
    was: order, scores, anything else in the dict. A box without an area, or beside the image, comes back as it is.
    Images are taken one at a time, so that the result for one does not depend on the others.
    Raises ValueError when there are not as many detections as images, or labels are none of the detector's classes.
    """
    if len(images) != len(detections):
        raise ValueError(f"detections must have one entry per image, {len(images)} (got {len(detections)})")
    better: list[Found] = []
    for number, (image, few) in enumerate(zip(images, detections, strict=True)):
        boxes, labels = _boxes_and_labels(few, number)
        boxes = boxes if boxes.is_floating_point() else boxes.float()
        ends = boxes.clone()
        if len(boxes):
            pyramid = model.detector.pyramid([image])
            start = pyramid.to_input(boxes, 0).to(pyramid.maps[0].device)
            energy = model.branch.of_image(pyramid)
            found = refine_boxes(energy, start, labels.to(start.device), model.settings).boxes_xyxy
            # There and back rounds: a box that did not move is to stay as it was.
            moved = (found != start).any(-1, keepdim=True)
            ends = torch.where(moved, pyramid.to_image(found, 0), boxes.to(start.device)).to(boxes)
        better.append(_with_boxes(few, ends))
    return better


def _boxes_and_labels(detections: Detections | Mapping[str, Any], number: int) -> tuple[Tensor, Tensor]:
    boxes: Any
    labels: Any
    if isinstance(detections, Detections):
        boxes, labels = detections.boxes_xyxy, detections.labels
    else:
        missing = [key for key in ("boxes", "labels") if key not in detections]
        if missing:
            given = ", ".join(detections) or "none"
            raise ValueError(f"detections[{number}] must have 'boxes' and 'labels' (got {given})")
        boxes, labels = detections["boxes"], detections["labels"]
    if not (isinstance(boxes, Tensor) and isinstance(labels, Tensor)):
        found = f"{type(boxes).__name__} and {type(labels).__name__}"
        raise ValueError(f"boxes and labels of detections[{number}] must be tensors (got {found})")
    if boxes.ndim != 2 or boxes.shape[1] != 4 or labels.shape != boxes.shape[:1]:
        found = f"{tuple(boxes.shape)} and {tuple(labels.shape)}"
        raise ValueError(f"detections[{number}] must have boxes (N, 4) and labels (N,) (got {found})")
    return boxes, labels


def _with_boxes(detections: Found, boxes_xyxy: Tensor) -> Found:
    if isinstance(detections, Detections):
        return Detections(boxes_xyxy, detections.scores, detections.labels)
    return {**detections, "boxes": boxes_xyxy}
