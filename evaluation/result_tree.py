"""The tree of result files: ``<results>/<tracker>/<parameter>[_<run>]/<sequence>.txt``, as pytracking has it, and
the folders of other toolkits read in their own.

Times lie beside the boxes in ``<sequence>_time.txt``, scores in ``<sequence>_object_presence_scores.txt``, and what
went wrong in ``<sequence>_failed.txt``.
"""

from __future__ import annotations

import re
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ebm_tracker.annotations import AnnotationError, Boxes, parse_boxes, split_numbers
from ebm_tracker.errors import EbmError
from ebm_tracker.evaluation.results import TrackRecord
from ebm_tracker.evaluation.sequences import BoxXYWH, TrackingSequence
from ebm_tracker.files import write_text_atomic

# Below a tracker's folder, where pysot and the vot toolkit keep the files of an experiment.
_EXPERIMENTS = ("baseline", "longterm", "unsupervised")
_REPETITION = re.compile(r"(.+)_(\d{3})")
# A line of one number in results of VOT, with or without decimals: initialised, failed, skipped.
_VOT_CODE = re.compile(r"[012](\.0*)?")


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
    """The files of the sequence in a run's folder. Raises ResultError for a name that would lead out of it."""
    folder = Path(folder)
    if not name or name in (".", "..") or re.search(r"[/\\\0]", name):
        raise ResultError(f"a sequence's name must be the name of a file (got {name!r})")
    return SequenceFiles(
        boxes=folder / f"{name}.txt",
        times=folder / f"{name}_time.txt",
        scores=folder / f"{name}_object_presence_scores.txt",
        failure=folder / f"{name}_failed.txt",
    )


def boxes_text(boxes_xywh: Boxes, box_format: BoxFormat = BoxFormat.PRECISE) -> str:
    """One line per frame, the first included. Raises ResultError for numbers that are not finite."""
    bad = np.flatnonzero(~np.isfinite(boxes_xywh).all(axis=1))
    if bad.size:
        raise ResultError(f"the box of frame {bad[0]} is not finite ({boxes_xywh[bad[0]].tolist()})")
    if box_format is BoxFormat.PYTRACKING:
        return "".join("\t".join(str(int(value)) for value in row) + "\n" for row in boxes_xywh.tolist())
    return "".join(f"{x:.3f},{y:.3f},{w:.3f},{h:.3f}\n" for x, y, w, h in boxes_xywh.tolist())


def write_result(
    folder: str | Path, name: str, record: TrackRecord, box_format: BoxFormat = BoxFormat.PRECISE
) -> None:
    """Writes times and scores, then the boxes: when those are there, the sequence is done. Each file is whole or
    absent. The record of an earlier failure goes.

    Raises ResultError, before anything is written, for a box that is not finite.
    """
    files = sequence_files(folder, name)
    boxes = boxes_text(record.boxes_xywh, box_format)
    write_text_atomic(files.times, "".join(f"{seconds:.6f}\n" for seconds in record.seconds))
    write_text_atomic(files.scores, "".join(f"{score:.6f}\n" for score in record.scores))
    write_text_atomic(files.boxes, boxes)
    files.failure.unlink(missing_ok=True)


def write_object_results(
    folder: str | Path, name: str, records: Mapping[Hashable, TrackRecord], box_format: BoxFormat = BoxFormat.PRECISE
) -> None:
    """Writes a sequence with several objects as pytracking names it: ``<sequence>_<id>.txt`` and so on, a row for each
    frame in which the object was present.

    Raises ResultError, before anything is written, for a box that is not finite or an id that cannot name a file.
    """
    for object_id, record in records.items():
        sequence_files(folder, f"{name}_{object_id}")
        boxes_text(record.boxes_xywh, box_format)
    for object_id, record in records.items():
        write_result(folder, f"{name}_{object_id}", record, box_format)


