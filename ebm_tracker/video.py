"""Frames from video files and folders, and frames into a video file."""

from __future__ import annotations

import os
import re
import struct
from collections.abc import Iterator
from contextlib import closing
from fractions import Fraction
from pathlib import Path
from types import TracebackType
from typing import Any, Protocol

import av
import numpy as np
from PIL import Image, ImageOps

from ebm_tracker.errors import VideoError
from ebm_tracker.files import part_path
from ebm_tracker.frames import RgbFrame, to_rgb_uint8

DEFAULT_FPS = 25.0
IMAGE_ENDINGS = frozenset({".jpg", ".jpeg", ".png", ".bmp", ".tif", ".tiff", ".webp", ".ppm", ".pgm"})
# Where benchmarks keep the images of a sequence: img (OTB, LaSOT), color (VOT).
IMAGE_FOLDERS = ("img", "color")

# What Pillow raises for damaged files; struct.error: for a damaged orientation tag.
PILLOW_ERRORS = (OSError, ValueError, SyntaxError, EOFError, struct.error, Image.DecompressionBombError)
AV_ERRORS = (av.FFmpegError, OSError)


class FrameSource(Protocol):
    """A stream of frames that can be started again.

    Iterating gives (H, W, 3) uint8 RGB frames in order, and None for a frame that could not be decoded, so
    that the n-th item is always the n-th frame. Sizes may change on the way.
    """

    @property
    def name(self) -> str:
        """A name for result files."""

    @property
    def frames_per_second(self) -> float:
        """Pace at which the frames were taken."""

    @property
    def frame_count(self) -> int | None:
        """How many frames there are, as far as the container says; None when it does not."""

    @property
    def bad_frames(self) -> int:
        """How many frames the last iteration could not decode."""

    def __iter__(self) -> Iterator[RgbFrame | None]: ...


class VideoFile:
    """A video file, decoded by PyAV as it is read: memory does not depend on its length.

    Rotation that the container asks for is applied. Frames whose size changes on the way are passed on as
    they are. A packet that cannot be decoded gives None and is counted in ``bad_frames``; what the decoder
    repairs itself counts as good.

    Raises VideoError from the constructor, when the file cannot be opened, holds no video, or its first frame
    cannot be decoded.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        self.name = self.path.stem
        self.bad_frames = 0
        with closing(open_container(self.path)) as container:
            stream = container.streams.video[0]
            rate = stream.average_rate or stream.guessed_rate
            self.frames_per_second = float(rate) if rate else DEFAULT_FPS
            self.frame_count: int | None = stream.frames or None
            first = next(self._decode(container), None)
        if first is None:
            raise VideoError(f"the first frame of {self.path} cannot be decoded")
        self.size_wh = (first.shape[1], first.shape[0])
        """Width and height of the first frame."""

    def __iter__(self) -> Iterator[RgbFrame | None]:
        self.bad_frames = 0
        with closing(open_container(self.path)) as container:
            yield from self._decode(container)

    def _decode(self, container: Any) -> Iterator[RgbFrame | None]:
        for frame in decoded_frames(container):
            self.bad_frames += frame is None
            yield None if frame is None else rgb_of(frame)


def open_container(path: Path) -> Any:
    """A video file as an ``av.container.InputContainer``, which PyAV's own hints describe as one of several types.

    Raises VideoError when it cannot be opened or holds no video.
    """
    if not path.exists():
        raise VideoError(f"there is no video file {path}")
    try:
        # "file:" keeps FFmpeg from reading a protocol into a name with a colon. Titles and the like are often not
        # UTF-8, and no reason to refuse the video.
        container: Any = av.open(f"file:{path}", metadata_errors="replace")
    except AV_ERRORS as error:
        raise VideoError(f"{path} cannot be read as a video ({_reason(error)})") from error
    if not container.streams.video:
        container.close()
        raise VideoError(f"{path} holds no video stream")
    return container


def video_packets(container: Any) -> Iterator[Any]:
    """The packets of the video stream; a last None where the container itself is damaged: nothing more can follow."""
    packets = container.demux(container.streams.video[0])
    while True:
        try:
            packet = next(packets, None)
        except AV_ERRORS:
            yield None
            return
        if packet is None:
            return
        yield packet


def decoded_frames(container: Any) -> Iterator[Any]:
    """PyAV's frames in the order in which they are shown, and None for a packet that cannot be read or decoded."""
    for packet in video_packets(container):
        try:
            frames = [None] if packet is None else packet.decode()
        except AV_ERRORS:
            frames = [None]
        yield from frames


