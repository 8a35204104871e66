"""Mode `parallel`: one tracker per object, all with the same params."""

import copy
from collections import OrderedDict

import numpy as np


class Parallel:
    def __init__(self, tracker_class, params, visdom=None, fast_load=False):
        self.tracker_class, self.params, self.visdom = tracker_class, params, visdom
        self.trackers = OrderedDict()
        self.ready = None
        if fast_load:
            self.ready = tracker_class(params)
            if hasattr(self.ready, "initialize_features"):
                self.ready.initialize_features()

    def _make(self):
        tracker = self.tracker_class(self.params) if self.ready is None else copy.deepcopy(self.ready)
        tracker.visdom, tracker.frame_reader = self.visdom, None
        return tracker

    def _start(self, image, info, outputs):
        one = {}
        for i in info["init_object_ids"]:
            one[i] = {}
            if "init_bbox" in info:
                one[i]["init_bbox"] = info["init_bbox"][i]
            if "init_mask" in info:
                one[i]["init_mask"] = (info["init_mask"] == int(i)).astype(np.uint8)
        for i, start in one.items():
            more = {"object_ids": [i], "sequence_object_ids": info["sequence_object_ids"], "init_other": one}
            self.trackers[i] = self._make()
            outputs[i] = self.trackers[i].initialize(image, {**start, **more}) or {}
            outputs[i].setdefault("target_bbox", start.get("init_bbox"))

    def initialize(self, image, info):
        self.trackers.clear()
        if not info["init_object_ids"]:
            return None
        outputs = OrderedDict()
        self._start(image, info, outputs)
        return self._merged(outputs)

    def track(self, image, info):
        outputs = OrderedDict((i, tracker.track(image, info)) for i, tracker in self.trackers.items())
        if info.get("init_object_ids"):
            self._start(image, info, outputs)
        return self._merged(outputs)

    def _merged(self, outputs):
        # Every key of the first output is asked of all: trackers that leave one out in `initialize` fail here.
        keys = next(iter(outputs.values())).keys()
        return OrderedDict((key, {i: out[key] for i, out in outputs.items()}) for key in keys)

    def visdom_draw_tracking(self, image, box, segmentation=None):
        self.visdom.register((image,), "Tracking", 1, "Tracking")
