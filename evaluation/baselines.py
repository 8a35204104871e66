"""Trackers to compare with: OpenCV's CSRT, KCF and MIL, and one that never moves."""

from __future__ import annotations

import ctypes
import math
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ebm_tracker.errors import EbmError
from ebm_tracker.evaluation.sequences import BoxXYWH
from ebm_tracker.frames import to_rgb_uint8

WholeBox = tuple[int, int, int, int]
"""x, y, w, h in whole pixels, which is all that OpenCV's trackers take."""

INSTALL = "pip install 'ebm-tracker[baselines]'"


class BaselineError(EbmError):
    """OpenCV or the tracker is not installed, or OpenCV cannot start on the given box."""


@dataclass(frozen=True)
class BaselineOutput:
    """Result for one frame: ``box_xywh`` in pixels, ``score`` 1 when found and 0 when not (OpenCV gives no other), and
    ``status``, "tracked" or "lost"."""

    box_xywh: BoxXYWH
    score: float
    status: str


@dataclass(frozen=True)
class Baseline:
    """What one of OpenCV's trackers needs.

    ``name``: in OpenCV's class names; ``deterministic``: whether it has no random parts; ``least_side``: shortest side
    of a first box that it starts on. MIL hangs for ever on boxes in which its random features find no room (4x4, 3x5,
    2x10; OpenCV 5.0), CSRT fails on a side of 1.
    """

    name: str
    deterministic: bool
    least_side: int


BASELINES: Mapping[str, Baseline] = {
    "csrt": Baseline("CSRT", deterministic=True, least_side=2),
    "kcf": Baseline("KCF", deterministic=True, least_side=1),
    "mil": Baseline("MIL", deterministic=False, least_side=6),
}


class OpenCvTracker:
    """OpenCV's CSRT, KCF or MIL under the protocol of ``evaluation.runner``.

    The same seed gives the same boxes. MIL draws from the C library's generator, which ``initialize`` seeds; where that
    cannot be reached (Windows) MIL repeats in a fresh process only. Two MIL trackers that take turns in one process
    disturb each other.

    Args:
        kind: one of BASELINES.
        seed: of MIL's random parts.
        threads: that OpenCV may use, in the whole process.

    Raises BaselineError when OpenCV, or the tracker in it, is not installed; ValueError for an unknown kind.
    """

    def __init__(self, kind: str, seed: int = 0, threads: int = 1) -> None:
        if kind not in BASELINES:
            raise ValueError(f"kind must be one of {', '.join(BASELINES)} (got {kind!r})")
        self._kind = BASELINES[kind]
        self._seed = seed
        self._cv2 = import_opencv()
        self._create = find_creator(self._cv2, self._kind.name)
        self._cv2.setNumThreads(threads)
        self._tracker: Any = None
        self._frame_wh = (0, 0)
        self._box: BoxXYWH = (0.0, 0.0, 0.0, 0.0)

    def initialize(self, frame: Any, box_xywh: Any, color: str = "rgb") -> None:
        """Starts on the first frame, afresh when called again.

        ``frame``: see :func:`ebm_tracker.frames.to_rgb_uint8`; ``box_xywh``: four numbers in pixels, taken as
        ``whole_box`` says.

        Raises ValueError for a frame or box that cannot be used, BaselineError when OpenCV fails on them.
        """
        image = _bgr(frame, color)
        frame_wh = (image.shape[1], image.shape[0])
        box = whole_box(box_xywh, frame_wh, self._kind.least_side)
        tracker = self._create()  # KCF crashes when it is initialised a second time
        _seed_generators(self._cv2, self._seed)
        try:
            started = tracker.init(image, box)
        except self._cv2.error as error:
            raise BaselineError(f"OpenCV's {self._kind.name} cannot start on box {box}: {_sentence(error)}") from error
        if started is False:  # cv2.legacy answers, its successor returns nothing
            raise BaselineError(f"OpenCV's {self._kind.name} cannot start on box {box}")
        self._tracker, self._frame_wh = tracker, frame_wh
        self._box = (float(box[0]), float(box[1]), float(box[2]), float(box[3]))

    def track(self, frame: Any, color: str = "rgb") -> BaselineOutput:
        """Finds the target in the next frame.

        "lost", with the last box, when OpenCV does not find it or throws an exception, for None or an empty array
        (a frame that could not be decoded), and for a frame of another size than the first, on which OpenCV's trackers
        drift or fail. Later frames are tracked on.

        Raises RuntimeError before ``initialize``, ValueError for a frame that cannot be used.
        """
        if self._tracker is None:
            raise RuntimeError("call initialize(frame, box_xywh) before track(frame)")
        if frame is None or 0 in getattr(frame, "shape", ()):
            return self._lost()
        image = _bgr(frame, color)
        if (image.shape[1], image.shape[0]) != self._frame_wh:
            return self._lost()
        try:
            found, box = self._tracker.update(image)
        except self._cv2.error:
            return self._lost()
        x, y, w, h = (float(value) for value in box)
        if not found or not all(math.isfinite(value) for value in (x, y, w, h)) or w <= 0 or h <= 0:
            return self._lost()
        self._box = (x, y, w, h)
        return BaselineOutput(self._box, 1.0, "tracked")

    def _lost(self) -> BaselineOutput:
        return BaselineOutput(self._box, 0.0, "lost")


