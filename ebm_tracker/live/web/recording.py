"""What a visitor may download: boxes as CSV and JSON, and the frames with boxes as a video."""

from __future__ import annotations

import csv
import errno
import io
import json
import os
import threading
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from PIL import Image

from ebm_tracker.drawing import enlargement
from ebm_tracker.live.picture import draw_objects
from ebm_tracker.tracking import Status, TrackOutput
from ebm_tracker.version import __version__
from ebm_tracker.video import VideoWriter

COLUMNS = ("frame", "object", "x", "y", "w", "h", "score", "status", "latency_ms")


class Recording:
    """Rows and pictures of one visitor on the disk, so that memory does not grow with time.

    ``folder``: must exist; the files in it are this object's. Pictures end at ``most_bytes``, or where the disk is
    full; rows go on.
    """

    def __init__(self, folder: Path, most_bytes: int) -> None:
        self._rows_path, self._pictures_path = folder / "rows.jsonl", folder / "pictures.bin"
        self._most_bytes = most_bytes
        self._lock = threading.Lock()
        self._rows: Any = None
        self._pictures: Any = None
        self.frame_count = 0
        self.clear()

    def clear(self) -> None:
        """Forgets everything."""
        self.close()
        with self._lock:
            # Without buffers: what does not fit is known at once, and nothing of it stays.
            self._rows = self._rows_path.open("wb", buffering=0)
            self._pictures = self._pictures_path.open("wb", buffering=0)
            self.frame_count, self.bytes_kept, self.is_full = 0, 0, False

    def close(self) -> None:
        """Closes the files; they go with their folder."""
        with self._lock:
            for file in (self._rows, self._pictures):
                if file is not None:
                    file.close()

    def add(self, index: int, objects: Mapping[Any, TrackOutput], latency_ms: float, jpeg: bytes) -> None:
        """Appends a frame; one with the number of the last replaces that (a box was added on it). Raises OSError when
        its rows cannot be written."""
        if not self.is_full:
            try:
                self.is_full = self.bytes_kept + len(jpeg) > self._most_bytes
                if not self.is_full:
                    _append(self._pictures, jpeg)
            except OSError:
                self.is_full = True
        length = 0 if self.is_full else len(jpeg)
        rows = {
            key: [[round(float(v), 3) for v in out.box_xywh], round(float(out.score), 4), out.status.value]
            for key, out in objects.items()
        }
        line = {"n": index, "ms": round(latency_ms, 2), "at": self.bytes_kept, "len": length, "o": rows}
        _append(self._rows, json.dumps(line).encode() + b"\n")
        self.bytes_kept += length
        self.frame_count += 1

    def _lines(self) -> Iterator[dict[str, Any]]:
        """The frames in order; of a frame that was added again at once (a box more on it) the last state."""
        held: dict[str, Any] | None = None
        with self._rows_path.open(encoding="utf-8") as file:
            for text in file:
                if not text.endswith("\n"):
                    break  # being written at this moment
                line = json.loads(text)
                if held is not None and held["n"] != line["n"]:
                    yield held
                held = line
        if held is not None:
            yield held

    def csv_text(self) -> str:
        """COLUMNS, a row per object and frame."""
        file = io.StringIO()
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(COLUMNS)
        for line in self._lines():
            for key, (box, score, status) in line["o"].items():
                writer.writerow((line["n"], key, *box, score, status, line["ms"]))
        return file.getvalue()

    def json_text(self, facts: Mapping[str, Any]) -> str:
        """``facts`` and, per object, the frames' numbers, boxes, scores and statuses."""
        objects: dict[str, dict[str, list[Any]]] = {}
        for line in self._lines():
            for key, (box, score, status) in line["o"].items():
                kept = objects.setdefault(key, {"frame": [], "box_xywh": [], "score": [], "status": []})
                for name, value in zip(kept, (line["n"], box, score, status), strict=True):
                    kept[name].append(value)
        return json.dumps({"ebm_tracker": __version__, **facts, "objects": objects}, indent=1)

    def write_video(self, path: Path, frames_per_second: float) -> int:
        """Draws the boxes onto the kept pictures; returns how many frames the video has. Without any: no file."""
        with VideoWriter(path, frames_per_second) as writer, self._pictures_path.open("rb") as pictures:
            for line in self._lines():
                if line["len"]:
                    pictures.seek(line["at"])
                    with Image.open(io.BytesIO(pictures.read(line["len"])), formats=("JPEG",)) as image:
                        frame = np.asarray(image.convert("RGB"))
                    outputs: dict[int | str, TrackOutput] = {
                        int(key): TrackOutput((x, y, w, h), score, Status(word))
                        for key, ((x, y, w, h), score, word) in line["o"].items()
                    }
                    scale = enlargement((frame.shape[1], frame.shape[0]))
                    writer.write(draw_objects(frame, outputs, scale, lines=(str(line["n"]),)))
            return writer.frames_written


def _append(file: BinaryIO, data: bytes) -> None:
    """All of it or nothing. Raises OSError."""
    start = file.tell()
    try:
        if file.write(data) != len(data):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    except OSError:
        file.seek(start)
        with suppress(OSError):
            file.truncate()
        raise
