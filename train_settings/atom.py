"""ATOM: the network of ``ebm_tracking`` trained to predict IoU from ATOM's own candidates.

    ebm train atom --data trackingnet=DIR lasot=DIR got10k=DIR coco=DIR pytracking=CHECKOUT --workers 8

16 rounded boxes per pair with an IoU above 0.1, squared error against 2 IoU - 1, frames at most 50 apart; the rest,
hardware and time included, as in ``ebm_tracking``.
Number to expect: UAV123 AUC 65.0, OP50 78.9, OP75 55.7; TrackingNet success 70.3 (Gustafsson et al., Table 2;
pytracking's own list has 64.2 and 70.3). We have not reproduced it.
"""

from __future__ import annotations

from ebm_tracker.train_settings.recipe import Paths, RecipeData
from ebm_tracker.train_settings.video_recipe import PaperRecipe, open_paper_data

RECIPE = PaperRecipe(objective="iou_mse_atom", max_gap=50, step_lengths=(1e-2, 5e-2))


def open_data(recipe: PaperRecipe, paths: Paths) -> RecipeData:
    """Training pairs of the four sets, held-out pairs of GOT-10k's ``votval``."""
    return open_paper_data(recipe, paths)
