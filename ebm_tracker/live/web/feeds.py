"""Where a visitor's frames come from, seen from his thread: a file's own pace, or the newest of something live."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Protocol

from ebm_tracker.frames import RgbFrame

CUT = "The stream was cut; the server connects to it again."  # its own words name the address
_READ_S = 0.5  # how long a shared stream's thread waits for a frame before it looks whether anybody is left


@dataclass(frozen=True)
class FeedFrame:
    """``frame``: (H, W, 3) uint8 RGB, a JPEG from a browser as bytes, or None when it could not be decoded; ``index``:
    its number in the feed, from 0; ``arrived``: ``time.monotonic()`` then; ``stamp``: what the browser sent with it, to
    measure the round trip by."""

    frame: Any
    index: int
    arrived: float
    stamp: int | None = None


class Feed(Protocol):
    """``is_live``: frames come whether read or not, and all but the newest are dropped. ``frames_per_second``,
    ``frame_count``: as far as known; ``dropped``: frames that were never read; ``ended``: there are no more;
    ``status``: what is wrong at the moment, for the page, or nothing."""

    name: str
    is_live: bool
    frames_per_second: float | None
    frame_count: int | None
    dropped: int
    ended: bool
    status: str

    def next(self, timeout: float) -> FeedFrame | None:
        """The next frame; None when none came within ``timeout`` seconds or the feed has ended."""

    def close(self) -> None:
        """Gives back what is open. A second call does nothing."""


class FileFeed:
    """A file or folder of frames, none of which is dropped."""

    is_live = False

    def __init__(
        self,
        name: str,
        frames: Iterator[RgbFrame | None],
        frames_per_second: float | None = None,
        frame_count: int | None = None,
    ) -> None:
        self.name, self.frames_per_second, self.frame_count = name, frames_per_second, frame_count
        self.dropped, self.ended, self.status = 0, False, ""
        self._frames, self._index = frames, 0

    def next(self, timeout: float) -> FeedFrame | None:
        """The next frame, however long decoding takes; raises VideoError where the file is against the limits."""
        for frame in self._frames:
            self._index += 1
            return FeedFrame(frame, self._index - 1, time.monotonic())
        self.ended = True
        return None

    def close(self) -> None:
        """Closes the file."""
        close = getattr(self._frames, "close", None)
        if close is not None:
            close()
        self.ended = True


class NewestFeed:
    """Frames that somebody else puts in; the reader gets the newest, and what it was too slow for is counted."""

    is_live = True

    def __init__(self, name: str, on_close: Callable[[NewestFeed], None] | None = None) -> None:
        self.name = name
        self.frames_per_second: float | None = None
        self.frame_count: int | None = None
        self.dropped, self.ended, self.status = 0, False, ""
        self._put = 0
        self._newest: FeedFrame | None = None
        self._changed = threading.Condition()
        self._on_close = on_close

    def put(self, frame: Any, stamp: int | None = None) -> None:
        """Replaces the newest frame. Called from any thread."""
        with self._changed:
            self.dropped += self._newest is not None
            self._newest = FeedFrame(frame, self._put, time.monotonic(), stamp)
            self._put += 1
            self._changed.notify_all()

    def end(self) -> None:
        """Nothing more comes."""
        with self._changed:
            self.ended = True
            self._changed.notify_all()

    def next(self, timeout: float) -> FeedFrame | None:
        """The newest frame that was not given before; waits for one."""
        with self._changed:
            self._changed.wait_for(lambda: self._newest is not None or self.ended, timeout)
            newest, self._newest = self._newest, None
            return newest

    def close(self) -> None:
        """Tells whoever fills it that nobody reads any more."""
        self.end()
        on_close, self._on_close = self._on_close, None
        if on_close is not None:
            on_close(self)


class SharedStream:
    """One live source of the server for all its visitors: a camera can be opened once.

    Opened for the first and closed after the last of them. ``open_source``: see ``ebm_tracker.live.sources``.
    """

    def __init__(self, name: str, open_source: Callable[[], Any]) -> None:
        self.name = name
        self._open_source = open_source
        self._lock = threading.Lock()
        self._feeds: list[NewestFeed] = []
        self._source: Any = None

    def join(self) -> NewestFeed:
        """A feed of the stream's frames from now on. Raises what opening raises."""
        feed = NewestFeed(self.name, self._leave)
        with self._lock:
            self._feeds.append(feed)
            if self._source is None:
                try:
                    self._source = self._open_source()
                except BaseException:
                    self._feeds.remove(feed)
                    raise
                threading.Thread(target=self._pump, args=(self._source,), name="ebm-web-source", daemon=True).start()
        return feed

    def _leave(self, feed: NewestFeed) -> None:
        with self._lock, suppress(ValueError):
            self._feeds.remove(feed)

    def _pump(self, source: Any) -> None:
        try:
            while not self._gave_up(source):
                grabbed = source.read(_READ_S)
                self._tell(CUT if getattr(source, "status", "") and not source.ended else "")
                if grabbed is None:
                    if getattr(source, "ended", False):
                        break
                    continue
                with self._lock:
                    feeds = list(self._feeds)
                for feed in feeds:
                    feed.put(grabbed.frame)
        finally:
            with self._lock:
                self._retire(source)

    def _tell(self, status: str) -> None:
        with self._lock:
            for feed in self._feeds:
                feed.status = status

    def _gave_up(self, source: Any) -> bool:
        """Closes the source when nobody reads it; under the lock, so that nobody joins a stream that ends."""
        with self._lock:
            if not self._feeds:
                self._retire(source)
                return True
            return False

    def _retire(self, source: Any) -> None:
        if self._source is not source:
            return  # done before, and the next one may be running
        source.close()
        self._source = None
        feeds, self._feeds = self._feeds, []
        for feed in feeds:
            feed.end()
