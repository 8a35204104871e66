"""What the readers of all benchmarks share: listings, ground truth, and the sentences about what is wrong."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable
from functools import cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ebm_tracker.annotations import AnnotationError, Boxes, is_present, read_boxes, split_numbers
from ebm_tracker.evaluation.datasets.benchmark import BenchmarkError
from ebm_tracker.evaluation.sequences import BoxXYWH
from ebm_tracker.video import IMAGE_ENDINGS, natural_key

Flags = NDArray[np.float64]
"""(n,) one number per frame."""
MISSING_SHOWN = 3


class Reading:
    """One opening of a benchmark. Every folder is listed once; no image is opened.

    ``problems``: what is left out, ``notes``: what is odd about what is used; one sentence each, the sequence named
    first.

    Raises BenchmarkError when ``root`` is no folder.
    """

    def __init__(self, root: Path, title: str) -> None:
        if not root.is_dir():
            raise BenchmarkError(f"there is no folder of {title} {root.absolute()}")
        self.root, self.title = root, title
        self.problems: list[str] = []
        self.notes: list[str] = []
        self._names: dict[Path, frozenset[str]] = {}

    def names(self, folder: Path) -> frozenset[str]:
        """What the folder holds; nothing when it is not there. Names with a leading dot are left out: they are the
        left-overs of archives ("._0001.jpg") and of writers."""
        if folder not in self._names:
            try:
                with os.scandir(folder) as entries:
                    self._names[folder] = frozenset(e.name for e in entries if e.name[0] != ".")
            except (FileNotFoundError, NotADirectoryError):
                self._names[folder] = frozenset()
            except OSError as error:
                self._names[folder] = frozenset()
                self.problems.append(f"{folder} cannot be listed ({error.strerror})")
        return self._names[folder]

    def images(self, folder: Path) -> list[str]:
        """The images of the folder in the order of their numbers."""
        return sorted((n for n in self.names(folder) if _is_image(n)), key=natural_key)

    def listed(self, path: Path) -> list[str] | None:
        """The names in a file with one a line; None when there is no such file, or, with a sentence, when it cannot
        be read. What is no plain name of a folder is left out with a sentence: result files are named after it."""
        if path.name not in self.names(path.parent):
            return None
        try:
            lines = path.read_text(encoding="utf-8-sig").splitlines()
        except (OSError, UnicodeDecodeError):
            self.note(f"{path} cannot be read; the folders beside it are used")
            return None
        names = [line.strip() for line in lines if line.strip() and not line.startswith("#")]
        for name in names:
            if not _is_plain(name):
                self.problems.append(f"{path} must hold plain names of folders (got {name!r})")
        return [name for name in dict.fromkeys(names) if _is_plain(name)]

    def leave_out(self, name: str, why: str) -> None:
        """Notes why the sequence is not used."""
        self.problems.append(f"{name}: {why}")

    def note(self, text: str) -> None:
        """Notes something that does not keep the sequence from being used."""
        self.notes.append(text)

    def truth(self, name: str, path: Path) -> Boxes | None:
        """The boxes of a file; None, with a sentence, when it is missing, unreadable, or has no row, or no box
        for the first frame."""
        try:
            boxes = read_boxes(path)
        except AnnotationError as error:
            self.leave_out(name, str(error))
            return None
        return self.usable(name, path, boxes)

    def usable(self, name: str, path: Path, boxes: Boxes) -> Boxes | None:
        """The boxes; None, with a sentence, when there is no row, or no box for the first frame."""
        if not len(boxes):
            self.leave_out(name, f"{path} holds no boxes")
            return None
        if not is_present(boxes[:1])[0]:
            self.leave_out(name, f"{path} has no box for the first frame, so that no tracker can start")
            return None
        return boxes

    def flags(self, name: str, path: Path, count: int) -> Flags | None:
        """One number per frame, on one line or on many; None, with a sentence, when it is not ``count`` of them."""
        try:
            values = np.array(split_numbers(path.read_text(encoding="utf-8-sig")), dtype=np.float64)
        except (OSError, ValueError) as error:
            reason = error.strerror if isinstance(error, OSError) else "not only numbers"
            self.leave_out(name, f"{path} cannot be read ({reason})")
            return None
        if len(values) != count:
            self.leave_out(name, f"{path} has {len(values):,} flags for {count:,} boxes")
            return None
        return values

    def fit(self, name: str, source: Path, boxes: Boxes, frames: int, starts_at_one: bool = True) -> Boxes | None:
        """The boxes that have a frame: the rule for a file that is too short or too long is that row n belongs to
        frame n and the rest, on either side, is not used. Always said in a sentence, never with a shift.

        None, with a sentence, where that rule would be a guess: a single row of many, or more rows than frames for
        a sequence that begins in the middle of its video, whose file may begin anywhere.
        """
        if len(boxes) == frames:
            return boxes
        counts = f"{source} has {len(boxes):,} {'box' if len(boxes) == 1 else 'boxes'} for {frames:,} frames"
        if len(boxes) == 1 or not frames or (len(boxes) > frames and not starts_at_one):
            self.leave_out(name, counts)
            return None
        used = min(len(boxes), frames)
        self.note(f"{name}: {counts}; the first {used:,} of both are used")
        return boxes[:used]

    def has_images(self, name: str, folder: Path, pattern: str, first: int, count: int) -> bool:
        """Whether all are there; if not, a sentence says how many are."""
        there = self.names(folder)
        if not there:
            self.leave_out(name, f"0 of {count:,} images: there is no folder {folder}, or nothing in it")
            return False
        missing = [n for n in (pattern % i for i in range(first, first + count)) if n not in there]
        if missing:
            self.leave_out(name, f"{count - len(missing):,} of {count:,} images in {folder} ({_some(missing)} missing)")
        return not missing

    def count_images(self, name: str, folder: Path, pattern: str, first: int) -> int | None:
        """How many images the folder holds, for sets without a table of lengths; None, with a sentence, when it is
        not there or their numbers have a hole."""
        count = sum(1 for n in self.names(folder) if re.fullmatch(_numbers_like(pattern), n))
        if not count:
            self.leave_out(name, f"0 images: there is no folder {folder}, or no {pattern % first} in it")
            return None
        return count if self.has_images(name, folder, pattern, first, count) else None

    def refuse_empty(self, found: int, layout: str) -> None:
        """Raises BenchmarkError, which says what the folder should hold, when no sequence was found."""
        if not found:
            reason = f"; {self.problems[0]}" if self.problems else ""
            raise BenchmarkError(f"{self.root.absolute()} holds no sequence of {self.title}: it needs {layout}{reason}")


def _is_image(name: str) -> bool:
    return os.path.splitext(name)[1].lower() in IMAGE_ENDINGS


@cache
def _numbers_like(pattern: str) -> str:
    """``%06d.jpg`` -> a regular expression of the names that it gives."""
    digits, ending = pattern.removeprefix("%").split("d", 1)
    return (rf"\d{{{int(digits)}}}" if digits else r"\d+") + re.escape(ending)


def _is_plain(name: str) -> bool:
    return name[0] != "." and not set(name) & set("/\\:")


def _some(names: list[str]) -> str:
    more = f" and {len(names) - MISSING_SHOWN:,} more" if len(names) > MISSING_SHOWN else ""
    return f"{', '.join(names[:MISSING_SHOWN])}{more}"


def first_box(boxes_xywh: Boxes) -> BoxXYWH:
    """The first row as a tuple."""
    x, y, w, h = boxes_xywh[0].tolist()
    return x, y, w, h


def by_lower_name(names: Iterable[str]) -> dict[str, str]:
    """Lower-case name -> name, for trees whose folders differ in case between downloads."""
    return {name.lower(): name for name in sorted(names)}
