"""Runs stock pytracking at a debug level with its own viewer, which draws into a list instead of to a visdom server.

    python stock_viewer.py LEVEL "x,y,w,h" FRAME...        (in the folder of its scripts)

prints JSON: window -> kinds of drawings in it.
"""

import json
import sys

import numpy as np
import visdom  # noqa: TID253  (a script that runs in their environment)

drawn = {}


class Recorder:
    def __init__(self, **settings):
        pass

    def __getattr__(self, kind):
        def record(*data, win=None, **options):
            if kind not in ("register_event_handler", "properties"):
                drawn.setdefault(win, []).append(kind)

        return record


visdom.Visdom = Recorder
sys.path.append("..")

from pytracking.evaluation import Sequence, Tracker  # noqa: E402, TID251

box = [float(value) for value in sys.argv[2].split(",")]
sequence = Sequence("short", sys.argv[3:], "otb", np.array([box]))
Tracker("ebm", "default").run_sequence(sequence, debug=int(sys.argv[1]))
print(json.dumps({window: sorted(set(kinds)) for window, kinds in drawn.items()}))
