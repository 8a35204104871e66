"""The paper's network: maximum likelihood on TrackingNet 0-3, LaSOT, GOT-10k and COCO 2014 (PROTOCOL 4.2-4.4).

    ebm train ebm_tracking --data trackingnet=DIR lasot=DIR got10k=DIR coco=DIR pytracking=CHECKOUT --workers 8

Paths may stand in the settings file instead (``ebm data paths``). The checkout is only read for GOT-10k's lists
``vottrain`` and ``votval``; without one: ``--set got10k_split=FILE got10k_validation=FILE``.

Schedule: 50 epochs of 1,000 batches of 64 pairs; Adam 1e-3, times 0.2 after every 15 epochs; 128 samples.
Hardware: one GPU and some 8 CPU cores, or several GPUs: ``torchrun --nproc_per_node N -m ebm_tracker.cli train
ebm_tracking ...``. For two cores there is ``lite``.
Time: not measured at this size. Making the 3.2 million pairs takes about 15 core hours with frames of 1280x720 (60
pairs/s and core, measured), so two hours on 8 cores; the steps on the GPU come on top where they are slower.
Number to expect: UAV123 AUC 67.2, OP50 80.8, OP75 60.2; TrackingNet success 74.5 (Gustafsson et al., Table 2). We
have not reproduced it: we do not have the four data sets.

Held out: GOT-10k ``votval`` every 5 epochs, 512 fixed pairs (the published code draws 32,000 new ones).
"""

from __future__ import annotations

from ebm_tracker.train_settings.recipe import Paths, RecipeData
from ebm_tracker.train_settings.video_recipe import PaperRecipe, open_paper_data

RECIPE = PaperRecipe()


def open_data(recipe: PaperRecipe, paths: Paths) -> RecipeData:
    """Training pairs of the four sets, held-out pairs of GOT-10k's ``votval``."""
    return open_paper_data(recipe, paths)
