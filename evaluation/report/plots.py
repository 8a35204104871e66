"""Plots of a report: curves over thresholds, scores by attribute, score against speed, differences (matplotlib)."""

from __future__ import annotations

import io
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ebm_tracker.errors import EbmError
from ebm_tracker.evaluation.report.styles import Style
from ebm_tracker.files import atomic_path

MISSING = "plots need matplotlib: pip install 'ebm-tracker[eval]'"
_INK, _FAINT, _GRID = "#1c2026", "#5b626c", "#d9dce1"
_SETTINGS: Mapping[str, Any] = {
    # TrueType: conference systems refuse the Type 3 fonts that matplotlib embeds by itself.
    "pdf.fonttype": 42,
    "ps.fonttype": 42,
    "text.parse_math": False,  # names hold dollars
    "font.family": "sans-serif",
    "font.sans-serif": ["DejaVu Sans"],  # comes with matplotlib
    "font.size": 10,
    "text.color": _INK,
    "axes.edgecolor": _FAINT,
    "axes.labelcolor": _INK,
    "axes.titlesize": 12,
    "axes.titleweight": "bold",
    "axes.linewidth": 0.8,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": _GRID,
    "grid.linewidth": 0.7,
    "xtick.color": _FAINT,
    "ytick.color": _FAINT,
    "legend.frameon": True,
    "legend.framealpha": 0.9,
    "legend.edgecolor": _GRID,
    "lines.linewidth": 2.0,
    "lines.dash_capstyle": "butt",
    "lines.scale_dashes": True,
}
_PIXELS_PER_INCH = 160
_INSIDE_ENTRIES = 9  # of a legend; longer ones go beside the axes


class PlotError(EbmError):
    """matplotlib is not there."""


def plots_available() -> bool:
    """Whether matplotlib is installed."""
    return find_spec("matplotlib") is not None


@dataclass(frozen=True)
class Line:
    """One tracker's curve.

    Attributes:
        name: of the tracker.
        values: (t,) shares in 0..1, one for each threshold.
        figure: percent, in the brackets of the legend and the order in it; None: no brackets, last.
        remark: behind them, such as "6 of 123 sequences".
    """

    name: str
    values: NDArray[np.float64]
    figure: float | None
    remark: str = ""


@dataclass(frozen=True)
class Axes:
    """What a plot of curves is of: ``title``, ``x_label``, ``y_label`` and (t,) ``thresholds``."""

    title: str
    x_label: str
    y_label: str
    thresholds: NDArray[np.float64]


@contextmanager
def open_figure(size_wh: tuple[float, float]) -> Iterator[Any]:
    """A figure of that size in inches; no state of pyplot, so that any thread and any notebook may draw."""
    if not plots_available():
        raise PlotError(MISSING)
    import matplotlib
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    with matplotlib.rc_context(dict(_SETTINGS)):
        figure = Figure(figsize=size_wh, layout="constrained")
        FigureCanvasAgg(figure)
        yield figure


@dataclass(frozen=True)
class Picture:
    """A drawn plot as the bytes of a PNG and of a PDF file."""

    png: bytes
    pdf: bytes

    def write(self, stem: Path) -> tuple[Path, Path]:
        """Writes ``stem``.png and ``stem``.pdf."""
        paths = stem.with_name(f"{stem.name}.png"), stem.with_name(f"{stem.name}.pdf")
        for path, data in zip(paths, (self.png, self.pdf), strict=True):
            with atomic_path(path) as part:
                part.write_bytes(data)
        return paths


def rendered(figure: Any) -> Picture:
    png, pdf = io.BytesIO(), io.BytesIO()
    figure.savefig(png, format="png", dpi=_PIXELS_PER_INCH, facecolor="white")
    figure.set_layout_engine("none")  # which has done its work
    figure.savefig(pdf, format="pdf", facecolor="white", metadata={"CreationDate": None})  # the same every time
    return Picture(png.getvalue(), pdf.getvalue())


def curve_plot(lines: Sequence[Line], axes: Axes, styles: Mapping[str, Style]) -> Picture:
    """Curves in percent over thresholds; the legend, best first, has each figure in brackets."""
    order = sorted(lines, key=lambda line: -1.0 if line.figure is None else line.figure, reverse=True)
    inside = len(lines) <= _INSIDE_ENTRIES
    with open_figure((5.2 if inside else 7.4, 4.0)) as figure:
        plot = figure.add_subplot()
        handles = {}
        for line in reversed(order):  # the best on top
            style = styles[line.name]
            (handles[line.name],) = plot.plot(
                axes.thresholds, 100 * line.values, color=style.color, linestyle=_linestyle(style)
            )
        plot.set_xlim(axes.thresholds[0], axes.thresholds[-1])
        plot.set_ylim(0, 100)
        plot.set_yticks(np.arange(0, 101, 10))
        plot.set_xticks(np.linspace(axes.thresholds[0], axes.thresholds[-1], 11 if axes.thresholds[-1] != 1 else 6))
        plot.set_title(axes.title)
        plot.set_xlabel(axes.x_label)
        plot.set_ylabel(axes.y_label)
        beside = {"loc": "upper left", "bbox_to_anchor": (1.01, 1), "borderaxespad": 0}
        place: dict[str, Any] = {"loc": "best"} if inside else beside
        plot.legend(
            [handles[line.name] for line in order],
            [_legend_text(line) for line in order],
            fontsize=9 if len(lines) <= 6 else 8,
            handlelength=3.2,
            **place,
        )
        return rendered(figure)


def _linestyle(style: Style) -> Any:
    return (0, style.dash) if style.dash else "solid"


