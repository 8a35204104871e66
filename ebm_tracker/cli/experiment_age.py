"""Age (UTKFace): six baselines, and each of them refined on the learned density (Tables 3 and S1).

--data names the folder of UTKFace's aligned and cropped images, --splits that of Cao et al.'s utk_train.csv and
utk_test.csv; nothing is downloaded but torchvision's ImageNet weights. --small takes any folder of such images, holds
out a fifth, and trains small networks on a frozen backbone, for a machine without a GPU. The same command goes on with
what was stopped.
"""

from __future__ import annotations

import argparse
from pathlib import Path

OUT = Path("results", "experiment")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The flags."""
    parser.add_argument(
        "--data", type=Path, required=True, metavar="UTKFACE", help="folder of the aligned and cropped images"
    )
    parser.add_argument(
        "--splits", type=Path, metavar="DIR", help="folder of utk_train.csv and utk_test.csv (default: that of --data)"
    )
    parser.add_argument(
        "--small", action="store_true", help="frozen backbone, small networks, a fifth of the images to test on"
    )
    parser.add_argument("--runs", type=int, metavar="R", help="trainings of everything (default: 5)")
    parser.add_argument("--seed", type=int, metavar="N", help="of the first training (default: 0)")
    parser.add_argument("--limit", type=int, default=0, metavar="N", help="at most N training images (default: all)")
    parser.add_argument(
        "--backbone", metavar="NAME", help="resnet50 (default), any other of torchvision, resnet18_layer3 or, "
        "with --small the default, efficientnet_lite0",
    )  # fmt: skip
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
        help=f"folder of tables and figures, trainings in DIR/runs (default: {OUT / 'age'}, age_small with --small)",
    )
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda, cuda:1, mps (default: auto)")
    parser.add_argument(
        "--workers", type=int, default=1, metavar="N", help="trainings side by side, on a CPU (default: 1)"
    )


def run(args: argparse.Namespace) -> int:
    """Trains what is not trained yet, writes tables and figures; 0 when all is done."""
    from dataclasses import replace

    from rich.console import Console

    from ebm_tracker.adapters.regression.study import Study
    from ebm_tracker.build import choose_device
    from ebm_tracker.cli.experiment_folder import check, claim
    from ebm_tracker.cli.tables import print_table, say
    from ebm_tracker.evaluation.regression import write_tables
    from ebm_tracker.evaluation.report.plots import MISSING, plots_available
    from ebm_tracker.train_settings import age

    console = Console()
    recipe = age.SMALL if args.small else age.FULL
    changed = {"runs": args.runs, "seed": args.seed}
    study_settings = replace(recipe.study, **{key: value for key, value in changed.items() if value is not None})
    recipe = replace(recipe, study=study_settings)
    if args.backbone is not None and args.backbone != recipe.backbone:
        recipe = replace(recipe, backbone=args.backbone, grid=age.grid_of(args.backbone))
    if args.freeze is not None:
        recipe = replace(recipe, freeze=args.freeze)
    if args.limit < 0:
        raise ValueError(f"--limit must be at least 0 (got {args.limit})")
    source = age.AgeSource(args.data, args.splits, args.backbone_weights, args.limit)
    device = choose_device(args.device)
    if args.workers > 1:
        device = choose_device("cpu" if args.device == "auto" else args.device)
    out: Path = args.out or OUT / ("age_small" if args.small else "age")
    title = "age small" if args.small else "age"
    check(out, title)
    say(console, f"everything goes to {out.absolute()}")
    train, test, remarks = age.choose_faces(recipe, source)
    for remark in remarks:
        say(console, remark)
    data = age.open_study_data(recipe, source, train, test, out / "features", device)
    claim(out, title)
    study = Study(data, recipe.study, out / "runs", device=device, workers=args.workers)
    result = study.run()
    tables = age.tables(recipe, result, remarks)
    for table in tables:
        print_table(console, table)
    written = list(write_tables(out, tables))
    if plots_available():
        written += age.draw(study, result, test, recipe, out)
    else:
        say(console, f"no figures: {MISSING}")
    say(console, "written: " + ", ".join(map(str, written)))
    return 0
