# ruff: noqa: TID251 - the host imports itself by its name
"""The house's own Tracker: finds the plugin's class and parameters, and runs them."""

import importlib
import os
import time
from collections import OrderedDict

from pytracking.evaluation.data import Sequence, read_rgb
from pytracking.evaluation.environment import env_settings
from pytracking.evaluation.parallel import Parallel

__all__ = ["Sequence", "Tracker"]


class Tracker:
    def __init__(self, name, parameter_name, run_id=None):
        self.name, self.parameter_name, self.run_id = name, parameter_name, run_id
        suffix = "" if run_id is None else f"_{run_id:03d}"
        self.results_dir = os.path.join(env_settings().results_path, name, parameter_name + suffix)
        self.tracker_class, self.visdom = None, None
        folder = os.path.join(os.path.dirname(__file__), "..", "tracker", name)
        if os.path.isdir(folder):
            self.tracker_class = importlib.import_module(f"pytracking.tracker.{name}").get_tracker_class()

    def get_parameters(self):
        return importlib.import_module(f"pytracking.parameter.{self.name}.{self.parameter_name}").parameters()

    def create_tracker(self, params):
        tracker = self.tracker_class(params)
        tracker.visdom = self.visdom
        return tracker

    def _mode(self, params):
        return getattr(params, "multiobj_mode", getattr(self.tracker_class, "multiobj_mode", "default"))

    def run_sequence(self, sequence, debug=0):
        params = self.get_parameters()
        params.visualization, params.debug = bool(debug), debug
        if sequence.multiobj_mode and self._mode(params) == "parallel":
            tracker = Parallel(self.tracker_class, params, self.visdom)
        else:
            tracker = self.create_tracker(params)
        assert tracker.params.visualization == bool(debug)
        image, info, start = read_rgb(sequence.frames[0]), sequence.frame_info(0), time.time()
        out = tracker.initialize(image, info) or {}
        out.setdefault("target_bbox", info.get("init_bbox"))
        out.setdefault("time", time.time() - start)
        outputs = [OrderedDict(out)]
        for number, path in enumerate(sequence.frames[1:], start=1):
            image, start = read_rgb(path), time.time()
            out = tracker.track(image, {**sequence.frame_info(number), "previous_output": outputs[-1]})
            out.setdefault("time", time.time() - start)
            outputs.append(OrderedDict(out))
            if self.visdom is not None:
                tracker.visdom_draw_tracking(image, [out["target_bbox"]], out.get("segmentation"))
        params.get("object_presence_score_threshold", 0.55)
        return outputs

    def run_video(self, frames_bgr, box=None, clicks=None):
        """Frames as OpenCV reads them. ``clicks``: frame -> (id, box), what a user draws; "r" resets."""
        params = self.get_parameters()
        params.debug, params.tracker_name, params.param_name = 0, self.name, self.parameter_name
        if self._mode(params) == "parallel":
            tracker = Parallel(self.tracker_class, params, self.visdom, fast_load=True)
        else:
            tracker = self.create_tracker(params)
            tracker.initialize_features()
        ids, outputs, previous = [], [], OrderedDict()
        if box is not None:
            start = {"init_bbox": OrderedDict({1: box}), "init_object_ids": [1]}
            start.update(object_ids=[1], sequence_object_ids=[1])
            previous = OrderedDict(tracker.initialize(frames_bgr[0], start))
            ids.append(1)
        for number, frame in enumerate(frames_bgr):
            info, click = OrderedDict(previous_output=previous), (clicks or {}).get(number)
            if click == "r":
                ids = []
                nothing = {"object_ids": [], "init_object_ids": [], "init_bbox": OrderedDict()}
                tracker.initialize(frame, nothing)
            elif click:
                ids.append(click[0])
                info["init_object_ids"], info["init_bbox"] = [click[0]], OrderedDict([click])
            if ids:
                info["sequence_object_ids"] = ids
                out = tracker.track(frame, info)
                previous = OrderedDict(out)
                outputs.append({i: [int(v) for v in state] for i, state in out["target_bbox"].items()})
        return outputs

    def run_vot(self, frames, polygon):
        params = self._vot_parameters()
        tracker = self.create_tracker(params)
        tracker.initialize_features()
        assert params.vot_anno_conversion_type in ("union", "preserve_area")
        x, y = polygon[0::2], polygon[1::2]
        tracker.initialize(frames[0], {"init_bbox": [min(x), min(y), max(x) - min(x), max(y) - min(y)]})
        boxes = []
        for frame in frames[1:]:
            state = tracker.track(frame)["target_bbox"]
            boxes.append((state[0], state[1], state[2], state[3]))
            if self.visdom is not None:
                tracker.visdom_draw_tracking(frame, state, None)
        return boxes

    def run_vot2020(self, frames, box):
        tracker = self.create_tracker(self._vot_parameters())
        tracker.initialize_features()
        assert not tracker.predicts_segmentation_mask()
        previous = OrderedDict(tracker.initialize(frames[0], {"init_mask": None, "init_bbox": list(box)}) or {})
        boxes = []
        for frame in frames[1:]:
            previous = OrderedDict(tracker.track(frame, OrderedDict(previous_output=previous)))
            boxes.append(tuple(previous["target_bbox"]))
        return boxes

    def _vot_parameters(self):
        params = self.get_parameters()
        params.tracker_name, params.param_name, params.run_id = self.name, self.parameter_name, self.run_id
        params.visualization, params.debug = False, 0
        return params
