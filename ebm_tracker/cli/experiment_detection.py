"""Detection (COCO): the energy head on a frozen Faster R-CNN beside four other ways to better boxes (Table 1).

--data names COCO's folder (annotations, train2017, val2017); the detector is torchvision's, with its COCO weights or
those of --detector_weights. --small takes a folder of photos with masks (ECSSD, COCO128) instead, composes a detection
set of them and trains a light detector first, for a machine without a GPU. On several GPUs: torchrun --nproc_per_node N
-m ebm_tracker.cli experiment detection --data COCO. The same command goes on with what was stopped.
"""

from __future__ import annotations

import argparse
import os
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ebm_tracker.cli.track import positive_int

if TYPE_CHECKING:
    from collections.abc import Sequence

    import torch
    from rich.console import Console

    from ebm_tracker.adapters.detection.study import DetectionStudy
    from ebm_tracker.adapters.detection.variants import DetectionData, DetectionResult
    from ebm_tracker.train_settings.detection import DetectionRecipe, SmallRecipe

OUT = Path("results", "experiment")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The flags."""
    parser.add_argument(
        "--data",
        type=Path,
        metavar="DIR",
        help="COCO's folder or one in its layout; with --small a folder of photos and masks (default: data.coco, or "
        "data.photos, of `ebm data paths`)",
    )
    parser.add_argument("--small", action="store_true", help="composed images and a light detector: two CPU cores")
    parser.add_argument(
        "--methods", nargs="+", metavar="NAME", help="some of gaussian laplace iou_net iou_net_star ours (default: all)"
    )
    parser.add_argument("--runs", type=positive_int, metavar="R", help="trainings of each (default: 1, 3 with --small)")
    parser.add_argument("--seed", type=int, metavar="N", help="of the first training (default: 0)")
    parser.add_argument(
        "--steps", type=positive_int, metavar="N", help="of each variant's training, from its start on (default: the "
        "recipe's)"
    )  # fmt: skip
    parser.add_argument("--batch_size", type=positive_int, metavar="N", help="images of a step (default: the recipe's)")
    parser.add_argument(
        "--grid_search",
        type=int,
        metavar="N",
        help="choose the step lengths of refinement on N validation images, and print all that were tried "
        "(default: 0, the paper's step lengths; 100 with --small)",
    )
    parser.add_argument(
        "--coverage",
        type=int,
        metavar="N",
        help="boxes whose learned density is compared with the truth, 0 for none (default: 1000, 400 with --small)",
    )
    coco = parser.add_argument_group("on COCO, or your set in its layout")
    coco.add_argument("--detector", metavar="NAME", help="of torchvision (default: fasterrcnn_resnet50_fpn)")
    coco.add_argument("--detector_weights", type=Path, metavar="FILE", help="its state dict (default: torchvision's)")
    coco.add_argument("--train_split", metavar="SPLIT", help="(default: train2017)")
    coco.add_argument("--val_split", metavar="SPLIT", help="of --grid_search (default: val2017)")
    coco.add_argument(
        "--test_split",
        metavar="SPLIT",
        help="(default: val2017); test-dev2017 gives files for the test server",
    )
    coco.add_argument("--limit", type=int, default=0, metavar="N", help="at most N images of each split (default: all)")
    coco.add_argument("--loaders", type=int, metavar="N", help="processes that read images (default: 8, or the cores)")
    small = parser.add_argument_group("with --small")
    small.add_argument("--backbone_weights", type=Path, metavar="FILE", help="of the backbone (default: the shipped)")
    small.add_argument(
        "--show",
        type=Path,
        metavar="DIR",
        help="photos and masks that the images of the picture of boxes are composed of (default: the test images)",
    )
    small.add_argument(
        "--workers", type=positive_int, default=1, metavar="N", help="trainings side by side, on a CPU (default: 1)"
    )
    parser.add_argument(
        "--out",
        type=Path,
        metavar="DIR",
        help=f"tables and figures, trainings in DIR/runs (default: {OUT / 'detection'}, detection_small with --small)",
    )
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda, cuda:1, mps (default: auto)")


def run(args: argparse.Namespace) -> int:
    """Trains what is not trained yet, writes tables and figures; 0 when all is done."""
    from rich.console import Console

    from ebm_tracker.adapters.detection.study import DetectionStudy
    from ebm_tracker.build import choose_device
    from ebm_tracker.cli.experiment_folder import at_work, check, claim
    from ebm_tracker.cli.tables import say
    from ebm_tracker.errors import EbmError
    from ebm_tracker.training.processes import joined_processes

    recipe = changed_recipe(args)
    device = choose_device("cpu" if args.workers > 1 and args.device == "auto" else args.device)
    out: Path = (args.out or OUT / ("detection_small" if args.small else "detection")).absolute()
    with joined_processes(device) as processes, at_work(out, processes.is_first):
        if args.small and processes.count > 1:
            raise ValueError("--small runs in one process: start it without torchrun")
        console = Console(quiet=not processes.is_first)
        title = "detection small" if args.small else "detection"
        check(out, title)
        say(console, f"everything goes to {out}")
        # The first process opens the data alone: what it fetches on the way, the others find ready.
        opened: list[tuple[DetectionData, list[str]]] = []
        processes.from_first(lambda: opened.append(_open(args, recipe, out, device)))
        data, remarks = opened[0] if opened else _open(args, recipe, out, device)
        for remark in remarks:
            say(console, remark)
        processes.from_first(lambda: claim(out, title))
        workers: int = args.workers
        study = DetectionStudy(data, recipe.study, out / "runs", device=device, workers=workers, processes=processes)
        try:
            result = study.run()
        except FloatingPointError as error:
            raise EbmError(f"training stopped: {error}") from error
    if result is not None:
        if data.test.file.annotations:
            _report(console, study, result, recipe, remarks, out, args.show)
        else:
            _pack(console, study, out)
    return 0


def changed_recipe(args: argparse.Namespace) -> DetectionRecipe | SmallRecipe:
    """The recipe that the flags ask for."""
    from ebm_tracker.train_settings import detection

    _check(args)
    recipe: DetectionRecipe | SmallRecipe = detection.SMALL if args.small else detection.FULL
    study = recipe.study
    changed: dict[str, Any] = {name: value for name in ("runs", "seed") if (value := getattr(args, name)) is not None}
    if args.methods is not None:
        changed["methods"] = tuple(dict.fromkeys(args.methods))
    if args.grid_search is not None:
        changed["search_images"] = args.grid_search
    for name in ("head_loop", "iou_loop", "nll_loop"):
        loop = getattr(study, name)
        if args.steps is not None:
            loop = detection.with_steps(loop, args.steps)
        if args.batch_size is not None:
            loop = replace(loop, batch_size=args.batch_size)
        if args.loaders is not None:
            loop = replace(loop, workers=args.loaders)
        else:
            loop = replace(loop, workers=min(loop.workers, os.cpu_count() or 1))
        changed[name] = loop
    recipe = replace(recipe, study=replace(study, **changed))
    if args.coverage is not None:
        recipe = replace(recipe, coverage=args.coverage)
    if args.detector is not None and isinstance(recipe, detection.DetectionRecipe):
        recipe = replace(recipe, detector=args.detector)
    return recipe


def _check(args: argparse.Namespace) -> None:
    for name in ("limit", "coverage", "grid_search", "loaders"):
        value = getattr(args, name)
        if value is not None and value < 0:
            raise ValueError(f"--{name} must be at least 0 (got {value})")
    splits = ("train_split", "val_split", "test_split")
    coco = ("detector", "detector_weights", "limit", "loaders", *splits)
    others = coco if args.small else ("backbone_weights", "show")
    for name in others:
        if getattr(args, name):
            kind = "goes with COCO, not with" if args.small else "needs"
            raise ValueError(f"--{name} {kind} --small")
    if not args.small and args.workers > 1:
        raise ValueError("--workers needs --small; for several GPUs start the command with torchrun")


def _open(
    args: argparse.Namespace, recipe: DetectionRecipe | SmallRecipe, out: Path, device: torch.device
) -> tuple[DetectionData, list[str]]:
    from ebm_tracker.settings import Settings
    from ebm_tracker.train_settings import detection

    root = args.data or Settings.load().require("photos" if args.small else "coco", "--data DIR")
    if isinstance(recipe, detection.SmallRecipe):
        return detection.open_small(recipe, root, out, device, args.backbone_weights)
    splits = {name: value for name in ("train", "val", "test") if (value := getattr(args, f"{name}_split")) is not None}
    source = detection.CocoSource(root, args.detector_weights, limit=args.limit, **splits)
    return detection.open_coco(recipe, source)


def _report(
    console: Console,
    study: DetectionStudy,
    result: DetectionResult,
    recipe: DetectionRecipe | SmallRecipe,
    remarks: Sequence[str],
    out: Path,
    show: Path | None,
) -> None:
    """Tables and figures."""
    from ebm_tracker.cli.tables import print_table, say
    from ebm_tracker.evaluation.regression import write_tables
    from ebm_tracker.evaluation.report.plots import MISSING, plots_available
    from ebm_tracker.train_settings import detection_report

    for table in detection_report.search_tables(study):
        print_table(console, table)
    tables = detection_report.tables(recipe, study, result, remarks)
    for table in tables:
        print_table(console, table)
    written = list(write_tables(out, tables))
    if plots_available():
        written += detection_report.draw(recipe, study, out, show)
    else:
        say(console, f"no figures: {MISSING}")
    say(console, "written: " + ", ".join(map(str, written)))


def _pack(console: Console, study: DetectionStudy, out: Path) -> None:
    """Detections of each training as the test server takes them, of images whose objects it alone knows."""
    from ebm_tracker.adapters.detection.results import pack_results
    from ebm_tracker.cli.tables import say

    split = study.data.test.file.path.stem.removeprefix("image_info_").removeprefix("instances_")
    for run, name in study.jobs:
        detections = study.folder_of(run, name) / "detections.json"
        method = f"{name.replace('_', '-')}-run{run}"
        say(console, f"for the test server: {pack_results(detections, out, method, split)}")
