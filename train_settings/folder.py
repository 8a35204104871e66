"""Your own sequences: a folder of videos, or of folders of frames, each with one ground-truth file.

    ebm data verify folder DIR
    ebm train folder --data folder=DIR --out runs/mine
    ebm track --video VIDEO --init X,Y,W,H --weights runs/mine/network.safetensors

DIR holds NAME.mp4 with NAME.txt, or NAME/*.jpg with NAME/groundtruth.txt: one line x,y,w,h per frame, NaN or 0 where
the object is not to be seen. One sequence in ten is held out; with fewer than ten, the held-out pairs come from the
training sequences and only show that training works. Sequences need 20 frames, 5 of them with the object:
``--set min_frames=5`` takes shorter ones.

The network is that of ``lite``, so no weights need to be fetched. To start from the shipped head instead of a new one:
``--initial default --set learning_rate=1e-4``. Hardware: two CPU cores. Time: 4,000 steps of 16
pairs, about 90 minutes (what as many steps of the first shipped network took). Number to expect: none, it depends on
your videos; ``iou`` in evaluation.csv should rise well above ``start_iou``. With few or similar videos the shipped
network may be the better one: compare them on sequences that were not in DIR. We have not reproduced any published
number with this recipe; it has been tried on made-up videos only.
"""

from __future__ import annotations

from dataclasses import dataclass

from ebm_tracker.train_settings.recipe import Paths, RecipeData
from ebm_tracker.train_settings.video_recipe import VideoRecipe, data_of
from ebm_tracker.training.data.folder import FolderSet
from ebm_tracker.training.data.subset import every_nth

HELD_OUT_EVERY = 10


@dataclass(frozen=True)
class FolderRecipe(VideoRecipe):
    """A recipe for a folder of sequences; the network's size is that of ``lite``."""

    backbone: str = "efficientnet_lite0"
    reference: tuple[int, int] = (64, 128)
    maps: tuple[int, int] = (128, 128)
    batch_norm: str = "eval"
    steps: int = 4000
    batch_size: int = 16
    milestones: tuple[float, ...] = (0.6, 0.85)
    warmup: int = 50
    precision: str = "bfloat16"
    evaluate_every: int = 500
    checkpoint_every: int = 200
    epoch_steps: int = 500
    held_out_pairs: int = 256
    step_lengths: tuple[float, float] = (4e-4, 2e-3)


RECIPE = FolderRecipe()


def open_data(recipe: FolderRecipe, paths: Paths) -> RecipeData:
    """Training pairs of nine sequences in ten, held-out pairs of the tenth."""
    whole = FolderSet(paths.require("folder"))
    if len(whole) < HELD_OUT_EVERY:
        return data_of(recipe, [whole], [1.0], [whole])
    training, held_out = every_nth(whole, HELD_OUT_EVERY)
    return data_of(recipe, [training], [1.0], [held_out])
