"""The tree of result files: ``<results>/<tracker>/<parameter>[_<run>]/<sequence>.txt``, as pytracking has it, and
the folders of other toolkits read in their own.

Times lie beside the boxes in ``<sequence>_time.txt``, scores in ``<sequence>_object_presence_scores.txt``, and what
went wrong in ``<sequence>_failed.txt``.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum
from pathlib import Path

import numpy as np

from ebm_tracker.annotations import AnnotationError, Boxes, read_boxes
from ebm_tracker.errors import EbmError
from ebm_tracker.evaluation.results import TrackRecord
from ebm_tracker.evaluation.sequences import TrackingSequence
from ebm_tracker.files import write_text_atomic

_RUN = re.compile(r"_(\d{3})$")


class ResultError(EbmError):
    """A result file or folder is missing or cannot be used; the message names it."""


class BoxFormat(Enum):
    """How boxes are written."""

    PRECISE = "precise"
    """``x,y,w,h`` with three decimals, which pytracking, pysot and the got10k toolkit read."""
    PYTRACKING = "pytracking"
    """Integers between tabs, cut towards zero: what pytracking's own runs leave."""


@dataclass(frozen=True)
class SequenceFiles:
    """Where the files of one sequence in one run lie."""

    boxes: Path
    times: Path
    scores: Path
    failure: Path


def run_folder(results: str | Path, tracker: str, parameter: str, run: int | None = None) -> Path:
    """``results/ebm/default``, or ``results/ebm/default_002`` for a numbered run."""
    return Path(results) / tracker / (parameter if run is None else f"{parameter}_{run:03d}")


def sequence_files(folder: str | Path, name: str) -> SequenceFiles:
    """The files of the sequence in a run's folder."""
    folder = Path(folder)
    return SequenceFiles(
        boxes=folder / f"{name}.txt",
        times=folder / f"{name}_time.txt",
        scores=folder / f"{name}_object_presence_scores.txt",
        failure=folder / f"{name}_failed.txt",
    )


def boxes_text(boxes_xywh: Boxes, box_format: BoxFormat = BoxFormat.PRECISE) -> str:
    """One line per frame, the first included."""
    if box_format is BoxFormat.PYTRACKING:
        return "".join("\t".join(str(int(value)) for value in row) + "\n" for row in boxes_xywh.tolist())
    return "".join(f"{x:.3f},{y:.3f},{w:.3f},{h:.3f}\n" for x, y, w, h in boxes_xywh.tolist())


def write_result(
    folder: str | Path, name: str, record: TrackRecord, box_format: BoxFormat = BoxFormat.PRECISE
) -> None:
    """Writes times and scores, then the boxes: when those are there, the sequence is done. Each file is whole or
    absent. The record of an earlier failure goes."""
    files = sequence_files(folder, name)
    write_text_atomic(files.times, "".join(f"{seconds:.6f}\n" for seconds in record.seconds))
    write_text_atomic(files.scores, "".join(f"{score:.6f}\n" for score in record.scores))
    write_text_atomic(files.boxes, boxes_text(record.boxes_xywh, box_format))
    files.failure.unlink(missing_ok=True)


@dataclass(frozen=True)
class SequenceResult:
    """What one run says of one sequence. ``boxes_xywh``: (n, 4), rows with NaN where the file has them; ``seconds``:
    (n,) time of each frame, the first being the initialisation, or None when no times lie beside the boxes."""

    path: Path
    boxes_xywh: Boxes
    seconds: np.ndarray[tuple[int], np.dtype[np.float64]] | None = None


@dataclass(frozen=True)
class TrackerResults:
    """The runs of one tracker with one parameter. ``name``: for tables and legends."""

    name: str
    folders: tuple[Path, ...]


def find_results(path: str | Path, name: str | None = None) -> TrackerResults:
    """The runs at ``path``: that folder, or ``path_000``, ``path_001``, ... where there is no such folder.

    ``name``: None: the last two parts of the path, ``ebm default``. Raises ResultError when neither is there.
    """
    path = Path(path)
    name = name or f"{path.absolute().parent.name} {path.absolute().name}"
    if path.is_dir():
        return TrackerResults(name, (path,))
    folders = sorted(p for p in path.parent.glob(f"{glob_escape(path.name)}_[0-9][0-9][0-9]") if p.is_dir())
    if not folders:
        raise ResultError(f"there are no results {path}, nor runs {path}_000, {path}_001, ...")
    return TrackerResults(name, tuple(folders))


def glob_escape(name: str) -> str:
    """The name with the signs that have a meaning in patterns made plain."""
    return re.sub(r"([*?[])", r"[\1]", name)


def result_paths_of(folder: Path, sequence: TrackingSequence) -> list[Path]:
    """The box files of the sequence in one run's folder, in the layout of any toolkit; empty when there is none.

    ``<seq>.txt`` (pytracking, pysot, got10k for OTB-like sets), ``<seq>/<seq>_001.txt``, ``_002``, ... (got10k,
    one for each repetition), under the sequence's name or one of its aliases.
    """
    for stem in (sequence.name, *sequence.aliases):
        path = folder / f"{stem}.txt"
        if path.is_file():
            return [path]
        repetitions = sorted(folder.glob(f"{glob_escape(stem)}/{glob_escape(stem)}_[0-9][0-9][0-9].txt"))
        if repetitions:
            return repetitions
    return []


def read_result(path: Path) -> SequenceResult:
    """Reads boxes, separated by tabs, commas or blanks, and the times beside them.

    Raises ResultError, with file and line, for anything but rows of four numbers.
    """
    try:
        boxes = read_boxes(path)
    except AnnotationError as error:
        raise ResultError(str(error)) from error
    return SequenceResult(path, boxes, _read_seconds(path))


def _read_seconds(path: Path) -> np.ndarray[tuple[int], np.dtype[np.float64]] | None:
    times = path.with_name(f"{_RUN.sub('', path.stem)}_time.txt")
    if not times.is_file():
        times = path.with_name(f"{path.stem}_time.txt")
    try:
        rows: Sequence[str] = times.read_text(encoding="utf-8").splitlines()
        return np.array([float(re.split(r"[,\s]+", row.strip())[0]) for row in rows if row.strip()], np.float64)
    except (OSError, ValueError):  # times are optional
        return None
