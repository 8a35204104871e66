"""Your own sequences: a folder of them, a single one, or one video."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from ebm_tracker.annotations import TRUTH_FILE_NAMES, Boxes
from ebm_tracker.errors import VideoError
from ebm_tracker.evaluation.datasets.numbered import ListedFrames
from ebm_tracker.evaluation.datasets.reading import Reading, first_box
from ebm_tracker.evaluation.sequences import TrackingSequence
from ebm_tracker.video import DEFAULT_FPS, IMAGE_FOLDERS, FrameSource, VideoFile, natural_key

VIDEO_ENDINGS = frozenset({".mp4", ".m4v", ".mkv", ".avi", ".mov", ".webm", ".mpg", ".mpeg", ".ts", ".wmv"})
_NUMBERED = re.compile(r"(.*?)(\d+)(\.\w+)")
LAYOUT = "folders of images with groundtruth.txt, or videos NAME.mp4 with NAME.txt"


@dataclass(frozen=True)
class Place:
    """Where a sequence lies. ``images``: the folder of its images; None: ``path`` is a video."""

    name: str
    path: Path
    truth: Path | None
    images: Path | None = None


def open_folder(reading: Reading) -> tuple[TrackingSequence, ...]:
    """The sequences of ``root`` in natural order of their names. Each is

    - a sub-folder of images, or with them in its ``img`` or ``color`` folder, and ``groundtruth.txt`` or
      ``groundtruth_rect.txt`` in it or beside the images, or ``NAME.txt`` beside the sub-folder NAME;
    - or a video ``NAME.mp4`` (or another of VIDEO_ENDINGS) with ``NAME.txt`` beside it.

    The root may also be one sequence itself. Images sort by the numbers in their names. One line of truth per frame:
    x,y,w,h or a polygon, NaN or a side of 0 where the target is not to be seen; a single line is the first box of a
    sequence whose truth is not known.
    """
    own = image_place(reading, reading.root)
    if own is not None and own.truth is not None and own.images is not None:
        places = [own]
    else:
        found = (_place(reading, name) for name in sorted(reading.names(reading.root), key=natural_key))
        places = [place for place in found if place is not None]
    if not places and own is not None:
        places = [own]  # so that what it lacks is named
    taken: dict[str, Place] = {}
    for place in places:
        if taken.setdefault(place.name, place) is not place:
            reading.leave_out(place.name, f"{place.path} and {taken[place.name].path} have the same name")
    opened = (open_place(reading, place) for place in taken.values())
    return tuple(sequence for sequence in opened if sequence is not None)


def open_video(path: Path, reading: Reading) -> tuple[TrackingSequence, ...]:
    """The one sequence of a video with its truth beside it."""
    sequence = open_place(reading, _video_place(path))
    return () if sequence is None else (sequence,)


def is_video(path: Path) -> bool:
    """Whether it is named like a video file."""
    return path.suffix.lower() in VIDEO_ENDINGS


def missing_between(names: Sequence[str]) -> list[str]:
    """The names that a hole in the numbering leaves out: ["1.jpg", "3.jpg"] -> ["2.jpg"].

    Empty where the names are not numbers of one form, or where most would be missing: then they count otherwise.
    """
    parts = [_NUMBERED.fullmatch(name) for name in names]
    kinds = {(part[1], part[3]) for part in parts if part is not None}
    if len(kinds) != 1 or None in parts:
        return []
    (before, after), digits = kinds.pop(), [part[2] for part in parts if part is not None]
    numbers = sorted(map(int, digits))
    if numbers[-1] - numbers[0] >= 2 * len(numbers):
        return []
    width = len(digits[0]) if len(set(map(len, digits))) == 1 else 0
    there = set(numbers)
    return [f"{before}{n:0{width}d}{after}" for n in range(numbers[0], numbers[-1]) if n not in there]


def _place(reading: Reading, name: str) -> Place | None:
    path = reading.root / name
    if is_video(path) and path.is_file():
        return _video_place(path)
    return image_place(reading, path)


def _video_place(path: Path) -> Place:
    truth = path.with_suffix(".txt")
    return Place(path.stem, path, truth if truth.is_file() else None)


def image_place(reading: Reading, folder: Path) -> Place | None:
    """None for something that has neither images nor ground truth."""
    home = next((f for f in (*(folder / n for n in IMAGE_FOLDERS), folder) if reading.images(f)), None)
    inside = [f / n for f in (folder, *([home] if home else [])) for n in TRUTH_FILE_NAMES if n in reading.names(f)]
    beside = folder.parent / f"{folder.name}.txt"
    truth = inside[0] if inside else (beside if reading.names(folder) and beside.is_file() else None)
    if home is None and not inside:
        return None
    return Place(folder.resolve().name, folder, truth, home or folder)


def _truth_names(place: Place) -> str:
    """What a file with the ground truth may be called."""
    if place.images is None:
        return f"it is looked for in {place.path.with_suffix('.txt').name} beside it"
    return f"it is looked for in {' and '.join(TRUTH_FILE_NAMES)} in it and in {place.path.name}.txt beside it"


def open_place(
    reading: Reading, place: Place, attributes: tuple[str, ...] = (), frames_per_second: float = DEFAULT_FPS
) -> TrackingSequence | None:
    """The sequence; None, with a sentence, when something is missing or unreadable."""
    if place.truth is None:
        reading.leave_out(place.name, f"no ground truth of {place.path}: {_truth_names(place)}")
        return None
    truth = reading.truth(place.name, place.truth)
    if truth is None:
        return None
    frames: FrameSource
    if place.images is None:
        try:
            frames = VideoFile(place.path)
        except VideoError as error:
            reading.leave_out(place.name, str(error))
            return None
        # A container's count is a promise, not a fact, so nothing is cut by it.
        if frames.frame_count not in (None, len(truth)) and len(truth) > 1:
            reading.note(
                f"{place.name}: {place.truth} has {len(truth):,} boxes for about {frames.frame_count:,} frames; the"
                " first of both are compared"
            )
        return TrackingSequence(place.name, frames, first_box(truth), truth, attributes=attributes)
    images = reading.images(place.images)
    missing = missing_between(images)
    if missing and len(truth) == len(images) + len(missing):
        # The rows count the missing images as well, so row n stays with image n.
        images = sorted([*images, *missing], key=natural_key)
        few = f"{', '.join(missing[:3])}{' ...' if len(missing) > 3 else ''}"
        reading.note(f"{place.name}: {len(missing):,} of {len(images):,} images are missing in {place.images} ({few})")
    fitted: Boxes | None = truth
    if len(truth) > 1 or len(images) <= 1:
        fitted = reading.fit(place.name, place.truth, truth, len(images))
        images = images[: 0 if fitted is None else len(fitted)]
    if fitted is None:
        return None
    frames = ListedFrames(place.images, images, place.name, frames_per_second)
    return TrackingSequence(place.name, frames, first_box(fitted), fitted, attributes=attributes)
