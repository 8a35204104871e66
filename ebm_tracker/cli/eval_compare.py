"""Say which of two trackers is better on the same sequences, and how sure that is.

A and B are folders of results, as for `ebm eval report`. The difference of every sequence is shown, and a bootstrap
over sequences gives the interval in which the mean lies: a change that helps on average, but not reliably, is told
from one that helps.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from ebm_tracker.cli.eval_datasets import add_data_flags, open_dataset
from ebm_tracker.cli.eval_report import add_scoring_flags
from ebm_tracker.cli.track import positive_int

if TYPE_CHECKING:
    from rich.console import Console

    from ebm_tracker.evaluation.report.comparison import Comparison
    from ebm_tracker.evaluation.report.content import Report

RESAMPLES = 10_000
ROWS_SHOWN = 30


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The flags."""
    parser.add_argument("dataset", metavar="DATASET", help="what was tracked: uav, otb, folder, ...")
    parser.add_argument("a", metavar="A", help="folder of results to compare with")
    parser.add_argument("b", metavar="B", help="folder of results of the other, such as the changed tracker")
    parser.add_argument("--names", nargs=2, metavar="NAME", help="of the trackers (default: from their folders)")
    add_scoring_flags(parser)
    parser.add_argument("--seed", type=int, default=0, help="of the bootstrap (default: 0)")
    parser.add_argument(
        "--resamples", type=positive_int, default=RESAMPLES, metavar="N", help=f"of it (default: {RESAMPLES})"
    )
    parser.add_argument("--out", type=Path, metavar="DIR", help="write CSV files and a picture here")
    add_data_flags(parser)


def run(args: argparse.Namespace) -> int:
    """Returns 0, whichever is better. Raises EbmError, ValueError or OSError with one sentence."""
    from rich.console import Console

    from ebm_tracker.evaluation.report.comparison import compare
    from ebm_tracker.evaluation.report.content import gather_report
    from ebm_tracker.evaluation.result_tree import find_results

    names = args.names or (None, None)
    results = [find_results(path, name) for path, name in zip((args.a, args.b), names, strict=True)]
    console = Console(highlight=False)
    with console.status("scoring"):
        benchmark = open_dataset(args.dataset, args)
        if args.sequences:
            benchmark = benchmark.only(args.sequences)
        report = gather_report(benchmark, results, args.metrics, truncate=args.truncate, published=False)
        comparisons = [compare(report, section, args.resamples, args.seed) for section in report.sections]
    for comparison in comparisons:
        _print(console, comparison)
    _print_problems(console, report)
    if args.out is not None:
        _write(console, comparisons, args.out)
    return 0


def _print(console: Console, comparison: Comparison) -> None:
    from dataclasses import replace

    from ebm_tracker.cli.tables import print_table, say
    from ebm_tracker.evaluation.report.comparison import difference_table, remarks, summary_table, verdict

    table = difference_table(comparison)
    if len(table.rows) > ROWS_SHOWN:
        half = ROWS_SHOWN // 2
        note = f"The {half} largest losses and gains of {len(table.rows)} sequences; --out writes all."
        table = replace(table, rows=(*table.rows[:half], *table.rows[-half:]), notes=(note,))
    print_table(console, table)
    print_table(console, summary_table(comparison))
    say(console, f"{verdict(comparison)}.")
    for remark in remarks(comparison):
        say(console, f"  {remark}")


def _print_problems(console: Console, report: Report) -> None:
    from ebm_tracker.cli.eval_report import PROBLEMS_SHOWN
    from ebm_tracker.cli.tables import say

    for problem in report.problems[:PROBLEMS_SHOWN]:
        say(console, f"problem: {problem}")
    if len(report.problems) > PROBLEMS_SHOWN:
        say(console, f"and {len(report.problems) - PROBLEMS_SHOWN} more problems, which `ebm eval report` lists")


def _write(console: Console, comparisons: list[Comparison], out: Path) -> None:
    from ebm_tracker.cli.tables import say
    from ebm_tracker.evaluation.report.comparison import write_comparison

    for comparison in comparisons:
        suffix = f"_{comparison.section.flavour.name}" if len(comparisons) > 1 else ""
        written = write_comparison(comparison, out, suffix)
        for sentence in written.left_out:
            say(console, sentence)
        for path in written.files:
            say(console, f"  {path}")
