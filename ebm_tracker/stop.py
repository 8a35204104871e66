"""Stopping on Ctrl-C or SIGTERM between two steps instead of in the middle of one."""

from __future__ import annotations

import signal
import threading
import time
from types import FrameType, TracebackType
from typing import Any

PATIENCE_S = 1.0
"""torchrun passes one Ctrl-C on a second time, and `timeout` signals a process and then its group: only one that comes
later than this is the user's second."""


class StopSignals:
    """Inside the block the first Ctrl-C (or SIGTERM) only sets ``requested``; a second Ctrl-C raises at once.

    The old handlers come back at the end. In a thread other than the main one it has no effect: Python allows
    handlers in the main thread only.
    """

    def __init__(self) -> None:
        self.requested = False
        self._at = 0.0
        self._before: dict[int, Any] = {}

    def __enter__(self) -> StopSignals:
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
        if self.requested and number == signal.SIGINT and now - self._at > PATIENCE_S:
            raise KeyboardInterrupt
        if not self.requested:
            self.requested, self._at = True, now
