"""Ground-truth files of tracking benchmarks and training sets -> boxes."""

from __future__ import annotations

import re
import warnings
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ebm_tracker.errors import EbmError

Boxes = NDArray[np.float64]
"""(n, 4) x, y, w, h in pixels of the frame, in the file's own coordinates (never shifted by one)."""

TRUTH_FILE_NAMES = ("groundtruth.txt", "groundtruth_rect.txt")
_SEPARATOR = re.compile(r"[,;\s]+")


class AnnotationError(EbmError):
    """A ground-truth file cannot be read; the message names file and line."""


class AnnotationWarning(UserWarning):
    """A ground-truth file can be read but does not fit what it describes."""


def split_numbers(text: str) -> list[float]:
    """The numbers of one line, whatever stands between them: commas, semicolons, tabs, blanks, or several.

    Raises ValueError when something in between is not a number. ``nan`` is one.
    """
    return [float(field) for field in _SEPARATOR.split(text.strip().strip(",;")) if field]


def parse_boxes(text: str, source: str = "ground truth") -> Boxes:
    """One box for every line that is not blank.

    A line holds 4 numbers x, y, w, h, or 8 numbers x1, y1, ..., x4, y4: the corners of a polygon, which
    becomes the smallest axis-aligned box around it. A line with a NaN means that the target is absent: four
    NaN.

    Args:
        text: the file's text; a byte-order mark and any line ends are fine.
        source: how errors name the file.

    Returns:
        (n, 4) float64, n may be 0.

    Raises:
        AnnotationError: with file and line (counted from 1).
    """
    # Not splitlines(): it also breaks at form feeds and other signs that editors do not count as lines.
    lines = text.removeprefix("\ufeff").replace("\r\n", "\n").replace("\r", "\n").split("\n")
    plain = _parse_plain(lines)
    if plain is not None:
        return plain
    rows = []
    for number, line in enumerate(lines, start=1):
        if not _SEPARATOR.sub("", line):
            continue
        try:
            values = split_numbers(line)
        except ValueError:
            raise AnnotationError(f"{source}, line {number}: not only numbers (got {line.strip()[:80]!r})") from None
        if len(values) not in (4, 8):
            raise AnnotationError(
                f"{source}, line {number}: needs 4 numbers x,y,w,h or 8 of a polygon (got {len(values)})"
            )
        rows.append(_box_of(values))
    return np.array(rows, dtype=np.float64).reshape(-1, 4)


def _parse_plain(lines: list[str]) -> Boxes | None:
    """The boxes of lines "x,y,w,h", or with tabs for commas, which is what training sets and results have by the
    million; None for anything else, which the caller then reads line by line, more slowly, to the same boxes or to an
    error that names the line."""
    rows = [line.replace("\t", ",") for line in lines if line]
    if not rows:
        return np.empty((0, 4))
    try:
        boxes = np.loadtxt(rows, delimiter=",", comments=None, ndmin=2)
    except ValueError:
        return None
    if boxes.shape[1] != 4:
        return None
    boxes[np.isnan(boxes).any(axis=1)] = np.nan
    return boxes


def _box_of(values: list[float]) -> list[float]:
    if np.isnan(values).any():
        return [np.nan] * 4
    if len(values) == 4:
        return values
    x, y = values[0::2], values[1::2]
    return [min(x), min(y), max(x) - min(x), max(y) - min(y)]


def read_boxes(path: str | Path) -> Boxes:
    """The boxes of a file, as ``parse_boxes`` gives them. Also reads the boxes that ``results`` writes."""
    path = Path(path)
    try:
        text = path.read_bytes().decode("utf-8-sig")
    except OSError as error:
        raise AnnotationError(f"{path} cannot be read ({error.strerror})") from error
    except UnicodeDecodeError:
        raise AnnotationError(f"{path} is not a text file") from None
    return parse_boxes(text, str(path))


def find_truth_file(directory: str | Path) -> Path | None:
    """The ground-truth file of a sequence's folder, or None."""
    for name in TRUTH_FILE_NAMES:
        path = Path(directory) / name
        if path.is_file():
            return path
    return None


def is_present(boxes_xywh: Boxes) -> NDArray[np.bool_]:
    """(n,) True where the target is there: four finite numbers, width and height above 0."""
    finite = np.isfinite(boxes_xywh).all(axis=1)
    with np.errstate(invalid="ignore"):
        present: NDArray[np.bool_] = finite & (boxes_xywh[:, 2] > 0) & (boxes_xywh[:, 3] > 0)
    return present


def warn_if_lengths_differ(source: str | Path, boxes: int, frames: int) -> None:
    """Warns (AnnotationWarning) unless there is one box per frame.

    The rule is that box n belongs to frame n and what is left over on either side is not used. A single box
    is the first one of a sequence whose truth is kept secret (GOT-10k's and TrackingNet's test sets): no
    warning.
    """
    if boxes in (1, frames):
        return
    warnings.warn(
        f"{source} has {boxes} boxes for {frames} frames; the first {min(boxes, frames)} are compared",
        AnnotationWarning,
        stacklevel=2,
    )
