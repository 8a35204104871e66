"""A folder of your own sequences: frames or videos, each with one ground-truth file."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ebm_tracker.annotations import TRUTH_FILE_NAMES, AnnotationError, find_truth_file, is_present, read_boxes
from ebm_tracker.errors import VideoError
from ebm_tracker.training.data.decode import decode_image
from ebm_tracker.training.data.sequence import AnnotatedVideo, DataSetError, FrameReadError, Frames
from ebm_tracker.training.data.video_frames import VideoFrames
from ebm_tracker.video import IMAGE_FOLDERS, images_in, natural_key

VIDEO_ENDINGS = frozenset({".mp4", ".m4v", ".mkv", ".avi", ".mov", ".webm", ".mpg", ".mpeg", ".ts", ".wmv"})


class ImageFrames:
    """Image files as frames, in the order given, turned as the camera's orientation tag asks."""

    def __init__(self, paths: Sequence[Path]) -> None:
        self.paths = tuple(paths)

    def __len__(self) -> int:
        return len(self.paths)

    def read(self, index: int) -> NDArray[np.uint8]:
        """(H, W, 3) uint8 RGB. Raises FrameReadError, naming the file."""
        path = self.paths[index]
        try:
            data = path.read_bytes()
        except OSError as error:
            raise FrameReadError(f"{path} cannot be read ({error.strerror})") from error
        return decode_image(data, str(path), apply_orientation=True)


class FolderSet:
    """Sequences of a folder, in natural order of their names. Each is

    - a sub-folder of images, or with them in its ``img`` or ``color`` folder, and ``groundtruth.txt`` (or
      ``groundtruth_rect.txt``) beside the images or in the sub-folder, or ``NAME.txt`` beside the sub-folder NAME;
    - or a video ``NAME.mp4`` (or another of VIDEO_ENDINGS) with ``NAME.txt`` beside it.

    The folder may also be one sequence itself, or the path that of a single video. One line of ground truth per
    frame, as ``ebm_tracker.annotations`` reads them: x,y,w,h or a polygon, NaN or a zero side where the object is not
    to be seen. Images sort by the numbers in their names. Where there are more frames than boxes or the other way
    round, the first ones are used.

    ``left_out`` counts what is not used, ``notes`` says which, one line each.

    Raises DataSetError when there is no sequence at all.
    """

    is_video = True

    def __init__(self, root: str | Path, name: str = "folder") -> None:
        self.root, self.name = Path(root), name
        if not self.root.exists():
            raise DataSetError(f"there is no folder of sequences {self.root.absolute()}")
        counts: Counter[str] = Counter()
        notes: list[str] = []

        def leave_out(reason: str, note: str) -> None:
            counts[reason] += 1
            notes.append(note)

        self._videos = [video for place in _places(self.root) if (video := _open(place, leave_out)) is not None]
        self.left_out: Mapping[str, int] = dict(counts)
        self.notes: tuple[str, ...] = tuple(notes)
        if not self._videos:
            reasons = "; ".join(notes[:3])
            raise DataSetError(
                f"{self.root.absolute()} holds no sequence: sub-folders of images with a {TRUTH_FILE_NAMES[0]}, or "
                f"videos NAME.mp4 with a NAME.txt" + (f" ({reasons})" if reasons else "")
            )

    def __len__(self) -> int:
        return len(self._videos)

    def __getitem__(self, index: int) -> AnnotatedVideo:
        return self._videos[index]

    def visible_counts(self) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Frames and visible frames of every sequence."""
        return (
            np.array([len(video.visible) for video in self._videos], dtype=np.int64),
            np.array([video.visible.sum() for video in self._videos], dtype=np.int64),
        )


@dataclass(frozen=True)
class _Place:
    """Where a sequence may be. ``images``: of its frames; empty: ``path`` is a video."""

    path: Path
    truth: Path | None
    images: tuple[Path, ...] = ()


def _places(root: Path) -> list[_Place]:
    if root.is_file():
        return [_video_place(root)]
    own = _image_place(root)
    if own is not None and own.images and own.truth is not None:
        return [own]
    found = []
    for path in sorted(root.iterdir(), key=lambda p: natural_key(p.name)):
        if path.name.startswith("."):
            continue
        if path.is_dir():
            place = _image_place(path)
            if place is not None:
                found.append(place)
        elif path.suffix.lower() in VIDEO_ENDINGS:
            found.append(_video_place(path))
    if not found and own is not None and own.images:
        found.append(own)  # so that what it lacks is named
    return found


def _video_place(path: Path) -> _Place:
    truth = path.with_suffix(".txt")
    return _Place(path, truth if truth.is_file() else None)


def _image_place(folder: Path) -> _Place | None:
    """None for a folder that has neither images nor ground truth."""
    beside = folder.parent / f"{folder.name}.txt"
    truth = find_truth_file(folder) or (beside if beside.is_file() else None)
    for home in (*(folder / name for name in IMAGE_FOLDERS), folder):
        images = images_in(home)
        if images:
            return _Place(folder, truth or find_truth_file(home), tuple(images))
    return None if truth is None else _Place(folder, truth)


def _open(place: _Place, leave_out: Callable[[str, str], None]) -> AnnotatedVideo | None:
    if place.truth is None:
        leave_out("no ground-truth file", f"{place.path}: no ground-truth file")
        return None
    if place.path.is_dir() and not place.images:
        leave_out("no frames", f"{place.path}: ground truth, but no images")
        return None
    try:
        boxes = read_boxes(place.truth)
        frames: Frames = ImageFrames(place.images) if place.images else VideoFrames(place.path)
    except AnnotationError as error:
        leave_out("ground truth that cannot be read", str(error))
        return None
    except VideoError as error:
        leave_out("videos that cannot be read", str(error))
        return None
    if isinstance(frames, VideoFrames) and len(boxes) != len(frames):
        frames.count()
    count = min(len(boxes), len(frames))
    if len(boxes) != len(frames):
        leave_out(
            "lengths that differ (the first frames are used)",
            f"{place.path}: {len(boxes)} boxes for {len(frames)} frames, the first {count} are used",
        )
    if not count:
        return None
    name = place.path.resolve().name if place.path.is_dir() else place.path.stem
    with np.errstate(over="ignore"):  # an absurd number becomes infinite, and its frame not visible
        boxes_xywh = boxes[:count].astype(np.float32)
    return AnnotatedVideo(name, frames, boxes_xywh, is_present(boxes_xywh.astype(np.float64)))