class LastBoxTracker:
    """Answers the first box for ever: what any tracker has to beat, and a way to try a benchmark's files in no time."""

    def __init__(self) -> None:
        self._box: BoxXYWH | None = None

    def initialize(self, frame: Any, box_xywh: Any, color: str = "rgb") -> None:
        """Keeps the box. Raises ValueError when it is not four finite numbers with sides above 0."""
        self._box = _four_numbers(box_xywh)

    def track(self, frame: Any, color: str = "rgb") -> BaselineOutput:
        """The box; "lost" for None. Raises RuntimeError before ``initialize``."""
        if self._box is None:
            raise RuntimeError("call initialize(frame, box_xywh) before track(frame)")
        return BaselineOutput(self._box, 0.0 if frame is None else 1.0, "lost" if frame is None else "tracked")


def import_opencv() -> Any:
    """The module cv2, of whatever wheel it comes from. Raises BaselineError when there is none."""
    try:
        import cv2
    except ImportError as error:  # a wheel with windows also fails without a display's libraries
        raise BaselineError(f"OpenCV's trackers need OpenCV ({error}): {INSTALL}") from error
    return cv2


def find_creator(cv2: Any, name: str) -> Callable[[], Any]:
    """The function that makes a tracker of OpenCV's class ``Tracker<name>``, in its present place or the one of old.

    Raises BaselineError when this OpenCV was built without it.
    """
    for home in (cv2, getattr(cv2, "legacy", None)):
        create = getattr(home, f"Tracker{name}_create", None) or getattr(
            getattr(home, f"Tracker{name}", None), "create", None
        )
        if create is not None:
            found: Callable[[], Any] = create
            return found
    raise BaselineError(
        f"OpenCV {cv2.__version__} here was built without the tracker {name}: uninstall opencv-python and "
        f"opencv-python-headless, then {INSTALL} (opencv-contrib-python-headless has it)"
    )


def whole_box(box_xywh: Any, frame_wh: tuple[int, int], least_side: int = 1) -> WholeBox:
    """The box in whole pixels inside the frame: the four numbers rounded, the part outside cut off, sides below
    ``least_side`` widened about their middle.

    OpenCV refuses floats, and ends the process on some boxes that leave the frame.

    Raises ValueError when the box is not four finite numbers, has no area, or lies outside the frame.
    """
    x, y, w, h = _four_numbers(box_xywh)
    frame_w, frame_h = frame_wh
    if x >= frame_w or y >= frame_h or x + w <= 0 or y + h <= 0:
        raise ValueError(
            f"box lies outside the image (got x={x:g}, y={y:g}, w={w:g}, h={h:g}; image {frame_w}x{frame_h})"
        )
    left, right = _whole_span(x, w, frame_w, least_side)
    top, bottom = _whole_span(y, h, frame_h, least_side)
    return left, top, right - left, bottom - top


def _whole_span(start: float, length: float, limit: int, least: int) -> tuple[int, int]:
    low, high = max(round(start), 0), min(round(start) + round(length), limit)
    least = min(least, limit)
    if high - low < least:
        low = min(max(math.floor((low + high - least) / 2), 0), limit - least)
        high = low + least
    return low, high


def _four_numbers(box_xywh: Any) -> BoxXYWH:
    # ebm_tracker.boxes has the same for tensors, at the price of importing torch.
    try:
        x, y, w, h = (float(value) for value in box_xywh)
    except (TypeError, ValueError):
        raise ValueError(f"box must be four numbers x, y, w, h (got {box_xywh!r})") from None
    if not all(math.isfinite(value) for value in (x, y, w, h)):
        raise ValueError(f"box must hold finite numbers (got x={x:g}, y={y:g}, w={w:g}, h={h:g})")
    if w <= 0 or h <= 0:
        raise ValueError(f"box: width and height must be > 0 (got w={w:g}, h={h:g})")
    return x, y, w, h


def _bgr(frame: Any, color: str) -> NDArray[np.uint8]:
    return np.ascontiguousarray(to_rgb_uint8(frame, color)[:, :, ::-1])


def _seed_generators(cv2: Any, seed: int) -> None:
    cv2.setRNGSeed(seed % 2**31)
    if os.name == "posix":
        ctypes.CDLL(None).srand(ctypes.c_uint(seed % 2**32))


def _sentence(error: Exception) -> str:
    """What OpenCV says, without the path of its source file."""
    text = " ".join(str(error).split())
    return text.partition("error: ")[2] or text
