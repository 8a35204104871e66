r"""VOT short-term sets, as VOT2018's: a folder of sequences.

``<root>/list.txt`` names them, one a line; ``<root>/<name>/color/%08d.jpg`` (older downloads: the images directly),
``groundtruth.txt`` with the 8 numbers of a polygon or the 4 of a box a line, ``<attribute>.tag`` or ``.label`` with a
0 or 1 per frame, and ``sequence`` with lines "key=value". A polygon becomes the smallest upright box around it.
(Kristan et al., "The sixth Visual Object Tracking VOT2018 challenge results", ECCV Workshops 2018.)
"""

from __future__ import annotations

import math
from pathlib import Path

from ebm_tracker.annotations import split_numbers
from ebm_tracker.evaluation.datasets.folder import image_place, open_place
from ebm_tracker.evaluation.datasets.reading import Reading
from ebm_tracker.evaluation.sequences import TrackingSequence
from ebm_tracker.video import DEFAULT_FPS, natural_key

LAYOUT = "list.txt and, for each name in it, <name>/color/00000001.jpg and <name>/groundtruth.txt"
_TAG_ENDINGS = (".tag", ".label")


def open_vot(reading: Reading) -> tuple[TrackingSequence, ...]:
    """The sequences in the order of list.txt; without one all that are there, by name. A workspace of the
    vot-toolkit, which has them in its folder ``sequences``, will do as well.

    ``attributes``: the tags that are set in at least one frame.
    """
    root = reading.root
    inner = root / "sequences"
    home = inner if "list.txt" not in reading.names(root) and reading.names(inner) else root
    opened = (_open(reading, home, name) for name in _listed(reading, home))
    return tuple(sequence for sequence in opened if sequence is not None)


def _listed(reading: Reading, home: Path) -> list[str]:
    if (names := reading.listed(home / "list.txt")) is not None:
        return names
    folders = (name for name in reading.names(home) if "groundtruth.txt" in reading.names(home / name))
    return sorted(folders, key=natural_key)


def _open(reading: Reading, home: Path, name: str) -> TrackingSequence | None:
    place = image_place(reading, home / name)
    if place is None:
        reading.leave_out(name, f"there is no folder {home / name}, or neither images nor ground truth in it")
        return None
    if not reading.images(home / name if place.images is None else place.images):
        reading.leave_out(name, f"0 images in {home / name}")
        return None
    return open_place(reading, place, _tags(reading, name, home / name), _frames_per_second(reading, home / name))


def _tags(reading: Reading, name: str, folder: Path) -> tuple[str, ...]:
    found = []
    for file in sorted(reading.names(folder)):
        path = folder / file
        if path.suffix not in _TAG_ENDINGS:
            continue
        try:
            is_set = any(split_numbers(path.read_text(encoding="utf-8-sig")))
        except (OSError, ValueError):
            reading.note(f"{name}: {path} must hold one number per frame; it is used without that tag")
            continue
        if is_set:
            found.append(path.stem)
    return tuple(found)


def _frames_per_second(reading: Reading, folder: Path) -> float:
    """Of the metadata; where they say nothing usable, the default: it only paces videos."""
    if "sequence" not in reading.names(folder):
        return DEFAULT_FPS
    try:
        lines = (folder / "sequence").read_text(encoding="utf-8-sig").splitlines()
        values = dict(line.split("=", 1) for line in lines if "=" in line)
        pace = float(values.get("fps", DEFAULT_FPS))
    except (OSError, ValueError):
        return DEFAULT_FPS
    return pace if math.isfinite(pace) and pace > 0 else DEFAULT_FPS
