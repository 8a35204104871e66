"""The paper's one-dimensional illustration (Figure 2): a Gaussian and energy models on two made-up data sets.

Trains every model --runs times, prints the Kullback-Leibler divergence from the true density, and draws truth, data and
learned densities side by side. Needs no data; the same command goes on with what was stopped.
"""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from ebm_tracker.cli.experiment_folder import claim
from ebm_tracker.cli.tables import print_table, say
from ebm_tracker.files import write_text_atomic

if TYPE_CHECKING:
    from rich.console import Console

    from ebm_tracker.adapters.toy import ToySettings, ToyStudy
    from ebm_tracker.evaluation.report.tables import Table

OUT = Path("results", "experiment")
BEST = 5
"""The authors' later code reports the mean of so many lowest divergences of 20."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The flags."""
    parser.add_argument(
        "--out",
        type=Path,
        metavar="DIR",
        help="tables and figure, trainings in DIR/runs (default: results/experiment/toy, toy_small with --small)",
    )
    parser.add_argument("--runs", type=int, metavar="N", help="trainings of each model (default: 20, or 3)")
    parser.add_argument("--sets", nargs="+", metavar="SET", help="mixture, wave (default: both)")
    parser.add_argument(
        "--models", nargs="+", metavar="MODEL", help="gaussian, nll (the paper's), kl, nce, nce+ (default: all)"
    )
    parser.add_argument("--network", metavar="NAME", help="paper, paper_tanh, repo (default: paper)")
    parser.add_argument("--small", action="store_true", help="a look: short trainings with few samples")
    parser.add_argument("--workers", type=int, default=1, metavar="N", help="trainings side by side (default: 1)")


def run(args: argparse.Namespace) -> int:
    """Trains what is missing, prints and writes; 0 when all is done."""
    from rich.console import Console

    from ebm_tracker.adapters.toy import MODELS, TRUTHS, ToyStudy
    from ebm_tracker.evaluation.report.formats import csv_text, markdown

    settings = _settings(args)
    out = (args.out or OUT / ("toy_small" if args.small else "toy")).absolute()
    study = ToyStudy(
        settings,
        out / "runs",
        workers=args.workers,
        data_sets=tuple(args.sets or TRUTHS),
        models=tuple(args.models or MODELS),
    )
    console = Console(highlight=False)
    count = len(study.data_sets) * len(study.models) * settings.runs
    claim(out, "toy small" if args.small else "toy")
    say(console, f"{count} trainings of {settings.fit.epochs} epochs, network {settings.network}; they go to {out}")
    table = _table(study)
    print_table(console, table)
    for name, text in (("table.md", markdown(table)), ("table.csv", csv_text(table))):
        write_text_atomic(out / name, text)
        say(console, f"  {out / name}")
    _draw(console, study, out)
    return 0


def _settings(args: argparse.Namespace) -> ToySettings:
    from ebm_tracker.train_settings import toy

    given = {name: value for name in ("runs", "network") if (value := getattr(args, name)) is not None}
    return replace(toy.SMALL if args.small else toy.FULL, **given)


def _table(study: ToyStudy) -> Table:
    """Runs the study."""
    from ebm_tracker.adapters.regression import FitSettings
    from ebm_tracker.adapters.toy import MODELS, TRUTHS
    from ebm_tracker.adapters.toy.study import GAUSSIAN
    from ebm_tracker.evaluation.regression import Divergences, divergence_table

    rows = [
        Divergences(TRUTHS[model.data_set].title, MODELS[model.model], values) for model, values in study.run().items()
    ]
    settings, fit = study.settings, study.settings.fit
    full = FitSettings().epochs
    look = (f"{fit.epochs} of {full} epochs: a look, no result.",) if fit.epochs < full else ()
    return divergence_table(
        "1-D illustration",
        rows,
        best=min(BEST, settings.runs),
        reference=MODELS[GAUSSIAN],
        notes=(
            f"{settings.pairs:,} training pairs, {fit.epochs} epochs; EBM: network {settings.network}, "
            f"M = {settings.samples:,} draws, sigmas {', '.join(map(str, settings.sigmas))}, maximum likelihood, "
            "the rows below it with other objectives.",
            *look,
        ),
    )


def _draw(console: Console, study: ToyStudy, out: Path) -> None:
    """The Gaussian and the paper's EBM, of each the training with the median divergence."""
    from ebm_tracker.adapters.toy.figure import draw, figure_row
    from ebm_tracker.evaluation.report.plots import MISSING, plots_available

    if not plots_available():
        say(console, f"no figure: {MISSING}")
        return
    picture = draw([figure_row(study, data_set) for data_set in study.data_sets])
    for path in picture.write(out / "toy"):
        say(console, f"  {path}")
