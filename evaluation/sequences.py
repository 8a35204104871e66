"""Something to track: frames, the first box, and the true boxes when they are known."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ebm_tracker.annotations import (
    TRUTH_FILE_NAMES,
    AnnotationError,
    Boxes,
    find_truth_file,
    is_present,
    read_boxes,
    warn_if_lengths_differ,
)
from ebm_tracker.video import IMAGE_FOLDERS, FrameFolder, FrameSource

BoxXYWH = tuple[float, float, float, float]


@dataclass(frozen=True)
class TrackingSequence:
    """Frames with the box to start from.

    Attributes:
        name: for result files.
        frames: the stream.
        init_box_xywh: the target in the first frame, pixels.
        truth_xywh: (n, 4) true boxes, row n for frame n, or None; n may differ from the number of frames, and is
            1 where a benchmark keeps the truth of its test set to itself.
        visible: (n,) flags of the benchmark's own, False where the target cannot be seen; None where it has none.
            Absent targets of benchmarks without flags are rows of NaN, or with a side of 0, in ``truth_xywh``.
        size_wh: width and height of the frames in pixels where the annotation says so; else None.
        attributes: short names of the difficulties that the benchmark lists, such as "OCC"; may be empty.
        aliases: names that other toolkits give the same sequence in their result files.
    """

    name: str
    frames: FrameSource
    init_box_xywh: BoxXYWH
    truth_xywh: Boxes | None = None
    visible: NDArray[np.bool_] | None = None
    size_wh: tuple[int, int] | None = None
    attributes: tuple[str, ...] = ()
    aliases: tuple[str, ...] = ()


def open_frame_folder(directory: str | Path, init_box_xywh: BoxXYWH | None = None) -> TrackingSequence:
    """A folder of frames as the benchmarks lay it out: images in it or in ``img``, ground truth beside them.

    Args:
        directory: the sequence's folder, or its ``img`` folder.
        init_box_xywh: the first box; None takes the first row of the ground truth.

    Raises:
        VideoError: no folder, no images, or the first image is unreadable.
        AnnotationError: unreadable ground truth; or no first box, neither given nor in a file.
    """
    frames = FrameFolder(directory)
    home = frames.directory
    if home.resolve().name in IMAGE_FOLDERS and find_truth_file(home) is None:
        home = home.resolve().parent
    truth_file = find_truth_file(home)
    truth = None
    if truth_file is not None:
        truth = read_boxes(truth_file)
        warn_if_lengths_differ(truth_file, len(truth), len(frames.paths))
    if init_box_xywh is None:
        init_box_xywh = _first_box(truth, truth_file, home)
    return TrackingSequence(home.resolve().name, frames, init_box_xywh, truth)


def _first_box(truth: Boxes | None, truth_file: Path | None, home: Path) -> BoxXYWH:
    if truth is None:
        raise AnnotationError(
            f"{home} holds neither {' nor '.join(TRUTH_FILE_NAMES)}, so the first box must be given"
        )
    if not len(truth) or not is_present(truth[:1])[0]:
        raise AnnotationError(f"{truth_file} has no box for the first frame, so it must be given")
    x, y, w, h = truth[0].tolist()
    return x, y, w, h
