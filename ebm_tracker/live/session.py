"""The engine behind the viewers: objects added, followed and removed while frames come. It draws nothing."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any, Protocol

from ebm_tracker.frames import RgbFrame
from ebm_tracker.live.reader import Grabbed
from ebm_tracker.tracking import TrackOutput
from ebm_tracker.tracking.state import Status

BoxXYWH = tuple[float, float, float, float]
ObjectId = int | str
SMALLEST_SIDE = 4.0
"""Shortest side in pixels of a box drawn by hand: below, it was a click or a slip."""
_PACE_FRAMES = 30  # the frame rate shown is the mean over so many


class ObjectsTracker(Protocol):
    """What is used of ``ebm_tracker.tracking.MultiTracker``."""

    @property
    def ids(self) -> tuple[ObjectId, ...]: ...

    def initialize(self, frame: Any, boxes: Mapping[ObjectId, BoxXYWH], color: str = "rgb") -> None: ...

    def add(self, frame: Any, object_id: ObjectId, box_xywh: BoxXYWH, color: str = "rgb") -> None: ...

    def remove(self, object_id: ObjectId) -> None: ...

    def track(self, frame: Any, color: str = "rgb") -> dict[ObjectId, TrackOutput]: ...


@dataclass(frozen=True)
class LiveFrame:
    """One frame after the tracker.

    ``frame``: (H, W, 3) uint8 RGB, the last good one where ``index`` could not be decoded (``is_bad``). ``outputs``: by
    object. ``step_s``: what the tracker took; ``latency_s``: from arrival to result. ``frames_per_second``: of the last
    30 frames; ``dropped``: frames of the source that were never read.
    """

    frame: RgbFrame
    is_bad: bool
    index: int
    outputs: Mapping[ObjectId, TrackOutput]
    arrived: float
    step_s: float
    latency_s: float
    frames_per_second: float
    dropped: int


class LiveSession:
    """``tracker``: follows the objects; ``density``: (tracker, frame, id) -> the frame with the density over it."""

    def __init__(
        self,
        tracker: ObjectsTracker,
        density: Callable[[ObjectsTracker, RgbFrame, ObjectId], RgbFrame] | None = None,
    ) -> None:
        self.tracker = tracker
        self.current: LiveFrame | None = None
        """The last frame; None before the first."""
        self.watch: Callable[[LiveFrame], None] | None = None
        """Gets every good frame after its step."""
        self._density = density
        self._next_id = 1
        self._ends: deque[float] = deque(maxlen=_PACE_FRAMES + 1)

    @property
    def ids(self) -> tuple[ObjectId, ...]:
        return tuple(self.tracker.ids)

    def step(self, grabbed: Grabbed, dropped: int = 0) -> LiveFrame | None:
        """Follows all objects into the frame. None while no frame at all could be decoded."""
        if grabbed.frame is None and self.current is None:
            return None
        start = time.monotonic()
        outputs = dict(self.tracker.track(grabbed.frame)) if self.ids else {}
        end = time.monotonic()
        self._ends.append(end)
        frame = grabbed.frame
        if frame is None:
            assert self.current is not None
            frame = self.current.frame
        self.current = LiveFrame(
            frame, grabbed.frame is None, grabbed.index, outputs, grabbed.time, end - start, end - grabbed.time,
            self._pace(), dropped,
        )
        if self.watch is not None and not self.current.is_bad:
            self.watch(self.current)
        return self.current

    def add(self, box_xywh: BoxXYWH, object_id: ObjectId | None = None) -> ObjectId:
        """Follows a further object from the current frame on; returns its id, by default the next free number.

        Raises ValueError for a box that cannot be used or an id that is taken, RuntimeError before the first frame.
        """
        current = self.current
        if current is None:
            raise RuntimeError("an object can be added when there is a frame")
        if object_id is None:
            while self._next_id in self.ids:
                self._next_id += 1
            object_id = self._next_id
        elif object_id in self.ids:
            raise ValueError(f"there is an object {object_id!r} already")
        if self.ids:
            self.tracker.add(current.frame, object_id, box_xywh)
        else:
            self.tracker.initialize(current.frame, {object_id: box_xywh})
        if object_id == self._next_id:
            self._next_id += 1  # a number is not used again: its colour and its rows stay its own
        x, y, w, h = (float(value) for value in box_xywh)
        self._show({**current.outputs, object_id: TrackOutput((x, y, w, h), 1.0, Status.TRACKED)})
        return object_id

    def remove(self, object_id: ObjectId) -> None:
        """Forgets an object. Raises ValueError when there is none of that id."""
        if object_id not in self.ids:
            raise ValueError(f"there is no object {object_id!r}")
        self.tracker.remove(object_id)
        if self.current is not None:
            self._show({key: output for key, output in self.current.outputs.items() if key != object_id})

    def reset(self) -> None:
        """Forgets all objects."""
        for object_id in self.ids:
            self.remove(object_id)

    def object_at(self, point_xy: tuple[float, float]) -> ObjectId | None:
        """The object whose box holds the point, the smallest of several; None where there is none."""
        x, y = point_xy
        found = [
            (output.box_xywh[2] * output.box_xywh[3], key)
            for key, output in (self.current.outputs if self.current else {}).items()
            if 0 <= x - output.box_xywh[0] <= output.box_xywh[2] and 0 <= y - output.box_xywh[1] <= output.box_xywh[3]
        ]
        return min(found, key=lambda pair: pair[0])[1] if found else None

    def density(self, object_id: ObjectId) -> RgbFrame:
        """The current frame with p(y|x) of the object's top-right corner over it. Raises ValueError without one."""
        if self.current is None or self._density is None or object_id not in self.ids:
            raise ValueError("a density needs a frame and an object")
        return self._density(self.tracker, self.current.frame, object_id)

    def _show(self, outputs: Mapping[ObjectId, TrackOutput]) -> None:
        assert self.current is not None
        self.current = replace(self.current, outputs=dict(outputs))

    def _pace(self) -> float:
        seconds = self._ends[-1] - self._ends[0]
        return (len(self._ends) - 1) / seconds if seconds > 0 else 0.0


def drawn_box(start_xy: tuple[float, float], end_xy: tuple[float, float]) -> BoxXYWH | None:
    """The box between two corners, in whatever direction it was drawn; None for a click or a slip of the mouse."""
    (x0, y0), (x1, y1) = start_xy, end_xy
    x, y, w, h = min(x0, x1), min(y0, y1), abs(x1 - x0), abs(y1 - y0)
    return (x, y, w, h) if min(w, h) >= SMALLEST_SIDE else None
