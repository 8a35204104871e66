"""What goes to one browser: events in order, and of the frames only the newest."""

from __future__ import annotations

import asyncio
import json
import struct
from collections import deque
from collections.abc import Mapping
from typing import Any

MOST_EVENTS = 256  # a browser that leaves so many unread is gone


class Outbox:
    """Filled from a visitor's thread, emptied by the server's loop.

    A frame is sent only while fewer than ``in_flight`` are on their way, which the browser reports; a newer frame
    replaces one that waits. So a slow line shows fewer frames, none of them old.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop, in_flight: int) -> None:
        self._loop, self._credit, self._most = loop, in_flight, in_flight
        self._events: deque[str] = deque()
        self._frame: bytes | None = None
        self._wake = asyncio.Event()
        self.is_overrun = False

    def post_event(self, event: Mapping[str, Any]) -> None:
        """From any thread."""
        self._call(self._add_event, json.dumps(event))

    def post_frame(self, header: Mapping[str, Any], jpeg: bytes) -> None:
        """From any thread: four bytes of length (little-endian), the header as JSON, the picture."""
        text = json.dumps(header).encode()
        self._call(self._set_frame, struct.pack("<I", len(text)) + text + jpeg)

    def shown(self) -> None:
        """The browser has drawn a frame. From the loop."""
        self._credit = min(self._credit + 1, self._most)
        self._wake.set()

    async def next(self) -> str | bytes:
        """What to send next; waits for it."""
        while True:
            if self._events:
                return self._events.popleft()
            if self._frame is not None and self._credit > 0:
                frame, self._frame = self._frame, None
                self._credit -= 1
                return frame
            self._wake.clear()
            await self._wake.wait()

    def _add_event(self, text: str) -> None:
        if len(self._events) >= MOST_EVENTS:
            self.is_overrun = True
        else:
            self._events.append(text)
        self._wake.set()

    def _set_frame(self, data: bytes) -> None:
        self._frame = data
        self._wake.set()

    def _call(self, function: Any, argument: Any) -> None:
        if not self._loop.is_closed():
            self._loop.call_soon_threadsafe(function, argument)
