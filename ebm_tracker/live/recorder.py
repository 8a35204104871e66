"""What is kept of a live session: rows, video, snapshots, each file complete or absent."""

from __future__ import annotations

import os
from pathlib import Path
from types import TracebackType
from typing import TextIO

from PIL import Image

from ebm_tracker.files import atomic_path, part_path
from ebm_tracker.frames import RgbFrame
from ebm_tracker.live.session import LiveFrame
from ebm_tracker.video import VideoWriter

HEADER = "frame,time,id,x,y,w,h,score,status\n"
_LONGEST_STILL_S = 2.0  # so long a picture is held in the video when nothing came


class LiveRecorder:
    """Writes ``<name>_objects.csv`` as frames come, and videos and snapshots when asked. Memory stays constant.

    A context manager: the files are completed when the block ends, also by Ctrl-C. Files of earlier sessions stay:
    names get the next free number.

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
        self._name, self._fps, self._real_time = name, frames_per_second, real_time
        self._rows: TextIO | None = None
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
        if not frame.outputs:
            return
        if self._rows is None:
            self._rows_path = self._free("objects", ".csv")
            self._rows = part_path(self._rows_path).open("w", encoding="utf-8", newline="")
            self._rows.write(HEADER)
        for object_id, output in frame.outputs.items():
            x, y, w, h = output.box_xywh
            self._rows.write(
                f"{frame.index},{frame.arrived - self._first:.3f},{_field(str(object_id))},"
                f"{x:.3f},{y:.3f},{w:.3f},{h:.3f},{output.score:.6f},{output.status.value}\n"
            )

    def start_video(self, size_wh: tuple[int, int]) -> Path:
        """Begins a video of pictures of that size. Raises VideoError."""
        self.stop_video()
        self._video = VideoWriter(self._free("live", ".mp4"), self._fps, size_wh)
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
        for _ in range(repeats):
            video.write(picture)

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
        """Writes the picture as PNG."""
        path = self._free("snapshot", ".png")
        with atomic_path(path) as part:
            Image.fromarray(picture).save(part)
        self.files.append(path)
        return path

    def close(self) -> None:
        """Completes the files. A second call does nothing."""
        rows, self._rows = self._rows, None
        try:
            if rows is not None:
                rows.close()
                os.replace(part_path(self._rows_path), self._rows_path)
                self.files.append(self._rows_path)
        finally:
            self.stop_video()

    def _free(self, kind: str, ending: str) -> Path:
        self.directory.mkdir(parents=True, exist_ok=True)
        number = 1
        while (path := self.directory / f"{self._name}_{kind}_{number:03d}{ending}").exists():
            number += 1
        return path


def _field(text: str) -> str:
    return '"' + text.replace('"', '""') + '"' if any(sign in text for sign in ',"\n\r') else text
