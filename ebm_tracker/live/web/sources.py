"""The sources of the command line, which the page knows by number only."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from ebm_tracker.errors import EbmError, VideoError, one_line
from ebm_tracker.frames import RgbFrame
from ebm_tracker.live.sources import SourceKind, open_frames, playable_pace, source_kind
from ebm_tracker.live.web.feeds import Feed, FileFeed, SharedStream


class ServerSources:
    """``words``: what ``--source`` was given, in order. A file, folder or pattern is opened afresh for each visitor,
    anything else by ``open_source`` and once for all when it is live.

    Raises VideoError at once for a file that cannot be read, and for a word that can be no source.
    """

    def __init__(self, words: Sequence[str], open_source: Callable[[str], Any]) -> None:
        self._open_source = open_source
        self._words = tuple(words)
        self._lock = threading.Lock()
        self._streams: dict[int, SharedStream] = {}
        self._kinds = tuple(source_kind(word) for word in self._words)
        for word, kind in zip(self._words, self._kinds, strict=True):
            if kind is SourceKind.FRAMES:
                open_frames(word)

    @property
    def names(self) -> tuple[str, ...]:
        """What the page shows: no folders."""
        return tuple(f"Camera {word}" if word.isdecimal() else _short_name(word) for word in self._words)

    def open(self, number: int) -> Feed:
        """A feed of the ``number``-th source from its start.

        Raises VideoError, also for a number that is none; it names no path, for it goes to the page.
        """
        if not 0 <= number < len(self._words):
            raise VideoError(f"there is no source number {number}; the command line named {len(self._words)}")
        word, name = self._words[number], self.names[number]
        try:
            return self._open(number, word, name)
        except (EbmError, OSError) as error:
            logging.getLogger(__name__).warning("%s", one_line(error))
            raise VideoError(f"{name} cannot be opened; the server's log says why") from error

    def _open(self, number: int, word: str, name: str) -> Feed:
        if self._kinds[number] is SourceKind.FRAMES:
            video = open_frames(word)
            return FileFeed(name, iter(video), playable_pace(video.frames_per_second), video.frame_count)
        with self._lock:
            stream = self._streams.get(number)
            if stream is None:
                source = self._open_source(word)
                if not source.is_live:
                    return FileFeed(name, _frames_of(source), getattr(source, "frames_per_second", None))
                opened = [source]
                stream = SharedStream(name, lambda: opened.pop() if opened else self._open_source(word))
                self._streams[number] = stream
            return stream.join()


def _short_name(word: str) -> str:
    """Of an address its host, without the user and password that cameras have there; of a path its last part."""
    if "://" in word:
        return word.split("://", 1)[1].split("/", 1)[0].rpartition("@")[2]
    return Path(word).name or word


def _frames_of(source: Any) -> Iterator[RgbFrame | None]:
    try:
        while True:
            grabbed = source.read(1.0)
            if grabbed is None:
                if getattr(source, "ended", True):
                    return
                continue
            yield grabbed.frame
    finally:
        source.close()