@dataclass(frozen=True)
class SequenceResult:
    """What one run says of one sequence.

    Attributes:
        path: the file of the boxes.
        boxes_xywh: (n, 4), n >= 1, rows with NaN where the file has them.
        seconds: (n,) time of each frame, the first being the initialisation; None when no times lie beside the
            boxes, or unusable ones.
        times_problem: one sentence on unusable times; else None.
    """

    path: Path
    boxes_xywh: Boxes
    seconds: NDArray[np.float64] | None = None
    times_problem: str | None = None


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

    ``<seq>.txt`` (pytracking; pysot and got10k for OTB-like sets), ``<seq>/<seq>_001.txt``, ``_002``, ... (GOT-10k
    by got10k and pysot, one for each repetition), ``baseline/<seq>/<seq>_001.txt`` (VOT by pysot), under the
    sequence's name or one of its aliases; upper and lower case are told apart only where it decides.
    """
    return box_files_of(folder, (sequence.name, *sequence.aliases))


def box_files_of(folder: Path, stems: Sequence[str]) -> list[Path]:
    """As ``result_paths_of``, for a sequence that goes by any of these names, the likeliest first."""
    for stem in stems:
        for found in (folder / f"{stem}.txt", *(folder / experiment / stem for experiment in ("", *_EXPERIMENTS))):
            paths = _box_files(found)
            if paths:
                return paths
    wanted = {stem.lower() for stem in stems}
    for parent in (folder, *(folder / experiment for experiment in _EXPERIMENTS)):
        for found in sorted(parent.iterdir()) if parent.is_dir() else ():
            if found.name.lower() in wanted or (found.suffix == ".txt" and found.stem.lower() in wanted):
                paths = _box_files(found)
                if paths:
                    return paths
    return []


def _box_files(path: Path) -> list[Path]:
    """The file itself, or the repetitions in the folder of a sequence."""
    if path.suffix == ".txt" and path.is_file():
        return [path]
    return sorted(path.glob(f"{glob_escape(path.name)}_[0-9][0-9][0-9].txt"))


def read_result(path: Path, init_box_xywh: BoxXYWH | None = None) -> SequenceResult:
    """Reads boxes, separated by tabs, commas or blanks, and the times that belong to them.

    ``init_box_xywh``: what stands for a first line that is VOT's code for an initialisation, a lone 1; without it
    such a file is refused.

    Raises ResultError, with file and line, for anything but rows of four numbers (or eight, of a polygon).
    """
    try:
        text = path.read_bytes().decode("utf-8-sig")
    except OSError as error:
        raise ResultError(f"{path} cannot be read ({error.strerror})") from error
    except UnicodeDecodeError:
        raise ResultError(f"{path} is not a text file") from None
    code, _, rest = text.partition("\n")
    if init_box_xywh is not None and _VOT_CODE.fullmatch(code.strip()) and float(code) == 1:
        text = ",".join(map(repr, map(float, init_box_xywh))) + "\n" + rest
    try:
        boxes = parse_boxes(text, str(path))
    except AnnotationError as error:
        raise ResultError(_with_vot_codes(str(error), path, text)) from error
    if not len(boxes):
        raise ResultError(f"{path} holds no box")
    if np.isinf(boxes).any():
        raise ResultError(f"{path}, frame {np.flatnonzero(np.isinf(boxes).any(axis=1))[0]}: a number is infinite")
    seconds, problem = _read_seconds(path)
    return SequenceResult(path, boxes, seconds, problem)


def _with_vot_codes(message: str, path: Path, text: str) -> str:
    for number, line in enumerate(text.splitlines(), start=1):
        if _VOT_CODE.fullmatch(line.strip()):
            return (
                f"{path}, line {number}: {line.strip()} is one of VOT's codes, of an experiment that starts the "
                "tracker again: only the vot toolkit can score it"
            )
    return message


def _read_seconds(path: Path) -> tuple[NDArray[np.float64] | None, str | None]:
    """The times of the box file, or None and what is wrong with them if there are any."""
    for times, column in _times_of(path):
        if not times.is_file():
            continue
        try:
            rows = [split_numbers(line) for line in times.read_text(encoding="utf-8-sig").splitlines()]
            # A single column serves all repetitions: pytracking's packer keeps one.
            seconds = np.array([row[column if column < len(row) else 0] for row in rows if row], np.float64)
        except (OSError, ValueError):
            return None, f"{times} cannot be read as times, so they are not used"
        if not np.isfinite(seconds).all() or (seconds < 0).any():
            return None, f"{times} holds times that are not finite or below 0, so they are not used"
        return (seconds, None) if seconds.size else (None, None)
    return None, None


def _times_of(path: Path) -> list[tuple[Path, int]]:
    """Where the times of the box file may lie, and in which column, counted from 0."""
    places = [(path.with_name(f"{path.stem}_time.txt"), 0), (path.parent / "times" / f"{path.stem}_time.txt", 0)]
    repetition = _REPETITION.fullmatch(path.stem)
    if repetition and repetition[1] == path.parent.name:
        places.append((path.with_name(f"{repetition[1]}_time.txt"), int(repetition[2]) - 1))
    return places
