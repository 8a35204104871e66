"""Energy-based visual tracking: a classifier learned online finds the target, an energy network fits its box.

    tracker = ebm_tracker.load("default")
    tracker.initialize(frame, (x, y, w, h))
    out = tracker.track(next_frame)  # out.box_xywh, out.score, out.status

Several objects at once: ``load_multi``.
"""

# No `from __future__ import annotations`: it would hide the module of that name.
from importlib import import_module
from typing import TYPE_CHECKING, Any

from ebm_tracker.errors import EbmError
from ebm_tracker.version import __version__

if TYPE_CHECKING:
    from ebm_tracker.build import load, load_multi
    from ebm_tracker.tracking import MultiTracker, Status, Tracker, TrackOutput

__all__ = ["EbmError", "MultiTracker", "Status", "TrackOutput", "Tracker", "__version__", "load", "load_multi"]

# These import torch, which takes seconds that `ebm --help` and reading a video need not spend.
_LATER = {
    "load": "ebm_tracker.build",
    "load_multi": "ebm_tracker.build",
    "MultiTracker": "ebm_tracker.tracking",
    "Status": "ebm_tracker.tracking",
    "TrackOutput": "ebm_tracker.tracking",
    "Tracker": "ebm_tracker.tracking",
}


def __getattr__(name: str) -> Any:
    if name in _LATER:
        return getattr(import_module(_LATER[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
