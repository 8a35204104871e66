"""Which objects variants have found, and how well: from their files of detections to what a figure shows."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ebm_tracker.adapters.detection.annotations import Classes
from ebm_tracker.adapters.detection.base import Detections
from ebm_tracker.adapters.detection.data import DetectionImages
from ebm_tracker.adapters.detection.evaluate import matched_ious, matches
from ebm_tracker.adapters.detection.figure import THRESHOLDS, ObjectShown, pick
from ebm_tracker.adapters.detection.results import Result

Floats = NDArray[np.float64]


def detections_of(results: Sequence[Result], classes: Classes) -> dict[int, Detections]:
    """Detections by image id, in the order of ``results``; the inverse of ``results_of``.

    Raises ValueError for a category that ``classes`` does not have.
    """
    by_image = groupby(sorted(results, key=_image), key=_image)  # sorting keeps the order within an image
    return {image_id: _detections(list(few), classes) for image_id, few in by_image}


def found_shares(images: DetectionImages, results: Sequence[Result]) -> Floats:
    """(T,): share of all objects that were found with an overlap of at least each of THRESHOLDS; NaN for no objects.

    By COCO's matching with its lowest overlap, whatever the score: a better box of a lower score does not count.
    """
    found = detections_of(results, images.classes)
    ious = [
        matched_ious(objects, found[image.image_id], THRESHOLDS[0])
        for image, objects in zip(images.images, images.objects, strict=True)
        if image.image_id in found
    ]
    matched = torch.cat(ious).numpy() if ious else np.zeros(0)
    total = sum(len(objects.labels) for objects in images.objects)
    counts = (matched[:, None] >= THRESHOLDS).sum(0).astype(np.float64)
    return counts / total if total else np.full(len(THRESHOLDS), np.nan)


def objects_shown(
    images: DetectionImages,
    before: Sequence[Result],
    after: Sequence[Result],
    count: int = 8,
    *,
    min_score: float = 0.5,
) -> list[ObjectShown]:
    """Objects with the box that each of two variants found for them, ``count`` or as many as there are.

    Of all objects that both found with a score above ``min_score``, in the order of the file, evenly spaced ones: by
    their number alone, not by how well the boxes fit.
    """
    found = [_by_object(images, detections_of(few, images.classes), min_score) for few in (before, after)]
    common = [key for key in found[0] if key in found[1]]
    shown = []
    for place in pick(len(common), count):
        image, number = common[place]
        truth = images.objects[image].boxes_xyxy[number]
        boxes = [_plain(box) for box in (truth, found[0][image, number], found[1][image, number])]
        shown.append(ObjectShown(images.read(image), *boxes))
    return shown


def _image(result: Result) -> int:
    return result["image_id"]


def _detections(results: Sequence[Result], classes: Classes) -> Detections:
    xywh = torch.tensor([result["bbox"] for result in results], dtype=torch.float64)
    boxes = torch.cat((xywh[:, :2], xywh[:, :2] + xywh[:, 2:]), 1)
    scores = torch.tensor([result["score"] for result in results], dtype=torch.float64)
    return Detections(boxes, scores, torch.tensor([classes.label_of(result["category_id"]) for result in results]))


def _by_object(
    images: DetectionImages, found: dict[int, Detections], min_score: float
) -> dict[tuple[int, int], Tensor]:
    """(image, object) -> the box (4,) that found it, in the order of the file."""
    boxes = {}
    for index, (image, objects) in enumerate(zip(images.images, images.objects, strict=True)):
        if image.image_id in found:
            sure = found[image.image_id]
            sure = sure[sure.scores > min_score]
            pairs = matches(objects, sure)
            for which, number in zip(pairs.detections.tolist(), pairs.objects.tolist(), strict=True):
                boxes[index, number] = sure.boxes_xyxy[which]
    return dict(sorted(boxes.items(), key=lambda entry: entry[0]))


def _plain(box: Tensor) -> Floats:
    return np.asarray(box.double().numpy())
