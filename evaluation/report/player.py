"""The player's data: a script file for each sequence, with its boxes, overlaps and where its frames are."""

from __future__ import annotations

import json
import os
import re
import shutil
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import Any
from urllib.parse import quote

import numpy as np
from PIL import Image

from ebm_tracker.annotations import Boxes, is_present
from ebm_tracker.errors import EbmError
from ebm_tracker.evaluation.metrics import overlaps
from ebm_tracker.evaluation.result_tree import TrackerResults, read_result, result_paths_of
from ebm_tracker.evaluation.sequences import TrackingSequence
from ebm_tracker.files import atomic_path, write_text_atomic
from ebm_tracker.frames import RgbFrame

FOLDER = "player"
COPY_SIDE = 640
"""Longest side of copied frames, pixels."""
_BROWSER_ENDINGS = frozenset({".jpg", ".jpeg", ".png", ".bmp", ".webp"})


class FrameUse(Enum):
    """What the player shows below the boxes."""

    LINK = "link"
    """The images where they lie; those of videos and of kinds that browsers do not show are copied."""
    COPY = "copy"
    """Reduced copies beside the page, which can then be moved and sent."""
    NONE = "none"
    """Nothing."""


@dataclass(frozen=True)
class FrameFiles:
    """Frames as the page refers to them.

    Attributes:
        base: URL of their folder, with a slash at its end, or "".
        names: URLs relative to ``base``, None for frames that could not be decoded; empty: no frames are shown.
        scale: size of the images over the size of the frames that the boxes refer to.
    """

    base: str = ""
    names: tuple[str | None, ...] = ()
    scale: float = 1.0


def file_stem(index: int, name: str) -> str:
    """A name for files that every file system takes, different for every sequence: ``003_car1_s``."""
    return f"{index:03d}_{re.sub(r'[^A-Za-z0-9.-]+', '_', name)[:60].strip('_.') or 'sequence'}"


def write_player_sequence(
    sequence: TrackingSequence,
    results: Sequence[TrackerResults],
    out: Path,
    index: int,
    use: FrameUse,
    on_frame: Callable[[int], None] | None = None,
) -> str:
    """Writes the script file of a sequence, and copies of its frames where need be.

    Args:
        sequence: what was tracked.
        results: of the trackers; the first run that can be read is shown, a tracker without one has no boxes.
        out: folder of the page.
        index: number of the sequence on the page.
        use: of the frames.
        on_frame: told how many frames have been copied.

    Returns:
        URL of the script file, relative to the page.
    """
    folder = out / FOLDER
    folder.mkdir(parents=True, exist_ok=True)
    stem = file_stem(index, sequence.name)
    frames = frame_files(sequence, out, stem, use, on_frame)
    content = player_content(sequence, [boxes_of(found, sequence) for found in results], frames)
    content["id"] = index
    # ASCII with every sign that could end the script escaped by JSON itself.
    write_text_atomic(folder / f"{stem}.js", f"ebmSequence({json.dumps(content, separators=(',', ':'))});\n")
    return f"{FOLDER}/{quote(stem)}.js"


def boxes_of(results: TrackerResults, sequence: TrackingSequence) -> Boxes | None:
    """The boxes of the first run that has readable ones."""
    for folder in results.folders:
        for path in result_paths_of(folder, sequence):
            try:
                return read_result(path, sequence.init_box_xywh).boxes_xywh
            except EbmError:
                continue  # scoring has put it on the list of problems
    return None


def player_content(sequence: TrackingSequence, boxes: Sequence[Boxes | None], frames: FrameFiles) -> dict[str, Any]:
    """What the script hands to the page: boxes as flat lists x, y, w, h, ... with null for absent ones, overlaps for
    each frame of each tracker, null where there is no true box."""
    truth = sequence.truth_xywh
    counts = [len(frames.names), *(len(one) for one in boxes if one is not None)]
    known = truth is not None and len(truth) > 1
    count = max(*counts, len(truth) if truth is not None and known else 0)
    shown = None
    if truth is not None:
        present = is_present(truth)
        if sequence.visible is not None and len(sequence.visible) == len(truth):
            present &= sequence.visible
        shown = np.where(present[:, None], truth, np.nan)
    return {
        "name": sequence.name,
        "count": count,
        "fps": sequence.frames.frames_per_second,
        "base": frames.base,
        "images": list(frames.names),
        "scale": frames.scale,
        "size": _size_of(sequence),
        "truth": None if shown is None else _flat(shown),
        "boxes": [None if one is None else _flat(one) for one in boxes],
        "overlaps": [_overlaps(one, shown) if known else None for one in boxes],
    }


