"""Picture of p(y | x) in one frame: the top-right corner over the image, and width and height.

Tracks up to --frame, then evaluates the energy on a grid of boxes around the refined box. Without --video and
--frames it takes the demo clip. With --numbers it also writes the grids: .npz, or .json for a short summary.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ebm_tracker.cli.loading import add_loading_flags
from ebm_tracker.cli.track import parse_box, positive_int, preset_help, thread_count

if TYPE_CHECKING:
    from ebm_tracker.density import DensityMap

_MOST_GRID = 512


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The flags and the preset's name."""
    parser.add_argument("preset", nargs="?", default="default", help=preset_help())
    source = parser.add_mutually_exclusive_group()
    source.add_argument("--video", type=Path, metavar="FILE", help="a video file; needs --init")
    source.add_argument(
        "--frames",
        type=Path,
        nargs="+",
        metavar="DIR",
        help="a folder of images; needs --init unless it holds its ground truth; several: one row of pictures each",
    )
    parser.add_argument("--init", type=parse_box, metavar="X,Y,W,H", help="the object in the first frame, pixels")
    parser.add_argument(
        "--frame", type=positive_int, default=10, metavar="K", help="number of the frame, from 1 (default: 10)"
    )
    parser.add_argument(
        "--out", type=Path, default=Path("density.png"), metavar="FILE.png", help="the picture (default: density.png)"
    )
    parser.add_argument("--numbers", type=Path, metavar="FILE", help="the numbers too: a name with .npz or .json")
    parser.add_argument("--grid", type=_grid, default=64, metavar="N", help="grid points a side (default: 64)")
    parser.add_argument(
        "--span", type=_span, default=0.25, help="reach of the grid to either side, share of the box (default: 0.25)"
    )
    add_loading_flags(parser)
    parser.add_argument("--threads", type=thread_count, metavar="N", help="CPU threads (default: torch's choice)")
    parser.add_argument("--debug", type=int, default=0, metavar="LEVEL", help="1: tracebacks of errors")


def run(args: argparse.Namespace) -> int:
    """Writes the files; returns 0. Raises EbmError, ValueError or OSError with one sentence."""
    from ebm_tracker.cli.density_run import run_density  # imports torch

    return run_density(args)


def _grid(text: str) -> int:
    count = positive_int(text)
    if not 2 <= count <= _MOST_GRID:
        raise argparse.ArgumentTypeError(f"must be from 2 to {_MOST_GRID} (got {text!r})")
    return count


def _span(text: str) -> float:
    try:
        span = float(text)
    except ValueError:
        span = 0.0
    if not 0 < span < 1:
        raise argparse.ArgumentTypeError(f"must lie between 0 and 1 (got {text!r})")
    return span


def summary(density: DensityMap) -> dict[str, Any]:
    """Numbers of a density for JSON: floats in pixels of the frame."""
    return {
        "kind": density.kind,
        "box_xywh": list(density.box_xywh),
        "x": density.x.tolist(),
        "y": density.y.tolist(),
        "marginal_x": density.marginal_x.tolist(),
        "marginal_y": density.marginal_y.tolist(),
        "peak": list(density.peak),
        "mean": list(density.mean),
        "standard_deviation": list(density.deviation),
        "highest_log_density": float(density.log_density.max()),
        "highest_energy": float(density.energy.max()),
    }
