"""Times the scoring of a benchmark of UAV123's size, with the got10k toolkit beside it where that is installed."""

from __future__ import annotations

import argparse
import contextlib
import importlib.metadata
import io
import statistics
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from rich.console import Console
from rich.table import Table

from ebm_tracker.annotations import Boxes
from ebm_tracker.cli.benchmark import machine_facts, machine_text, write_figures
from ebm_tracker.evaluation.datasets.benchmark import Benchmark
from ebm_tracker.evaluation.datasets.numbered import NumberedFrames
from ebm_tracker.evaluation.datasets.tables import table_of
from ebm_tracker.evaluation.result_tree import boxes_text, find_results
from ebm_tracker.evaluation.scoring import FLAVOURS, flavour, score_tracker
from ebm_tracker.evaluation.sequences import TrackingSequence

TOOLKIT = "got10k"
SAME_FIGURES = {"AUC": "success_score", "OP50": "success_rate", "Precision": "precision_score"}
"""Ours -> the toolkit's."""
NAN_SHARE = 0.03
"""True boxes that are missing."""


@dataclass(frozen=True)
class ScoringTime:
    """Seconds to score all sequences, medians.

    Attributes:
        metrics: the flavour; the toolkit's name and version for its own.
        figures: how many it gives.
        arrays: the boxes are in memory.
        files: they are read from result files first; None where that was not measured.
    """

    metrics: str
    figures: int
    arrays: float
    files: float | None = None


@dataclass(frozen=True)
class ScoringSpeed:
    """Times on the same random boxes.

    Attributes:
        sequences, frames: how many.
        ours: a row for each flavour.
        toolkit: the got10k toolkit's; None where it is not installed.
        largest_difference: between its figures and ours of the same flavour, percent points; None without it.
    """

    sequences: int
    frames: int
    ours: list[ScoringTime]
    toolkit: ScoringTime | None = None
    largest_difference: float | None = None

    @property
    def ratios(self) -> tuple[float, float] | None:
        """Time of the toolkit / ours of the same flavour: from arrays, from files."""
        ours = next(row for row in self.ours if row.metrics == TOOLKIT)
        if self.toolkit is None or self.toolkit.files is None or ours.files is None:
            return None
        return self.toolkit.arrays / ours.arrays, self.toolkit.files / ours.files


def run_scoring_benchmark(args: argparse.Namespace) -> int:
    """``ebm speed --of scoring``; returns 0."""
    console = Console(highlight=False)
    with console.status("scoring random boxes"):
        speed = time_scoring()
    machine = machine_facts(torch.__version__)
    print_scoring_report(console, speed)
    console.print(machine_text(machine))
    write_figures(args.json, {"machine": machine, **asdict(speed), "ratios": speed.ratios})
    return 0


def time_scoring(sequences: int | None = None, rounds: int = 5) -> ScoringSpeed:
    """Scores random boxes with the names and lengths of UAV123's sequences, the first ``sequences`` or all of them.

    Everything is done ``rounds`` times, in turn, so that the machine's other work falls on all alike.
    """
    made, predicted = random_benchmark(sequences)
    with tempfile.TemporaryDirectory() as folder:
        tree = Path(folder) / "random" / "boxes"
        tree.mkdir(parents=True)
        for name, boxes in predicted.items():
            (tree / f"{name}.txt").write_text(boxes_text(boxes))
        work: dict[str, Callable[[], object]] = {}
        for name in FLAVOURS:
            work[f"{name} arrays"] = _scored_arrays(name, made, predicted)
            work[f"{name} files"] = _scored_files(name, made, tree)
        toolkit = _toolkit(made, tree)
        if toolkit is not None:
            work["toolkit arrays"] = _toolkit_arrays(toolkit, made, predicted)
            work["toolkit files"] = _toolkit_files(toolkit, tree)
        seconds = _medians(work, rounds)
        difference = None if toolkit is None else _largest_difference(toolkit, made, tree)
    ours = [
        ScoringTime(name, len(flavour(name, made.name).figures), seconds[f"{name} arrays"], seconds[f"{name} files"])
        for name in FLAVOURS
    ]
    theirs = None
    if toolkit is not None:
        title = f"{TOOLKIT} toolkit {importlib.metadata.version(TOOLKIT)}"
        theirs = ScoringTime(title, len(SAME_FIGURES), seconds["toolkit arrays"], seconds["toolkit files"])
    return ScoringSpeed(len(made.sequences), sum(map(len, predicted.values())), ours, theirs, difference)


