"""Score results, and write tables, plots and a page with a player.

RESULTS are folders of result files, ours or those of pytracking, pysot and the got10k toolkit: RESULTS/uav_bike1.txt;
where there is RESULTS_000, RESULTS_001, ... instead, they are averaged as runs of one tracker. Every table says by
which toolkit's rules it was made; several of --metrics give several tables. Published figures of the same rules stand
in rows of their own. Trackers with results of some sequences only are marked as partial.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from ebm_tracker.cli.eval_datasets import add_data_flags, open_dataset

if TYPE_CHECKING:
    from rich.console import Console

    from ebm_tracker.evaluation.report.content import Report
    from ebm_tracker.evaluation.report.writer import Written

FRAME_CHOICES = ("link", "copy", "none")
PROBLEMS_SHOWN = 8


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The flags."""
    parser.add_argument("dataset", metavar="DATASET", help="what was tracked: uav, otb, folder, ...")
    parser.add_argument("results", metavar="RESULTS", nargs="+", help="folders of results, one per tracker")
    parser.add_argument("--names", nargs="+", metavar="NAME", help="of the trackers (default: from their folders)")
    add_scoring_flags(parser)
    parser.add_argument(
        "--published", action=argparse.BooleanOptionalAction, default=True, help="rows of published figures"
    )
    parser.add_argument("--out", type=Path, metavar="DIR", help="of the files (default: reports/DATASET)")
    parser.add_argument(
        "--frames",
        choices=FRAME_CHOICES,
        default=FRAME_CHOICES[0],
        help="of the player: link shows the images where they lie (those of videos are copied), copy makes reduced "
        "copies so that the page can be moved, none shows boxes only (default: link)",
    )
    add_data_flags(parser)


def add_scoring_flags(parser: argparse.ArgumentParser) -> None:
    """What is scored and by which rules; also for ``ebm eval compare``."""
    parser.add_argument(
        "--metrics",
        nargs="+",
        default=[],
        metavar="FLAVOUR",
        help="whose rules: pytracking, got10k, trackingnet, lasot, plain (default: what the field cites)",
    )
    parser.add_argument(
        "--truncate",
        action=argparse.BooleanOptionalAction,
        default=False,
        help="cut boxes to integers first, to compare with pytracking's raw results",
    )
    parser.add_argument("--sequences", nargs="+", metavar="NAME", help="only these, by name or number (default: all)")


def run(args: argparse.Namespace) -> int:
    """Returns 0, also for partial results. Raises EbmError, ValueError or OSError with one sentence."""
    from rich.console import Console

    from ebm_tracker.evaluation.report.content import gather_report
    from ebm_tracker.evaluation.report.player import FrameUse
    from ebm_tracker.evaluation.report.writer import write_report
    from ebm_tracker.evaluation.result_tree import find_results

    if args.names and len(args.names) != len(args.results):
        raise ValueError(f"--names needs a name for each of the {len(args.results)} RESULTS (got {len(args.names)})")
    names = args.names or [None] * len(args.results)
    results = [find_results(path, name) for path, name in zip(args.results, names, strict=True)]
    console = Console(highlight=False)
    with console.status("opening the benchmark") as status:
        benchmark = open_dataset(args.dataset, args)
        if args.sequences:
            benchmark = benchmark.only(args.sequences)
        report = gather_report(
            benchmark,
            results,
            args.metrics,
            truncate=args.truncate,
            published=args.published,
            on_progress=lambda text: status.update(_plain(text)),
        )
        out = args.out or Path("reports", benchmark.name)
        written = write_report(report, out, FrameUse(args.frames), on_progress=lambda text: status.update(_plain(text)))
    print_report(console, report, written, out)
    return 0


def _plain(text: str) -> str:
    from rich.markup import escape

    return escape(text)


def print_report(console: Console, report: Report, written: Written, out: Path) -> None:
    """Scores and speed as tables, then the problems and where the files are."""
    from ebm_tracker.cli.tables import print_table, say
    from ebm_tracker.evaluation.report.scoreboard import common_table, score_table, speed_table
    from ebm_tracker.evaluation.report.writer import PAGE

    for section in report.sections:
        for table in (score_table(report, section), common_table(report, section)):
            if table is not None:
                print_table(console, table)
    speed = speed_table(report)
    if speed is not None:
        print_table(console, speed)
    if report.problems:
        more = len(report.problems) - PROBLEMS_SHOWN
        say(console, f"{len(report.problems)} problem{'s' if len(report.problems) > 1 else ''}:")
        for problem in report.problems[:PROBLEMS_SHOWN]:
            say(console, f"  {problem}")
        if more > 0:
            say(console, f"  and {more} more, all in {out / 'report.md'}")
    for sentence in written.left_out:
        say(console, sentence)
    say(console, f"{len(written.files)} files in {out}")
    page = out / PAGE
    say(console, f"  {page if page in written.files else out / 'report.md'}")
