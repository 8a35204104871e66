"""What is wrong with a data set, found before training does."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray

from ebm_tracker.errors import EbmError, VideoError, one_line
from ebm_tracker.training.data import coco, trackingnet
from ebm_tracker.training.data.decode import decode_image
from ebm_tracker.training.data.indexed_set import StoredFrames
from ebm_tracker.training.data.sequence import AnnotatedVideo, DataSetError, FrameReadError, Frames, SequenceSet

EXAMPLES = 3
# Flaws of the published sets, which their readers deal with: they say nothing about this copy.
_KNOWN_FLAWS = frozenset({coco.CROWD, coco.SMALL, coco.OUTSIDE, trackingnet.OUTSIDE})
_READ_ERRORS = (FrameReadError, DataSetError, VideoError, OSError)

T = TypeVar("T")


class Progress(Protocol):
    """Passes the items on and shows how far it is: ``rich.progress.track`` is one."""

    def __call__(self, items: Sequence[T], description: str) -> Iterable[T]: ...


@dataclass
class Finding:
    """``bad`` of ``looked_at``; ``examples``: the first few, a line each. ``fault``: it counts against the limit."""

    title: str
    looked_at: int = 0
    bad: int = 0
    examples: list[str] = field(default_factory=list)
    fault: bool = True

    def add(self, example: str) -> None:
        """One more bad one."""
        self.bad += 1
        if len(self.examples) < EXAMPLES:
            self.examples.append(example)

    @property
    def share(self) -> float:
        """0..1."""
        return self.bad / self.looked_at if self.looked_at else float(self.bad > 0)


@dataclass(frozen=True)
class Verification:
    """``facts``: counts for people, name -> number."""

    name: str
    facts: Mapping[str, int]
    findings: Sequence[Finding]

    def above(self, limit: float, is_share: bool) -> list[Finding]:
        """The faults of which there are more than ``limit``: a share of what was looked at, or a number."""
        return [f for f in self.findings if f.fault and (f.share if is_share else f.bad) > limit]


def _silent(items: Sequence[T], description: str) -> Iterable[T]:
    return items


def verify_set(
    checked: SequenceSet,
    images: int = 500,
    seed: int = 0,
    quick: bool = False,
    progress: Progress = _silent,
) -> Verification:
    """Walks a set: every sequence by its annotations and its last frame, and ``images`` frames by their pixels.

    The frames are drawn from all visible ones, the same for the same ``seed``. ``quick`` leaves out the last frames
    and what comes after them, which takes a file access per sequence.
    """
    frames, visible = checked.visible_counts()
    sequences = _walk(checked, quick or not checked.is_video, progress)
    sampled = _sample(checked, visible, images, np.random.default_rng(seed), progress)
    facts = {
        "sequences" if checked.is_video else "objects": len(checked),
        "frames": int(frames.sum()),
        "visible frames": int(visible.sum()),
        "frames decoded": sampled[0].looked_at,
    }
    return Verification(checked.name, facts, [*_left_out(checked), *sequences, *sampled])


def _left_out(checked: SequenceSet) -> Iterator[Finding]:
    """One for each reason; the notes that say which ones go to the first fault, as readers keep them in one list."""
    notes = list(getattr(checked, "notes", ()))
    reasons = sorted(checked.left_out.items(), key=lambda item: item[0] in _KNOWN_FLAWS)
    for i, (reason, count) in enumerate(reasons):
        fault = reason not in _KNOWN_FLAWS
        yield Finding(reason, len(checked) + count, count, notes[:EXAMPLES] if i == 0 else [], fault)


def _walk(checked: SequenceSet, quick: bool, progress: Progress) -> list[Finding]:
    closed = Finding("sequences that cannot be opened")
    lengths = Finding("more boxes than frames: the last frame is not there, or unreadable")
    longer = Finding("more frames than boxes")
    unseen = Finding("sequences without any visible frame")
    tiny = Finding("visible boxes with a side below 1 pixel")
    for i in progress(range(len(checked)), f"walking {checked.name}"):
        closed.looked_at += 1
        try:
            video = checked[i]
        except _READ_ERRORS as error:
            closed.add(one_line(error))
            continue
        unseen.looked_at += 1
        if not video.visible.any():
            unseen.add(video.name)
        _check_sides(video, tiny)
        if not quick:
            _check_length(video, lengths, longer)
    return [closed, lengths, longer, unseen, tiny]


def _check_sides(video: AnnotatedVideo, tiny: Finding) -> None:
    sides = video.boxes_xywh[video.visible][:, 2:].min(axis=1)
    tiny.looked_at += len(sides)
    bad = np.flatnonzero(~(sides >= 1))
    if len(bad):
        first = int(np.flatnonzero(video.visible)[bad[0]])
        tiny.add(f"{video.name}, frame {first}: {_text(video.boxes_xywh[first])}")
        tiny.bad += len(bad) - 1


def _check_length(video: AnnotatedVideo, lengths: Finding, longer: Finding) -> None:
    last = len(video.boxes_xywh) - 1
    lengths.looked_at += 1
    longer.looked_at += 1
    if len(video.frames) > last + 1 or _has_next(video.frames):
        longer.add(f"{video.name}: {last + 1} boxes, and there is a frame after the last of them")
    try:
        if isinstance(video.frames, StoredFrames):
            video.frames.store.read_bytes(video.frames.path(last))
        else:
            video.frames.read(last)
    except _READ_ERRORS as error:
        lengths.add(f"{video.name}: {one_line(error)}")


def _has_next(frames: Frames) -> bool:
    if not isinstance(frames, StoredFrames) or not frames.numbering:
        return False
    after = dataclasses.replace(frames, count=frames.count + 1)
    try:
        after.store.read_bytes(after.path(frames.count))
    except FrameReadError:
        return False
    return True


def _sample(
    checked: SequenceSet, visible: NDArray[np.int64], images: int, rng: np.random.Generator, progress: Progress
) -> list[Finding]:
    unreadable = Finding("frames that cannot be read (of those drawn)")
    outside = Finding("boxes with less than 1 pixel inside the frame (of those drawn)")
    beyond = Finding("boxes that leave the frame by more than half (of those drawn)", fault=False)
    ends = np.cumsum(visible)
    total = int(ends[-1]) if len(ends) else 0
    chosen: list[int] = sorted(rng.choice(total, size=min(images, total), replace=False).tolist()) if total else []
    for number in progress(chosen, "decoding frames"):
        i = int(np.searchsorted(ends, number, side="right"))
        unreadable.looked_at += 1
        try:
            video = checked[i]
            index = int(np.flatnonzero(video.visible)[number - int(ends[i] - visible[i])])
            height, width = video.frames.read(index).shape[:2]
        except (*_READ_ERRORS, IndexError) as error:
            unreadable.add(f"{checked.name} {i}: {one_line(error)}")
            continue
        x, y, w, h = (float(v) for v in video.boxes_xywh[index])
        inside_w, inside_h = min(x + w, width) - max(x, 0), min(y + h, height) - max(y, 0)
        outside.looked_at += 1
        beyond.looked_at += 1
        example = f"{video.name}, frame {index}: {_text(video.boxes_xywh[index])} in {width}x{height}"
        if not (inside_w >= min(w, 1) and inside_h >= min(h, 1)):
            outside.add(example)
        elif inside_w * inside_h < 0.5 * w * h:
            beyond.add(example)
    return [unreadable, outside, beyond]


def _text(box_xywh: NDArray[np.float32]) -> str:
    return ",".join(f"{float(v):g}" for v in box_xywh)


def verify_photos(root: Path, progress: Progress = _silent) -> Verification:
    """Checks folders of photos as ``ebm_tracker.training.photos`` reads them: ``root/ecssd`` and ``root/coco128``, or
    ``root`` itself in ECSSD's layout. Every file is decoded.

    Raises DataSetError when there is neither.
    """
    places: list[tuple[Path, Callable[[Path, Path, tuple[int, int]], bool]]] = []
    if (root / "images").is_dir():
        places.append((root, _check_mask))
    if (root / "ecssd").is_dir():
        places.append((root / "ecssd", _check_mask))
    if (root / "coco128").is_dir():
        places.append((root / "coco128", _check_labels))
    jobs = [(folder, path, check) for folder, check in places for path in sorted((folder / "images").glob("*.jpg"))]
    if not jobs:
        raise DataSetError(
            f"{root.absolute()} holds no photos: ecssd/images/*.jpg, coco128/images/*.jpg or images/*.jpg"
        )
    unreadable = Finding("photos that cannot be read")
    wrong = Finding("masks or labels that are missing, damaged or do not fit their photo")
    objects = 0
    for folder, path, check in progress(jobs, "reading photos"):
        unreadable.looked_at += 1
        wrong.looked_at += 1
        try:
            height, width = decode_image(path.read_bytes(), str(path)).shape[:2]
        except _READ_ERRORS as error:
            unreadable.add(one_line(error))
            continue
        try:
            objects += check(folder, path, (width, height))
        except (EbmError, OSError, ValueError) as error:
            wrong.add(one_line(error))
    facts = {
        "photos": len(jobs),
        "with objects": objects,
        "backgrounds": len(jobs) - objects - unreadable.bad - wrong.bad,
    }
    return Verification("photos", facts, [unreadable, wrong])


def _check_mask(folder: Path, photo: Path, size_wh: tuple[int, int]) -> bool:
    """Whether there is an object; raises ValueError or an error of reading when the mask is not right."""
    path = folder / "masks" / f"{photo.stem}.png"
    mask = decode_image(path.read_bytes(), str(path))
    if mask.shape[1::-1] != size_wh:
        raise ValueError(f"{path} is {mask.shape[1]}x{mask.shape[0]}, its photo {size_wh[0]}x{size_wh[1]}")
    return bool((mask > 127).any())


def _check_labels(folder: Path, photo: Path, size_wh: tuple[int, int]) -> bool:
    """As ``_check_mask``, for COCO128's text files, of which a photo without objects has none."""
    found = False
    for name, fits in (("seg_labels", lambda n: n >= 7 and n % 2 == 1), ("det_labels", lambda n: n == 5)):
        path = folder / name / f"{photo.stem}.txt"
        if not path.is_file():
            continue
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), start=1):
            try:
                values = [float(v) for v in line.split()]
            except ValueError:
                raise ValueError(f"{path}, line {number}: not only numbers") from None
            if not values:
                continue
            if not fits(len(values)) or min(values[1:]) < -0.01 or max(values[1:]) > 1.01:
                raise ValueError(f"{path}, line {number}: needs a class and fractions of the photo (got {line[:60]!r})")
            found = True
    return found
