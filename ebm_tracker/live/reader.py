"""The thread that reads a live source and keeps its newest frame."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from ebm_tracker.errors import one_line
from ebm_tracker.frames import RgbFrame
from ebm_tracker.video import AV_ERRORS, DEFAULT_FPS, rgb_of, video_packets

BACK_OFF_S = (0.25, 0.5, 1.0, 2.0, 4.0)
"""Waits between attempts to reconnect; the last one is repeated."""
PATIENCE_S = 60.0
"""A source that gave no frame for this long has ended."""


@dataclass(frozen=True)
class Grabbed:
    """``frame``: (H, W, 3) uint8 RGB, None when it could not be decoded; ``time``: when it arrived, by
    ``time.monotonic()``; ``index``: its number in the source, from 0, dropped ones counted."""

    frame: RgbFrame | None
    time: float
    index: int


class LiveReader:
    """A camera or stream: what is not read in time is dropped and counted.

    When the connection ends, it is made again, after longer and longer waits, for ``patience_s`` seconds.

    Args:
        name: for result files.
        connect: opens PyAV's container; called again after a cut.
        container: the first one, open.
    """

    is_live = True
    frame_count: int | None = None

    def __init__(
        self,
        name: str,
        connect: Callable[[], Any],
        container: Any,
        *,
        back_off_s: tuple[float, ...] = BACK_OFF_S,
        patience_s: float = PATIENCE_S,
    ) -> None:
        rate = container.streams.video[0].average_rate
        self.name = name
        # Streams often name no pace, or their clock's tick.
        self.frames_per_second = float(rate) if rate and 1 <= rate <= 240 else DEFAULT_FPS
        self.dropped = self.bad_frames = self.size_changes = self.reconnects = 0
        self.ended, self.end_reason, self.status = False, "", ""
        self._connect, self._back_off_s, self._patience_s = connect, back_off_s, patience_s
        self._changed = threading.Condition()
        self._newest: tuple[Any, float, int] | None = None
        self._index = 0
        self._size: tuple[int, int] | None = None
        self._stop = threading.Event()
        self._last_frame = time.monotonic()
        self._thread = threading.Thread(target=self._run, args=(container,), name=f"ebm-live-{name}", daemon=True)
        self._thread.start()

    def read(self, timeout: float) -> Grabbed | None:
        """The newest frame that was not read before; waits up to ``timeout`` seconds for one."""
        with self._changed:
            self._changed.wait_for(lambda: self._newest is not None or self.ended, timeout)
            newest, self._newest = self._newest, None
        if newest is None:
            return None
        picture, arrived, index = newest
        try:
            # Here and not in the thread: dropped frames need no conversion.
            return Grabbed(rgb_of(picture), arrived, index)
        except (*AV_ERRORS, ValueError):
            self.bad_frames += 1
            return Grabbed(None, arrived, index)

    def close(self) -> None:
        """Ends the thread; a read that hangs in the network ends by its time-out, in the background."""
        self._stop.set()
        self._end("closed")
        self._thread.join(timeout=2.0)

    # The thread ------------------------------------------------------------------------------------------------

    def _run(self, container: Any) -> None:
        reason = ""
        attempt = 0
        try:
            while not self._stop.is_set():
                if container is not None:
                    before = self._index
                    reason = self._consume(container)
                    attempt = 0 if self._index > before else attempt
                if self._stop.is_set():
                    return
                if time.monotonic() - self._last_frame > self._patience_s:
                    self._end(f"{self.name} has ended: {reason}, and no frame came for {self._patience_s:.0f} s")
                    return
                self.status = f"{self.name}: {reason}; reconnecting"
                if self._stop.wait(self._back_off_s[min(attempt, len(self._back_off_s) - 1)]):
                    return
                attempt += 1
                container, problem = self._reconnected()
                reason = problem or reason
        except Exception as error:  # else readers would wait for a thread that is gone
            self._end(f"{self.name} has ended: {one_line(error)}")
            raise

    def _reconnected(self) -> tuple[Any, str]:
        try:
            container = self._connect()
        except (*AV_ERRORS, ValueError) as error:
            return None, str(getattr(error, "strerror", None) or one_line(error))
        if not container.streams.video:
            container.close()
            return None, "it holds no video"
        self.reconnects += 1
        return container, ""

    def _consume(self, container: Any) -> str:
        """Reads until the connection ends; returns why it did."""
        try:
            # Threads by frame would keep one frame back each.
            container.streams.video[0].thread_type = "SLICE"
            for packet in video_packets(container):
                if self._stop.is_set():
                    return "closed"
                if packet is None:
                    return "the connection was lost"
                self._decode(packet)
            return "the stream ended"
        finally:
            container.close()

    def _decode(self, packet: Any) -> None:
        try:
            pictures = packet.decode()
        except AV_ERRORS:
            self.bad_frames += 1
            return
        for picture in pictures:
            if getattr(picture, "is_corrupt", False):
                self.bad_frames += 1
                continue
            self._put(picture)

    def _put(self, picture: Any) -> None:
        size = (picture.width, picture.height)
        self.size_changes += self._size not in (None, size)
        self._size = size
        now = time.monotonic()
        with self._changed:
            self.dropped += self._newest is not None
            self._newest = (picture, now, self._index)
            self._index += 1
            self._last_frame, self.status = now, ""
            self._changed.notify_all()

    def _end(self, reason: str) -> None:
        with self._changed:
            if not self.ended:
                self.ended, self.end_reason, self.status = True, reason, reason
            self._changed.notify_all()
