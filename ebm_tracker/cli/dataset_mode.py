"""run_tracker.py with pytracking's flags: a tracker over a benchmark, by the code of ``ebm eval run``."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Mapping
from pathlib import Path

from ebm_tracker.cli.track import run_number
from ebm_tracker.cli.trackers import KNOWN
from ebm_tracker.errors import EbmError

MOST_WORKERS = 1024

SHORT_NAMES: Mapping[str, str] = {"tn": "trackingnet", "gott": "got10k_test", "gotv": "got10k_val"}
"""What the help of pytracking's run_tracker.py calls them."""
THEIRS_ONLY = (
    "tpl", "tpl_nootb", "trackingnetvos", "got10k_ltrval", "got10kvos_val", "lasot_extension_subset", "lasotvos",
    "oxuva_dev", "oxuva_test", "avist", "lagot", "lagot_sot_mode", "dv2016_val", "dv2017_val", "dv2017_test_dev",
    "dv2017_test_chal", "yt2018_jjval", "yt2018_valid_all", "yt2019_jjval", "yt2019_jjval_all", "yt2019_test",
    "yt2019_valid", "yt2019_valid_all",
)  # fmt: skip
"""Data sets of pytracking that are not among ours."""
_TRUE, _FALSE = ("true", "yes", "on", "1"), ("false", "no", "off", "0")
_NEED_DATASET = ("sequence", "runid", "path", "data", "pytracking")
_SINGLE_ONLY = ("video", "frames", "init")


class DatasetError(EbmError):
    """The benchmark is not known here."""


def add_dataset_flags(parser: argparse.ArgumentParser) -> None:
    """pytracking's flags, and where benchmarks and checkout lie."""
    group = parser.add_argument_group(
        "a benchmark instead of one video", "as pytracking's run_tracker.py; the same as `ebm eval run`"
    )
    group.add_argument("--dataset_name", metavar="NAME", help="otb, nfs, uav, lasot, trackingnet, got10k_val, ...")
    group.add_argument("--sequence", metavar="NAME|N", help="only this one, by name or number from 0")
    group.add_argument(
        "--runid", type=run_number, metavar="N", help="results go to PRESET_00N; the seed is --seed plus N"
    )
    group.add_argument("--path", type=Path, metavar="DIR", help="the benchmark's folder (default: ebm data paths)")
    group.add_argument("--data", nargs="+", action="extend", metavar="NAME=PATH", help="as --path, by name")
    group.add_argument("--pytracking", type=Path, metavar="DIR", help="a checkout of pytracking, for its trackers")
    group.add_argument(
        "--use_visdom", type=yes_or_no, metavar="BOOL", help="taken and ignored, as are the next two: no viewer here"
    )
    group.add_argument("--visdom_server", metavar="HOST", help=argparse.SUPPRESS)
    group.add_argument("--visdom_port", type=int, metavar="PORT", help=argparse.SUPPRESS)


def yes_or_no(text: str) -> bool:
    """true, yes, on, 1 or false, no, off, 0. Raises argparse.ArgumentTypeError."""
    word = text.strip().lower()
    if word not in _TRUE + _FALSE:
        raise argparse.ArgumentTypeError(f"must be True or False (got {text!r})")
    return word in _TRUE


def worker_count(text: str) -> int:
    """A whole number from 0 to MOST_WORKERS. Raises argparse.ArgumentTypeError."""
    if not text.strip().isdecimal() or int(text) > MOST_WORKERS:
        raise argparse.ArgumentTypeError(f"must be a whole number from 0 to {MOST_WORKERS} (got {text!r})")
    return int(text)


def check_single(args: argparse.Namespace) -> None:
    """Raises ValueError for what makes sense with --dataset_name only."""
    for name in _NEED_DATASET:
        if getattr(args, name) is not None:
            raise ValueError(f"--{name} needs --dataset_name, the benchmark")
    if args.tracker_name != "ebm":
        raise ValueError(
            f"one video is tracked with the tracker ebm only (got {args.tracker_name!r}); with --dataset_name: {KNOWN}"
        )
    if args.threads == 0:
        raise ValueError("--threads must be at least 1 (got '0'); 0 is for --dataset_name, as in pytracking")


def ours(dataset_name: str) -> str:
    """Our name of pytracking's data set. Raises DatasetError for one that it has and we have not."""
    name = SHORT_NAMES.get(dataset_name.lower(), dataset_name.lower())
    if name in THEIRS_ONLY:
        from ebm_tracker.evaluation.datasets.registry import DATASET_NAMES

        raise DatasetError(
            f"--dataset_name {dataset_name} is a data set of pytracking's that is not read here; "
            f"here are {', '.join(DATASET_NAMES)}"
        )
    return name


def say_ignored(args: argparse.Namespace) -> None:
    """One line for a wish that is not granted."""
    if args.use_visdom or (args.use_visdom is None and (args.visdom_server or args.visdom_port)):
        print(
            "note: --use_visdom is ignored: no viewer is opened; `ebm eval report` writes a page with a player",
            file=sys.stderr,
        )


def run_dataset(args: argparse.Namespace) -> int:
    """Tracks the benchmark; returns the exit code of ``ebm eval run``.

    ``--threads`` is the number of worker processes, 0 and 1 being this process, as in pytracking. Raises what
    ``ebm eval run`` does, and ValueError for flags of a single video.
    """
    from ebm_tracker.cli import eval_run

    for name in _SINGLE_ONLY:
        if getattr(args, name) is not None:
            raise ValueError(f"--{name} is for one video, without --dataset_name")
    parser = argparse.ArgumentParser()
    eval_run.add_arguments(parser)
    wanted = parser.parse_args([args.tracker_name, args.preset, ours(args.dataset_name)])  # its defaults
    for name in ("device", "seed", "weights", "backbone_weights", "path", "pytracking", "debug"):
        setattr(wanted, name, getattr(args, name))
    wanted.data = args.data or []
    wanted.out = args.out or wanted.out
    wanted.sequences = None if args.sequence is None else [args.sequence]
    wanted.workers = max(args.threads or 0, 1)
    wanted.runs = 1
    wanted.first_run = args.runid
    return eval_run.run(wanted)
