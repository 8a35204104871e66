"""Figures of the age experiment: predictions against the truth, and the densities of a few faces (matplotlib)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ebm_tracker.evaluation.report.plots import Picture, open_figure, rendered

Floats = NDArray[np.float64]

_FAINT, _FILL = "#5b626c", "#c9dff0"
_BEFORE, _AFTER, _TRUTH = "#e69f00", "#0072b2", "#1c2026"  # told apart by the colour-blind; the marks differ too
WIDTHS = (3.3, 1.95)
"""Of the scatter plot and of each density, inches."""


@dataclass(frozen=True)
class FaceDensity:
    """What is drawn of one face.

    Attributes:
        age: the true one.
        grid, density: p(age | face) at ages (P,).
        before, after: a prediction and what refinement made of it, by the name of the head.
        image: (H, W, 3) uint8, or None: no face is shown.
    """

    age: float
    grid: Floats
    density: Floats
    before: Mapping[str, float]
    after: Mapping[str, float]
    image: NDArray[np.uint8] | None = None


def scatter_and_densities(
    title: str, truth: Floats, before: Floats, after: Floats, faces: Sequence[FaceDensity]
) -> Picture:
    """One head's predictions over the true ages (n,) on the left, densities of faces on the right."""
    columns = -(-len(faces) // 2)
    with open_figure((WIDTHS[0] + WIDTHS[1] * columns, 4.2)) as figure:
        left, right = figure.subfigures(1, 2, width_ratios=(WIDTHS[0], WIDTHS[1] * columns))
        _scatter(left.add_subplot(), title, truth, before, after)
        plots = right.subplots(2, columns, squeeze=False, sharex=True)
        _densities(right, plots.ravel(), faces)
        return rendered(figure)


def densities_with_faces(faces: Sequence[FaceDensity]) -> Picture:
    """Each density beside its face."""
    with open_figure((7.4, 1.75 * len(faces) + 0.5)) as figure:
        axes = figure.subplots(len(faces), 2, squeeze=False, sharex="col", width_ratios=(1, 3.4))
        for face, plot in zip(faces, axes[:, 0], strict=True):
            plot.set_axis_off()
            if face.image is not None:
                plot.imshow(face.image)
        _densities(figure, axes[:, 1], faces)
        return rendered(figure)


def _scatter(plot: Any, title: str, truth: Floats, before: Floats, after: Floats) -> None:
    low, high = 0.0, float(np.ceil(max(truth.max(), before.max(), after.max()) / 20) * 20)
    plot.plot([low, high], [low, high], color=_FAINT, linewidth=1, zorder=1)
    marks = {"linewidths": 0.9, "zorder": 2}
    errors = [float(np.abs(values - truth).mean()) for values in (before, after)]
    plot.scatter(truth, before, s=15, marker="x", color=_BEFORE, label=f"before: MAE {errors[0]:.2f}", **marks)
    plot.scatter(
        truth, after, s=12, facecolors="none", edgecolors=_AFTER, label=f"refined: MAE {errors[1]:.2f}", **marks
    )
    plot.set_xlim(low, high)
    plot.set_ylim(low, high)
    plot.set_aspect("equal")
    plot.grid(True)
    plot.set_title(title)
    plot.set_xlabel("true age [years]")
    plot.set_ylabel("predicted age [years]")
    plot.legend(loc="upper left", fontsize=8, handletextpad=0.3, borderpad=0.3)


def _densities(figure: Any, plots: Sequence[Any], faces: Sequence[FaceDensity]) -> None:
    shown = np.concatenate([face.grid[face.density > 1e-3 * face.density.max()] for face in faces])
    low, high = max(float(shown.min()), 0.0), float(shown.max())
    for plot, face in zip(plots, faces, strict=False):
        top = 1.5 * float(face.density.max())
        plot.fill_between(face.grid, face.density, color=_FILL, linewidth=0)
        (curve,) = plot.plot(face.grid, face.density, color=_AFTER, linewidth=1.4)
        truth = plot.axvline(face.age, color=_TRUTH, linewidth=1.4, linestyle=(0, (4, 2)))
        names = list(face.before)
        heights = np.linspace(1.38, 1.12, len(names)) * face.density.max()
        starts, ends = ([values[name] for name in names] for values in (face.before, face.after))
        plot.hlines(heights, starts, ends, color=_FAINT, linewidth=0.9)
        begin = plot.scatter(starts, heights, s=15, marker="x", color=_BEFORE, linewidths=1.1, zorder=3)
        end = plot.scatter(ends, heights, s=13, facecolors="white", edgecolors=_AFTER, linewidths=1.1, zorder=4)
        plot.set_xlim(low, high)
        plot.set_ylim(0, top)
        plot.set_xticks(np.arange(0, high, 25))
        plot.tick_params(labelsize=8)
        plot.set_yticks([])
        plot.grid(True, axis="x")
        plot.set_title(f"true age {face.age:g}", fontsize=9, loc="left", weight="normal")
    for plot in plots[len(faces) :]:
        plot.set_axis_off()
    figure.supxlabel("age [years]", fontsize=9, color=_FAINT)
    figure.legend(
        [curve, truth, begin, end],
        ["p(age | face)", "true age", "prediction of a head", "refined"],
        loc="outside upper center",
        ncols=4,
        fontsize=8,
        frameon=False,
        handletextpad=0.5,
        columnspacing=1.2,
    )