def _size_of(sequence: TrackingSequence) -> list[int] | None:
    size = sequence.size_wh or getattr(sequence.frames, "size_wh", None)
    return None if size is None else [int(side) for side in size]


def _flat(boxes_xywh: Boxes) -> list[float | None]:
    return _numbers(boxes_xywh.reshape(-1), 1)


def _overlaps(boxes_xywh: Boxes | None, truth_xywh: Boxes | None) -> list[float | None] | None:
    if boxes_xywh is None or truth_xywh is None:
        return None
    n = min(len(boxes_xywh), len(truth_xywh))
    overlap = overlaps(boxes_xywh[:n], truth_xywh[:n])
    return _numbers(np.where(np.isnan(truth_xywh[:n]).any(axis=1), np.nan, overlap), 3)


def _numbers(values: Iterable[float], decimals: int) -> list[float | None]:
    rounded = np.round(np.asarray(values, np.float64), decimals)
    return [(int(value) if value.is_integer() else value) if np.isfinite(value) else None for value in rounded.tolist()]


def frame_files(
    sequence: TrackingSequence,
    out: Path,
    stem: str,
    use: FrameUse,
    on_frame: Callable[[int], None] | None = None,
) -> FrameFiles:
    """Where the page finds the frames; copies them to ``player/<stem>`` if need be."""
    if use is FrameUse.NONE:
        return FrameFiles()
    paths: Sequence[Path] = getattr(sequence.frames, "paths", ())
    if use is FrameUse.LINK and paths and all(path.suffix.lower() in _BROWSER_ENDINGS for path in paths):
        return _linked(paths, out)
    return _copied(sequence, out, stem, on_frame)


def _linked(paths: Sequence[Path], out: Path) -> FrameFiles:
    parents = {path.parent for path in paths}
    if len(parents) == 1:
        names = tuple(quote(os.fsencode(path.name)) for path in paths)
        return FrameFiles(f"{relative_url(parents.pop(), out)}/", names)
    return FrameFiles("", tuple(relative_url(path, out) for path in paths))


def relative_url(path: Path, page_folder: Path) -> str:
    """The path as a URL relative to a page in that folder; an absolute one where they share no drive."""
    # Not resolved: a browser joins ".." by the letters of the address, as relpath does.
    try:
        relative = Path(os.path.relpath(path.absolute(), page_folder.absolute()))
        return quote(os.fsencode(relative.as_posix()))  # names need not be UTF-8
    except ValueError:
        return path.absolute().as_uri()


def _copied(sequence: TrackingSequence, out: Path, stem: str, on_frame: Callable[[int], None] | None) -> FrameFiles:
    folder = out / FOLDER / stem
    # Of an earlier report, maybe over another sequence.
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    names: list[str | None] = []
    scale = 1.0
    for frame in sequence.frames:
        if frame is None:
            names.append(None)
        else:
            if not any(names):
                scale = min(1.0, COPY_SIDE / max(frame.shape[:2]))
            names.append(f"{len(names):06d}.jpg")
            _write_reduced(frame, scale, folder / f"{len(names) - 1:06d}.jpg")
        if on_frame is not None:
            on_frame(len(names))
    return FrameFiles(f"{FOLDER}/{quote(stem)}/", tuple(names), scale)


def _write_reduced(frame: RgbFrame, scale: float, path: Path) -> None:
    height, width = frame.shape[:2]
    picture = Image.fromarray(frame)
    if scale < 1:
        picture = picture.resize((max(round(width * scale), 1), max(round(height * scale), 1)), Image.Resampling.BOX)
    with atomic_path(path) as part:
        picture.save(part, quality=82)
