"""Files of detections as COCO's tools and its test server take them.

A JSON list of {"image_id", "category_id", "bbox": [x, y, w, h], "score"}: category ids as the annotation file has them,
boxes in continuous pixels with the origin at the image's corner.
"""

from __future__ import annotations

import json
import math
import zipfile
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, TypedDict

from ebm_tracker.adapters.detection.annotations import Classes, DetectionDataError, is_number
from ebm_tracker.adapters.detection.base import Detections
from ebm_tracker.files import atomic_path

DECIMALS = 3
"""Of pixels in a file: a thousandth changes no figure."""


class Result(TypedDict):
    """One detection. ``bbox``: x, y, w, h."""

    image_id: int
    category_id: int
    bbox: list[float]
    score: float


def results_of(image_id: int, detections: Detections, classes: Classes) -> list[Result]:
    """The detections of one image, in its pixels; those with a label that no category has are left out.

    Raises ValueError for a box or score that is not finite.
    """
    ids = dict(zip(classes.labels, classes.ids, strict=True))
    boxes, scores = detections.boxes_xyxy.tolist(), detections.scores.tolist()
    results: list[Result] = []
    for (x0, y0, x1, y1), score, label in zip(boxes, scores, detections.labels.tolist(), strict=True):
        if not all(map(math.isfinite, (x0, y0, x1, y1, score))):
            raise ValueError(f"boxes and scores must be finite (got {x0}, {y0}, {x1}, {y1} with {score})")
        if label in ids:
            box_xywh = [x0, y0, x1 - x0, y1 - y0]
            results.append({"image_id": image_id, "category_id": ids[label], "bbox": box_xywh, "score": score})
    return results


def server_name(method: str, subset: str = "test-dev2017") -> str:
    """How the server wants the file to be called, without its ending: detections_SUBSET_METHOD_results."""
    if not method or not all(character.isalnum() or character == "-" for character in method):
        raise ValueError(f"method must be letters, digits and hyphens (got {method!r})")
    return f"detections_{subset}_{method}_results"


def write_results(path: Path, results: Iterable[Result]) -> int:
    """Writes a JSON file, one detection a line; returns their number. No results make an empty list."""
    count = 0
    with atomic_path(path) as part, part.open("w", encoding="utf-8", newline="\n") as file:
        for result in results:
            rounded = {**result, "bbox": [round(value, DECIMALS) for value in result["bbox"]]}
            file.write(("[" if count == 0 else ",\n") + json.dumps(rounded, separators=(",", ":"), allow_nan=False))
            count += 1
        file.write("[]\n" if count == 0 else "]\n")
    return count


def pack_results(results: Path, folder: Path, method: str, subset: str = "test-dev2017") -> Path:
    """The zip file that the server takes, of a file that ``write_results`` wrote. Returns its path."""
    name = server_name(method, subset)
    target = folder / f"{name}.zip"
    with atomic_path(target) as part, zipfile.ZipFile(part, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.write(results, f"{name}.json")
    return target


def read_results(path: Path) -> list[Result]:
    """Raises DetectionDataError naming the entry that is not a detection."""
    if not path.is_file():
        raise DetectionDataError(f"there is no file of detections {path.absolute()}")
    try:
        items = json.loads(path.read_bytes())
    except (OSError, ValueError) as error:
        raise DetectionDataError(f"{path.absolute()} is not JSON ({error})") from error
    if not isinstance(items, list):
        raise DetectionDataError(f"{path.absolute()} must hold a list of detections (it does not)")
    for place, item in enumerate(items):
        if not _is_result(item):
            wanted = "image_id, category_id, a bbox of four finite numbers and a score"
            raise DetectionDataError(f"entry {place} of {path.absolute()} must have {wanted} (got {item!r})"[:400])
    return [_clean(item) for item in items]


def _clean(item: dict[str, Any]) -> Result:
    box: Sequence[float] = item["bbox"]
    return {
        "image_id": item["image_id"],
        "category_id": item["category_id"],
        "bbox": [float(value) for value in box],
        "score": float(item["score"]),
    }


def _is_result(item: Any) -> bool:
    if not isinstance(item, dict) or not isinstance(item.get("bbox"), list) or len(item["bbox"]) != 4:
        return False
    ids = (item.get("image_id"), item.get("category_id"))
    numbers = (*item["bbox"], item.get("score"))
    return all(type(value) is int for value in ids) and all(map(is_number, numbers))
