"""Track an object through a video or a folder of frames.

Without --video and --frames it tracks the face of the demo clip. Writes boxes, times, scores, an annotated
video and a contact sheet.
"""

from __future__ import annotations

import argparse
import importlib.util
import math
import pkgutil
import re
from collections.abc import Callable, Sequence
from pathlib import Path

from ebm_tracker.cli.loading import add_loading_flags

MOST_THREADS = 1024  # torch starts as many as it is told to, and dies of tens of thousands

# A value like -5,3,20,20 looks like a flag to argparse.
_NEGATIVE_VALUE = re.compile(r"-[\d.]")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The flags and the preset's name."""
    parser.add_argument("preset", nargs="?", default="default", help=preset_help())
    add_flags(parser)


def preset_help() -> str:
    """The help of an argument that takes a preset, with the names of all."""
    # Found without being executed: the presets import torch.
    spec = importlib.util.find_spec("ebm_tracker.parameters")
    folders = spec.submodule_search_locations if spec is not None else None
    names = sorted(module.name for module in pkgutil.iter_modules(folders or []))
    return f"settings of the tracker: {', '.join(names)} (default: default)"


def add_flags(parser: argparse.ArgumentParser, threads: Callable[[str], int] | None = None) -> None:
    """The flags, which run_tracker.py shares. ``threads``: how --threads is read (None: ``thread_count``)."""
    source = parser.add_mutually_exclusive_group()
    source.add_argument("--video", type=Path, metavar="FILE", help="a video file; needs --init")
    source.add_argument(
        "--frames",
        type=Path,
        metavar="DIR",
        help="a folder of images; needs --init unless it holds groundtruth.txt or groundtruth_rect.txt",
    )
    parser.add_argument(
        "--init",
        type=parse_box,
        metavar="X,Y,W,H",
        help="the object in the first frame: left, top, width, height in pixels",
    )
    parser.add_argument(
        "--out", type=Path, metavar="DIR", help="where the results go (default: results/ebm/<preset>)"
    )
    add_loading_flags(parser)
    parser.add_argument(
        "--threads", type=threads or thread_count, metavar="N", help="CPU threads (default: torch's choice)"
    )
    # pytracking spells with underscores, our own way is with hyphens.
    parser.add_argument(
        "--save_video",
        "--save-video",
        "--no-save_video",
        "--no-save-video",
        dest="save_video",
        action=_Switch,
        nargs=0,
        default=True,
        help="write the annotated video or not (default: write it)",
    )
    add_visdom_flag(parser)
    parser.add_argument(
        "--debug",
        type=int,
        default=0,
        metavar="LEVEL",
        help="1: times of the stages, and tracebacks of errors",
    )


def add_visdom_flag(parser: argparse.ArgumentParser | argparse._ArgumentGroup) -> None:
    """--visdom [HOST:PORT]; ``args.visdom`` is None without it."""
    parser.add_argument(
        "--visdom",
        nargs="?",
        const="localhost:8097",
        metavar="HOST:PORT",
        help="show tracking, score map, status and box energies on this visdom server (default: localhost:8097)",
    )


class _Switch(argparse.Action):
    """argparse.BooleanOptionalAction for more spellings than one."""

    def __call__(
        self,
        parser: argparse.ArgumentParser,
        namespace: argparse.Namespace,
        values: object,
        option_string: str | None = None,
    ) -> None:
        setattr(namespace, self.dest, not (option_string or "").startswith("--no-"))


def run(args: argparse.Namespace) -> int:
    """Tracks; returns 0, or 130 after Ctrl-C."""
    from ebm_tracker.cli.session import run_session  # imports PyAV and more, which --help needs not

    return run_session(args)


def build_run_tracker_parser() -> argparse.ArgumentParser:
    """The parser of run_tracker.py: the flags of ``ebm track`` after pytracking's two leading arguments, and
    pytracking's own."""
    from ebm_tracker.cli import dataset_mode  # these two import this module
    from ebm_tracker.cli.parser import OneLineParser
    from ebm_tracker.cli.trackers import KNOWN

    text = f"{(__doc__ or '').rstrip()}\n\nWith --dataset_name it tracks a whole benchmark, on --threads processes."
    parser = OneLineParser(prog="run_tracker.py", description=text)
    parser.add_argument(
        "tracker_name", nargs="?", default="ebm", help=f"ebm; with --dataset_name one of {KNOWN}"
    )
    parser.add_argument("preset", metavar="tracker_param", nargs="?", default="default", help=preset_help())
    add_flags(parser, threads=dataset_mode.worker_count)
    dataset_mode.add_dataset_flags(parser)
    parser.set_defaults(run=run_tracker)
    return parser


def run_tracker(args: argparse.Namespace) -> int:
    """One video, or a benchmark when ``args.dataset_name`` is given; returns the exit code."""
    from ebm_tracker.cli import dataset_mode

    dataset_mode.say_ignored(args)
    if args.dataset_name is not None:
        return dataset_mode.run_dataset(args)
    dataset_mode.check_single(args)
    return run(args)


def run_tracker_main(argv: Sequence[str] | None = None) -> int:
    """run_tracker.py; returns the exit code."""
    from ebm_tracker.cli.parser import run_guarded

    return run_guarded(build_run_tracker_parser(), argv)


def parse_box(text: str) -> tuple[float, float, float, float]:
    """``x,y,w,h`` as four floats; the sides must be above 0. Raises argparse.ArgumentTypeError."""
    fields = [field for field in re.split(r"[,;\s]+", text.strip()) if field]
    try:
        values = [float(field) for field in fields]
    except ValueError:
        values = []
    if len(values) != 4 or not all(math.isfinite(value) for value in values):
        raise argparse.ArgumentTypeError(f"must be four numbers x,y,w,h such as 64,33,51,69 (got {text!r})")
    x, y, w, h = values
    if w <= 0 or h <= 0:
        raise argparse.ArgumentTypeError(f"width and height must be > 0 (got w={w:g}, h={h:g})")
    return x, y, w, h


def positive_int(text: str) -> int:
    """A whole number of at least 1. Raises argparse.ArgumentTypeError."""
    if not text.strip().isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"must be a whole number of at least 1 (got {text!r})")
    return int(text)


def thread_count(text: str) -> int:
    """As ``positive_int``, at most MOST_THREADS."""
    count = positive_int(text)
    if count > MOST_THREADS:
        raise argparse.ArgumentTypeError(f"must be at most {MOST_THREADS} (got {text!r})")
    return count


def run_number(text: str) -> int:
    """A whole number from 0 to 999: run folders have three digits. Raises argparse.ArgumentTypeError."""
    if not text.strip().isdecimal() or int(text) > 999:
        raise argparse.ArgumentTypeError(f"must be a whole number from 0 to 999 (got {text!r})")
    return int(text)


def join_negative_values(argv: Sequence[str]) -> list[str]:
    """``--init -5,3,20,20`` as ``--init=-5,3,20,20``, so that argparse takes the value for one."""
    joined: list[str] = []
    for argument in argv:
        if joined and joined[-1] == "--init" and _NEGATIVE_VALUE.match(argument):
            joined[-1] = f"--init={argument}"
        else:
            joined.append(argument)
    return joined
