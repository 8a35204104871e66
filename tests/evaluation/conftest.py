"""A stand-in tracker and streams for tests of the pipeline, which needs no network."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from enum import Enum

import numpy as np
import pytest

from ebm_tracker.evaluation.sequences import TrackingSequence

BoxXYWH = tuple[float, float, float, float]


class Status(Enum):
    TRACKED = "tracked"
    LOST = "lost"


@dataclass(frozen=True)
class Output:
    box_xywh: BoxXYWH
    score: float
    status: Status


class StandInTracker:
    """Moves its box by (2, 1) a frame; halves the score each frame; lost where there is no frame."""

    def initialize(self, frame: np.ndarray, box_xywh: BoxXYWH, color: str = "rgb") -> None:
        self.box, self.score = box_xywh, 1.0

    def track(self, frame: np.ndarray | None, color: str = "rgb") -> Output:
        if frame is None:
            return Output(self.box, 0.0, Status.LOST)
        x, y, w, h = self.box
        self.box, self.score = (x + 2, y + 1, w, h), self.score / 2
        return Output(self.box, self.score, Status.TRACKED)


@dataclass
class Frames:
    """A frame source from a list; an exception in the list is raised when its turn comes."""

    items: list[np.ndarray | None | BaseException]
    name: str = "made"
    frames_per_second: float = 25.0
    frame_count: int | None = None
    bad_frames: int = field(default=0, init=False)

    def __iter__(self) -> Iterator[np.ndarray | None]:
        self.bad_frames = 0
        for item in self.items:
            if isinstance(item, BaseException):
                raise item
            self.bad_frames += item is None
            yield item


@pytest.fixture
def stand_in() -> StandInTracker:
    return StandInTracker()


@pytest.fixture
def picture() -> np.ndarray:
    frame = np.full((60, 80, 3), 90, np.uint8)
    frame[20:40, 10:30] = (200, 120, 60)
    return frame


@pytest.fixture
def make_sequence() -> Callable[..., TrackingSequence]:
    def make(
        items: list[np.ndarray | None | BaseException], truth: np.ndarray | None = None
    ) -> TrackingSequence:
        return TrackingSequence("made", Frames(items), (10.0, 20.0, 20.0, 20.0), truth)

    return make
