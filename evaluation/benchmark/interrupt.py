"""Ctrl-C and SIGTERM as a request, so that work ends between two frames."""

from __future__ import annotations

import signal
import threading
import time
from types import FrameType, TracebackType
from typing import Any

PATIENCE_S = 1.0
"""`timeout` and batch systems signal the process, then its group: only one that comes later is a second request."""


class StopRequest:
    """Inside the block the first Ctrl-C or SIGTERM only sets ``made``; a second one raises KeyboardInterrupt at once.

    The old handlers come back at the end. In a thread other than the main one it has no effect: Python allows
    handlers in the main thread only.
    """

    def __init__(self) -> None:
        self.made = False
        self._at = 0.0
        self._before: dict[int, Any] = {}

    def __enter__(self) -> StopRequest:
        if threading.current_thread() is threading.main_thread():
            for number in (signal.SIGINT, signal.SIGTERM):
                self._before[number] = signal.signal(number, self._note)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for number, handler in self._before.items():
            # None: set by a program that is not Python, which Python cannot restore.
            signal.signal(number, handler if handler is not None else signal.SIG_DFL)
        self._before.clear()

    def _note(self, number: int, frame: FrameType | None) -> None:
        now = time.monotonic()
        if self.made and now - self._at > PATIENCE_S:
            raise KeyboardInterrupt
        if not self.made:
            self.made, self._at = True, now
