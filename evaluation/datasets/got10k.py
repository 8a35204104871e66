r"""GOT-10k, val or test.

``<root>/<split>/list.txt`` names the sequences, one a line; ``<root>/<split>/<name>/`` holds ``%08d.jpg`` from 1,
``groundtruth.txt`` with a line "x,y,w,h" per frame (test: the first only), ``cover.label`` (0 to 8 a line: how much is
to be seen), ``absence.label`` and ``meta_info.ini``. The target is visible where cover is above 0, which is what the
benchmark judges; where that file is missing, where absence is 0. ``root`` may also be the split's folder itself.
(Huang et al., "GOT-10k: A Large High-Diversity Benchmark for Generic Object Tracking in the Wild", PAMI 2021.)
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ebm_tracker.annotations import Boxes
from ebm_tracker.evaluation.datasets.numbered import NumberedFrames
from ebm_tracker.evaluation.datasets.reading import Flags, Reading, first_box
from ebm_tracker.evaluation.sequences import TrackingSequence
from ebm_tracker.video import natural_key

COUNT = 180
FRAMES_PER_SECOND = 10.0
PATTERN = "%08d.jpg"
LABELS: Mapping[str, Callable[[Flags], NDArray[np.bool_]]] = {
    "cover.label": lambda cover: np.array(cover > 0),
    "absence.label": lambda absence: np.array(absence == 0),
}
"""File of labels -> where the target is visible; the first that is there counts."""
_RESOLUTION = re.compile(r"^\s*resolution\s*[:=]\s*\(?\s*(\d+)\s*[,x]\s*(\d+)", re.MULTILINE | re.IGNORECASE)


def got10k_layout(split: str) -> str:
    """What ``root`` should hold."""
    return f"{split}/list.txt and {split}/GOT-10k_{split.title()}_000001/00000001.jpg"


def open_got10k(reading: Reading, split: str) -> tuple[TrackingSequence, ...]:
    """The sequences of ``split``, "val" or "test", in the order of list.txt; all that are there without one."""
    home = reading.root / split if split in reading.names(reading.root) else reading.root
    names = _listed(reading, home, split)
    if len(names) not in (0, COUNT):
        reading.problems.append(f"{split}: {len(names)} of {COUNT} sequences in {home}")
    opened = (_open(reading, home, name, split) for name in names)
    return tuple(sequence for sequence in opened if sequence is not None)


def _listed(reading: Reading, home: Path, split: str) -> list[str]:
    start = f"GOT-10k_{split.title()}_"
    if (names := reading.listed(home / "list.txt")) is not None:
        return [name for name in names if name.startswith(start)]
    return sorted((name for name in reading.names(home) if name.startswith(start)), key=natural_key)


def _open(reading: Reading, home: Path, name: str, split: str) -> TrackingSequence | None:
    folder = home / name
    count = reading.count_images(name, folder, PATTERN, 1)
    path = folder / "groundtruth.txt"
    boxes = None if count is None else reading.truth(name, path)
    if boxes is None or count is None:
        return None
    truth: Boxes | None = boxes
    visible = None
    if not (split == "test" and len(boxes) == 1):
        label = next((file for file in LABELS if file in reading.names(folder)), None)
        flags = None if label is None else reading.flags(name, folder / label, len(boxes))
        if label is not None and flags is None:
            return None
        truth = reading.fit(name, path, boxes, count)
        count = 0 if truth is None else len(truth)
        visible = None if label is None or flags is None else LABELS[label](flags)[:count]
    if truth is None:
        return None
    return TrackingSequence(
        name,
        NumberedFrames(folder, PATTERN, 1, count, name, FRAMES_PER_SECOND),
        first_box(truth),
        truth,
        visible=visible,
        size_wh=_size_wh(reading, folder),
    )


def _size_wh(reading: Reading, folder: Path) -> tuple[int, int] | None:
    path = folder / "meta_info.ini"
    if path.name not in reading.names(folder):
        return None
    try:
        match = _RESOLUTION.search(path.read_text(encoding="utf-8-sig"))
    except (OSError, UnicodeDecodeError):
        return None
    return None if match is None else (int(match[1]), int(match[2]))
