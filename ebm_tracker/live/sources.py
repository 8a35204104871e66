"""Frames as they come: cameras and streams, of which only the newest is kept, and files, of which all are."""

from __future__ import annotations

import glob
import sys
import time
from collections.abc import Iterator
from enum import Enum
from pathlib import Path
from typing import Any, Protocol

import av

from ebm_tracker.errors import VideoError, one_line
from ebm_tracker.frames import RgbFrame
from ebm_tracker.live.reader import Grabbed, LiveReader
from ebm_tracker.video import (
    AV_ERRORS,
    DEFAULT_FPS,
    IMAGE_ENDINGS,
    FrameFolder,
    FrameSource,
    VideoFile,
    decoded_frames,
    natural_key,
    read_image,
    rgb_of,
)

__all__ = [
    "FileSource",
    "FramePattern",
    "Grabbed",
    "Source",
    "SourceKind",
    "camera",
    "hidden",
    "open_frames",
    "open_source",
    "source_kind",
    "stream",
]

OPEN_TIMEOUT_S = 8.0
READ_TIMEOUT_S = 5.0
_STREAM_SCHEMES = ("rtsp", "rtsps", "rtmp", "http", "https", "udp", "tcp", "rtp", "srt")
# Frames are shown when they arrive: FFmpeg keeps none back from its look at the stream.
_STREAM_OPTIONS = {"fflags": "nobuffer"}
_CAMERA_FORMATS = {"linux": "v4l2", "darwin": "avfoundation"}


class Source(Protocol):
    """Where frames come from.

    ``is_live``: frames come whether read or not, and all but the newest are dropped. ``dropped``, ``bad_frames``,
    ``size_changes``, ``reconnects``: how many so far. ``ended``: no more frames come; ``end_reason`` says why.
    ``status``: one short line for the screen, empty when all is well.
    """

    name: str
    is_live: bool
    frames_per_second: float
    frame_count: int | None
    dropped: int
    bad_frames: int
    size_changes: int
    reconnects: int
    ended: bool
    end_reason: str
    status: str

    def read(self, timeout: float) -> Grabbed | None:
        """The next frame, of a live source the newest that was not read before; None when none came in ``timeout``
        seconds or the source has ended."""

    def close(self) -> None:
        """Gives back what is open. A second call does nothing."""


def open_source(word: str) -> Source:
    """The source that a word of the command line names.

    ``0``: a camera's number; ``/dev/video0``: a device; ``rtsp://...``, ``http://...``: a stream, or a video file on
    a server; else a video file, a folder of frames, or a pattern such as ``shots/*.png``.

    Raises VideoError when it cannot be opened.
    """
    kind = source_kind(word)
    if kind is SourceKind.CAMERA:
        return camera(word)
    if kind is SourceKind.STREAM:
        return stream(word)
    return FileSource(open_frames(word))


class SourceKind(Enum):
    """What a word of the command line names."""

    CAMERA = "camera"
    STREAM = "stream"
    FRAMES = "frames"


def source_kind(word: str) -> SourceKind:
    """By the word alone, and what of that name is on the disk. Raises VideoError when it can be no source."""
    if word.isdecimal() and word.isascii():
        return SourceKind.CAMERA
    if "://" in word and word.partition("://")[0].lower() in _STREAM_SCHEMES:
        return SourceKind.STREAM
    try:
        path = Path(word)
        if path.is_char_device():
            return SourceKind.CAMERA
        if word and (path.is_dir() or path.is_file() or (not path.exists() and any(sign in word for sign in "*?["))):
            return SourceKind.FRAMES
    except OSError as error:  # such as a name that is too long
        raise VideoError(f"--source {word:.60} cannot be looked at ({error.strerror})") from error
    raise VideoError(
        "--source must be a camera's number, a device, an rtsp or http address, a file, a folder or a pattern, and"
        f" {hidden(word) if '://' in word else repr(word)} is none of them"
    )


def open_frames(word: str) -> FrameSource:
    """A video file, a folder of frames or a pattern, which may name one video too. Raises VideoError."""
    path = Path(word)
    if path.is_dir():
        return FrameFolder(path)
    if path.exists():
        return VideoFile(path)
    found = glob.glob(word)
    if len(found) == 1 and Path(found[0]).suffix.lower() not in IMAGE_ENDINGS:
        return VideoFile(found[0])
    return FramePattern(word)


def camera(word: str) -> Source:
    """A camera by number or device. Raises VideoError when it cannot be opened."""
    system = "linux" if sys.platform.startswith("linux") else sys.platform
    kind = _CAMERA_FORMATS.get(system)
    device = f"/dev/video{word}" if word.isdecimal() and system == "linux" else word
    if kind is None:
        raise VideoError(f"cameras are opened on Linux and macOS only, not on {system}: give a stream's address")

    def connect() -> Any:
        return av.open(device, format=kind, timeout=(OPEN_TIMEOUT_S, READ_TIMEOUT_S))

    name = f"camera{word}" if word.isdecimal() else Path(word).name
    return LiveReader(name, connect, _opened(connect, f"camera {word}"))


