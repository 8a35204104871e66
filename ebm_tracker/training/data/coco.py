r"""COCO's detection sets as sequences of one frame.

``<root>/annotations/instances_<split><year>.json`` (or in ``annotations_trainval<year>.zip``) and the images in
``<root>/<split><year>/``, ``<root>/images/<split><year>/`` or ``<split><year>.zip`` in either place. The JSON is read
as it is; pycocotools is not needed. (Lin et al., "Microsoft COCO: Common Objects in Context", ECCV 2014.)
"""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import numpy as np

from ebm_tracker.training.data.index import IndexBuilder
from ebm_tracker.training.data.index_cache import IndexKey, open_index, stamp_of, stamp_paths
from ebm_tracker.training.data.indexed_set import IndexedSet, add_sequence
from ebm_tracker.training.data.sequence import DataSetError, FrameReadError
from ebm_tracker.training.data.store import Alternative, FileStore

YEARS = (2014, 2017)
SPLITS = ("train", "val")
MIN_SIDE = 1.0
"""Pixels, of the box and of its part inside the image."""

CROWD = "crowd annotations"
SMALL = "boxes with a side below 1 pixel"
OUTSIDE = "boxes with less than 1 pixel inside the image"
DAMAGED = "annotations without a box of four numbers or without an image"


def open_coco(
    root: str | Path,
    year: int = 2014,
    split: str = "train",
    cache_dir: str | Path | None = None,
    show_progress: bool = True,
) -> IndexedSet:
    """Every annotation that is not a crowd and has sides of at least a pixel, in the order of the file.

    Its name is "<image>/<annotation id>". All frames are visible.

    Args:
        year: 2014, what upstream trains on, or 2017, whose ``train`` is that plus 35,000 images of 2014's ``val``.
        split: "train" or "val".
        cache_dir: of the index; None: the user's cache directory.
        show_progress: of the first start, on a terminal.

    Raises:
        ValueError: year or split.
        DataSetError: no annotation file, or one that is damaged.
    """
    if year not in YEARS or split not in SPLITS:
        raise ValueError(f"year must be 2014 or 2017 and split train or val (got {year!r} and {split!r})")
    root = Path(root)
    name = f"{split}{year}"
    store = FileStore(root, _alternatives(name, year))
    path = f"annotations/instances_{name}.json"
    sources = [root / path, root / f"annotations_trainval{year}.zip"]
    if not any(source.is_file() for source in sources):
        raise DataSetError(f"COCO needs {sources[0]} or {sources[1]} (found neither)")

    def build(builder: IndexBuilder) -> None:
        document = _read_document(store, path)
        images = {i["id"]: i for i in document["images"] if isinstance(i, dict) and {"id", "file_name"} <= i.keys()}
        for annotation in builder.progress(document["annotations"]):
            _add(builder, name, annotation, images)

    key = IndexKey("coco", root, {"year": year, "split": split}, stamp_of(stamp_paths(sources)))
    index = open_index(key, build, cache_dir, show_progress)
    return IndexedSet(f"coco{year}", index, store, numbering="", is_video=False)


def _alternatives(name: str, year: int) -> tuple[Alternative, ...]:
    image = f"{name}/(.+)"
    return (
        Alternative(image, rf"images/{name}/\1"),
        Alternative(image, f"{name}.zip", rf"{name}/\1"),
        Alternative(image, f"images/{name}.zip", rf"{name}/\1"),
        Alternative(r"annotations/(.+)", f"annotations_trainval{year}.zip", r"annotations/\1"),
    )


def _read_document(store: FileStore, path: str) -> dict[str, Any]:
    try:
        document = json.loads(store.read_bytes(path))
    except FrameReadError as error:
        raise DataSetError(str(error)) from error
    except ValueError as error:
        raise DataSetError(f"{store.root / path} is not JSON ({error})") from error
    if not isinstance(document, dict) or not all(isinstance(document.get(k), list) for k in ("images", "annotations")):
        raise DataSetError(f"{store.root / path} must hold lists of images and annotations (it does not)")
    return document


def _add(builder: IndexBuilder, folder: str, annotation: Any, images: dict[Any, dict[str, Any]]) -> None:
    if not isinstance(annotation, dict):
        builder.leave_out(DAMAGED, f"not an object: {annotation}"[:200])
        return
    if annotation.get("iscrowd", 0):
        builder.leave_out(CROWD)
        return
    number, box = annotation.get("id"), annotation.get("bbox")
    image = images.get(annotation.get("image_id"))
    if image is None or not _is_box(box):
        builder.leave_out(DAMAGED, f"annotation {number}: box {box}, image {annotation.get('image_id')}")
        return
    assert box is not None
    x, y, w, h = box
    if min(w, h) < MIN_SIDE:
        builder.leave_out(SMALL, f"annotation {number}: box {box}")
        return
    inside_w = min(x + w, (image.get("width") or math.inf)) - max(x, 0)
    inside_h = min(y + h, (image.get("height") or math.inf)) - max(y, 0)
    if min(inside_w, inside_h) < MIN_SIDE:
        builder.leave_out(OUTSIDE, f"annotation {number}: box {box} in {image['file_name']}")
        return
    file_name = image["file_name"]
    add_sequence(builder, f"{Path(file_name).stem}/{number}", f"{folder}/{file_name}", np.array([box], np.float64))


def _is_box(box: Any) -> bool:
    return (
        isinstance(box, list)
        and len(box) == 4
        and all(isinstance(value, int | float) and math.isfinite(value) for value in box)
    )
