"""Measure frames per second, milliseconds per stage and memory on a made-up video.

The video is computed in memory and its time is not counted. The figures are for this machine as it is now.
"""

from __future__ import annotations

import argparse
import re
from pathlib import Path

from ebm_tracker.cli.loading import add_loading_flags
from ebm_tracker.cli.track import positive_int, preset_help, thread_count


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The flags."""
    parser.add_argument("--preset", default="default", help=preset_help())
    parser.add_argument(
        "--size", type=parse_size, default=(640, 480), metavar="WxH", help="of the video (default: 640x480)"
    )
    parser.add_argument(
        "--frames", type=positive_int, default=200, metavar="N", help="frames after the first (default: 200)"
    )
    parser.add_argument(
        "--threads", type=thread_count, default=2, metavar="N", help="CPU threads (default: 2)"
    )
    add_loading_flags(parser)
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the same figures to this file")
    parser.add_argument("--debug", type=int, default=0, metavar="LEVEL", help="1: tracebacks of errors")


def run(args: argparse.Namespace) -> int:
    """Measures and prints; returns 0."""
    from ebm_tracker.cli.benchmark import run_benchmark  # imports torch

    return run_benchmark(args)


def parse_size(text: str) -> tuple[int, int]:
    """``640x480`` as (640, 480); sides from 32 to 8192. Raises argparse.ArgumentTypeError."""
    match = re.fullmatch(r"(\d{1,6})[xX](\d{1,6})", text.strip())
    if match is None or not all(32 <= int(side) <= 8192 for side in match.groups()):
        raise argparse.ArgumentTypeError(f"must be WIDTHxHEIGHT with sides of 32 to 8192 (got {text!r})")
    return int(match[1]), int(match[2])
