"""Your own kind of problem: p(y | x) of a table, by an energy network and by Gaussian and Laplace heads.

Cross-validation on real data sets that scikit-learn ships, or on --csv with a column --target: log-likelihood, coverage
of the 90 % interval and absolute error on test rows, a figure of densities and calibration. The same command goes on
with what was stopped.
"""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from ebm_tracker.cli.experiment_folder import claim
from ebm_tracker.cli.tables import print_table, say

if TYPE_CHECKING:
    from rich.console import Console

    from ebm_tracker.adapters.tabular.data import TableData
    from ebm_tracker.adapters.tabular.study import TabularResult, TabularSettings, TabularStudy
    from ebm_tracker.evaluation.report.tables import Table

OUT = Path("results", "experiment", "regression")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The flags."""
    parser.add_argument(
        "--out",
        type=Path,
        metavar="DIR",
        help="tables and figure, trainings in DIR/runs (default: results/experiment/regression, with the name of --csv "
        "and _small appended)",
    )
    parser.add_argument("--sets", nargs="+", metavar="SET", help="diabetes, tumour, photo (default: all)")
    parser.add_argument("--csv", type=Path, metavar="FILE", help="a table of yours instead: CSV with a header")
    parser.add_argument("--target", metavar="COLUMN", help="which column of --csv is y; all others are x")
    parser.add_argument("--group", metavar="COLUMN", help="rows with the same text here stay together in the splits")
    parser.add_argument("--repeats", type=int, metavar="N", help="of the 5-fold cross-validation (default: 2)")
    parser.add_argument("--small", action="store_true", help="a look: short trainings, one repeat")
    parser.add_argument("--workers", type=int, default=1, metavar="N", help="trainings side by side (default: 1)")


def run(args: argparse.Namespace) -> int:
    """Trains what is missing, prints and writes; 0 when all is done."""
    from rich.console import Console

    from ebm_tracker.adapters.tabular.study import TabularStudy
    from ebm_tracker.evaluation.regression import write_tables

    tables, settings = _tables(args), _settings(args)
    out = (args.out or _default_out(args)).absolute()
    console = Console(highlight=False)
    studies = [
        TabularStudy(data, settings, out / "runs" / data.name, workers=args.workers) for data in tables
    ]
    claim(out, "regression small" if args.small else "regression")
    splits = settings.folds * settings.repeats
    for data in tables:
        say(console, data.description)
        for note in data.notes:
            say(console, f"  {note}")
    say(console, f"{splits} splits of each, trainings of at most {settings.epochs} epochs; they go to {out}")
    results = [study.run() for study in studies]
    table = _table(results, settings)
    print_table(console, table)
    for path in write_tables(out, [table]):
        say(console, f"  {path}")
    _draw(console, studies, results, out)
    return 0


def _default_out(args: argparse.Namespace) -> Path:
    name = OUT.name if args.csv is None else f"{OUT.name}_{args.csv.stem}"
    return OUT.with_name(f"{name}_small" if args.small else name)


def _tables(args: argparse.Namespace) -> list[TableData]:
    from ebm_tracker.adapters.tabular.data import SETS, load_set, read_csv

    if args.csv is None:
        if args.target is not None or args.group is not None:
            raise ValueError("--target and --group need --csv FILE")
        return [load_set(name) for name in dict.fromkeys(args.sets or SETS)]
    if args.sets:
        raise ValueError("--csv and --sets exclude each other")
    if args.target is None:
        raise ValueError("--csv needs --target COLUMN, the y")
    return [read_csv(args.csv, args.target, args.group)]


def _settings(args: argparse.Namespace) -> TabularSettings:
    from ebm_tracker.train_settings import regression

    settings = regression.SMALL if args.small else regression.FULL
    return settings if args.repeats is None else replace(settings, repeats=args.repeats)


def _table(results: list[TabularResult], settings: TabularSettings) -> Table:
    from ebm_tracker.evaluation.regression import density_table

    rows = [row for result in results for row in result.table_rows()]
    decays = " or ".join(f"{decay:g}" for decay in settings.decays)
    and_decay = f" and the weight decay ({decays})" if len(settings.decays) > 1 else ""
    made = (
        f"Layers of {settings.hidden} units, Adam, batches of {settings.batch_size}, at most {settings.epochs} epochs "
        f"for every model; a fifth of the training rows chooses the epoch{and_decay}. EBM: M = {settings.samples}, "
        f"sigmas of {' and '.join(f'{sigma:g}' for sigma in settings.sigmas)} standard deviations of y."
    )
    verdicts = [result.verdict(settings.level) for result in results]
    sources = [f"{result.data.name}: {result.data.description}" for result in results]
    notes = (*verdicts, made, *sources)
    return density_table("Densities of real tables", rows, level=settings.level, notes=notes)


def _draw(console: Console, studies: list[TabularStudy], results: list[TabularResult], out: Path) -> None:
    from ebm_tracker.adapters.tabular.figure import draw, figure_row
    from ebm_tracker.evaluation.report.plots import MISSING, plots_available

    if not plots_available():
        say(console, f"no figure: {MISSING}")
        return
    picture = draw([figure_row(study, result) for study, result in zip(studies, results, strict=True)])
    for path in picture.write(out / "regression"):
        say(console, f"  {path}")
