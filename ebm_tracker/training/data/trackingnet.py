r"""TrackingNet's training sets.

``<root>/TRAIN_<k>/anno/<video>.txt`` with a line "x,y,w,h" per frame, ``frames/<video>/<i>.jpg`` numbered from 0
without leading zeros, or ``zips/<video>.zip`` with the same images as they were downloaded. Boxes were made by a
tracker between the seconds that people annotated; they may leave the image, and no frame is flagged as absent.
(Müller et al., "TrackingNet: A Large-Scale Dataset and Benchmark for Object Tracking in the Wild", ECCV 2018.)
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from ebm_tracker.annotations import is_present
from ebm_tracker.training.data.index import IndexBuilder
from ebm_tracker.training.data.index_cache import IndexKey, open_index, stamp_files, stamp_of
from ebm_tracker.training.data.indexed_set import (
    UNREADABLE_ERRORS,
    IndexedSet,
    add_sequence,
    leave_unreadable,
    read_store_boxes,
)
from ebm_tracker.training.data.sequence import DataSetError
from ebm_tracker.training.data.store import Alternative, FileStore

SET_IDS = tuple(range(12))
PAPER_SET_IDS = (0, 1, 2, 3)
"""What upstream's configuration of the paper's network trains on."""

NO_FRAMES = "sequences without frames: neither a folder nor an archive"
OUTSIDE = "boxes left of or above the image, taken as not visible"

_IN_ZIP = r"(TRAIN_\d+)/frames/([^/]+)/([^/]+)"
_ALTERNATIVES = (
    Alternative(_IN_ZIP, r"\1/zips/\2.zip", r"\3"),
    Alternative(_IN_ZIP, r"\1/zips/\2.zip", r"\2/\3"),
)


def open_trackingnet(
    root: str | Path,
    set_ids: Sequence[int] = PAPER_SET_IDS,
    cache_dir: str | Path | None = None,
    show_progress: bool = True,
) -> IndexedSet:
    """The videos of the sets TRAIN_<id>, set by set, by name within a set.

    A frame is visible where its box has sides above 0 and at least a pixel of it lies right of the image's left edge
    and below its top edge. What lies beyond the other two edges cannot be told without the image's size: whoever
    reads the frame must expect a visible box that is outside.

    Args:
        set_ids: of 0 to 11.
        cache_dir: of the index; None: the user's cache directory.
        show_progress: of the first start, on a terminal.

    Raises:
        ValueError: set_ids.
        DataSetError: a set has no folder ``anno`` with annotations.
    """
    if not set_ids or any(i not in SET_IDS for i in set_ids) or len(set(set_ids)) < len(set_ids):
        raise ValueError(f"set_ids must be different numbers of 0 to {SET_IDS[-1]} (got {list(set_ids)})")
    root = Path(root)
    for i in set_ids:
        if not (root / f"TRAIN_{i}" / "anno").is_dir():
            found = ", ".join(sorted(p.name for p in root.glob("TRAIN_*"))) if root.is_dir() else "no folder at all"
            raise DataSetError(f"TrackingNet needs {root / f'TRAIN_{i}' / 'anno'} (found {found or 'no TRAIN_*'})")
    frames = {i: _with_frames(root / f"TRAIN_{i}") for i in set_ids}
    lines = list(stamp_files([root / f"TRAIN_{i}" / "anno" for i in set_ids], ".txt"))
    stamp = stamp_of([*lines, *(f"{i} {video}" for i in set_ids for video in sorted(frames[i]))])
    store = FileStore(root, _ALTERNATIVES)

    def build(builder: IndexBuilder) -> None:
        videos = [(i, video) for i in set_ids for video in _annotated(root / f"TRAIN_{i}")]
        for i, video in builder.progress(videos):
            if video in frames[i]:
                _add(builder, store, f"TRAIN_{i}", video)
            else:
                builder.leave_out(NO_FRAMES, f"TRAIN_{i}/anno/{video}.txt has neither frames/{video} nor a zip")

    key = IndexKey("trackingnet", root, {"set_ids": list(set_ids)}, stamp)
    index = open_index(key, build, cache_dir, show_progress)
    return IndexedSet("trackingnet", index, store, "%d.jpg")


def _annotated(folder: Path) -> list[str]:
    with os.scandir(folder / "anno") as entries:
        found = sorted(e.name.removesuffix(".txt") for e in entries if e.name.endswith(".txt") and e.name[0] != ".")
    if not found:
        raise DataSetError(f"TrackingNet needs <video>.txt files in {folder / 'anno'} (found none)")
    return found


def _with_frames(folder: Path) -> set[str]:
    videos: set[str] = set()
    for name, ending in (("frames", ""), ("zips", ".zip")):
        if (folder / name).is_dir():
            with os.scandir(folder / name) as entries:
                videos.update(e.name.removesuffix(ending) for e in entries if e.name.endswith(ending))
    return videos


def _add(builder: IndexBuilder, store: FileStore, folder: str, video: str) -> None:
    try:
        boxes = read_store_boxes(store, f"{folder}/anno/{video}.txt")
    except UNREADABLE_ERRORS as error:
        leave_unreadable(builder, error)
        return
    inside = np.array((boxes[:, :2] + boxes[:, 2:] >= 1).all(axis=1))
    outside = int((~inside & is_present(boxes)).sum())
    if outside:
        builder.leave_out(OUTSIDE, f"{folder}/anno/{video}.txt: {outside} boxes", outside)
    add_sequence(builder, video, f"{folder}/frames/{video}", boxes, inside)
