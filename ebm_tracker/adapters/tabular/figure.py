"""Densities of a few test rows by each model, and how often their intervals hold the truth (matplotlib)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ebm_tracker.adapters.regression import EnergyRegressor
from ebm_tracker.adapters.tabular.study import MODELS, TabularResult, TabularStudy
from ebm_tracker.evaluation.report.plots import Picture, open_figure, rendered

Array = NDArray[np.float64]

CASES = (0.1, 0.5, 0.9)
"""Test rows whose median by the EBM is at these ranks: a rule, so that nobody picks the rows that look best."""
STYLES: Mapping[str, Mapping[str, Any]] = {
    "ebm": {"color": "#0072b2", "linewidth": 2.2},
    "gaussian": {"color": "#d55e00", "linewidth": 1.5, "linestyle": (0, (5, 2))},
    "laplace": {"color": "#009e73", "linewidth": 1.5, "linestyle": (0, (1.5, 1.5))},
}
LEVELS = np.linspace(0, 1, 101)
_TRUTH = "#1c2026"
_POINTS = 400


@dataclass(frozen=True)
class Case:
    """One test row: ``y`` (P,) values, the models' ``densities`` (P,) there, and the true value."""

    y: Array
    densities: Mapping[str, Array]
    truth: float


@dataclass(frozen=True)
class FigureRow:
    """One data set: its ``name``, what y is, the cases, and for each model the share of test values (L,) within the
    central intervals of LEVELS."""

    name: str
    target: str
    cases: Sequence[Case]
    covered: Mapping[str, Array]


def central_coverage(pit: Array) -> Array:
    """Share of true values within the central interval of each of LEVELS, (L,), from PIT values (N,)."""
    shares: Array = (2 * np.abs(pit - 0.5)[:, None] <= LEVELS).mean(0)
    return shares


def figure_row(study: TabularStudy, result: TabularResult) -> FigureRow:
    """Cases of the first split, coverage of all."""
    test, data = study.splits[0].test, study.data
    models = {name: study.model(0, study.chosen(0, name)) for name in MODELS}
    energy = models["ebm"]
    assert isinstance(energy, EnergyRegressor)
    order = np.argsort(energy.predict(data.x[test], "median"))
    rows = [test[order[round(share * (len(test) - 1))]] for share in CASES]
    low, high = data.y.min(), data.y.max()
    margin = 0.05 * (high - low)
    y = np.linspace(low - margin, high + margin, _POINTS)
    cases = []
    for row in rows:
        x = np.repeat(data.x[row][None], len(y), 0)
        densities = {name: np.exp(model.log_prob(x, y)) for name, model in models.items()}
        cases.append(Case(y, densities, float(data.y[row])))
    covered = {name: central_coverage(result.pit(name)) for name in MODELS}
    return FigureRow(data.name, data.target, cases, covered)


def draw(rows: Sequence[FigureRow]) -> Picture:
    """A line of panels for each data set. Raises PlotError without matplotlib."""
    columns = len(CASES) + 1
    with open_figure((2.35 * columns, 1.95 * len(rows) + 0.35)) as figure:
        grid = figure.subplots(len(rows), columns, squeeze=False)
        handles: list[Any] = []
        for axes, row in zip(grid, rows, strict=True):
            handles = _draw_cases(axes[:-1], row)
            _draw_coverage(axes[-1], row)
        names = [*MODELS.values(), "true value"]
        figure.legend(handles, names, loc="outside upper center", ncols=len(names), frameon=False, fontsize=9)
        return rendered(figure)


def _draw_cases(axes: Sequence[Any], row: FigureRow) -> list[Any]:
    handles: list[Any] = []
    for plot, case in zip(axes, row.cases, strict=True):
        handles = [plot.plot(case.y, case.densities[name], **style)[0] for name, style in STYLES.items()]
        handles.append(plot.plot([case.truth], [0], "^", color=_TRUTH, markersize=7, clip_on=False, zorder=5)[0])
        plot.set_ylim(0, 1.08 * _shown_top(case))
        plot.set_xlim(case.y[0], case.y[-1])
        plot.set_yticks([])
        plot.grid(False)
        plot.tick_params(labelsize=8)
    axes[0].set_ylabel(f"{row.name}\np(y | x)", fontsize=9)
    axes[len(axes) // 2].set_xlabel(row.target, fontsize=9)
    return handles


def _shown_top(case: Case) -> float:
    """Up to the EBM's peak and all of the Gaussian; a Laplace density's spike may be cut off."""
    smooth = max(float(case.densities[name].max()) for name in ("ebm", "gaussian"))
    return max(smooth, min(float(case.densities["laplace"].max()), 1.3 * smooth))


def _draw_coverage(plot: Any, row: FigureRow) -> None:
    plot.plot([0, 100], [0, 100], color="#5b626c", linewidth=0.8)
    for name, style in STYLES.items():
        plot.plot(100 * LEVELS, 100 * row.covered[name], **style)
    plot.set_xlim(0, 100)
    plot.set_ylim(0, 100)
    plot.set_xticks((0, 50, 90))
    plot.set_yticks((0, 50, 90))
    plot.tick_params(labelsize=8)
    plot.set_aspect("equal")
    plot.set_xlabel("level of the interval [%]", fontsize=9)
    plot.set_ylabel("truth inside [%]", fontsize=9)
