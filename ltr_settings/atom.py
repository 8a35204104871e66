"""ATOM in pytracking's own loop: IoU prediction from its own 16 candidates, frames at most 50 apart.

Command, hardware and time as for ``ebm_tracking``. Number to expect: UAV123 AUC 65.0, TrackingNet success 70.3
(Gustafsson et al., Table 2; pytracking's own list says 64.2 and 70.3). We have not reproduced it.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ebm_tracker.ltr_settings.pytracking_loop import LoopRecipe, train

RECIPE = LoopRecipe(objective="iou_mse_atom", description="ATOM (Danelljan et al., CVPR 2019)", max_gap=50)


def run(settings: Any) -> Path:
    """What pytracking's run_training.py calls with its settings; returns the path of the network."""
    return train(settings, RECIPE)
