"""ATOM* of the paper in pytracking's own loop: IoU prediction from 128 samples of the mixture proposals.

Command, hardware and time as for ``ebm_tracking``. Number to expect: UAV123 AUC 64.9, TrackingNet success 72.0
(Gustafsson et al., Table 2). We have not reproduced it.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ebm_tracker.ltr_settings.pytracking_loop import LoopRecipe, train

RECIPE = LoopRecipe(objective="iou_mse", description="ATOM* (arXiv 1909.12297): IoU prediction, mixture proposals")


def run(settings: Any) -> Path:
    """What pytracking's run_training.py calls with its settings; returns the path of the network."""
    return train(settings, RECIPE)
