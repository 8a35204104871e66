"""COCO's figures of a set of detections, by faster-coco-eval; and how well the matched boxes fit.

The metric is pycocotools' with its defaults: precision averaged over 101 recalls and over IoU 0.50, 0.55, ..., 0.95, at
most 100 detections per image, crowds ignored. (Lin et al., "Microsoft COCO: Common Objects in Context", ECCV 2014.)
"""

from __future__ import annotations

import logging
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ebm_tracker.adapters.detection.annotations import AnnotationFile
from ebm_tracker.adapters.detection.base import Detections
from ebm_tracker.adapters.detection.data import Objects
from ebm_tracker.adapters.detection.results import Result
from ebm_tracker.errors import EbmError

_AREAS = ("", "s", "m", "l")
"""All, then objects below 32^2 pixels, below 96^2, and the rest."""


@dataclass(frozen=True)
class DetectionScores:
    """In percent; NaN where no object is there to be found.

    ``figures``: "AP", "AP50", "AP75", "APs", "APm", "APl", and the recall "AR" with 100 detections; ``class_ap``: "AP"
    by name of the class; ``images``, ``objects`` and ``detections``: how many there were.
    """

    figures: Mapping[str, float]
    class_ap: Mapping[str, float]
    images: int
    objects: int
    detections: int


def score_detections(
    truth: AnnotationFile, results: Sequence[Result], image_ids: Collection[int] | None = None
) -> DetectionScores:
    """Scores results against the annotations, boxes of no area and crowds among them as the metric has it.

    ``image_ids``: the images that count (default: all). No results score 0.

    Raises ValueError for a result of an image or category that the annotations do not have, EbmError when
    faster-coco-eval is not installed.
    """
    counted = _image_ids(truth, image_ids)
    listed, categories = {image.image_id for image in truth.images}, set(truth.classes.ids)
    for result in results:
        if result["image_id"] not in listed or result["category_id"] not in categories:
            pair = f"{result['image_id']} and {result['category_id']}"
            raise ValueError(f"image_id and category_id of a result must be in {truth.path.name} (got {pair})")
    kept = [result for result in results if result["image_id"] in counted]
    evaluation = _evaluated(truth, kept, sorted(counted))
    shape = tuple(int(side) for side in evaluation["counts"])  # thresholds, recalls, classes, areas, limits
    precision = np.asarray(evaluation["precision"], np.float64).reshape(shape)[..., -1]
    recall = np.asarray(evaluation["recall"], np.float64).reshape(shape[0], *shape[2:])[..., -1]
    figures = {
        "AP": _mean(precision[..., 0]),
        "AP50": _mean(precision[0, ..., 0]),
        "AP75": _mean(precision[5, ..., 0]),
        **{f"AP{name}": _mean(precision[..., place]) for place, name in enumerate(_AREAS) if name},
        "AR": _mean(recall[..., 0]),
    }
    by_class = {name: _mean(precision[:, :, place, 0]) for place, name in enumerate(truth.classes.names)}
    objects = sum(not a.is_crowd and a.image_id in counted for a in truth.annotations)
    return DetectionScores(figures, by_class, len(counted), objects, len(kept))


def _image_ids(truth: AnnotationFile, image_ids: Collection[int] | None) -> set[int]:
    listed = {image.image_id for image in truth.images}
    counted = listed if image_ids is None else set(image_ids)
    if not counted or not counted <= listed:
        raise ValueError(f"image_ids must be at least one of the {len(listed)} of {truth.path.name}")
    return counted


def _mean(values: NDArray[np.float64]) -> float:
    """Mean, in percent, of the entries that are not -1, the metric's word for "no objects"."""
    known = values[values > -1]
    return 100 * float(known.mean()) if known.size else float("nan")


def _evaluated(truth: AnnotationFile, results: Sequence[Result], image_ids: list[int]) -> dict[str, Any]:
    try:
        from faster_coco_eval import COCO, COCOeval_faster
    except ImportError as error:
        raise EbmError(
            "scoring detections needs faster-coco-eval (not installed): pip install 'ebm-tracker[coco]'"
        ) from error
    silent = logging.getLogger(__name__).debug
    described = COCO(_document(truth), print_function=silent)
    found = described.loadRes([{**result} for result in results])
    evaluator = COCOeval_faster(described, found, "bbox", print_function=silent, extra_calc=False)
    evaluator.params.imgIds = image_ids
    evaluator.evaluate()
    evaluator.accumulate()
    evaluation: dict[str, Any] = evaluator.eval
    return evaluation


def _document(truth: AnnotationFile) -> dict[str, Any]:
    """The annotations as the metric's code reads them, numbered from 1: it takes a match with number 0 for none."""
    annotations = [
        {
            "id": number,
            "image_id": annotation.image_id,
            "category_id": annotation.category_id,
            "bbox": list(annotation.box_xywh),
            "area": annotation.area,
            "iscrowd": int(annotation.is_crowd),
        }
        for number, annotation in enumerate(truth.annotations, start=1)
    ]
    images = [
        {"id": image.image_id, "file_name": image.file_name, "width": image.size_wh[0], "height": image.size_wh[1]}
        for image in truth.images
    ]
    pairs = zip(truth.classes.ids, truth.classes.names, strict=True)
    categories = [{"id": category_id, "name": name} for category_id, name in pairs]
    return {"images": images, "annotations": annotations, "categories": categories}


class Matches(NamedTuple):
    """Of P detections of one image, by falling score: their places ``detections`` (P,), those of the objects that they
    were matched to, ``objects`` (P,), and their overlaps ``ious`` (P,)."""

    detections: Tensor
    objects: Tensor
    ious: Tensor


def matches(objects: Objects, detections: Detections, min_iou: float = 0.5) -> Matches:
    """Which detections of an image found which objects, with an overlap of at least ``min_iou``.

    COCO's matching: detections by falling score, each takes the free object of its class that it overlaps most.
    """
    order = detections.scores.argsort(descending=True, stable=True)
    boxes, labels = detections.boxes_xyxy[order], detections.labels[order]
    overlaps = iou_xyxy(boxes.double(), objects.boxes_xyxy.double())
    overlaps[labels[:, None] != objects.labels[None]] = -1
    found, taken, ious = [], [], []
    for place, row in zip(order.tolist(), overlaps, strict=True):
        if not len(row):
            break
        best, column = row.max(0)
        if float(best) >= min_iou:
            found.append(place)
            taken.append(int(column))
            ious.append(float(best))
            overlaps[:, column] = -1
    return Matches(torch.tensor(found).long(), torch.tensor(taken).long(), torch.tensor(ious, dtype=torch.float64))


def matched_ious(objects: Objects, detections: Detections, min_iou: float = 0.5) -> Tensor:
    """Overlaps of the detections of one image with the objects that they were matched to: (P,), see ``matches``."""
    return matches(objects, detections, min_iou).ious


def iou_xyxy(a: Tensor, b: Tensor) -> Tensor:
    """(N, 4) and (M, 4) -> (N, M); 0 where there is no area."""
    low, high = torch.maximum(a[:, None, :2], b[None, :, :2]), torch.minimum(a[:, None, 2:], b[None, :, 2:])
    inter = (high - low).clamp(min=0).prod(-1)
    areas = [(boxes[:, 2:] - boxes[:, :2]).clamp(min=0).prod(-1) for boxes in (a, b)]
    union = areas[0][:, None] + areas[1][None] - inter
    return torch.where(union > 0, inter / union.clamp(min=1e-300), torch.zeros_like(union))
