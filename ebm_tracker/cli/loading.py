"""The tracker that a command asks for."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from ebm_tracker.evaluation.runner import Tracker


def add_loading_flags(parser: argparse.ArgumentParser | argparse._ArgumentGroup) -> None:
    """The flags that choose device, seed and files of a tracker."""
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda, cuda:1, mps (default: auto)")
    parser.add_argument("--seed", type=parse_seed, default=0, help="seed of everything random (default: 0)")
    parser.add_argument("--weights", type=Path, metavar="FILE", help="another network than the preset's")
    parser.add_argument(
        "--backbone_weights",
        "--backbone-weights",
        type=Path,
        metavar="FILE",
        help="ImageNet weights for networks that ship only their head (default: $EBM_BACKBONE_WEIGHTS, else "
        "torchvision's)",
    )


def parse_seed(text: str) -> int:
    """A whole number from 0 to 2^63 - 1. Raises argparse.ArgumentTypeError."""
    if not text.strip().isdecimal() or len(text) > 20 or int(text) >= 2**63:
        raise argparse.ArgumentTypeError(f"must be a whole number from 0 to 2^63 - 1 (got {text!r})")
    return int(text)


IOU_PRESETS = ("atom", "atom_star")


def warn_if_unsuited(preset: str, weights: Path | None) -> None:
    """One line on stderr when a network that predicts IoU gets the steps of an energy, or the other way round: it
    runs, and loses the target."""
    from ebm_tracker.cli.weights import preset_for
    from ebm_tracker.errors import WeightsError
    from ebm_tracker.models.checkpoint import read_provenance

    if weights is None:
        return
    try:
        suited = preset_for(read_provenance(weights))
    except (WeightsError, KeyError, AttributeError):  # not one of ours: said when it is loaded
        return
    if (suited in IOU_PRESETS) != (preset in IOU_PRESETS):
        kinds = ("an energy", "IoU") if preset in IOU_PRESETS else ("IoU", "an energy")
        print(
            f"warning: {weights} was trained for {kinds[0]}, and preset {preset} climbs {kinds[1]} by other steps"
            f"{f': take preset {suited}' if suited in IOU_PRESETS else ''}",
            file=sys.stderr,
        )


def load_tracker(args: argparse.Namespace, profile: bool, keep_details: bool = False) -> Tracker:
    """``ebm_tracker.load`` for ``args.preset`` and the flags above, after setting ``args.threads`` CPU threads
    (None leaves torch's choice).

    Raises PresetError, WeightsError and ValueError as it does.
    """
    import torch  # seconds, which commands that end at a user's mistake need not spend

    from ebm_tracker.build import load

    warn_if_unsuited(args.preset, args.weights)
    if args.threads is not None:
        torch.set_num_threads(args.threads)
    return load(
        args.preset,
        device=args.device,
        seed=args.seed,
        profile=profile,
        keep_details=keep_details,
        weights=args.weights,
        backbone_weights=args.backbone_weights,
    )