def _reason(error: Exception) -> str:
    return str(getattr(error, "strerror", None) or error).rstrip(".")


def rgb_of(frame: Any) -> RgbFrame:
    """PyAV's frame as (H, W, 3) uint8 RGB, turned as the file asks."""
    rgb: RgbFrame = frame.to_ndarray(format="rgb24")
    quarter_turns = (
        round(getattr(frame, "rotation", 0) / 90) % 4
    )  # counter-clockwise; PyAV before 13 has none
    return np.ascontiguousarray(np.rot90(rgb, quarter_turns)) if quarter_turns else rgb


def natural_key(name: str) -> list[tuple[int, int, str]]:
    """Sort key that puts 2.jpg before 10.jpg: runs of digits compare as numbers."""
    return [
        (0, int(part), "") if part.isdecimal() else (1, 0, part) for part in re.split(r"(\d+)", name) if part
    ]


class FrameFolder:
    """A folder of images, or one with them in its ``img`` or ``color`` folder, in the order of their numbers.

    An image that cannot be decoded gives None and is counted in ``bad_frames``. The camera's orientation tag
    is applied, as viewers do.

    Raises VideoError from the constructor, when there is no such folder, no image in it, or the first image
    cannot be decoded.
    """

    def __init__(self, directory: str | Path, frames_per_second: float = DEFAULT_FPS) -> None:
        directory = Path(directory)
        if not directory.is_dir():
            raise VideoError(f"there is no folder of frames {directory}")
        self.directory = directory
        self.paths = _image_paths(directory)
        self.name = directory.resolve().name
        self.frames_per_second = frames_per_second
        self.frame_count: int | None = len(self.paths)
        self.bad_frames = 0
        first = read_image(self.paths[0])
        if first is None:
            raise VideoError(f"the first frame {self.paths[0]} cannot be decoded")
        self.size_wh = (first.shape[1], first.shape[0])
        """Width and height of the first frame."""

    def __iter__(self) -> Iterator[RgbFrame | None]:
        self.bad_frames = 0
        for path in self.paths:
            frame = read_image(path)
            self.bad_frames += frame is None
            yield frame


def images_in(folder: Path) -> list[Path]:
    """The image files of a folder in the order of their numbers; empty when there is no such folder."""
    if not folder.is_dir():
        return []
    # Names with a leading dot are the left-overs of archives ("._0001.jpg") and of our own writers.
    paths = [p for p in folder.iterdir() if p.suffix.lower() in IMAGE_ENDINGS and p.name[0] != "."]
    return sorted(paths, key=lambda path: natural_key(path.name))


def _image_paths(directory: Path) -> list[Path]:
    for folder in (*(directory / name for name in IMAGE_FOLDERS), directory):
        paths = images_in(folder)
        if paths:
            return paths
    raise VideoError(f"{directory} holds no images ({', '.join(sorted(IMAGE_ENDINGS))})")


def read_image(path: Path) -> RgbFrame | None:
    """The image as (H, W, 3) uint8 RGB, or None when it cannot be decoded or is not there."""
    # torchvision decodes a JPEG of 480x360 in 0.44 ms, Pillow in 0.74, to the same pixels; but torchvision's
    # decoders are deprecated since 0.29 and their import brings torch, which reading a folder needs not.
    try:
        with Image.open(path) as image:
            upright = ImageOps.exif_transpose(image)
            if upright.mode == "I":  # how older Pillows read 16-bit gray, and TIFFs of whole numbers
                return to_rgb_uint8(np.clip(np.asarray(upright), 0, 65535).astype(np.uint16))
            # Pillow clips 16-bit gray when it converts it; to_rgb_uint8 scales it.
            return to_rgb_uint8(upright if upright.mode.startswith("I;16") else upright.convert("RGB"))
    except PILLOW_ERRORS:
        return None


