"""Energy-based visual tracking: a classifier learned online finds the target, an energy network fits its box.

    tracker = ebm_tracker.load("default")
    tracker.initialize(frame, (x, y, w, h))
    out = tracker.track(next_frame)  # out.box_xywh, out.score, out.status
"""

from ebm_tracker.build import load
from ebm_tracker.errors import EbmError
from ebm_tracker.tracking import Status, Tracker, TrackOutput
from ebm_tracker.version import __version__

__all__ = ["EbmError", "Status", "TrackOutput", "Tracker", "__version__", "load"]