def stream(url: str) -> Source:
    """A stream; a video file on a server comes frame by frame, as files do. Raises VideoError when there is none."""
    options = dict(_STREAM_OPTIONS)
    if url.lower().startswith("rtsp"):
        # Over UDP a lost packet smears the picture until the next key frame; but some cameras know nothing else.
        options["rtsp_flags"] = "prefer_tcp"

    def connect() -> Any:
        return av.open(url, options=options, timeout=(OPEN_TIMEOUT_S, READ_TIMEOUT_S), metadata_errors="replace")

    container = _opened(connect, hidden(url))
    name = Path(hidden(url).partition("://")[2].partition("?")[0]).stem or "stream"
    if container.duration and not url.lower().startswith(("rtsp", "udp", "rtp", "rtmp", "srt")):
        return FileSource(_ServedFile(name, container))
    return LiveReader(name, connect, container)


def counted(count: int, word: str) -> str:
    """1 frame, 2 frames."""
    return f"{count} {word}{'s' * (count != 1)}"


def hidden(url: str) -> str:
    """The address without the user and password that cameras have in it."""
    scheme, _, rest = url.partition("://")
    host, slash, path = rest.partition("/")
    return f"{scheme}://{host.rpartition('@')[2]}{slash}{path}"


def _opened(connect: Any, what: str) -> Any:
    try:
        container = connect()
    except (*AV_ERRORS, ValueError) as error:
        reason = getattr(error, "strerror", None) or one_line(error)
        raise VideoError(f"{what} cannot be opened ({reason})") from error
    if not container.streams.video:
        container.close()
        raise VideoError(f"{what} holds no video stream")
    return container


def playable_pace(frames_per_second: float) -> float:
    """A pace to show a file at: time-lapse files name an hour a frame, others their clock's tick."""
    return frames_per_second if 1 <= frames_per_second <= 240 else DEFAULT_FPS


class FileSource:
    """A file, folder or pattern: every frame in order, as fast as it is read; none is dropped."""

    is_live = False
    dropped = reconnects = 0

    def __init__(self, frames: FrameSource) -> None:
        self.name = frames.name
        self.frames_per_second = playable_pace(frames.frames_per_second)
        self.frame_count = frames.frame_count
        self.bad_frames = self.size_changes = 0
        self.ended, self.end_reason, self.status = False, "", ""
        self._iterator: Iterator[RgbFrame | None] = iter(frames)
        self._index = 0
        self._size: tuple[int, ...] | None = None

    def read(self, timeout: float) -> Grabbed | None:
        """The next frame, however long it takes to decode; None at the end."""
        if self.ended:
            return None
        try:
            frame = next(self._iterator)
        except StopIteration:
            self._end(f"{self.name} ends after {counted(self._index, 'frame')}")
            return None
        if frame is None:
            self.bad_frames += 1
        else:
            self.size_changes += self._size not in (None, frame.shape[:2])
            self._size = frame.shape[:2]
        self._index += 1
        return Grabbed(frame, time.monotonic(), self._index - 1)

    def close(self) -> None:
        """Closes the file."""
        close = getattr(self._iterator, "close", None)
        if close is not None:
            close()
        self._end("closed")

    def _end(self, reason: str) -> None:
        if not self.ended:
            self.ended, self.end_reason = True, reason
            self.status = reason


class FramePattern:
    """The images that a pattern names, in the order of their numbers. Raises VideoError when there are none or the
    first cannot be decoded."""

    def __init__(self, pattern: str) -> None:
        self.paths = [Path(name) for name in sorted(glob.glob(pattern), key=natural_key)]
        if not self.paths:
            raise VideoError(f"no file is named like {pattern}")
        if read_image(self.paths[0]) is None:
            raise VideoError(f"the first frame {self.paths[0]} cannot be decoded")
        self.name = self.paths[0].resolve().parent.name or "frames"
        self.frames_per_second = DEFAULT_FPS
        self.frame_count: int | None = len(self.paths)
        self.bad_frames = 0

    def __iter__(self) -> Iterator[RgbFrame | None]:
        return (read_image(path) for path in self.paths)


class _ServedFile:
    """A video file on a server, read once."""

    def __init__(self, name: str, container: Any) -> None:
        stream_ = container.streams.video[0]
        rate = stream_.average_rate or stream_.guessed_rate
        self.name, self.frame_count, self.bad_frames = name, stream_.frames or None, 0
        self.frames_per_second = float(rate) if rate else DEFAULT_FPS
        self._container = container

    def __iter__(self) -> Iterator[RgbFrame | None]:
        try:
            for frame in decoded_frames(self._container):
                yield None if frame is None else rgb_of(frame)
        finally:
            self._container.close()