def random_benchmark(sequences: int | None = None) -> tuple[Benchmark, dict[str, Boxes]]:
    """True boxes, some of them NaN, and predicted ones near them."""
    rng = np.random.default_rng(0)
    made, predicted = [], {}
    for row in table_of("uav")[:sequences]:
        truth = np.column_stack([rng.uniform(1, 1100, (row.count, 2)), rng.uniform(10, 150, (row.count, 2))])
        noise = rng.normal(0, 1, truth.shape) * rng.choice([1, 5, 60], (row.count, 1))
        boxes = truth + noise
        boxes[:, 2:] = np.abs(boxes[:, 2:])
        truth[1:][rng.random(row.count - 1) < NAN_SHARE] = np.nan
        x, y, w, h = truth[0].tolist()
        frames = NumberedFrames(row.folder, "%06d.jpg", row.first, row.count, row.name)
        made.append(TrackingSequence(row.name, frames, (x, y, w, h), truth))
        predicted[row.name] = np.round(boxes, 3)  # as files have them
    return Benchmark("uav", "UAV123", tuple(made), len(made), 1, "pytracking"), predicted


def _scored_arrays(name: str, made: Benchmark, predicted: dict[str, Boxes]) -> Callable[[], object]:
    # True boxes that are NaN are usual on UAV123 only; each flavour takes them by its rules for it.
    rules = flavour(name, made.name)
    return lambda: rules.summarize([rules.judge(predicted[s.name], s) for s in made.sequences])


def _scored_files(name: str, made: Benchmark, tree: Path) -> Callable[[], object]:
    rules = flavour(name, made.name)
    return lambda: score_tracker(find_results(tree), made, rules)


def _medians(work: dict[str, Callable[[], object]], rounds: int) -> dict[str, float]:
    seconds: dict[str, list[float]] = {name: [] for name in work}
    for _ in range(rounds):
        for name, task in work.items():
            start = time.perf_counter()
            task()
            seconds[name].append(time.perf_counter() - start)
    return {name: statistics.median(times) for name, times in seconds.items()}


class _TruthOnly:
    """What the toolkit's experiments ask of a data set."""

    def __init__(self, sequences: Sequence[TrackingSequence]) -> None:
        self.seq_names = [s.name for s in sequences]
        self._truths = [s.truth_xywh for s in sequences]

    def __len__(self) -> int:
        return len(self._truths)

    def __getitem__(self, index: int) -> tuple[list[str], Boxes | None]:
        return [], self._truths[index]


def _toolkit(made: Benchmark, tree: Path) -> Any:
    """The toolkit's UAV123 experiment on our boxes, without plots; None where it is not installed."""
    try:
        from got10k.experiments import ExperimentUAV123
    except ImportError:
        return None
    experiment = object.__new__(ExperimentUAV123)  # its __init__ looks for the data set
    experiment.dataset = _TruthOnly(made.sequences)
    experiment.nbins_iou, experiment.nbins_ce = 21, 51
    experiment.result_dir, experiment.report_dir = str(tree.parent), str(tree.parent / "reports")
    experiment.plot_curves = lambda *_: None
    return experiment


def _toolkit_arrays(experiment: Any, made: Benchmark, predicted: dict[str, Boxes]) -> Callable[[], object]:
    def score() -> object:
        curves = []
        for sequence in made.sequences:
            assert sequence.truth_xywh is not None
            boxes = predicted[sequence.name].copy()
            boxes[0] = sequence.truth_xywh[0]
            curves.append(experiment._calc_curves(*experiment._calc_metrics(boxes, sequence.truth_xywh)))
        return [np.mean(kind, axis=0) for kind in zip(*curves, strict=True)]

    return score


def _toolkit_files(experiment: Any, tree: Path) -> Callable[[], Any]:
    def score() -> Any:
        with contextlib.redirect_stdout(io.StringIO()):
            return experiment.report([tree.name])[tree.name]["overall"]

    return score


def _largest_difference(experiment: Any, made: Benchmark, tree: Path) -> float:
    theirs = _toolkit_files(experiment, tree)()
    ours = score_tracker(find_results(tree), made, flavour(TOOLKIT, made.name)).figures
    return max(abs(ours[name] - 100 * float(theirs[key])) for name, key in SAME_FIGURES.items())


def print_scoring_report(console: Console, speed: ScoringSpeed) -> None:
    """A table, and the ratio as a sentence."""
    table = Table(title=f"seconds to score {speed.sequences} sequences with {speed.frames:,} frames")
    for heading in ("metrics", "figures", "boxes in memory", "from result files"):
        table.add_column(heading, justify="left" if heading == "metrics" else "right")
    for row in (*speed.ours, *((speed.toolkit,) if speed.toolkit else ())):
        files = "" if row.files is None else f"{row.files:.3f}"
        table.add_row(row.metrics, str(row.figures), f"{row.arrays:.3f}", files)
    console.print(table)
    if speed.ratios is None:
        console.print("The got10k toolkit is not installed, so there is nothing to compare with.", soft_wrap=True)
        return
    in_memory, from_files = speed.ratios
    console.print(
        f"The got10k toolkit takes {in_memory:.1f} times as long as ours in memory and {from_files:.1f} times from "
        f"files; figures differ by at most {speed.largest_difference:.1g} percent points.",
        soft_wrap=True,
    )
