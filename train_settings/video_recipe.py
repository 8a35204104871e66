"""What the recipes for videos share: the fields that decide which pairs are drawn, and the drawing."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np

from ebm_tracker.train_settings.recipe import Paths, Recipe, RecipeData
from ebm_tracker.training.data.faults import Faults
from ebm_tracker.training.data.frame_pairs import CropSettings, FramePairs
from ebm_tracker.training.data.registry import open_set
from ebm_tracker.training.data.sampler import PairSampler, SamplerSettings
from ebm_tracker.training.data.sequence import SequenceSet
from ebm_tracker.training.pairs import PairDataset
from ebm_tracker.training.processes import Processes

PAPER_SETS = ("trackingnet", "lasot", "got10k", "coco")


@dataclass(frozen=True)
class VideoRecipe(Recipe):
    """A recipe whose pairs are two frames of a video (PROTOCOL 4.2). The run stops when more than ``skip_limit`` of
    the pairs had to be skipped for frames that cannot be read, and more than 100."""

    batch_norm: str = "train"  # as the published code; "eval" gives the tracker's own features
    ship_backbone: bool = True  # with "train" its statistics are no longer ImageNet's
    evaluate_every: int = 5000
    checkpoint_every: int = 1000
    held_out_pairs: int = 512
    max_gap: int = 200
    min_frames: int = 20
    min_visible: int = 5
    center_jitter: float = 4.5
    scale_jitter: float = 0.5
    gray: float = 0.05
    brightness: float = 0.2
    upstream_boxes: bool = False  # True: up to half a pixel off, as in the published code
    skip_limit: float = 0.01


@dataclass(frozen=True)
class PaperRecipe(VideoRecipe):
    """The four sets of the paper. ``weights``: of TrackingNet, LaSOT, GOT-10k and COCO, in this order; a set with
    weight 0 need not be there. ``got10k_split`` and ``got10k_validation`` name pytracking's lists or index files."""

    weights: tuple[float, float, float, float] = (1.0, 1.0, 1.0, 1.0)
    trackingnet_sets: tuple[int, ...] = (0, 1, 2, 3)
    got10k_split: str = "vottrain"
    got10k_validation: str = "votval"
    coco_year: int = 2014


def open_paper_data(recipe: PaperRecipe, paths: Paths) -> RecipeData:
    """Needs ``trackingnet``, ``lasot``, ``got10k`` and ``coco``, and ``pytracking`` for its lists of GOT-10k."""
    lists = {"pytracking_dir": paths.get("pytracking")}
    options: Mapping[str, Mapping[str, Any]] = {
        "trackingnet": {"set_ids": recipe.trackingnet_sets},
        "lasot": {"split": "train"},
        "got10k": {"split": recipe.got10k_split, **lists},
        "coco": {"year": recipe.coco_year},
    }
    used = [(name, weight) for name, weight in zip(PAPER_SETS, recipe.weights, strict=True) if weight != 0]
    sets = [open_set(name, paths.require(name), **options[name]) for name, _ in used]
    validation = open_set("got10k", paths.require("got10k"), split=recipe.got10k_validation, **lists)
    return data_of(recipe, sets, [weight for _, weight in used], [validation])


def data_of(
    recipe: VideoRecipe, sets: Sequence[SequenceSet], weights: Sequence[float], validation: Sequence[SequenceSet]
) -> RecipeData:
    """Pairs of ``sets`` for training; held-out ones of ``validation``, in their own colours."""
    limits = SamplerSettings(recipe.max_gap, min_frames=recipe.min_frames, min_visible=recipe.min_visible)
    crops = CropSettings(
        scale_jitter=recipe.scale_jitter,
        center_jitter=recipe.center_jitter,
        gray=recipe.gray,
        brightness=recipe.brightness,
        upstream=recipe.upstream_boxes,
    )
    sampler = PairSampler(sets, weights, limits)
    source = FramePairs(sampler, crops, Faults(limit_share=recipe.skip_limit))
    held_out_source = FramePairs(
        PairSampler(validation, [1.0] * len(validation), limits), replace(crops, brightness=0.0, gray=0.0)
    )
    for s in sets:
        _tell(s, sampler.eligible_counts.get(s.name, 0))
    held_out = [held_out_source.make(np.random.default_rng((1, i))) for i in range(recipe.held_out_pairs)]
    facts = {
        "sets": {
            s.name: [len(s), sampler.eligible_counts.get(s.name, 0), w] for s, w in zip(sets, weights, strict=True)
        },
        "validation": {s.name: len(s) for s in validation},
        "sampler": asdict(limits),
        "crops": asdict(crops),
    }
    return RecipeData(PairDataset(source, recipe.steps * recipe.batch_size, recipe.seed), held_out, facts)


def _tell(chosen: SequenceSet, eligible: int) -> None:
    """One line per set: what is trained on and what was dropped on the way."""
    dropped = ", ".join(f"{count} {reason}" for reason, count in chosen.left_out.items() if count)
    if not Processes.from_environment().is_first:
        return
    line = f"{chosen.name}: {eligible} of {len(chosen)} sequences can be drawn"
    print(line + (f"; left out: {dropped} (`ebm data verify {chosen.name}` says more)" if dropped else ""), flush=True)
