"""What is kept of a live session: rows, video, snapshots, each file complete or absent."""

from __future__ import annotations

import glob
import os
import re
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import TextIO

from PIL import Image

from ebm_tracker.errors import EbmError, VideoError
from ebm_tracker.files import atomic_path, part_path
from ebm_tracker.frames import RgbFrame
from ebm_tracker.live.session import LiveFrame
from ebm_tracker.video import VideoWriter

HEADER = "frame,time,id,x,y,w,h,score,status\n"
_LONGEST_STILL_S = 2.0  # so long a picture is held in the video when nothing came
_NAME_BYTES = 150  # of a file name's 255, for the source's part


class RecordError(EbmError):
    """Something of the session cannot be kept: the folder, or the disk is full."""


def require_folder(directory: Path) -> None:
    """Raises RecordError when nothing can be written there; makes no folder."""
    existing = directory
    while not existing.exists() and existing != existing.parent:
        existing = existing.parent
    if not existing.is_dir():
        raise RecordError(f"results cannot be written to {directory} ({existing} is no folder)")
    if not os.access(existing, os.W_OK | os.X_OK):
        raise RecordError(f"results cannot be written to {directory} (Permission denied)")


class LiveRecorder:
    """Writes ``<name>_objects.csv`` as frames come, and videos and snapshots when asked. Memory stays constant.

    A context manager: the files are completed when the block ends, also by Ctrl-C. Files of earlier sessions stay:
    names get the next free number.

    What cannot be written raises RecordError or VideoError, once: rows or the video end there, and the rest goes on.

    Args:
        directory: made when the first file is.
        name: of the source.
        frames_per_second: pace of the video.
        real_time: the video shows when frames came, for live sources; else every frame once.
    """

    def __init__(self, directory: str | Path, name: str, frames_per_second: float, real_time: bool) -> None:
        self.directory = Path(directory)
        self.files: list[Path] = []
        """Complete files, in order."""
        self._name, self._fps, self._real_time = _file_name(name), frames_per_second, real_time
        self._rows: TextIO | None = None
        self._rows_failed = False
        self._rows_path = Path()
        self._video: VideoWriter | None = None
        self._video_start = 0.0
        self._first: float | None = None

    def __enter__(self) -> LiveRecorder:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    @property
    def recording(self) -> bool:
        return self._video is not None

    def add(self, frame: LiveFrame) -> None:
        """Keeps the rows of one frame: seconds since the first, and per object id, box in pixels, score, status."""
        if self._first is None:
            self._first = frame.arrived
        if not frame.outputs or self._rows_failed:
            return
        try:
            self._add_rows(frame, frame.arrived - self._first)
        except OSError as error:
            self._rows_failed = True
            raise self._problem(self._rows_path, error) from error

    def _add_rows(self, frame: LiveFrame, seconds: float) -> None:
        if self._rows is None:
            self._rows_path = self.directory  # to name when there is no file
            self._rows_path = self._free("objects", ".csv")
            self._rows = part_path(self._rows_path).open("w", encoding="utf-8", newline="")
            self._rows.write(HEADER)
        for object_id, output in frame.outputs.items():
            x, y, w, h = output.box_xywh
            self._rows.write(
                f"{frame.index},{seconds:.3f},{_field(str(object_id))},"
                f"{x:.3f},{y:.3f},{w:.3f},{h:.3f},{output.score:.6f},{output.status.value}\n"
            )
        self._rows.flush()  # a disk that is full is known now, and nothing is lost when the process is killed

    def start_video(self, size_wh: tuple[int, int]) -> Path:
        """Begins a video of pictures of that size. Raises RecordError and VideoError."""
        self.stop_video()
        self._video = VideoWriter(self._checked_free("live", ".mp4"), self._fps, size_wh)
        self._video_start = float("nan")
        return self._video.path

    def show(self, picture: RgbFrame, arrived: float) -> None:
        """Appends the picture of a frame that arrived then to the video, if there is one."""
        video = self._video
        if video is None:
            return
        repeats = 1
        if self._real_time:
            if self._video_start != self._video_start:
                self._video_start = arrived
            due = round((arrived - self._video_start) * self._fps) + 1
            repeats = due - video.frames_written
            longest = max(round(_LONGEST_STILL_S * self._fps), 1)
            if repeats > longest:  # a pause or a cut: the video goes on from here
                self._video_start += (repeats - longest) / self._fps
                repeats = longest
        try:
            for _ in range(repeats):
                video.write(picture)
        except VideoError:
            self._video = None
            with suppress(VideoError):  # said already
                video.close()
            raise

    def stop_video(self) -> Path | None:
        """Completes the video; None when there is none, or no frame was written."""
        video, self._video = self._video, None
        if video is None:
            return None
        video.close()
        if not video.frames_written:
            return None
        self.files.append(video.path)
        return video.path

    def snapshot(self, picture: RgbFrame) -> Path:
        """Writes the picture as PNG. Raises RecordError."""
        path = self._checked_free("snapshot", ".png")
        try:
            with atomic_path(path) as part:
                Image.fromarray(picture).save(part)
        except OSError as error:
            raise self._problem(path, error) from error
        self.files.append(path)
        return path

    def close(self) -> None:
        """Completes the files; rows that could be written are kept also on a full disk. A second call does nothing."""
        rows, self._rows = self._rows, None
        try:
            if rows is not None:
                part = part_path(self._rows_path)
                with suppress(OSError):  # what is left in its buffer was told when it could not be written
                    rows.close()
                if self._rows_failed:
                    _cut_to_whole_lines(part)
                os.replace(part, self._rows_path)
                self.files.append(self._rows_path)
        except OSError as error:
            raise self._problem(self._rows_path, error) from error
        finally:
            self.stop_video()

    def _free(self, kind: str, ending: str) -> Path:
        """A name that no file has, nor one that another session writes at this moment."""
        self.directory.mkdir(parents=True, exist_ok=True)
        number = 1
        while True:
            path = self.directory / f"{self._name}_{kind}_{number:03d}{ending}"
            parts = glob.escape(str(self.directory / f".{path.stem}.")) + f"*.part{ending}"
            if not path.exists() and not glob.glob(parts):
                return path
            number += 1

    def _checked_free(self, kind: str, ending: str) -> Path:
        try:
            return self._free(kind, ending)
        except OSError as error:
            raise self._problem(self.directory, error) from error

    def _problem(self, path: Path, error: OSError) -> RecordError:
        return RecordError(f"{path} cannot be written ({error.strerror or error})")


def _file_name(name: str) -> str:
    """A part of a file name for anything that a source may be called."""
    clean = re.sub(r"[\x00-\x1f/\\]", "_", name)
    return clean.encode("utf-8", "replace")[:_NAME_BYTES].decode("utf-8", "ignore") or "live"


def _cut_to_whole_lines(path: Path) -> None:
    data = path.read_bytes()
    with path.open("r+b") as file:
        file.truncate(data.rfind(b"\n") + 1)


def _field(text: str) -> str:
    return '"' + text.replace('"', '""') + '"' if any(sign in text for sign in ',"\n\r') else text
