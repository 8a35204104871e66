"""A tracker made to pytracking's protocol, under ours: for the benchmark runner."""

from __future__ import annotations

import inspect
import math
import random
from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from ebm_tracker.errors import EbmError
from ebm_tracker.evaluation.sequences import BoxXYWH
from ebm_tracker.frames import to_rgb_uint8

PRESENCE_THRESHOLD = 0.55
"""Score from which pytracking takes an object for present, where the tracker's params say nothing else."""


class HostError(EbmError):
    """A tracker made to pytracking's protocol breaks it; the message names the tracker."""


@dataclass(frozen=True)
class HostOutput:
    """Result for one frame: ``box_xywh`` in pixels, ``score`` in 0..1, ``status``."""

    box_xywh: BoxXYWH
    score: float
    status: str


class HostTracker:
    """``initialize(image, {"init_bbox": [x, y, w, h]})`` and ``track(image, info) -> {"target_bbox": ...}`` as
    ``initialize(frame, box_xywh)`` and ``track(frame) -> output``, for one object.

    The score is the tracker's ``object_presence_score``, 1 when it gives none; below the threshold of its params
    (``object_presence_score_threshold``, 0.55) the status is "lost". A frame that could not be decoded is "lost" with
    the last box, and the tracker never sees it.

    pytracking seeds nothing. Here Python's, NumPy's and torch's shared generators are seeded by every ``initialize``,
    so that a run can be repeated.

    Args:
        make: gives a new tracker, every time.
        name: for messages: "atom default".
        seed: of the shared generators.
        loaded: load the networks at once, where the tracker has ``initialize_features``, instead of at the first frame.
    """

    def __init__(self, make: Callable[[], Any], name: str, seed: int = 0, loaded: bool = False) -> None:
        self._make = make
        self._name = name
        self._seed = seed
        self._unused: Any = make()
        if loaded and hasattr(self._unused, "initialize_features"):
            self._unused.initialize_features()
        self._tracker: Any = None
        self._previous: OrderedDict[str, Any] = OrderedDict()
        self._box: BoxXYWH = (0.0, 0.0, 0.0, 0.0)
        self._frames = 0

    def initialize(self, frame: Any, box_xywh: Any, color: str = "rgb") -> None:
        """Starts on the first frame; a second call starts with a new tracker.

        ``frame``: see :func:`ebm_tracker.frames.to_rgb_uint8`; ``box_xywh``: four numbers in pixels.

        Raises ValueError for a frame that cannot be used, HostError for a wrong answer, and what the tracker raises.
        """
        image = to_rgb_uint8(frame, color)
        x, y, w, h = (float(value) for value in box_xywh)
        self._tracker = None  # its memory, before the next one's
        tracker, self._unused = self._unused if self._unused is not None else self._make(), None
        _seed_shared_generators(self._seed)
        answer = tracker.initialize(image, {"init_bbox": [x, y, w, h]})
        self._previous = OrderedDict(self._checked(answer if answer is not None else {}, "initialize"))
        self._tracker, self._box, self._frames = tracker, (x, y, w, h), 1

    def track(self, frame: Any, color: str = "rgb") -> HostOutput:
        """Finds the target in the next frame.

        Raises RuntimeError before ``initialize``, ValueError for a frame that cannot be used, HostError for a wrong
        answer, and what the tracker raises.
        """
        if self._tracker is None:
            raise RuntimeError("call initialize(frame, box_xywh) before track(frame)")
        self._frames += 1
        if frame is None or 0 in getattr(frame, "shape", ()):
            return HostOutput(self._box, 0.0, "lost")
        answer = self._tracker.track(to_rgb_uint8(frame, color), {"previous_output": self._previous})
        self._previous = OrderedDict(self._checked(answer, "track"))
        if "target_bbox" not in self._previous:
            keys = ", ".join(map(str, self._previous)) or "nothing"
            raise HostError(f"{self._name}: track must return a target_bbox (got {keys}, frame {self._frames - 1})")
        self._box = self._box_of(self._previous["target_bbox"])
        score = self._previous.get("object_presence_score")
        if score is None:
            return HostOutput(self._box, 1.0, "tracked")
        present = float(score)
        status = "tracked" if present >= self._threshold() else "lost"
        return HostOutput(self._box, min(max(present, 0.0), 1.0), status)

    def _checked(self, answer: Any, method: str) -> Mapping[str, Any]:
        if not isinstance(answer, Mapping):
            raise HostError(f"{self._name}: {method} must return a dict (got {type(answer).__name__})")
        return answer

    def _box_of(self, value: Any) -> BoxXYWH:
        if isinstance(value, Mapping):
            raise HostError(f"{self._name}: target_bbox must be one box, not boxes by object (got {list(value)})")
        numbers = value.tolist() if hasattr(value, "tolist") else value
        try:
            x, y, w, h = (float(number) for number in numbers)
        except (TypeError, ValueError):
            raise HostError(f"{self._name}: target_bbox must be four numbers (got {value!r})") from None
        if not all(math.isfinite(number) for number in (x, y, w, h)):
            raise HostError(
                f"{self._name}: target_bbox must be finite (got {x:g}, {y:g}, {w:g}, {h:g} in frame {self._frames - 1})"
            )
        return x, y, w, h

    def _threshold(self) -> float:
        params = getattr(self._tracker, "params", None)
        value = getattr(params, "object_presence_score_threshold", None)
        return PRESENCE_THRESHOLD if value is None else float(value)


def speaks_pytracking(tracker: Any) -> bool:
    """Whether ``tracker.initialize`` takes pytracking's ``info`` as second argument, by its name."""
    try:
        names = list(inspect.signature(tracker.initialize).parameters)
    except (TypeError, ValueError):  # built in
        return False
    return len(names) > 1 and names[1] == "info"


def _seed_shared_generators(seed: int) -> None:
    import torch

    random.seed(seed)
    np.random.seed(seed % 2**32)
    torch.manual_seed(seed)