def _legend_text(line: Line) -> str:
    score = "" if line.figure is None else f" [{line.figure:.1f}]"
    return _shown(f"{line.name}{score}{f' ({line.remark})' if line.remark else ''}")


def _shown(label: str) -> str:
    return f" {label}" if label.startswith("_") else label  # which matplotlib would hide


def attribute_plot(
    title: str,
    x_label: str,
    attributes: Sequence[str],
    figures: Mapping[str, Sequence[float | None]],
    styles: Mapping[str, Style],
) -> Picture:
    """Scores by attribute, a dot for each tracker.

    Args:
        title: above the axes.
        x_label: name of the score, percent.
        attributes: n labels, from top to bottom.
        figures: for each tracker n figures in percent, None where it has no such sequence.
        styles: of the trackers.
    """
    spacing = 0.34 if len(figures) <= 4 else 0.42
    with open_figure((6.4, 1.5 + spacing * len(attributes) + 0.24 * -(-len(figures) // 3))) as figure:
        plot = figure.add_subplot()
        rows = range(len(attributes))
        for i in rows:
            known = [value for f in figures.values() if (value := f[i]) is not None]
            if known:
                plot.plot([min(known), max(known)], [i, i], color=_GRID, linewidth=2.5, zorder=1)
        for name, values in figures.items():
            points = [(value, i) for i, value in enumerate(values) if value is not None and np.isfinite(value)]
            style = styles[name]
            x, y = zip(*points, strict=True) if points else ((), ())
            plot.scatter(x, y, color=style.color, marker=style.marker, s=42, label=_shown(name), zorder=2, linewidths=0)
        plot.set_yticks(rows, [_shown(name) for name in attributes])
        plot.set_ylim(len(attributes) - 0.4, -0.6)
        plot.grid(False, axis="y")
        plot.set_title(title)
        plot.set_xlabel(f"{x_label} [%]")
        figure.legend(loc="outside lower center", ncols=min(3, max(len(figures), 1)), fontsize=9, frameon=False)
        return rendered(figure)


@dataclass(frozen=True)
class SpeedPoint:
    """A tracker's pace and score. ``sure``: its times were taken while nothing ran beside it."""

    name: str
    frames_per_second: float
    figure: float
    sure: bool


def speed_plot(title: str, y_label: str, points: Sequence[SpeedPoint], styles: Mapping[str, Style]) -> Picture:
    """Score over frames per second; hollow where the times are not known to be of one worker."""
    with open_figure((5.2, 4.0)) as figure:
        plot = figure.add_subplot()
        for point in points:
            style = styles[point.name]
            plot.scatter(
                [point.frames_per_second],
                [point.figure],
                s=64,
                marker=style.marker,
                facecolors=style.color if point.sure else "none",
                edgecolors=style.color,
                linewidths=1.6,
                zorder=3,
            )
            plot.annotate(
                _shown(point.name),
                (point.frames_per_second, point.figure),
                xytext=(0, 8),
                textcoords="offset points",
                ha="center",
                fontsize=9,
            )
        _pace_axis(plot, [point.frames_per_second for point in points])
        low, high = min(p.figure for p in points), max(p.figure for p in points)
        room = max(0.25 * (high - low), 2.0)
        plot.set_ylim(max(low - room, 0), min(high + room, 100))
        plot.set_title(title)
        hollow = "" if all(p.sure for p in points) else "; hollow: several workers"
        plot.set_xlabel(f"Frames per second (median{hollow})")
        plot.set_ylabel(f"{y_label} [%]")
        return rendered(figure)


def _pace_axis(plot: Any, paces: Sequence[float]) -> None:
    """A logarithmic axis with plain numbers at 1, 2, 5, 10, ..."""
    from matplotlib.ticker import NullFormatter

    low, high = min(paces) / 1.8, max(paces) * 1.8
    ticks = [factor * 10.0**power for power in range(-6, 7) for factor in (1, 2, 5)]
    ticks = [tick for tick in ticks if low <= tick <= high]
    plot.set_xscale("log")
    plot.set_xlim(low, high)
    plot.set_xticks(ticks, [f"{tick:g}" for tick in ticks])
    plot.xaxis.set_minor_formatter(NullFormatter())


def difference_plot(
    title: str, x_label: str, differences: Mapping[str, float], mean: float, interval: tuple[float, float]
) -> Picture:
    """A bar for each sequence, the largest gain on top, with the mean and its interval at the bottom.

    ``differences``, ``mean`` and ``interval`` in points of percent.
    """
    names = sorted(differences, key=lambda name: differences[name], reverse=True)
    with open_figure((6.4, min(1.6 + 0.24 * (len(names) + 2), 60))) as figure:
        plot = figure.add_subplot()
        values = [differences[name] for name in names]
        gain, loss = "#0072b2", "#d7301f"
        plot.barh(range(len(names)), values, color=[gain if v > 0 else loss for v in values], height=0.7, zorder=2)
        row = len(names) + 0.6
        plot.plot(list(interval), [row, row], color=_INK, linewidth=2.2, solid_capstyle="butt", zorder=3)
        plot.scatter([mean], [row], color=_INK, marker="D", s=36, zorder=4)
        plot.axvline(0, color=_FAINT, linewidth=1, zorder=1)
        plot.set_yticks([*range(len(names)), row], [*map(_shown, names), "mean, 95 % interval"], fontsize=8)
        plot.set_ylim(row + 0.8, -0.8)
        plot.grid(False, axis="y")
        plot.set_title(title)
        plot.set_xlabel(x_label)
        return rendered(figure)
