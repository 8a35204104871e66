"""The paper's training in pytracking's own loop: maximum likelihood with 128 samples, PROTOCOL 4.2-4.4.

Command, in a pytracking checkout after ``ebm plugin install DIR --ltr``: ``python ltr/run_training.py ebm
ebm_tracking``. Paths come from its ``ltr/admin/local.py``; the variable EBM_LTR_SET changes fields of the recipe
("batch_size=32 workers=4"), EBM_BACKBONE_WEIGHTS names ImageNet weights where torchvision's cannot be fetched; ``ebm
weights convert`` reads the checkpoint of any epoch. Hardware: one GPU and 8 CPU cores. Time: not measured; 50,000
steps of 64 pairs. Number to expect: UAV123 AUC 67.2, TrackingNet success 74.5 (Gustafsson et al., Table 2). We have
not reproduced it: we do not have the four data sets. Tried against commit 7eb9e74 on a miniature of them
(``tests/ltr_settings/test_run_training.py``).
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ebm_tracker.ltr_settings.pytracking_loop import LoopRecipe, train

RECIPE = LoopRecipe(objective="nll", description="Energy-based box regression by maximum likelihood (arXiv 1909.12297)")


def run(settings: Any) -> Path:
    """What pytracking's run_training.py calls with its settings; returns the path of the network."""
    return train(settings, RECIPE)
