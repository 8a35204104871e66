"""Check training data, print where they are looked for, or build a set of photos from Debian packages.

ebm data verify NAME [PATH]; ebm data paths; ebm data cutouts --out DIR --from DIR; ebm data bank --out DIR --pairs N;
ebm data miniature --out DIR. The help of each says more.
"""

from __future__ import annotations

import argparse
import re
from pathlib import Path
from typing import Any

from ebm_tracker.cli.loading import parse_seed
from ebm_tracker.cli.track import positive_int
from ebm_tracker.settings import Settings, write_template

_VERIFY = """Walk a data set before training: what is missing, unreadable, of differing length or outside the frame.

Exits with 1 when there is more of it than --limit allows."""
_PATHS = """Print which paths are set, and by what: the settings file, an environment variable or --data."""
_CUTOUTS = """Build a set of objects and backgrounds from Debian packages, in the layout of ECSSD.

For those who have no other photos. The packages (on Debian 12, 430 MB): tuxpaint-stamps-default, gcompris-qt-data,
gnome-backgrounds, mate-backgrounds, plasma-workspace-wallpapers, lomiri-wallpapers-16.04, lomiri-wallpapers-20.04,
ukui-wallpapers. Each has its own licences; sources.tsv in the set says which file came from where."""

_BANK = """Make training pairs from photos once, for many runs or epochs of the recipe lite.

A bank that was stopped is gone on with by the same command."""
_MINIATURE = """Draw 24 little "photos" with objects, to try the recipe lite with. Nothing is downloaded."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The sub-commands and their flags."""
    commands = parser.add_subparsers(metavar="command", required=True, dest="data_command")
    verify = _command(commands, "verify", _VERIFY)
    verify.add_argument("name", metavar="NAME", help="trackingnet, lasot, got10k, coco, folder or photos")
    verify.add_argument("path", metavar="PATH", type=Path, nargs="?", help="where it lies (default: ebm data paths)")
    verify.add_argument(
        "--option",
        nargs="+",
        default=[],
        metavar="KEY=VALUE",
        help="of the reader: set_ids=0,1 (trackingnet), split=vottrain (got10k), year=2017 (coco)",
    )
    verify.add_argument(
        "--images", type=_count, default=500, metavar="N", help="frames to decode, drawn at random (default: 500)"
    )
    verify.add_argument("--seed", type=int, default=0, metavar="N", help="of that choice (default: 0)")
    verify.add_argument(
        "--limit",
        type=parse_limit,
        default=parse_limit("1%"),
        metavar="N|P%",
        help="bad sequences, and bad frames of those decoded, that are accepted (default: 1%% of each)",
    )
    verify.add_argument(
        "--quick", action="store_true", help="do not look whether each sequence's last frame can be read"
    )
    paths = _command(commands, "paths", _PATHS)
    _data_flag(paths, "as the other commands take it")
    paths.add_argument(
        "--write-template", action="store_true", help="write a settings file to fill in; never over an existing one"
    )
    cutouts = _command(commands, "cutouts", _CUTOUTS)
    cutouts.add_argument("--out", type=Path, required=True, metavar="DIR", help="a new or empty folder")
    cutouts.add_argument(
        "--from",
        dest="sources",
        type=Path,
        nargs="+",
        default=[],
        metavar="PATH",
        help=".deb files, or folders of them or of unpacked packages",
    )
    cutouts.add_argument("--fetch", action="store_true", help="download the packages with apt-get (430 MB)")
    bank = _command(commands, "bank", _BANK)
    _data_flag(bank, "where the photos lie: photos=DIR")
    bank.add_argument("--out", type=Path, required=True, metavar="DIR", help="the bank's folder")
    bank.add_argument("--pairs", type=positive_int, required=True, metavar="N", help="half a megabyte each")
    bank.add_argument("--seed", type=parse_seed, default=0, metavar="N", help="of the pairs (default: 0)")
    bank.add_argument("--workers", type=int, default=1, metavar="N", help="processes that make pairs (default: 1)")
    miniature = _command(commands, "miniature", _MINIATURE)
    miniature.add_argument("--out", type=Path, required=True, metavar="DIR", help="a new or empty folder")


def _command(commands: Any, name: str, text: str) -> argparse.ArgumentParser:
    parser: argparse.ArgumentParser = commands.add_parser(name, help=text.splitlines()[0], description=text)
    parser.add_argument("--debug", type=int, default=0, metavar="LEVEL", help="1: tracebacks of errors")
    return parser


def _data_flag(parser: argparse.ArgumentParser, text: str) -> None:
    parser.add_argument("--data", nargs="+", action="extend", default=[], metavar="NAME=PATH", help=text)


def _count(text: str) -> int:
    if not re.fullmatch(r"\d{1,9}", text):
        raise argparse.ArgumentTypeError(f"must be a whole number from 0 on (got {text!r})")
    return int(text)


def parse_limit(text: str) -> tuple[float, bool]:
    """``12`` -> (12.0, False); ``1%`` -> (0.01, True), a share. Raises argparse.ArgumentTypeError."""
    match = re.fullmatch(r"(\d{1,9}(?:\.\d{1,9})?)(%?)", text.strip())
    if match is None or (match[2] and float(match[1]) > 100) or (not match[2] and "." in match[1]):
        raise argparse.ArgumentTypeError(f"must be a whole number or a percentage such as 1% (got {text!r})")
    return (float(match[1]) / 100, True) if match[2] else (float(match[1]), False)


def run(args: argparse.Namespace) -> int:
    """Runs the sub-command; 0, or 1 when `verify` found too much."""
    if args.data_command == "paths":
        return _paths(args)
    if args.data_command in ("bank", "miniature"):
        return _bank(args) if args.data_command == "bank" else _miniature(args)
    from ebm_tracker.cli import data_report  # imports numpy, PIL and the readers

    return data_report.verify(args) if args.data_command == "verify" else data_report.cutouts(args)


def _bank(args: argparse.Namespace) -> int:
    from rich.progress import MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    from ebm_tracker.train_settings import lite
    from ebm_tracker.training.bank import make_bank
    from ebm_tracker.training.pairs import PairDataset, PairMaker

    if args.workers < 0:
        raise ValueError(f"--workers must be at least 0 (got {args.workers})")
    training, _ = lite.read_photos(Settings.load(args.data).require("photos"))
    pairs = PairDataset(PairMaker(training, lite.PAIRS), args.pairs, args.seed)
    columns = (TextColumn("pairs"), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns) as progress:
        task = progress.add_task("", total=args.pairs)
        facts = lite.bank_facts(training, args.seed)
        make_bank(
            args.out, pairs, args.pairs, facts, args.workers, lambda done, _: progress.update(task, completed=done)
        )
    print(args.out.absolute())
    return 0


def _miniature(args: argparse.Namespace) -> int:
    from ebm_tracker.training.data.miniature import draw_miniature

    print(f"{draw_miniature(args.out)} photos in {args.out.absolute()}")
    return 0


def _paths(args: argparse.Namespace) -> int:
    from rich.console import Console

    from ebm_tracker.cli.data_report import paths_table

    if args.write_template:
        print(write_template().absolute())
        return 0
    settings = Settings.load(args.data)
    Console().print(paths_table(settings))
    return 0
