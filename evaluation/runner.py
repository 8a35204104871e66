"""The loop: a tracker over a sequence, step by step."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Protocol

from ebm_tracker.errors import EbmError, VideoError
from ebm_tracker.evaluation.sequences import BoxXYWH, TrackingSequence
from ebm_tracker.frames import RgbFrame


class TrackerOutputError(EbmError):
    """A tracker's answer is not what the loop needs."""


class TrackerOutput(Protocol):
    """A tracker's answer for one frame."""

    @property
    def box_xywh(self) -> BoxXYWH:
        """Pixels of the frame, top-left and size."""

    @property
    def score(self) -> float:
        """In 0..1."""

    @property
    def status(self) -> Any:
        """Name of the status, or an enum whose value is the name: tracked, uncertain, lost."""


class Tracker(Protocol):
    """What the loop needs of a tracker. ``track(None)`` is asked for a frame that could not be decoded."""

    def initialize(self, frame: Any, box_xywh: BoxXYWH, color: str = "rgb") -> None:
        """Takes the first frame and the target's box in it."""

    def track(self, frame: Any, color: str = "rgb") -> TrackerOutput:
        """Finds the target in the next frame."""


@dataclass(frozen=True)
class Step:
    """One frame and what the tracker said about it.

    Attributes:
        index: number of the frame, from 0.
        frame: (H, W, 3) uint8 RGB, or None when it could not be decoded.
        box_xywh: pixels; for frame 0 the given box.
        score: in 0..1; 1 for frame 0.
        status: "tracked", "uncertain" or "lost"; "tracked" for frame 0.
        seconds: time that the tracker took; for frame 0 the initialisation. Reading the frame is not counted.
    """

    index: int
    frame: RgbFrame | None
    box_xywh: BoxXYWH
    score: float
    status: str
    seconds: float


def track_sequence(tracker: Tracker, sequence: TrackingSequence) -> Iterator[Step]:
    """Initialises on the first frame and tracks on the others, one step at a time.

    Nothing is kept between steps, so that the caller decides what stays, and has it when an exception or
    Ctrl-C ends the loop.

    Raises VideoError when there is no first frame, TrackerOutputError for an answer without box, score or status, and
    what the tracker raises.
    """
    frames = enumerate(sequence.frames)
    _, first = next(frames, (0, None))
    if first is None:
        raise VideoError(f"the first frame of {sequence.name} cannot be decoded")
    start = time.perf_counter()
    tracker.initialize(first, sequence.init_box_xywh)
    seconds = time.perf_counter() - start
    yield Step(0, first, sequence.init_box_xywh, 1.0, "tracked", seconds)
    for index, frame in frames:
        start = time.perf_counter()
        out = tracker.track(frame)
        seconds = time.perf_counter() - start
        yield _step(index, frame, out, seconds)


def _step(index: int, frame: RgbFrame | None, out: TrackerOutput, seconds: float) -> Step:
    try:
        x, y, w, h = (float(value) for value in out.box_xywh)
        return Step(index, frame, (x, y, w, h), float(out.score), status_name(out.status), seconds)
    except (AttributeError, TypeError, ValueError) as error:
        raise TrackerOutputError(
            f"the tracker must answer with a box_xywh of four numbers, a score and a status (got {out!r} for frame "
            f"{index})"
        ) from error


def status_name(status: Any) -> str:
    """The name of a status that comes as an enum or as a string."""
    return str(getattr(status, "value", status))
