"""Annotation files in COCO's format: what is usable of them, and what was left out.

A file is read once and serves both training and scoring. What cannot mean anything (an annotation without an image, a
second one with the same id) is dropped for both; what a metric knows how to treat (crowds, boxes of no area) is kept
here and left out by the training set.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TypeGuard

from ebm_tracker.errors import EbmError

NO_IMAGE = "images without id, file_name, width and height"
SAME_IMAGE = "images with an id that another one has"
NO_BOX = "annotations without a box of four numbers"
NO_PLACE = "annotations of an image that is not listed"
NO_CLASS = "annotations of a category that is not listed"
SAME_ANNOTATION = "annotations with an id that another one has"
LARGEST_ID = 2**53
"""The metric's code keeps ids in doubles."""
LARGEST = 1e12
"""Of any number in a file."""


class DetectionDataError(EbmError):
    """A detection set or a file of results is missing, damaged, or does not fit the rest."""


@dataclass(frozen=True)
class Classes:
    """The categories of a file by rising id: ``ids`` as the file has them (COCO's 80 lie in 1..90), ``names``, and the
    ``labels`` that a network knows them by: 1..K without gaps, unless it is one that counts as the file does.
    """

    ids: tuple[int, ...]
    names: tuple[str, ...]
    labels: tuple[int, ...]

    def __len__(self) -> int:
        return len(self.ids)

    def fitting(self, outputs: int) -> Classes:
        """With the labels of a detector of so many outputs, the background among them: 1..K where it has K + 1, and the
        file's own ids where it has one for each number up to the last id, as torchvision's 91 for COCO.

        Raises ValueError for another number.
        """
        if outputs == len(self) + 1:
            return replace(self, labels=tuple(range(1, outputs)))
        if outputs == self.ids[-1] + 1 and self.ids[0] > 0:
            return replace(self, labels=self.ids)
        raise ValueError(
            f"the detector must have {len(self) + 1} classes with the background, or {self.ids[-1] + 1} in the file's "
            f"own numbers (got {outputs})"
        )

    def label_of(self, category_id: int) -> int:
        """Raises ValueError for an id that is not there."""
        if category_id not in self.ids:
            raise ValueError(f"category_id must be one of the {len(self)} ids of the file (got {category_id})")
        return self.labels[self.ids.index(category_id)]

    def id_of(self, label: int) -> int | None:
        """None where no category has the label, as ten of torchvision's 90."""
        return self.ids[self.labels.index(label)] if label in self.labels else None

    def name_of(self, label: int) -> str:
        """A text, too, for a label that no category has."""
        return self.names[self.labels.index(label)] if label in self.labels else f"class {label}"


@dataclass(frozen=True)
class ListedImage:
    """``file_name`` is relative to the folder of the images; ``size_wh`` in pixels."""

    image_id: int
    file_name: str
    size_wh: tuple[int, int]


@dataclass(frozen=True)
class Annotation:
    """``box_xywh`` in pixels of the image; ``area``: of the object's mask where the file has it, else of the box."""

    image_id: int
    category_id: int
    box_xywh: tuple[float, float, float, float]
    area: float
    is_crowd: bool


@dataclass(frozen=True)
class AnnotationFile:
    """``images`` and ``annotations`` in the order of the file; ``left_out``: reason -> count."""

    path: Path
    classes: Classes
    images: tuple[ListedImage, ...]
    annotations: tuple[Annotation, ...]
    left_out: Mapping[str, int]


def read_annotations(path: Path) -> AnnotationFile:
    """Reads a file in COCO's format; "annotations" may be missing, as in the files of test images.

    Raises DetectionDataError: no such file, no JSON, or not lists of images and categories.
    """
    document = _read_document(path)
    left_out: Counter[str] = Counter()
    classes = _classes(path, document["categories"])
    images: dict[int, ListedImage] = {}
    for item in document["images"]:
        image = _image(item)
        if image is None:
            left_out[NO_IMAGE] += 1
        elif image.image_id in images:
            left_out[SAME_IMAGE] += 1
        else:
            images[image.image_id] = image
    known_classes, seen = set(classes.ids), set[int]()
    annotations = []
    for item in document.get("annotations", []):
        problem = _problem(item, images, known_classes, seen)
        if problem is not None:
            left_out[problem] += 1
            continue
        if "id" in item:
            seen.add(item["id"])
        annotations.append(_annotation(item))
    return AnnotationFile(path, classes, tuple(images.values()), tuple(annotations), dict(left_out))


def _read_document(path: Path) -> dict[str, Any]:
    if not path.is_file():
        raise DetectionDataError(f"there is no annotation file {path.absolute()}")
    try:
        document = json.loads(path.read_bytes())
    except (OSError, ValueError, RecursionError) as error:
        raise DetectionDataError(f"{path.absolute()} is not JSON ({error})") from error
    keys = ["images", "categories"]
    if isinstance(document, dict) and "annotations" in document:
        keys.append("annotations")
    if not isinstance(document, dict) or not all(isinstance(document.get(key), list) for key in keys):
        raise DetectionDataError(f"{path.absolute()} must hold lists of {', '.join(keys)} (it does not)")
    return document


def _classes(path: Path, items: list[Any]) -> Classes:
    names: dict[int, str] = {}
    for item in items:
        if not isinstance(item, dict) or not _is_id(item.get("id")):
            raise DetectionDataError(f"categories in {path.absolute()} must have whole numbers as ids (got {item!r})")
        name = str(item.get("name", item["id"]))
        if names.setdefault(item["id"], name) != name:
            raise DetectionDataError(f"{path.absolute()} has two categories with id {item['id']}")
    if not names:
        raise DetectionDataError(f"{path.absolute()} lists no categories")
    ids = tuple(sorted(names))
    return Classes(ids, tuple(names[number] for number in ids), tuple(range(1, len(ids) + 1)))


def _image(item: Any) -> ListedImage | None:
    if not isinstance(item, dict) or not _is_id(item.get("id")):
        return None
    name, width, height = item.get("file_name"), item.get("width"), item.get("height")
    if not isinstance(name, str) or not name or not (_is_id(width) and _is_id(height)) or min(width, height) < 1:
        return None
    return ListedImage(item["id"], name, (width, height))


def _problem(item: Any, images: Mapping[int, ListedImage], classes: set[int], seen: set[int]) -> str | None:
    if not isinstance(item, dict) or not _is_box(item.get("bbox")):
        return NO_BOX
    if not _is_id(item.get("image_id")) or item["image_id"] not in images:
        return NO_PLACE
    if not _is_id(item.get("category_id")) or item["category_id"] not in classes:
        return NO_CLASS
    if "id" in item and (not _is_id(item["id"]) or item["id"] in seen):
        return SAME_ANNOTATION
    return None


def _annotation(item: dict[str, Any]) -> Annotation:
    x, y, w, h = (float(value) for value in item["bbox"])
    area = item.get("area")
    return Annotation(
        item["image_id"],
        item["category_id"],
        (x, y, w, h),
        float(area) if is_number(area) else w * h,
        bool(item.get("iscrowd", 0)),
    )


def _is_id(value: Any) -> TypeGuard[int]:
    return isinstance(value, int) and not isinstance(value, bool) and -LARGEST_ID < value < LARGEST_ID


def _is_box(box: Any) -> bool:
    return (
        isinstance(box, list)
        and len(box) == 4
        and all(is_number(value) for value in box)
    )


def is_number(value: Any) -> TypeGuard[float]:
    """Whether it is one that can be a coordinate: finite, and no whole number of a thousand digits."""
    return isinstance(value, int | float) and -LARGEST < value < LARGEST
