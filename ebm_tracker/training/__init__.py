"""Training of the energy head: photos -> pairs of frames -> objective -> loop."""

from ebm_tracker.training.heldout import HeldOutPairs, RefinementGain
from ebm_tracker.training.loop import LoopSettings, Training
from ebm_tracker.training.objective import Objective, TrainingStep, build_objective, score_pairs
from ebm_tracker.training.pairs import Pair, PairDataset, PairMaker, PairSettings
from ebm_tracker.training.photos import Cutout, Photo, load_coco128, load_ecssd, split_photos

__all__ = [
    "Cutout",
    "HeldOutPairs",
    "LoopSettings",
    "Objective",
    "Pair",
    "PairDataset",
    "PairMaker",
    "PairSettings",
    "Photo",
    "RefinementGain",
    "Training",
    "TrainingStep",
    "build_objective",
    "load_coco128",
    "load_ecssd",
    "score_pairs",
    "split_photos",
]
