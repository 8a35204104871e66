"""What a training set is: a list of videos, each with one box and one visibility flag per frame."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from ebm_tracker.errors import EbmError


class FrameReadError(EbmError):
    """One frame of a training set is missing or damaged. Training skips it and counts it."""


class DataSetError(EbmError):
    """A training set is not where it was looked for, or not laid out as its publisher does it."""


class Frames(Protocol):
    """The frames of one video, by number from 0."""

    def __len__(self) -> int: ...

    def read(self, index: int) -> NDArray[np.uint8]:
        """(H, W, 3) uint8 RGB. Raises FrameReadError, naming the file."""
        ...


@dataclass(frozen=True)
class AnnotatedVideo:
    """``boxes_xywh`` (T, 4) float32: pixels of the frame, as in the annotation file (never shifted by one).
    ``visible`` (T,) bool: the target may be used for training; then its box is finite, with sides above 0.
    """

    name: str
    frames: Frames
    boxes_xywh: NDArray[np.float32]
    visible: NDArray[np.bool_]


class SequenceSet(Protocol):
    """A data set. ``is_video``: False for single images (COCO), whose pairs show one frame twice. ``left_out``:
    what loading dropped, reason -> count."""

    name: str
    is_video: bool
    left_out: Mapping[str, int]

    def __len__(self) -> int: ...

    def __getitem__(self, index: int) -> AnnotatedVideo: ...

    def visible_counts(self) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Frames and visible frames of every sequence, without opening any: (S,), (S,)."""
        ...
