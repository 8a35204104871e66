"""Figure 2 of the paper: truth, data and learned densities side by side, a row for each data set (matplotlib)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from ebm_tracker.adapters.toy.data import TRUTHS, X_HIGH, X_LOW
from ebm_tracker.adapters.toy.divergence import Y_HIGH, Y_LOW, log_density_on_grid, x_centers, y_grid
from ebm_tracker.adapters.toy.study import GAUSSIAN, MODELS, ToyModel, ToyStudy
from ebm_tracker.evaluation.report.plots import Picture, open_figure, rendered

SHOWN = (GAUSSIAN, "nll")
"""Models of the figure."""
Y_SHOWN = (-2.0, 2.0)
GAMMA = 0.5
"""Of the colour scale: low densities stay visible beside sharp peaks."""
COLORS, WHITE_SHARE = "magma_r", 0.12
"""Lightness falls all the way, which everybody sees; the lowest part is blended into the page's white."""
_POINT = "#1c2026"


@dataclass(frozen=True)
class Panel:
    """One density: ``title`` and ``log_density`` (X, Y) at evenly spaced x in (-3, 3) and y in [-3, 3]."""

    title: str
    log_density: Tensor


@dataclass(frozen=True)
class FigureRow:
    """One data set: ``title``, training data ``x`` and ``y`` (N, 1), the true density and the models'."""

    title: str
    x: Tensor
    y: Tensor
    truth: Panel
    models: Sequence[Panel]


def figure_row(study: ToyStudy, data_set: str) -> FigureRow:
    """A finished study's row: of each shown model (where the study has it) the training with the median divergence."""
    truth, settings = TRUTHS[data_set], study.settings
    x = x_centers()
    panels = []
    for name in (name for name in SHOWN if name in study.models):
        model = ToyModel(data_set, name)
        run = study.median_run(model)
        log_density = log_density_on_grid(study.train(run, model.name), x)
        panels.append(Panel(f"{MODELS[name]}, KL {study.divergences(model)[run]:.3f}", log_density))
    true = Panel("Truth", truth.log_density(x[:, None], y_grid()))
    return FigureRow(f"Data set {truth.number}", *truth.pairs(settings.pairs, settings.data_seed), true, panels)


def draw(rows: Sequence[FigureRow]) -> Picture:
    """Truth, data and models from left to right. Each row has one scale of colours, up to twice the median over x of
    the truth's peaks. Raises PlotError without matplotlib."""
    columns = 2 + max(len(row.models) for row in rows)
    with open_figure((2.05 * columns + 0.6, 2.0 * len(rows) + 0.3)) as figure:
        grid = figure.subplots(len(rows), columns, sharex=True, sharey=True, squeeze=False)
        for axes, row in zip(grid, rows, strict=True):
            _draw_row(figure, axes, row)
        for plot in grid[-1]:
            plot.set_xlabel("x", labelpad=0)
        return rendered(figure)


def _draw_row(figure: Any, axes: Sequence[Any], row: FigureRow) -> None:
    from matplotlib.colors import PowerNorm

    top = 2 * float(row.truth.log_density.amax(1).exp().median())
    scale = PowerNorm(GAMMA, vmin=0, vmax=top, clip=True)
    colors = _colors()
    axes[0].set_ylabel(f"{row.title}\ny")
    axes[1].set_title(f"{len(row.x):,} pairs", fontsize=10)
    axes[1].scatter(row.x[:, 0].numpy(), row.y[:, 0].numpy(), s=1.5, color=_POINT, alpha=0.45, linewidths=0)
    image = None
    for plot, panel in zip([axes[0], *axes[2:]], [row.truth, *row.models], strict=False):
        plot.set_title(panel.title, fontsize=10)
        image = plot.imshow(
            panel.log_density.exp().T.numpy(),
            origin="lower",
            extent=(X_LOW, X_HIGH, Y_LOW, Y_HIGH),
            aspect="auto",
            cmap=colors,
            norm=scale,
        )
    for plot in axes:
        plot.grid(False)
        plot.set_xlim(X_LOW, X_HIGH)
        plot.set_ylim(*Y_SHOWN)
        plot.set_xticks((-3, 0, 3))
        plot.set_yticks((-2, -1, 0, 1, 2))
    ticks = sorted({0, round(top / 16), round(top / 4), int(top)})  # about evenly spaced under the root
    bar = figure.colorbar(image, ax=list(axes), pad=0.01, aspect=18, extend="max", ticks=ticks)
    bar.set_label("p(y | x)")


def _colors() -> Any:
    import numpy as np
    from matplotlib import colormaps
    from matplotlib.colors import ListedColormap

    colors = colormaps[COLORS](np.linspace(0, 1, 256))
    share = np.clip(np.linspace(0, 1 / WHITE_SHARE, 256), 0, 1)[:, None]
    return ListedColormap(share * colors + (1 - share))
