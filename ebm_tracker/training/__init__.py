"""Training of the energy head: photos or videos -> pairs of frames -> candidates -> objective -> loop.

The readers of data sets are in ``data``, whole recipes in ``ebm_tracker.train_settings``. In short::

    step = TrainingStep(network, build_objective("nll"))
    samples = SampleDataset(PairDataset(source, length=50_000 * 64, seed=0), step.objective.scheme, seed=0)
    Training(step, samples, LoopSettings(steps=50_000, batch_size=64), folder, trained=step.trained).run()
"""

from ebm_tracker.training.bank import BankError, PairBank, ShuffledPairs, make_bank
from ebm_tracker.training.candidates import AtomCandidates, Candidates, CandidateScheme, First, MixtureCandidates
from ebm_tracker.training.checkpoint import load_trained
from ebm_tracker.training.heldout import HeldOutPairs, RefinementGain
from ebm_tracker.training.loop import LoopSettings, Training
from ebm_tracker.training.objective import OBJECTIVES, Objective, TrainingStep, build_objective, score_pairs
from ebm_tracker.training.pairs import Pair, PairDataset, PairMaker, PairSettings, PairSource
from ebm_tracker.training.photos import Cutout, Photo, load_coco128, load_ecssd, split_photos
from ebm_tracker.training.processes import Processes, joined_processes
from ebm_tracker.training.sample import Sample, SampleDataset

__all__ = [
    "OBJECTIVES",
    "AtomCandidates",
    "BankError",
    "CandidateScheme",
    "Candidates",
    "Cutout",
    "First",
    "HeldOutPairs",
    "LoopSettings",
    "MixtureCandidates",
    "Objective",
    "Pair",
    "PairBank",
    "PairDataset",
    "PairMaker",
    "PairSettings",
    "PairSource",
    "Photo",
    "Processes",
    "RefinementGain",
    "Sample",
    "SampleDataset",
    "ShuffledPairs",
    "Training",
    "TrainingStep",
    "build_objective",
    "joined_processes",
    "load_coco128",
    "load_ecssd",
    "load_trained",
    "make_bank",
    "score_pairs",
    "split_photos",
]