class VideoWriter:
    """An H.264 (else MPEG-4) video file, yuv420p so that every player shows it.

    Written beside ``path`` and renamed by ``close``. As a context manager it closes the file also when the
    block ends by an exception or Ctrl-C, and so keeps what was written. Without any frame there will be no
    file.

    Args:
        path: the file; its ending chooses the container (.mp4, .mkv, .avi).
        frames_per_second: above 0.
        size_wh: width and height of the frames; None: those of the first frame. Odd sides are padded by
            repeating the last row or column, and a frame of another size is scaled to fit, on black.

    Raises VideoError when the file cannot be made.
    """

    def __init__(
        self, path: str | Path, frames_per_second: float, size_wh: tuple[int, int] | None = None
    ) -> None:
        if not frames_per_second > 0:
            raise ValueError(f"frames_per_second must be above 0 (got {frames_per_second})")
        self.path = Path(path)
        self.frames_written = 0
        self._failed = False
        self._part = part_path(self.path)
        # Never 0: time-lapse files name paces such as a frame an hour.
        self._rate = max(Fraction(frames_per_second).limit_denominator(1001), Fraction(1, 1001))
        self._size_wh = size_wh
        self._stream: Any = None
        try:
            self._part.touch()  # FFmpeg opens the file with the first frame only
            self._container: Any = av.open(
                f"file:{self._part}", mode="w", format=_container_format(self.path)
            )
        except (*AV_ERRORS, ValueError) as error:
            raise VideoError(f"{self.path} cannot be written ({_reason(error)})") from error

    def __enter__(self) -> VideoWriter:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def write(self, frame: RgbFrame) -> None:
        """Appends one (H, W, 3) uint8 RGB frame. Raises VideoError, after which there will be no file."""
        if self._failed:
            raise VideoError(f"{self.path} cannot be written")
        if self._stream is None:
            self._size_wh = self._size_wh or (frame.shape[1], frame.shape[0])
            self._stream = self._add_stream(self._size_wh)
        picture = av.VideoFrame.from_ndarray(self._fit(frame), format="rgb24")
        picture.pts = self.frames_written
        picture.time_base = 1 / self._rate
        try:
            self._container.mux(self._stream.encode(picture))
        except AV_ERRORS as error:
            self._failed = True
            raise VideoError(f"{self.path} cannot be written ({_reason(error)})") from error
        self.frames_written += 1

    def close(self) -> None:
        """Completes the file and gives it its name. A second call does nothing."""
        container, self._container = self._container, None
        if container is None:
            return
        # PyAV crashes the process when it is to go on after a header that could not be written.
        complete = self.frames_written > 0 and not self._failed
        try:
            if complete:
                container.mux(self._stream.encode(None))
            container.close()
            if complete:
                os.replace(self._part, self.path)
        except AV_ERRORS as error:
            if self._failed:
                return  # was said when a frame could not be written
            raise VideoError(f"{self.path} cannot be written ({_reason(error)})") from error
        finally:
            self._part.unlink(missing_ok=True)

    def _add_stream(self, size_wh: tuple[int, int]) -> Any:
        codec = "libx264" if "libx264" in av.codecs_available else "mpeg4"
        # superfast: 3.3 ms for a frame of 480x360, veryfast 5.4 ms with 0.7 of the bytes. Quality 20 shows
        # no loss on the drawn labels. One thread, so that it does not work beside the tracker and spoil its
        # times.
        options = (
            {"crf": "20", "preset": "superfast", "threads": "1"} if codec == "libx264" else {"qscale": "3"}
        )
        stream: Any = self._container.add_stream(codec, rate=self._rate, options=options)
        stream.width, stream.height = (side + side % 2 for side in size_wh)
        stream.pix_fmt = "yuv420p"
        return stream

    def _fit(self, frame: RgbFrame) -> RgbFrame:
        assert self._size_wh is not None
        width, height = self._size_wh
        if frame.shape[:2] != (height, width):
            image = ImageOps.pad(Image.fromarray(frame), (width, height), Image.Resampling.BILINEAR)
            frame = np.asarray(image)
        return np.pad(frame, ((0, height % 2), (0, width % 2), (0, 0)), mode="edge")


def _container_format(path: Path) -> str | None:
    return {".mp4": "mp4", ".mkv": "matroska", ".avi": "avi", ".mov": "mov"}.get(path.suffix.lower())
