"""Data sets that are made in memory or written as JPEG files by the tests."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError

from ebm_tracker.training.data.sequence import AnnotatedVideo, FrameReadError


@dataclass
class ArrayFrames:
    """Frames that lie in memory; ``reads`` notes which were asked for."""

    images: Sequence[NDArray[np.uint8]]
    reads: list[int] = field(default_factory=list)

    def __len__(self) -> int:
        return len(self.images)

    def read(self, index: int) -> NDArray[np.uint8]:
        self.reads.append(index)
        return self.images[index]


@dataclass
class FileFrames:
    """Frames in files; a damaged one is a FrameReadError, a missing one stays an OSError."""

    paths: Sequence[Path]

    def __len__(self) -> int:
        return len(self.paths)

    def read(self, index: int) -> NDArray[np.uint8]:
        try:
            with Image.open(self.paths[index]) as image:
                return np.asarray(image.convert("RGB"))
        except UnidentifiedImageError as error:
            raise FrameReadError(f"{self.paths[index]}: damaged") from error


@dataclass
class MadeSet:
    """A SequenceSet of ready videos."""

    name: str
    videos: Sequence[AnnotatedVideo]
    is_video: bool = True
    left_out: Mapping[str, int] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.videos)

    def __getitem__(self, index: int) -> AnnotatedVideo:
        return self.videos[index]

    def visible_counts(self) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        frames = np.array([len(v.visible) for v in self.videos], np.int64)
        return frames, np.array([v.visible.sum() for v in self.videos], np.int64)


def made_video(name: str, visible: Sequence[bool] | NDArray[np.bool_]) -> AnnotatedVideo:
    """A video of one gray frame, again and again."""
    image = np.full((8, 8, 3), 100, np.uint8)
    boxes = np.tile(np.array([2, 2, 4, 4], np.float32), (len(visible), 1))
    return AnnotatedVideo(name, ArrayFrames([image] * len(visible)), boxes, np.array(visible, bool))


@pytest.fixture
def make_set() -> type[MadeSet]:
    """``make_set(name, videos, is_video=True)``."""
    return MadeSet


@pytest.fixture
def make_video() -> Callable[[str, Sequence[bool]], AnnotatedVideo]:
    """``make_video(name, visible)``: all frames alike."""
    return made_video


@pytest.fixture
def array_frames() -> type[ArrayFrames]:
    return ArrayFrames


@pytest.fixture
def file_frames() -> type[FileFrames]:
    return FileFrames
