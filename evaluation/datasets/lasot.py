r"""LaSOT, the official test split or the rest.

``<root>/<class>/<class>-<n>/`` (some downloads drop the class level) with ``img/%08d.jpg`` from 1,
``groundtruth.txt`` with a line "x,y,w,h" per frame, and ``full_occlusion.txt`` and ``out_of_view.txt``, each one line
of 0 and 1. The target is visible where both are 0.
(Fan et al., "LaSOT: A High-quality Benchmark for Large-scale Single Object Tracking", CVPR 2019.)
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ebm_tracker.evaluation.datasets.attributes import LASOT_ORDER, read_flags
from ebm_tracker.evaluation.datasets.numbered import NumberedFrames
from ebm_tracker.evaluation.datasets.reading import Reading, first_box
from ebm_tracker.evaluation.sequences import TrackingSequence

LAYOUT = "airplane/airplane-1 or airplane-1, with img/00000001.jpg, groundtruth.txt and two files of flags"
FRAMES_PER_SECOND = 30.0
PATTERN = "%08d.jpg"
FLAG_FILES = ("full_occlusion.txt", "out_of_view.txt")


def open_lasot(reading: Reading, names: Sequence[str]) -> tuple[TrackingSequence, ...]:
    """Those of the named sequences that are there and whole, in the order of the names."""
    opened = (_open(reading, name) for name in names)
    return tuple(sequence for sequence in opened if sequence is not None)


def _open(reading: Reading, name: str) -> TrackingSequence | None:
    by_class = reading.root / name.rpartition("-")[0] / name
    home = by_class if reading.names(by_class) else reading.root / name
    if not reading.names(home):
        packed = f"{name.rpartition('-')[0]}.zip"
        hint = f"; unpack {packed}" if packed in reading.names(reading.root) else ""
        reading.leave_out(name, f"there is no folder {by_class} or {home.name} in {reading.root}{hint}")
        return None
    count = reading.count_images(name, home / "img", PATTERN, 1)
    path = home / "groundtruth.txt"
    boxes = None if count is None else reading.truth(name, path)
    if boxes is None or count is None:
        return None
    visible = _visible(reading, name, home, len(boxes))
    truth = None if visible is None else reading.fit(name, path, boxes, count)
    if truth is None or visible is None:
        return None
    return TrackingSequence(
        name,
        NumberedFrames(home / "img", PATTERN, 1, len(truth), name, FRAMES_PER_SECOND),
        first_box(truth),
        truth,
        visible=visible[: len(truth)],
        attributes=_attributes(reading, name),
    )


def _visible(reading: Reading, name: str, home: Path, count: int) -> NDArray[np.bool_] | None:
    flags = [reading.flags(name, home / file, count) for file in FLAG_FILES]
    there = [values == 0 for values in flags if values is not None]
    return np.logical_and(*there) if len(there) == len(flags) else None


def _attributes(reading: Reading, name: str) -> tuple[str, ...]:
    for folder in (reading.root / "annos" / "att", reading.root / "att"):
        if found := read_flags(reading, name, folder / f"{name}.txt", LASOT_ORDER):
            return found
    return ()
