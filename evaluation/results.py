"""Result files of one tracked sequence."""

from __future__ import annotations

import csv
import io
from array import array
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ebm_tracker.annotations import Boxes, read_boxes
from ebm_tracker.files import write_text_atomic


class TrackRecord:
    """What a tracker said, frame by frame, the first frame with the given box included.

    About 70 bytes a frame: an hour of video stays below 10 MB.
    """

    def __init__(self) -> None:
        self._boxes = array("d")
        self._scores = array("d")
        self._seconds = array("d")
        self._statuses: list[str] = []
        self._total_seconds = 0.0  # of the frames after the first

    def __len__(self) -> int:
        return len(self._statuses)

    def append(self, box_xywh: Sequence[float], score: float, status: str, seconds: float) -> None:
        """Adds a frame: box in pixels, score in 0..1, status name, time the tracker took."""
        x, y, w, h = box_xywh
        self._boxes.extend((x, y, w, h))
        self._scores.append(score)
        self._seconds.append(seconds)
        self._total_seconds += seconds if self._statuses else 0.0
        self._statuses.append(status)

    @property
    def boxes_xywh(self) -> Boxes:
        """(n, 4) float64, pixels."""
        return np.array(self._boxes, dtype=np.float64).reshape(-1, 4)

    @property
    def scores(self) -> list[float]:
        """n scores in 0..1."""
        return self._scores.tolist()

    @property
    def seconds(self) -> list[float]:
        """n times in seconds; the first is the initialisation."""
        return self._seconds.tolist()

    @property
    def statuses(self) -> list[str]:
        """n of "tracked", "uncertain", "lost"."""
        return list(self._statuses)

    @property
    def frames_per_second(self) -> float:
        """Mean pace of the tracker over the frames after the first; 0 when there are none."""
        return (len(self) - 1) / self._total_seconds if self._total_seconds > 0 else 0.0


@dataclass(frozen=True)
class ResultPaths:
    """Where the files of one sequence lie."""

    boxes: Path
    times: Path
    scores: Path
    video: Path
    sheet: Path


def result_paths(directory: str | Path, name: str) -> ResultPaths:
    """<name>.txt, <name>_time.txt, <name>_scores.csv, <name>.mp4 and <name>_sheet.png in the folder."""
    directory = Path(directory)
    return ResultPaths(
        boxes=directory / f"{name}.txt",
        times=directory / f"{name}_time.txt",
        scores=directory / f"{name}_scores.csv",
        video=directory / f"{name}.mp4",
        sheet=directory / f"{name}_sheet.png",
    )


def write_record(record: TrackRecord, paths: ResultPaths) -> None:
    """Writes the three text files, one row per frame with the first included, each complete or not at all.

    Boxes: ``x,y,w,h`` with three decimals. Times: seconds with six. Scores: columns ``frame,score,status``
    with a header, frames counted from 0.
    """
    boxes = "".join(f"{x:.3f},{y:.3f},{w:.3f},{h:.3f}\n" for x, y, w, h in record.boxes_xywh.tolist())
    times = "".join(f"{seconds:.6f}\n" for seconds in record.seconds)
    rows = enumerate(zip(record.scores, record.statuses, strict=True))
    scores = "frame,score,status\n" + "".join(f"{n},{score:.6f},{status}\n" for n, (score, status) in rows)
    write_text_atomic(paths.boxes, boxes)
    write_text_atomic(paths.times, times)
    write_text_atomic(paths.scores, scores)


def read_record(paths: ResultPaths) -> TrackRecord:
    """Reads back what ``write_record`` wrote, as exactly as its decimals tell."""
    record = TrackRecord()
    times = [float(line) for line in paths.times.read_text(encoding="utf-8").split()]
    rows = csv.DictReader(io.StringIO(paths.scores.read_text(encoding="utf-8")))
    for box, seconds, row in zip(read_boxes(paths.boxes).tolist(), times, rows, strict=True):
        record.append(box, float(row["score"]), row["status"], seconds)
    return record
