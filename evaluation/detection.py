"""Tables of detection: the variants on one frozen detector, the paper's figures beside ours."""

from __future__ import annotations

import csv
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.resources import files

import numpy as np
from numpy.typing import NDArray

from ebm_tracker.evaluation.regression import over_runs
from ebm_tracker.evaluation.report.tables import Cell, Column, Figure, Row, Table, mark_best

Array = NDArray[np.float64]

DIRECT, OURS = "direct", "ours"
PUBLISHED_FIGURES = ("AP", "AP50", "AP75")


@dataclass(frozen=True)
class PublishedDetection:
    """One column of the paper's Table 1 (COCO test-dev): ``figures`` by name, in percent."""

    source: str
    name: str
    method: str
    figures: Mapping[str, float]


def published_detection() -> tuple[PublishedDetection, ...]:
    """All of them, in the paper's order."""
    text = files("ebm_tracker.evaluation").joinpath("published_detection.csv").read_text(encoding="utf-8")
    return tuple(
        PublishedDetection(
            row["source"], row["name"], row["method"], {name: float(row[name]) for name in PUBLISHED_FIGURES}
        )
        for row in csv.DictReader(text.splitlines())
    )


@dataclass(frozen=True)
class MethodScores:
    """``figures``: name -> (R,) values of one variant over repeated trainings, in percent. ``name`` as in the
    published rows ("ours")."""

    name: str
    figures: Mapping[str, Array]

    @property
    def runs(self) -> int:
        """R."""
        return len(next(iter(self.figures.values())))


def detection_table(
    title: str, methods: Sequence[MethodScores], *, published: bool = True, notes: Sequence[str] = ()
) -> Table:
    """Figures of each variant with their spread over the trainings, those of the paper beside.

    All methods must have the same figures. Raises ValueError for none, and for a name that the paper does not have.
    """
    if not methods:
        raise ValueError("methods must hold at least one method (got none)")
    paper = {row.name: row for row in published_detection()}
    unknown = [method.name for method in methods if method.name not in paper]
    if unknown:
        raise ValueError(f"methods must be some of {', '.join(paper)} (got {', '.join(unknown)})")
    names = list(methods[0].figures)
    columns = [Column("Method"), *(Column(name, 2) for name in names)]
    if published:
        columns += [Column(f"Paper {name}", 1) for name in PUBLISHED_FIGURES]
    rows = []
    for method in methods:
        row = paper[method.name]
        cells: list[Cell] = [row.method, *(over_runs(method.figures[name]) for name in names)]
        if published:
            cells += [Figure(row.figures[name]) for name in PUBLISHED_FIGURES]
        rows.append(Row(tuple(cells)))
    marked = mark_best(rows, range(1, len(columns)))
    said = [*notes, _runs_sentence(methods)]
    if published:
        first = next(iter(paper.values()))
        said.append(f"Columns named paper: {first.source} (COCO test-dev), trained and tested by its authors.")
    return Table(title, tuple(columns), tuple(marked), tuple(said))


def gain_table(title: str, methods: Sequence[MethodScores], *, of: str = OURS, notes: Sequence[str] = ()) -> Table:
    """How far the variant ``of`` is above each of the others, taken within each training.

    A variant with one run (the frozen detector) is the same for all. "Runs above": in how many trainings.
    """
    by_name = {method.name: method for method in methods}
    if of not in by_name:
        raise ValueError(f"of must be one of {', '.join(by_name)} (got {of!r})")
    best, paper = by_name[of], {row.name: row.method for row in published_detection()}
    names = list(best.figures)
    columns = [Column(f"{paper[of]} above")]
    columns += [column for name in names for column in (Column(name, 2, signed=True), Column(f"{name}: runs above"))]
    rows = []
    for method in methods:
        if method is best:
            continue
        cells: list[Cell] = [paper[method.name]]
        for name in names:
            gains = np.asarray(best.figures[name]) - np.asarray(method.figures[name])
            cells += [over_runs(gains), f"{int((gains > 0).sum())} of {len(gains)}"]
        rows.append(Row(tuple(cells)))
    return Table(title, tuple(columns), tuple(rows), tuple(notes))


def _runs_sentence(methods: Sequence[MethodScores]) -> str:
    runs = max(method.runs for method in methods)
    if runs == 1:
        return "One training of each: no spread."
    return f"Mean ± standard deviation over {runs} trainings on one frozen detector, which has no spread itself."
