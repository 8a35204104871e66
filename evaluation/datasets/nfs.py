r"""NFS (Need for Speed), the version of 30 frames a second.

Either as pytracking repacks it, ``<root>/sequences/<name>/%05d.jpg`` from 1 and ``<root>/anno/nfs_<name>.txt`` with
"x,y,w,h" a line; or the original download, ``<root>/<name>/30/<name>/%05d.jpg`` and ``<root>/<name>/30/<name>.txt``,
whose lines "id x1 y1 x2 y2 frame ..." are those of the 240 frames a second, so that every 8th counts.
(Galoogahi et al., "Need for Speed: A Benchmark for Higher Frame Rate Object Tracking", ICCV 2017.)
"""

from __future__ import annotations

from pathlib import Path

from ebm_tracker.annotations import AnnotationError, Boxes, parse_boxes
from ebm_tracker.evaluation.datasets.numbered import NumberedFrames
from ebm_tracker.evaluation.datasets.reading import Reading, first_box
from ebm_tracker.evaluation.datasets.tables import TableRow, table_of
from ebm_tracker.evaluation.sequences import TrackingSequence

LAYOUT = "sequences/Gymnastics/00001.jpg and anno/nfs_Gymnastics.txt, or Gymnastics/30/Gymnastics/00001.jpg"
PREFIX = "nfs_"
FRAMES_PER_SECOND = 30.0
THINNING = 8  # 240 / 30
# Both layouts come with lengths that differ by one from the table here and there, which is known and harmless: it
# concerns the last frame.
KNOWN_SLACK = 1


def open_nfs(reading: Reading) -> tuple[TrackingSequence, ...]:
    """The 100 sequences, those that are there and whole.

    Lengths may differ by one from the table; the shorter of images and boxes counts then.
    """
    opened = (_open(reading, row) for row in table_of("nfs"))
    return tuple(sequence for sequence in opened if sequence is not None)


def _open(reading: Reading, row: TableRow) -> TrackingSequence | None:
    pattern = f"%0{row.digits}d.jpg"
    repacked = reading.root / "sequences" / row.folder
    original = reading.root / row.folder / "30"
    is_original = not reading.names(repacked) and bool(reading.names(original))
    images = original / row.folder if is_original else repacked
    there = len([n for n in reading.names(images) if n.endswith(".jpg")])
    count = min(row.count, max(there, row.count - KNOWN_SLACK))
    if not reading.has_images(row.name, images, pattern, row.first, count):
        return None
    if is_original:
        truth = _original_truth(reading, row, original / f"{row.folder}.txt", count)
    else:
        truth = _fit(reading, row, reading.root / "anno" / row.truth, count)
    if truth is None:
        return None
    return TrackingSequence(
        row.name,
        NumberedFrames(images, pattern, row.first, len(truth), row.name, FRAMES_PER_SECOND),
        first_box(truth),
        truth,
        aliases=(row.name.removeprefix(PREFIX),),
    )


def _fit(reading: Reading, row: TableRow, path: Path, count: int) -> Boxes | None:
    boxes = reading.truth(row.name, path)
    return None if boxes is None else _settle(reading, row, path, boxes, count)


def _settle(reading: Reading, row: TableRow, path: Path, boxes: Boxes, count: int) -> Boxes | None:
    if abs(len(boxes) - count) <= KNOWN_SLACK:
        return boxes[:count]
    return reading.fit(row.name, path, boxes, count)


def _original_truth(reading: Reading, row: TableRow, path: Path, count: int) -> Boxes | None:
    try:
        corners = read_corners(path)
    except AnnotationError as error:
        reading.leave_out(row.name, str(error))
        return None
    thinned = corners[::THINNING]
    if abs(len(corners) - count) <= KNOWN_SLACK:  # somebody has thinned it already
        thinned = corners
    elif abs(len(thinned) - count) > KNOWN_SLACK:
        reading.leave_out(
            row.name, f"{path} has {len(corners):,} boxes, of which every {THINNING}th makes {len(thinned):,}, for"
            f" {count:,} images"
        )
        return None
    boxes = reading.usable(row.name, path, thinned)
    return None if boxes is None else boxes[:count]


def read_corners(path: Path) -> Boxes:
    """The boxes of a file of the original download: (n, 4) x, y, w, h, w = x2 - x1.

    Raises AnnotationError, with file and line.
    """
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except OSError as error:
        raise AnnotationError(f"{path} cannot be read ({error.strerror})") from error
    except UnicodeDecodeError:
        raise AnnotationError(f"{path} is not a text file") from None
    boxes = parse_boxes("\n".join(" ".join(line.split()[1:5]) for line in lines), str(path))
    boxes[:, 2:] -= boxes[:, :2]
    return boxes
