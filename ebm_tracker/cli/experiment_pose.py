"""Head pose (BIWI): six baselines, and each of them refined on the learned density (Tables 4 and S2).

--data names the folder of FSA-Net's BIWI_train.npz and BIWI_test.npz; nothing is downloaded but torchvision's ImageNet
weights. --small renders heads with known angles instead and trains small networks on a frozen backbone, for a machine
without a GPU. --render N only writes N rendered heads as such a file, to --out. The same command goes on with what was
stopped.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from ebm_tracker.cli.track import positive_int

if TYPE_CHECKING:
    from ebm_tracker.adapters.pose.data import PoseData
    from ebm_tracker.train_settings.pose import PoseRecipe

OUT = Path("results", "experiment")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The flags."""
    source = parser.add_mutually_exclusive_group(required=True)
    source.add_argument("--data", type=Path, metavar="BIWI", help="folder of BIWI_train.npz and BIWI_test.npz")
    source.add_argument("--small", action="store_true", help="rendered heads, frozen backbone, small networks")
    source.add_argument("--render", type=positive_int, metavar="N", help="write N rendered heads to --out, an .npz")
    parser.add_argument("--runs", type=positive_int, metavar="R", help="trainings of everything (default: 5)")
    parser.add_argument("--seed", type=int, metavar="N", help="of the first training, or of --render (default: 0)")
    parser.add_argument("--limit", type=int, default=0, metavar="N", help="at most N training images (default: all)")
    parser.add_argument(
        "--backbone",
        metavar="NAME",
        help="resnet50 (default), any other of torchvision or, with --small the default, efficientnet_lite0",
    )
    parser.add_argument("--backbone_weights", type=Path, metavar="FILE", help="ImageNet weights of the backbone")
    parser.add_argument(
        "--freeze",
        action=argparse.BooleanOptionalAction,
        default=None,
        help="train on features of a frozen backbone, which are kept (default: with --small)",
    )
    parser.add_argument(
        "--out",
        type=Path,
        metavar="DIR",
        help=f"folder of tables and figure, trainings in DIR/runs (default: {OUT / 'pose'}, pose_small with --small); "
        "with --render the file",
    )
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda, cuda:1, mps (default: auto)")
    parser.add_argument(
        "--workers", type=positive_int, default=1, metavar="N", help="trainings side by side, on a CPU (default: 1)"
    )


def run(args: argparse.Namespace) -> int:
    """Trains what is not trained yet, writes tables and figure; 0 when all is done."""
    from rich.console import Console

    from ebm_tracker.adapters.pose.data import write_pose_file
    from ebm_tracker.adapters.regression.study import Study
    from ebm_tracker.build import choose_device
    from ebm_tracker.cli.experiment_folder import check, claim
    from ebm_tracker.cli.tables import print_table, say
    from ebm_tracker.evaluation.regression import write_tables
    from ebm_tracker.train_settings import pose

    console = Console()
    if args.render is not None:
        path = args.out or Path("heads.npz")
        if path.suffix != ".npz":
            raise ValueError(f"--out must name an .npz file with --render (got {path})")
        write_pose_file(path, render(args.render, args.seed or 0))
        say(console, f"written: {path.absolute()}, {args.render} rendered heads")
        return 0
    recipe = changed_recipe(args)
    out = args.out or OUT / ("pose_small" if args.small else "pose")
    device = choose_device("cpu" if args.workers > 1 and args.device == "auto" else args.device)
    title = "pose small" if args.small else "pose"
    check(out, title)
    say(console, f"everything goes to {out.absolute()}")
    train, test, remarks = pose.choose_heads(recipe, args.data, render, out / "data", args.limit)
    for remark in remarks:
        say(console, remark)
    data = pose.open_study_data(recipe, train, test, args.backbone_weights, out / "features", device)
    claim(out, title)
    study = Study(data, recipe.study, out / "runs", device=device, workers=args.workers)
    result = study.run()
    tables = pose.tables(recipe, study, result, remarks)
    for table in tables:
        print_table(console, table)
    written = [*write_tables(out, tables), *pose.draw(study, result, test, out)]
    say(console, "written: " + ", ".join(map(str, written)))
    return 0


def changed_recipe(args: argparse.Namespace) -> PoseRecipe:
    """The recipe that the flags ask for."""
    from dataclasses import replace

    from ebm_tracker.adapters.features import CUT
    from ebm_tracker.train_settings import pose

    recipe = pose.SMALL if args.small else pose.FULL
    changed = {name: value for name in ("runs", "seed") if (value := getattr(args, name)) is not None}
    recipe = replace(recipe, study=replace(recipe.study, **changed))
    if args.backbone is not None and args.backbone != recipe.backbone:
        recipe = replace(recipe, backbone=args.backbone, grid=pose.SMALL.grid if args.backbone in CUT else 1)
    if args.freeze is not None:
        recipe = replace(recipe, freeze=args.freeze)
    if args.limit < 0:
        raise ValueError(f"--limit must be at least 0 (got {args.limit})")
    return recipe


def render(count: int, seed: int) -> PoseData:
    """Rendered heads; says meanwhile how many are done."""
    from rich.console import Console

    from ebm_tracker.adapters.counting import open_counter
    from ebm_tracker.adapters.pose.data import PoseData
    from ebm_tracker.adapters.pose.render import render_heads

    with open_counter("rendering heads", count, Console()) as show:
        return PoseData(*render_heads(count, seed, lambda done, total: show(done)))
