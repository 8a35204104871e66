"""ATOM* of the paper: the network of ``ebm_tracking`` trained to predict IoU, from the same samples and pairs.

    ebm train atom_star --data trackingnet=DIR lasot=DIR got10k=DIR coco=DIR pytracking=CHECKOUT --workers 8

Everything but the loss is that of ``ebm_tracking``, hardware and time included: 128 boxes from the mixture proposals
without the true box, squared error against 2 IoU - 1.
Number to expect: UAV123 AUC 64.9, OP50 79.0, OP75 56.5; TrackingNet success 72.0 (Gustafsson et al., Table 2). We
have not reproduced it.
"""

from __future__ import annotations

from ebm_tracker.train_settings.recipe import Paths, RecipeData
from ebm_tracker.train_settings.video_recipe import PaperRecipe, open_paper_data

RECIPE = PaperRecipe(objective="iou_mse", step_lengths=(1e-2, 5e-2))


def open_data(recipe: PaperRecipe, paths: Paths) -> RecipeData:
    """Training pairs of the four sets, held-out pairs of GOT-10k's ``votval``."""
    return open_paper_data(recipe, paths)
