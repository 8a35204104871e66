"""The shipped networks: an energy head on a frozen backbone, trained on pairs that are rendered from single photos.

    ebm train lite --data photos=PHOTOS --out runs/lite

PHOTOS holds ``ecssd/{images,masks}`` and ``coco128/{images,det_labels,seg_labels}``, one of them, or ``images`` and
``masks`` directly. ``ebm data miniature`` draws a tiny set to try it with. Pairs are made as the run needs
them, or once and for many runs:

    ebm data bank --data photos=PHOTOS --pairs 80000 --seed 1 --out BANK --workers 16
    ebm train lite --data photos=PHOTOS bank=BANK --out runs/lite

What it ran on, how long it took and what came out: the model card beside the shipped weights.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ebm_tracker.train_settings.recipe import Paths, Recipe, RecipeData
from ebm_tracker.training.bank import BankError, PairBank, ShuffledPairs
from ebm_tracker.training.pairs import Pair, PairDataset, PairMaker, PairSettings
from ebm_tracker.training.photos import Photo, load_coco128, load_ecssd, split_photos

PAIRS = PairSettings(composite_share=0.6, region_share=0.6, margin_share=0.3, part_share=0.25, relight=0.2)
"""60 % composites (a quarter of them with a box on a part of the object), 24 % regions, 16 % whole objects."""


@dataclass(frozen=True)
class LiteRecipe(Recipe):
    """A recipe for photos; its defaults are the shipped network's."""

    backbone: str = "efficientnet_lite0"
    reference: tuple[int, int] = (64, 128)
    maps: tuple[int, int] = (128, 128)
    steps: int = 4_000
    batch_size: int = 64
    schedule: str = "cosine"
    warmup: int = 100
    average: float = 0.998
    precision: str = "bfloat16"
    ship_backbone: bool = True
    step_lengths: tuple[float, float] = (4e-4, 2e-3)


RECIPE = LiteRecipe()


def read_photos(folder: Path) -> tuple[list[Photo], list[Photo]]:
    """Training and held-out photos of the sets that are there. Raises FileNotFoundError when none is."""
    photos: list[Photo] = []
    if (folder / "images").is_dir() and (folder / "masks").is_dir():  # what `ebm data cutouts` builds
        photos += load_ecssd(folder)
    for name, read in (("ecssd", load_ecssd), ("coco128", load_coco128)):
        if (folder / name).is_dir():
            photos += read(folder / name)
    if not photos:
        raise FileNotFoundError(f"{folder.absolute()} holds neither ecssd/ nor coco128/, nor images/ and masks/")
    return split_photos(photos)


def held_out_pairs(photos: Sequence[Photo], count: int, seed: int) -> list[Pair]:
    """The same ``count`` pairs for every network."""
    maker = PairMaker(photos, PAIRS)
    return [maker.make(np.random.default_rng((seed, i))) for i in range(count)]


def bank_facts(training: Sequence[Photo], seed: int) -> dict[str, Any]:
    """What a bank of this recipe's pairs says of itself."""
    names = "\n".join(photo.name for photo in training)
    digest = hashlib.sha256(names.encode()).hexdigest()[:16]
    return {"photos": len(training), "names": digest, "pair_settings": asdict(PAIRS), "seed": seed}


def open_data(recipe: Recipe, paths: Paths) -> RecipeData:
    """Needs ``photos``; takes the pairs from ``bank`` if that is set."""
    training, held_out = read_photos(paths.require("photos"))
    draws = recipe.steps * recipe.batch_size
    facts: dict[str, Any] = {"photos": [len(training), len(held_out)], "pair_settings": asdict(PAIRS)}
    folder = paths.get("bank")
    if folder is None:
        return RecipeData(
            PairDataset(PairMaker(training, PAIRS), draws, recipe.seed),
            held_out_pairs(held_out, recipe.held_out_pairs, seed=1),
            facts,
        )
    bank = PairBank(folder)
    if bank.facts != bank_facts(training, int(bank.facts.get("seed", -1))):
        raise BankError(f"{folder.absolute()} was made from other photos or with other settings: {dict(bank.facts)}")
    facts["bank"] = {"pairs": len(bank), "seed": bank.facts["seed"]}
    return RecipeData(
        ShuffledPairs(bank, len(bank), draws, recipe.seed),
        held_out_pairs(held_out, recipe.held_out_pairs, seed=1),
        facts,
    )
