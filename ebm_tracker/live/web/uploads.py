"""A video from a visitor: checked and decoded with as little of FFmpeg as possible.

The file is given to FFmpeg as an open file and with its container's name, so that formats which name other files
(playlists, concat scripts) are not even tried, and no name in the file leads anywhere.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any, BinaryIO

import av

from ebm_tracker.errors import VideoError
from ebm_tracker.frames import RgbFrame
from ebm_tracker.live.web.settings import WebLimits
from ebm_tracker.video import AV_ERRORS, DEFAULT_FPS, decoded_frames, rgb_of

CODECS = frozenset({"h264", "hevc", "vp8", "vp9", "av1", "libdav1d", "libvpx", "libvpx-vp9", "mpeg4", "mjpeg"})
KINDS = "MP4, MOV, WebM, MKV or AVI"


def container_of(head: bytes) -> str | None:
    """FFmpeg's name of the container that a file begins as; None when it is none of the allowed ones."""
    if head[4:8] in (b"ftyp", b"moov", b"mdat", b"wide", b"free", b"skip"):
        return "mov"
    if head[:4] == b"\x1a\x45\xdf\xa3":
        return "matroska"
    if head[:4] == b"RIFF" and head[8:12] == b"AVI ":
        return "avi"
    return None


class UploadedVideo:
    """A visitor's video as a source that is read once, from its first frame on.

    Raises VideoError, from the constructor, for a file of another kind, with another codec, above one of the limits,
    or whose first frame cannot be decoded; while it is read, for one that turns out longer than it said.
    """

    is_live = False

    def __init__(self, path: Path, limits: WebLimits) -> None:
        self.path, self._limits = path, limits
        if not path.is_file():
            raise VideoError("no video has been uploaded yet")
        with path.open("rb") as file, closing(_open(file, limits)) as container:
            stream = container.streams.video[0]
            rate = stream.average_rate or stream.guessed_rate
            self.frames_per_second = min(max(float(rate), 1.0), 240.0) if rate else DEFAULT_FPS
            self.frame_count: int | None = stream.frames or None
            self._check_length(stream.frames, float(container.duration or 0) / 1e6)
            if next(_frames(container, limits), None) is None:
                raise VideoError("the first frame of the video cannot be decoded")

    def _check_length(self, frames: int, seconds: float) -> None:
        limits = self._limits
        if frames > limits.upload_frames or seconds > limits.upload_seconds:
            raise VideoError(
                f"a video may have {limits.upload_seconds:g} seconds and {limits.upload_frames} frames "
                f"(got {seconds:.0f} seconds, {frames} frames)"
            )

    def __iter__(self) -> Iterator[RgbFrame | None]:
        """(H, W, 3) uint8 RGB frames; None for one that cannot be decoded."""
        with self.path.open("rb") as file, closing(_open(file, self._limits)) as container:
            for index, frame in enumerate(_frames(container, self._limits)):
                self._check_length(index + 1, 0)
                yield frame


def _open(file: BinaryIO, limits: WebLimits) -> Any:
    kind = container_of(file.read(16))
    file.seek(0)
    if kind is None:
        raise VideoError(f"the file is no video of a kind that is accepted ({KINDS})")
    try:
        container: Any = av.open(
            file, format=kind, metadata_errors="replace", options={"protocol_whitelist": "none"}
        )
    except (*AV_ERRORS, ValueError) as error:
        raise VideoError("the file cannot be read as a video") from error
    try:
        if not container.streams.video:
            raise VideoError("the file holds no video stream")
        context = container.streams.video[0].codec_context
        if context is None or context.name not in CODECS:
            raise VideoError(f"the video's codec {getattr(context, 'name', 'unknown')!s:.20} is not accepted")
        if context.width * context.height > limits.frame_pixels:
            raise VideoError(
                f"a video's picture may have {limits.frame_pixels} pixels (got {context.width}x{context.height})"
            )
        # FFmpeg itself refuses a picture that grows on the way.
        context.options = {"max_pixels": str(limits.frame_pixels + 64 * 2400)}  # its padding counts there
        context.thread_count = 1  # as many threads as cores would slow the trackers of the others
    except VideoError:
        container.close()
        raise
    return container


def _frames(container: Any, limits: WebLimits) -> Iterator[RgbFrame | None]:
    for frame in decoded_frames(container):
        too_large = frame is not None and frame.width * frame.height > limits.frame_pixels
        yield None if frame is None or too_large else rgb_of(frame)
