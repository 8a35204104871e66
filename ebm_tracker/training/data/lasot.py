r"""LaSOT.

``<root>/<class>/<class>-<n>/`` (some downloads drop the class level) with ``img/%08d.jpg`` from 1,
``groundtruth.txt`` with a line "x,y,w,h" of integers per frame, and ``full_occlusion.txt`` and ``out_of_view.txt``,
each one line of 0 and 1. Or ``<root>/<class>.zip`` with the same inside, as it was downloaded.
(Fan et al., "LaSOT: A High-quality Benchmark for Large-scale Single Object Tracking", CVPR 2019.)
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable
from pathlib import Path

from ebm_tracker.splits import lasot_test_names, lasot_train_names
from ebm_tracker.training.data.archive import member_names
from ebm_tracker.training.data.index import IndexBuilder
from ebm_tracker.training.data.index_cache import IndexKey, open_index, stamp_of, stamp_paths
from ebm_tracker.training.data.indexed_set import (
    UNREADABLE_ERRORS,
    IndexedSet,
    add_sequence,
    leave_unreadable,
    read_store_boxes,
    read_store_numbers,
)
from ebm_tracker.training.data.sequence import DataSetError, FrameReadError
from ebm_tracker.training.data.store import Alternative, FileStore
from ebm_tracker.video import natural_key

SPLITS = ("train", "test", "all")
MISSING = "sequences of the split that are not there"
BAD_ARCHIVES = "archives that cannot be read"
FILES = ("groundtruth.txt", "full_occlusion.txt", "out_of_view.txt")

_NAME = re.compile(r"([^/]+)-\d+")
_PLACE = r"([^/]+)/(\1-\d+)/(.+)"
_ALTERNATIVES = (
    Alternative(_PLACE, r"\2/\3"),
    Alternative(_PLACE, r"\1.zip", r"\1/\2/\3"),
    Alternative(_PLACE, r"\1.zip", r"\2/\3"),
)


def open_lasot(
    root: str | Path, split: str = "train", cache_dir: str | Path | None = None, show_progress: bool = True
) -> IndexedSet:
    """LaSOT's videos in natural order.

    A frame is visible where the target is neither fully occluded nor out of view and its box has sides above 0.

    Args:
        split: "train": what is there without the 280 test videos; "test": only those; "all".
        cache_dir: of the index; None: the user's cache directory.
        show_progress: of the first start, on a terminal.

    Raises:
        ValueError: split.
        DataSetError: no video of the split in ``root``.
    """
    if split not in SPLITS:
        raise ValueError(f"split must be one of {', '.join(SPLITS)} (got {split!r})")
    root = Path(root)
    if not root.is_dir():
        raise DataSetError(f"there is no LaSOT folder {root}")
    unpacked = _unpacked(root)
    archives = sorted(p for p in root.glob("*.zip") if p.name[0] != ".")
    files = [root / folder / file for folder in unpacked.values() for file in FILES]
    stamp = stamp_of(stamp_paths([*files, *archives]))
    store = FileStore(root, _ALTERNATIVES)

    def build(builder: IndexBuilder) -> None:
        names = _chosen({*unpacked, *_packed(builder, archives)}, split)
        if not names:
            raise DataSetError(
                f"LaSOT's {split} split needs <class>/<class>-<n>, <class>-<n> or <class>.zip in {root}"
                f" (found none among {len(unpacked)} videos and {len(archives)} archives)"
            )
        for name in sorted(_official(split) - set(names), key=natural_key):
            builder.leave_out(MISSING, f"{name} is not in {root}")
        for name in builder.progress(names):
            _add(builder, store, name)

    index = open_index(IndexKey("lasot", root, {"split": split}, stamp), build, cache_dir, show_progress)
    return IndexedSet("lasot", index, store, "%08d.jpg", first=1)


def _unpacked(root: Path) -> dict[str, str]:
    """Video -> its folder below the root, for both layouts."""
    found: dict[str, str] = {}
    for name in _folders(root):
        if _NAME.fullmatch(name):
            found[name] = name
        else:
            found.update({video: f"{name}/{video}" for video in _folders(root / name) if _class_of(video) == name})
    return found


def _folders(folder: Path) -> list[str]:
    with os.scandir(folder) as entries:
        return sorted(entry.name for entry in entries if entry.is_dir())


def _class_of(video: str) -> str | None:
    match = _NAME.fullmatch(video)
    return match[1] if match else None


def _packed(builder: IndexBuilder, archives: Iterable[Path]) -> set[str]:
    videos: set[str] = set()
    for archive in archives:
        try:
            names = member_names(archive)
        except FrameReadError as error:
            builder.leave_out(BAD_ARCHIVES, str(error))
            continue
        folders = {name.split("/")[-2] for name in names if name.endswith("/groundtruth.txt")}
        videos.update(video for video in folders if _class_of(video) == archive.stem)
    return videos


def _chosen(videos: set[str], split: str) -> list[str]:
    test = set(lasot_test_names())
    wanted = {"train": videos - test, "test": videos & test, "all": videos}[split]
    return sorted(wanted, key=natural_key)


def _official(split: str) -> set[str]:
    return set(_chosen({*lasot_test_names(), *lasot_train_names()}, split))


def _add(builder: IndexBuilder, store: FileStore, video: str) -> None:
    place = f"{_class_of(video)}/{video}"
    try:
        boxes = read_store_boxes(store, f"{place}/groundtruth.txt")
        flags = [read_store_numbers(store, f"{place}/{file}") for file in FILES[1:]]
    except UNREADABLE_ERRORS as error:
        leave_unreadable(builder, error)
        return
    add_sequence(builder, video, f"{place}/img", boxes, *(absent == 0 for absent in flags))
