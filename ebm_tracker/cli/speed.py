"""Measure a tracker's frames per second, a training step, the making of training pairs, scoring, or detection.

--of tracker: a made-up video, computed in memory, whose time is not counted; milliseconds per stage, memory. --of
training: one step of the paper's head, 16 pairs with 129 boxes each, forward, backward and Adam. --of loader: pairs
per second from JPEG files that are written to a temporary folder, and the JPEG decoders that are installed. --of
scoring: random boxes for all of UAV123's frames, with the got10k toolkit beside it where that is installed. --of
detection: refinement of 25 to 400 boxes of one image by 10 steps, with the paper's branch. Nothing is downloaded. The
figures are for this machine as it is now.
"""

from __future__ import annotations

import argparse
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ebm_tracker.cli.loading import add_loading_flags
from ebm_tracker.cli.track import positive_int, preset_help, thread_count

TRACKER, TRAINING, LOADER, SCORING, DETECTION = TARGETS = ("tracker", "training", "loader", "scoring", "detection")
DEFAULTS: Mapping[str, Mapping[str, Any]] = {
    "preset": {TRACKER: "default"},
    "device": {TRACKER: "auto", TRAINING: "auto", DETECTION: "auto"},
    "seed": {TRACKER: 0},
    "weights": {TRACKER: None},
    "backbone_weights": {TRACKER: None},
    "frames": {TRACKER: 200},
    "objects": {TRACKER: 1},
    "size": {TRACKER: (640, 480), LOADER: (500, 400)},
    "threads": {TRACKER: 2, TRAINING: 2, DETECTION: 2},
    "workers": {LOADER: 2},
}
"""The flags that not every measurement has: what each of those that have it takes when it is not given."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The flags."""
    parser.add_argument("--of", choices=TARGETS, default=TRACKER, help="what to measure (default: tracker)")
    parser.add_argument("--preset", help=preset_help())
    parser.add_argument(
        "--size", type=parse_size, metavar="WxH", help="of the frames (default: 640x480; --of loader: 500x400)"
    )
    parser.add_argument("--frames", type=positive_int, metavar="N", help="frames after the first (default: 200)")
    parser.add_argument(
        "--objects",
        type=positive_int,
        metavar="N",
        help="2 or more: one frame with N objects at once, against one object and against N trackers (default: 1)",
    )
    parser.add_argument("--threads", type=thread_count, metavar="N", help="CPU threads (default: 2)")
    parser.add_argument("--workers", type=positive_int, metavar="N", help="--of loader: its processes (default: 2)")
    add_loading_flags(parser)
    parser.set_defaults(device=None, seed=None)  # fill_defaults
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the same figures to this file")
    parser.add_argument("--debug", type=int, default=0, metavar="LEVEL", help="1: tracebacks of errors")


def run(args: argparse.Namespace) -> int:
    """Measures and prints; returns 0. Raises ValueError for a flag that the measurement has not."""
    fill_defaults(args)
    if args.json is not None and not args.json.resolve().parent.is_dir():
        raise ValueError(f"--json must name a file in a folder that is there (got {args.json})")
    # All of them import torch.
    if args.of == TRAINING:
        from ebm_tracker.cli.training_benchmark import run_training_benchmark

        return run_training_benchmark(args)
    if args.of == LOADER:
        from ebm_tracker.cli.loader_benchmark import run_loader_benchmark

        return run_loader_benchmark(args)
    if args.of == SCORING:
        from ebm_tracker.cli.scoring_benchmark import run_scoring_benchmark

        return run_scoring_benchmark(args)
    if args.of == DETECTION:
        from ebm_tracker.cli.detection_benchmark import run_detection_benchmark

        return run_detection_benchmark(args)
    if args.objects > 1:
        from ebm_tracker.cli.objects_benchmark import run_objects_benchmark

        return run_objects_benchmark(args)
    from ebm_tracker.cli.benchmark import run_benchmark

    return run_benchmark(args)


def fill_defaults(args: argparse.Namespace) -> None:
    """Gives the flags that were left out the defaults of ``args.of``. Raises ValueError for one that it has not."""
    for name, defaults in DEFAULTS.items():
        if getattr(args, name) is None:
            setattr(args, name, defaults.get(args.of))
        elif args.of not in defaults:
            raise ValueError(f"--{name} goes with --of {' or '.join(defaults)} (got --of {args.of})")


def parse_size(text: str) -> tuple[int, int]:
    """``640x480`` as (640, 480); sides from 32 to 8192. Raises argparse.ArgumentTypeError."""
    match = re.fullmatch(r"(\d{1,6})[xX](\d{1,6})", text.strip())
    if match is None or not all(32 <= int(side) <= 8192 for side in match.groups()):
        raise argparse.ArgumentTypeError(f"must be WIDTHxHEIGHT with sides of 32 to 8192 (got {text!r})")
    return int(match[1]), int(match[2])
