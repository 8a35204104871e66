r"""TrackingNet: the test set, whose truth only the server knows, or sets of the training part for an estimate.

``<root>/TEST/frames/<video>/<i>.jpg`` numbered from 0 without leading zeros and ``<root>/TEST/anno/<video>.txt``, one
line "x,y,w,h" with the first box; ``TRAIN_0`` to ``TRAIN_11`` likewise, with a line per frame.
(Müller et al., "TrackingNet: A Large-Scale Dataset and Benchmark for Object Tracking in the Wild", ECCV 2018.)
"""

from __future__ import annotations

from collections.abc import Sequence

from ebm_tracker.annotations import Boxes
from ebm_tracker.evaluation.datasets.numbered import NumberedFrames
from ebm_tracker.evaluation.datasets.reading import Reading, first_box
from ebm_tracker.evaluation.sequences import TrackingSequence

TEST_COUNT = 511
TEST_LAYOUT = "TEST/frames/<video>/0.jpg and TEST/anno/<video>.txt"
TRAIN_LAYOUT = "TRAIN_<set>/frames/<video>/0.jpg and TRAIN_<set>/anno/<video>.txt"
TRAIN_SETS = tuple(range(12))
HELD_OUT_SETS = (11,)
"""What the usual training leaves out, so that a tracker may be judged by it."""
PATTERN = "%d.jpg"
FRAMES_PER_SECOND = 30.0


def open_trackingnet_test(reading: Reading) -> tuple[TrackingSequence, ...]:
    """The 511 videos, those that are there, by name. ``truth_xywh`` is the one box that is public.

    ``root`` may also be the folder TEST itself.
    """
    folder = "TEST" if "TEST" in reading.names(reading.root) else ""
    videos = _open_set(reading, folder, is_secret=True)
    annotations = reading.root / folder / "anno"
    listed = sum(1 for name in reading.names(annotations) if _is_truth(name))
    if listed not in (0, TEST_COUNT):
        reading.problems.append(f"TEST: {listed} of {TEST_COUNT} files in {annotations}")
    return videos


def open_trackingnet_train(reading: Reading, sets: Sequence[int] = HELD_OUT_SETS) -> tuple[TrackingSequence, ...]:
    """The videos of the sets TRAIN_<k>, set by set, by name within a set. Raises ValueError for sets that are not
    different numbers of 0 to 11."""
    if not sets or len(set(sets)) < len(sets) or not set(sets) <= set(TRAIN_SETS):
        raise ValueError(f"sets must be different numbers of 0 to {TRAIN_SETS[-1]} (got {list(sets)})")
    return tuple(video for k in sets for video in _open_set(reading, f"TRAIN_{k}", is_secret=False))


def _open_set(reading: Reading, folder: str, is_secret: bool) -> tuple[TrackingSequence, ...]:
    annotations = reading.root / folder / "anno"
    names = sorted(name.removesuffix(".txt") for name in reading.names(annotations) if _is_truth(name))
    if not names:
        reading.leave_out(folder or reading.root.name, f"there is no folder {annotations}, or no <video>.txt in it")
    opened = (_open(reading, folder, name, is_secret) for name in names)
    return tuple(sequence for sequence in opened if sequence is not None)


def _is_truth(name: str) -> bool:
    return name.endswith(".txt")


def _open(reading: Reading, folder: str, name: str, is_secret: bool) -> TrackingSequence | None:
    home = reading.root / folder
    images = home / "frames" / name
    if not reading.names(images) and f"{name}.zip" in reading.names(home / "zips"):
        reading.leave_out(name, f"0 images: unpack {home / 'zips' / name}.zip into {images}")
        return None
    count = reading.count_images(name, images, PATTERN, 0)
    path = home / "anno" / f"{name}.txt"
    boxes = None if count is None else reading.truth(name, path)
    if boxes is None or count is None:
        return None
    truth: Boxes | None = boxes
    if not (is_secret and len(boxes) == 1):
        truth = reading.fit(name, path, boxes, count)
        count = 0 if truth is None else len(truth)
    if truth is None:
        return None
    frames = NumberedFrames(images, PATTERN, 0, count, name, FRAMES_PER_SECOND)
    return TrackingSequence(name, frames, first_box(truth), truth)
