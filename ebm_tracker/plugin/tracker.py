"""The tracker as pytracking runs it: ``pytracking/tracker/ebm`` re-exports ``get_tracker_class`` from here.

Nothing of pytracking is imported: its runner makes the object, calls it, and reads what it returns.
"""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Mapping
from typing import Any, cast

from ebm_tracker.boxes import BoxXYWH
from ebm_tracker.plugin.blocks import flat_boxes, show_frame
from ebm_tracker.plugin.infos import SINGLE, ObjectId, starting_boxes
from ebm_tracker.plugin.networks import make_multi_tracker, make_tracker, shared_network
from ebm_tracker.plugin.params import PluginParams
from ebm_tracker.tracking import MultiTracker, Tracker

__all__ = ["EbmTracker", "get_tracker_class"]


class EbmTracker:
    """Follows one object, or several by id in pytracking's mode `default`, at once.

    ``params``: see :func:`ebm_tracker.plugin.params.preset_parameters`. In its mode `parallel`, which is this class's
    own, pytracking makes one instance per object; all share ``params`` and, per process, the network. The framework
    assigns ``visdom`` (None or its viewer) and ``frame_reader`` (unused).
    """

    multiobj_mode = "parallel"

    def __init__(self, params: PluginParams) -> None:
        if not isinstance(params, PluginParams):
            raise TypeError(f"params must come from preset_parameters of ebm_tracker (got {type(params).__name__})")
        self.params = params
        self.visdom: Any = None
        self.frame_reader: Any = None
        self._trackers: OrderedDict[ObjectId, Tracker] = OrderedDict()  # of the only object
        self._several: MultiTracker | None = None  # of those with an id
        self._frame_number = 0
        self._label = ""

    def __deepcopy__(self, memo: dict[int, Any]) -> EbmTracker:
        """A new tracker with these params: pytracking copies a loaded one for each object of a video, and a true copy
        would hold a network of its own."""
        return type(self)(self.params)

    def initialize_features(self) -> None:
        """Loads the network, unless that is done."""
        shared_network(self.params)

    def predicts_segmentation_mask(self) -> bool:
        """False: boxes only."""
        return False

    def initialize(self, image: Any, info: Mapping[str, Any]) -> dict[str, Any]:
        """Starts afresh, with the boxes in ``info``: ``init_bbox`` as x, y, w, h, or by id; a missing one is taken
        around ``init_mask``.

        ``image``: (H, W, 3) uint8; RGB, or BGR from the video runners. Returns what ``track`` does. Raises ValueError
        for a frame or box that cannot be used.
        """
        starts = starting_boxes(info)
        if starts is None:
            raise ValueError("info holds neither init_bbox nor init_mask")
        self._trackers.clear()
        self._several = None
        self._frame_number = 0
        # Only the wrapper of mode `parallel` tells of others; its instances share one viewer.
        self._label = f" {info['object_ids'][0]}" if "init_other" in info and info.get("object_ids") else ""
        self.initialize_features()  # its seconds are not the tracker's
        answers = {key: self._start(key, image, box) for key, box in starts.items()}
        return _merged(answers, SINGLE not in answers)

    def track(self, image: Any, info: Mapping[str, Any] | None = None) -> dict[str, Any]:
        """Finds the objects in the next frame, and starts those that begin in it; also without ``initialize``.

        Returns ``target_bbox`` (x, y, w, h as floats, pixels), ``object_presence_score`` (0..1, below 0.25 where the
        object was not found) and ``time`` (seconds, without loading the network); for several objects each is a
        dictionary by id, where ``time`` is an object's share of the frame's. Raises RuntimeError when nothing was
        started, ValueError for a frame that cannot be used.
        """
        starts = starting_boxes(info or {})
        if SINGLE in self._trackers and starts is not None and SINGLE not in starts:
            starts = None  # in mode `parallel` every object is told of the others' starts
        if starts and SINGLE in starts:
            self._trackers.clear()
            self._several = None
        if not self._trackers and self._several is None and not starts:
            raise RuntimeError("call initialize(image, info) before track, or give init_bbox in its info")
        self._frame_number += 1
        self.initialize_features()
        starts = starts or {}
        answers = {key: self._follow(key, image) for key in self._trackers if key not in starts}
        if self._several is not None:
            answers.update(self._follow_several(self._several, image, starts))
        answers.update({key: self._start(key, image, box) for key, box in starts.items()})
        return _merged(answers, SINGLE not in answers)

    def visdom_draw_tracking(self, image: Any, box: Any, segmentation: Any = None) -> None:
        """Shows frame and boxes in the viewer's window; ``box``: None, one, a list, or by id."""
        masks = () if segmentation is None else (segmentation,)
        self.visdom.register((image, *flat_boxes(box), *masks), "Tracking", 1, "Tracking")

    def _start(self, key: ObjectId, image: Any, box_xywh: BoxXYWH) -> dict[str, Any]:
        details = self.visdom is not None
        if key is SINGLE:
            tracker = make_tracker(self.params, keep_details=details)
            start = time.perf_counter()
            tracker.initialize(image, box_xywh, self._color())
            seconds = time.perf_counter() - start
            self._trackers[key] = tracker
            return _answer(box_xywh, 1.0, seconds)
        several = self._several or make_multi_tracker(self.params, keep_details=details)
        start = time.perf_counter()
        several.add(image, cast("int | str", key), box_xywh, self._color())
        seconds = time.perf_counter() - start
        self._several = several
        return _answer(box_xywh, 1.0, seconds)

    def _follow_several(
        self, several: MultiTracker, image: Any, starts: Mapping[ObjectId, BoxXYWH]
    ) -> dict[ObjectId, dict[str, Any]]:
        """The objects that do not start afresh in this frame."""
        for key in [key for key in several.ids if key in starts]:
            several.remove(key)
        start = time.perf_counter()
        outputs = several.track(image, self._color())
        seconds = (time.perf_counter() - start) / max(len(outputs), 1)
        if self.visdom is not None:
            details = several.details
            for key, output in outputs.items():
                show_frame(self.visdom, several, output, self._frame_number, f" {key}", details=details.get(key))
        return {key: _answer(output.box_xywh, output.score, seconds) for key, output in outputs.items()}

    def _follow(self, key: ObjectId, image: Any) -> dict[str, Any]:
        tracker = self._trackers[key]
        start = time.perf_counter()
        output = tracker.track(image, self._color())
        seconds = time.perf_counter() - start
        if self.visdom is not None:
            show_frame(self.visdom, tracker, output, self._frame_number, self._label, details=tracker.details)
        return _answer(output.box_xywh, output.score, seconds)

    def _color(self) -> str:
        return "bgr" if self.params.frames_are_bgr else "rgb"


def get_tracker_class() -> type[EbmTracker]:
    """What pytracking asks the module of a tracker for."""
    return EbmTracker


def _answer(box_xywh: BoxXYWH, score: float, seconds: float) -> dict[str, Any]:
    return {
        "target_bbox": [float(value) for value in box_xywh],
        "object_presence_score": float(score),
        "time": seconds,
    }


def _merged(answers: Mapping[ObjectId, dict[str, Any]], several: bool) -> dict[str, Any]:
    if not several:
        return answers[SINGLE]
    keys = ("target_bbox", "object_presence_score", "time")
    return {key: OrderedDict((i, answer[key]) for i, answer in answers.items()) for key in keys}
