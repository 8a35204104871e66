"""A SequenceSet from an index and a store: what every reader of a public data set makes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ebm_tracker.annotations import AnnotationError, Boxes, is_present, parse_boxes, split_numbers
from ebm_tracker.frames import RgbFrame
from ebm_tracker.training.data.decode import decode_image
from ebm_tracker.training.data.index import IndexBuilder, SequenceIndex
from ebm_tracker.training.data.sequence import AnnotatedVideo, FrameReadError
from ebm_tracker.training.data.store import FileStore

UNREADABLE = "sequences whose annotations are missing or cannot be read"
EMPTY = "sequences without any annotated frame"
CUT = "sequences cut to the shortest of boxes and flags"


@dataclass(frozen=True)
class StoredFrames:
    """The frames of one video in a store: ``place``/``numbering`` % number, numbered from ``first``; or, with an
    empty ``numbering``, the one image ``place``."""

    store: FileStore
    place: str
    numbering: str
    first: int
    count: int

    def __len__(self) -> int:
        return self.count

    def path(self, index: int) -> str:
        """The frame's path, relative to the store's root."""
        if not 0 <= index < self.count:
            raise IndexError(f"frame must be 0 to {self.count - 1} (got {index})")
        return f"{self.place}/{self.numbering % (self.first + index)}" if self.numbering else self.place

    def read(self, index: int) -> RgbFrame:
        """(H, W, 3) uint8 RGB, as stored: no orientation tag is applied. Raises FrameReadError, naming the file."""
        path = self.path(index)
        return decode_image(self.store.read_bytes(path), path)


class IndexedSet:
    """A data set by its index. Cheap to make, to pickle and to fork; nothing is opened before a frame is read.

    Attributes:
        name, is_video: see SequenceSet.
        index, store: where everything comes from.
    """

    def __init__(
        self,
        name: str,
        index: SequenceIndex,
        store: FileStore,
        numbering: str,
        first: int = 0,
        is_video: bool = True,
    ) -> None:
        self.name = name
        self.index = index
        self.store = store
        self.is_video = is_video
        self._numbering = numbering
        self._first = first

    @property
    def left_out(self) -> Mapping[str, int]:
        """What loading dropped, reason -> count."""
        return self.index.left_out

    @property
    def notes(self) -> tuple[str, ...]:
        """Which sequences ``left_out`` counts, a line each, 200 at most."""
        return self.index.notes

    def __len__(self) -> int:
        return len(self.index)

    def __getitem__(self, index: int) -> AnnotatedVideo:
        index = range(len(self))[index]
        rows = self.index.frames(index)
        count = rows.stop - rows.start
        frames = StoredFrames(self.store, self.index.place(index), self._numbering, self._first, count)
        # Plain arrays: what is a memory map would be pickled whole, and says so in its type.
        boxes, visible = np.asarray(self.index.boxes_xywh[rows]), np.asarray(self.index.visible[rows])
        return AnnotatedVideo(self.index.name(index), frames, boxes, visible)

    def visible_counts(self) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Frames and visible frames of every sequence, without opening any: (S,), (S,)."""
        return np.diff(self.index.starts), np.asarray(self.index.visible_counts)


def read_store_boxes(store: FileStore, path: str) -> Boxes:
    """(n, 4) float64. Raises FrameReadError or AnnotationError, naming the file."""
    return parse_boxes(store.read_text(path), path)


def read_store_numbers(store: FileStore, path: str) -> NDArray[np.float64]:
    """(n,) all numbers of a file, in one line or many. Raises FrameReadError or AnnotationError, naming the file."""
    try:
        return np.array(split_numbers(store.read_text(path)), dtype=np.float64)
    except ValueError as error:
        raise AnnotationError(f"{path} holds more than numbers ({error})") from None


def add_sequence(builder: IndexBuilder, name: str, place: str, boxes_xywh: Boxes, *usable: NDArray[np.bool_]) -> None:
    """Puts a sequence into the index: visible is where the box is finite with sides above 0 and all ``usable`` hold.

    Lengths that differ are cut to the shortest and counted; what has no row is left out and counted.
    """
    lengths = [len(boxes_xywh), *(len(flags) for flags in usable)]
    count = min(lengths)
    if count == 0:
        builder.leave_out(EMPTY, f"{place}: no annotated frame")
        return
    if count < max(lengths):
        builder.leave_out(CUT, f"{place}: {' and '.join(map(str, lengths))} rows, the first {count} are used")
    with np.errstate(over="ignore"):
        boxes = boxes_xywh[:count].astype(np.float32)
    visible = is_present(boxes.astype(np.float64))  # as they will be used: what is 0 or infinite in float32 is that
    for flags in usable:
        visible &= flags[:count]
    builder.add(name, place, boxes, visible)


UNREADABLE_ERRORS: tuple[type[Exception], ...] = (FrameReadError, AnnotationError)


def leave_unreadable(builder: IndexBuilder, error: Any) -> None:
    builder.leave_out(UNREADABLE, str(error))
