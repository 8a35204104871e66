"""Trains the shipped ``default`` network: an energy head on a frozen EfficientNet-Lite0, from single photos.

    python -m ebm_tracker.train_settings.lite --photos DIR --backbone_weights FILE --out DIR

DIR holds ``ecssd/{images,masks}`` and ``coco128/{images,det_labels,seg_labels}``. Two CPU cores; the same command
continues a stopped run. ``--set`` changes any field of :class:`Recipe`. Time and scores: see the model card beside
the shipped weights.
"""

from __future__ import annotations

import argparse
import time
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ebm_tracker.errors import EbmError
from ebm_tracker.models import EnergyHead, EnergyNetwork, HeadChannels, load_imagenet_backbone, save_network
from ebm_tracker.models.backbone import BACKBONES
from ebm_tracker.training.heldout import HeldOutPairs
from ebm_tracker.training.loop import LoopSettings, Training
from ebm_tracker.training.objective import NegativeLogLikelihood
from ebm_tracker.training.pairs import Pair, PairDataset, PairMaker, PairSettings
from ebm_tracker.training.photos import Photo, load_coco128, load_ecssd, split_photos

MIXED = PairSettings(composite_share=0.6, region_share=0.6, margin_share=0.3)
"""The second part of the run, and the held-out pairs: 60 % composites, 24 % regions, 16 % whole objects."""


@dataclass(frozen=True)
class Recipe:
    """Everything that decides the result. Milestones are fractions of the run."""

    backbone: str = "efficientnet_lite0"
    reference: tuple[int, int] = (64, 128)
    maps: tuple[int, int] = (128, 128)
    hidden: tuple[int, int] = (256, 256)
    steps: int = 4000
    regions_from: int = 1600  # whole objects first; from this step on also regions and loose boxes
    batch_size: int = 16
    learning_rate: float = 1e-3
    milestones: tuple[float, ...] = (0.6, 0.85)
    warmup: int = 50
    samples: int = 128
    sigmas: tuple[float, ...] = (0.05, 0.5)
    seed: int = 0
    held_out_pairs: int = 256
    ship_backbone: bool = True  # False: the file holds the head alone
    bfloat16: bool = True  # convolutions only; halves the step on CPUs that have it, energies stay float32


def build_network(recipe: Recipe, backbone_weights: Path | None) -> EnergyNetwork:
    """The untrained head on its backbone, in the memory layout that convolutions like."""
    torch.manual_seed(recipe.seed)
    backbone = load_imagenet_backbone(recipe.backbone, backbone_weights)
    channels = HeadChannels(BACKBONES[recipe.backbone].channels, recipe.reference, recipe.maps, recipe.hidden)
    return EnergyNetwork(backbone, EnergyHead(channels)).to(memory_format=torch.channels_last)


def read_photos(folder: Path) -> tuple[list[Photo], list[Photo]]:
    """Training and held-out photos of both sets."""
    return split_photos(load_ecssd(folder / "ecssd") + load_coco128(folder / "coco128"))


def held_out_pairs(photos: list[Photo], count: int, seed: int) -> HeldOutPairs:
    """The same ``count`` pairs for every network."""
    maker = PairMaker(photos, MIXED)
    return HeldOutPairs([maker.make(np.random.default_rng((seed, i))) for i in range(count)])


def run(recipe: Recipe, photos: Path, backbone_weights: Path | None, out: Path, workers: int = 1) -> Path:
    """Trains (or goes on training) and returns the path of the network."""
    training_photos, held_out_photos = read_photos(photos)
    network = build_network(recipe, backbone_weights)
    objective = NegativeLogLikelihood(recipe.sigmas, recipe.samples, bfloat16=recipe.bfloat16)
    settings = LoopSettings(
        steps=recipe.steps,
        batch_size=recipe.batch_size,
        learning_rate=recipe.learning_rate,
        milestones=tuple(int(recipe.steps * m) for m in recipe.milestones),
        warmup=recipe.warmup,
        seed=recipe.seed,
        workers=workers,
    )
    mixed = PairMaker(training_photos, MIXED)
    dataset = PairDataset(
        PairMaker(training_photos),
        recipe.steps * recipe.batch_size,
        recipe.seed,
        later=(recipe.regions_from * recipe.batch_size, mixed),
    )
    held_out = held_out_pairs(held_out_photos, recipe.held_out_pairs, seed=1)

    def losses(batch: Pair, generator: torch.Generator) -> Tensor:
        network.train()
        return objective(network, batch, generator)

    def evaluate() -> dict[str, float]:
        network.eval()
        gain = held_out.refinement(network, (4e-4, 2e-3))
        return {
            "nll": held_out.nll(network, objective),
            "start_iou": gain.start_iou,
            "iou": gain.iou,
            "op75": gain.op75,
        }

    training = Training(network.head, losses, dataset, settings, out, evaluate, fingerprint=repr(recipe))
    training.run()
    network.eval()
    provenance: dict[str, Any] = {
        "recipe": asdict(recipe),
        "module": "ebm_tracker.train_settings.lite",
        "photos": [len(training_photos), len(held_out_photos)],
        "backbone": BACKBONES[recipe.backbone].source,
        "training_seconds": round(training.seconds),
        "held_out": evaluate(),
        "date": time.strftime("%Y-%m-%d"),
        "torch": torch.__version__,
    }
    path = out / "network.safetensors"
    digest = save_network(network, path, provenance, include_backbone=recipe.ship_backbone)
    print(f"{path.absolute()}\nSHA-256 {digest}\nheld-out {provenance['held_out']}")
    return path


def _parse_changes(changes: list[str]) -> dict[str, Any]:
    fields = {name: type(value) for name, value in asdict(Recipe()).items()}
    parsed: dict[str, Any] = {}
    for change in changes:
        key, _, text = change.partition("=")
        if key not in fields:
            raise ValueError(f"--set {change}: unknown key; known: {', '.join(fields)}")
        try:
            parsed[key] = _parse_value(fields[key], text)
        except (KeyError, ValueError):
            raise ValueError(f"--set {change}: {key} takes a {fields[key].__name__} (got {text!r})") from None
    return parsed


def _parse_value(kind: type, text: str) -> Any:
    if kind is bool:
        return {"true": True, "false": False}[text.lower()]
    if kind is tuple:
        return tuple(int(v) if v.lstrip("-").isdecimal() else float(v) for v in text.split(","))
    return kind(text)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--photos", type=Path, required=True, metavar="DIR", help="holds ecssd/ and coco128/")
    parser.add_argument("--backbone_weights", type=Path, metavar="FILE", help="ImageNet weights of the backbone")
    parser.add_argument("--out", type=Path, required=True, metavar="DIR", help="log, checkpoint and network go here")
    parser.add_argument("--workers", type=int, default=1, help="processes that make pairs (default: 1)")
    parser.add_argument("--set", nargs="*", default=[], metavar="KEY=VALUE", help="changes fields of Recipe")
    args = parser.parse_args()
    try:
        recipe = replace(Recipe(), **_parse_changes(args.set))
        run(recipe, args.photos, args.backbone_weights, args.out, args.workers)
    except (EbmError, OSError, ValueError) as error:
        parser.exit(2, f"error: {error}\n")
    except KeyboardInterrupt:
        parser.exit(130, f"interrupted; the same command goes on from {args.out}\n")


if __name__ == "__main__":
    main()
