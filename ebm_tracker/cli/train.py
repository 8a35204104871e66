"""Train a network by a recipe.

Recipes: lite (the shipped network, from photos), ebm_tracking (the paper), atom, atom_star, folder (your videos).
--set changes any field of the recipe, --resume goes on with a run. On several GPUs: torchrun --nproc_per_node N -m
ebm_tracker.cli train RECIPE ...
"""

from __future__ import annotations

import argparse
from pathlib import Path


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The verb's arguments."""
    parser.add_argument("recipe", metavar="RECIPE", help="name of a recipe")
    parser.add_argument(
        "--out",
        type=Path,
        metavar="DIR",
        help="log, checkpoints and network (default: RECIPE in the workspace that `ebm data paths` shows, or in runs)",
    )
    parser.add_argument(
        "--set", nargs="+", action="extend", default=[], metavar="KEY=VALUE", help="changes fields of the recipe"
    )
    parser.add_argument("--show", action="store_true", help="print the recipe's fields and stop")
    parser.add_argument("--resume", action="store_true", help="go on with the run in --out")
    parser.add_argument(
        "--data",
        nargs="+",
        action="extend",
        default=[],
        metavar="NAME=PATH",
        help="where data lies (default: ebm data paths)",
    )
    parser.add_argument("--backbone_weights", type=Path, metavar="FILE", help="ImageNet weights of the backbone")
    parser.add_argument(
        "--initial",
        metavar="FILE|default",
        help="a network whose head to start from, or the shipped one (without this flag: a new head)",
    )
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda, cuda:1, mps (default: auto)")
    parser.add_argument("--workers", type=int, default=1, metavar="N", help="processes that make pairs (default: 1)")
    parser.add_argument("--debug", type=int, default=0, metavar="0|1", help="1: tracebacks")


def run(args: argparse.Namespace) -> int:
    """Trains; 0 when the run is complete."""
    from dataclasses import asdict

    from ebm_tracker.build import WEIGHTS_FOLDER, choose_device
    from ebm_tracker.errors import EbmError
    from ebm_tracker.settings import Settings
    from ebm_tracker.train_settings import recipe as recipes
    from ebm_tracker.training.processes import joined_processes

    module = recipes.load_recipe(args.recipe)
    recipe = recipes.change(module.RECIPE, args.set)
    if args.show:
        for key, value in asdict(recipe).items():
            print(f"{key} = {value!r}")
        return 0
    if args.workers < 0:
        raise ValueError(f"--workers must be at least 0 (got {args.workers})")
    paths = Settings.load(args.data)
    device = choose_device(args.device)
    out = args.out or (paths.get("workspace") or Path("runs")) / args.recipe
    initial = Path(args.initial) if args.initial else None
    if args.initial == "default":
        initial = WEIGHTS_FOLDER / "default.safetensors"
    with joined_processes(device) as processes:
        opened: list[recipes.RecipeData] = []
        # The first process opens the data alone: what it caches on the way, the others find ready.
        processes.from_first(lambda: opened.append(module.open_data(recipe, paths)))
        try:
            recipes.run(
                args.recipe,
                recipe,
                opened[0] if opened else module.open_data(recipe, paths),
                out,
                backbone_weights=args.backbone_weights,
                initial=initial,
                device=processes.device(device),
                workers=args.workers,
                resume=args.resume,
                processes=processes,
            )
        except FloatingPointError as error:
            raise EbmError(f"training stopped: {error}") from error
    return 0
