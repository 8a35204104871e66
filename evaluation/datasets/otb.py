r"""OTB-100.

``<root>/<Seq>/img/%04d.jpg`` and ``<root>/<Seq>/groundtruth_rect.txt``, "x,y,w,h" a line between commas, tabs or
blanks. 100 targets in 98 folders; Jogging and Skating2 hold two, ``groundtruth_rect.1.txt`` and ``.2.txt``. Folders
that differ in case, and those that hold one target each (``Jogging-1``), are accepted. Row k belongs to image
first + k - 1 of the table. Boxes are used as they are, never shifted by one.
(Wu et al., "Object Tracking Benchmark", PAMI 2015.)
"""

from __future__ import annotations

import re
from pathlib import Path

from ebm_tracker.annotations import Boxes
from ebm_tracker.evaluation.datasets.attributes import OTB_ORDER, read_flags, read_names
from ebm_tracker.evaluation.datasets.numbered import NumberedFrames
from ebm_tracker.evaluation.datasets.reading import Reading, by_lower_name, first_box
from ebm_tracker.evaluation.datasets.tables import TableRow, table_of
from ebm_tracker.evaluation.sequences import TrackingSequence

LAYOUT = "the folders Basketball, Biker, ..., each with img/0001.jpg and groundtruth_rect.txt"
ALL_TRUTH = "groundtruth_rect.txt"
# One list of pytracking's names KiteSurf's images jpg/%04d.png; the usual download has img/%04d.jpg.
_IMAGE_FOLDERS, _ENDINGS = ("img", "jpg"), ("jpg", "png")


def open_otb(reading: Reading) -> tuple[TrackingSequence, ...]:
    """The 100 targets, those that are there and whole."""
    folders = by_lower_name(reading.names(reading.root))
    opened = (_open(reading, folders, row) for row in table_of("otb"))
    return tuple(sequence for sequence in opened if sequence is not None)


def otb_aliases(name: str) -> tuple[str, ...]:
    """``Jogging_1`` -> the names that the got10k toolkit, pysot and VOT give it; other sequences have one name."""
    match = re.fullmatch(r"(\w+)_(\d)", name)
    if match is None:
        return ()
    stem, number = match.groups()
    same_folder = [row for row in table_of("otb") if row.folder == stem]
    return (*(f"{stem}{sign}{number}" for sign in (".", "-", "")), *((stem,) if len(same_folder) == 1 else ()))


def _open(reading: Reading, folders: dict[str, str], row: TableRow) -> TrackingSequence | None:
    names = (row.folder, row.name, *otb_aliases(row.name))
    folder = next((folders[n.lower()] for n in names if n.lower() in folders), None)
    if folder is None:
        reading.leave_out(row.name, f"0 of {row.count:,} images: there is no folder {reading.root / row.folder}")
        return None
    home = reading.root / folder
    images, pattern = _images(reading, home, row)
    first = row.first + row.omitted
    if not reading.has_images(row.name, images, pattern, first, row.count):
        return None
    truth = _truth(reading, home, row)
    if truth is None:
        return None
    return TrackingSequence(
        row.name,
        NumberedFrames(images, pattern, first, len(truth), row.name),
        first_box(truth),
        truth,
        attributes=_attributes(reading, home, row),
        aliases=otb_aliases(row.name),
    )


def _images(reading: Reading, home: Path, row: TableRow) -> tuple[Path, str]:
    usual = home / _IMAGE_FOLDERS[0], f"%0{row.digits}d.{_ENDINGS[0]}"
    for folder in (home / name for name in _IMAGE_FOLDERS):
        for pattern in (f"%0{row.digits}d.{ending}" for ending in _ENDINGS):
            if pattern % row.last in reading.names(folder):
                return folder, pattern
    return usual


def _truth(reading: Reading, home: Path, row: TableRow) -> Boxes | None:
    # A folder of one target's own, such as Jogging-1, holds the file under the plain name.
    own = row.truth not in reading.names(home) and home.name.lower() != row.folder.lower()
    path = home / (ALL_TRUTH if own else row.truth)
    boxes = reading.truth(row.name, path)
    if boxes is None:
        return None
    if row.omitted and len(boxes) not in (row.count, row.range_count):
        counts = f"{row.range_count:,} or, without the first {row.omitted}, {row.count:,}"
        reading.leave_out(row.name, f"{path} has {len(boxes):,} boxes instead of {counts}")
        return None
    if row.omitted and len(boxes) == row.range_count:
        return reading.usable(row.name, path, boxes[row.omitted :])
    return reading.fit(row.name, path, boxes, row.count, starts_at_one=row.first == 1)


def _attributes(reading: Reading, home: Path, row: TableRow) -> tuple[str, ...]:
    by_name = read_names(reading, row.name, home / "attrs.txt", OTB_ORDER)
    folder = reading.root / "anno" / "att"
    names = by_lower_name(reading.names(folder))
    wanted = (f"{n}.txt".lower() for n in (row.name, *otb_aliases(row.name), row.folder))
    flags = next((names[n] for n in wanted if n in names), None)
    return by_name or (read_flags(reading, row.name, folder / flags, OTB_ORDER) if flags else ())
