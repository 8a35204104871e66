"""Figures of the detection experiment: boxes before and after, what was found, and the coverage (matplotlib)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ebm_tracker.evaluation.report.plots import Picture, open_figure, rendered

Floats = NDArray[np.float64]

MARGIN = 0.3
"""Around the object in its panel, as a share of its longer side."""
THRESHOLDS: Floats = np.linspace(0.5, 1, 101)
"""Overlaps at which the objects that were found are counted."""
LEVELS: Floats = np.linspace(0, 1, 101)
"""Of the intervals in the panel of the coverage."""
NAMES: Mapping[str, str] = {
    "direct": "Direct",
    "gaussian": "Gaussian",
    "laplace": "Laplace",
    "iou_net": "IoU-Net",
    "iou_net_star": "IoU-Net*",
    "ours": "Ours",
}
STYLES: Mapping[str, Mapping[str, Any]] = {
    "direct": {"color": "#5b626c", "linewidth": 1.6},
    "gaussian": {"color": "#d55e00", "linewidth": 1.5, "linestyle": (0, (5, 2))},
    "laplace": {"color": "#009e73", "linewidth": 1.5, "linestyle": (0, (1.5, 1.5))},
    "iou_net": {"color": "#e69f00", "linewidth": 1.5, "linestyle": (0, (7, 1.5, 1.5, 1.5))},
    "iou_net_star": {"color": "#cc79a7", "linewidth": 1.5, "linestyle": (0, (3, 1.2))},
    "ours": {"color": "#0072b2", "linewidth": 2.4},
}
_INK, _FAINT, _OUTSIDE = "#1c2026", "#5b626c", 236
_BEFORE, _AFTER = "#ffa31a", "#2fb4ff"  # bright on photographs, told apart by the colour-blind


@dataclass(frozen=True)
class ObjectShown:
    """One object: its ``image`` (H, W, 3) uint8, the true box, and the boxes that two variants found for it, (4,)
    corners in image pixels."""

    image: NDArray[np.uint8]
    truth_xyxy: Floats
    before_xyxy: Floats
    after_xyxy: Floats

    @property
    def ious(self) -> tuple[float, float]:
        """Overlap with the truth before and after."""
        return _iou(self.before_xyxy, self.truth_xyxy), _iou(self.after_xyxy, self.truth_xyxy)

    @property
    def caption(self) -> str:
        """Above its panel."""
        first, then = self.ious
        return f"IoU {first:.2f} → {then:.2f}"


def pick(total: int, count: int) -> list[int]:
    """``count`` of the numbers below ``total``, evenly spaced and away from both ends; all where there are not more."""
    few = min(total, count)
    return [(2 * place + 1) * total // (2 * few) for place in range(few)]


def before_and_after(
    objects: Sequence[ObjectShown], *, columns: int = 4, before: str = "detector", after: str = "refined"
) -> Picture:
    """A sheet of objects, each enlarged in a panel of its own with the true box and the two others.

    ``before``, ``after``: what the boxes are called in the legend. Raises ValueError for no objects, PlotError without
    matplotlib.
    """
    if not objects:
        raise ValueError("objects must hold at least one (got none)")
    columns = min(columns, len(objects))
    rows = -(-len(objects) // columns)
    width = max(1.95 * columns, 3.5)  # the legend's
    with open_figure((width, 2.14 * rows + 0.32)) as figure:
        plots = figure.subplots(rows, columns, squeeze=False).ravel()
        handles: list[Any] = []
        for plot, shown in zip(plots, objects, strict=False):
            handles = _panel(plot, shown)
        for plot in plots[len(objects) :]:
            plot.set_axis_off()
        legend = figure.legend(
            handles,
            [before, after, "true box"],
            loc="outside upper center",
            ncols=3,
            fontsize=9,
            facecolor="#8b929c",
            labelcolor="white",
            framealpha=1,
            handlelength=2.6,
        )
        legend.get_frame().set_linewidth(0)
        return rendered(figure)


def _panel(plot: Any, shown: ObjectShown) -> list[Any]:
    x0, y0, side = _view(shown)
    pixels, extent = _cut(shown.image, x0, y0, side)
    plot.imshow(pixels, extent=extent, interpolation="bicubic")
    handles = [
        _box(plot, shown.before_xyxy, color=_BEFORE, linewidth=1.8),
        _box(plot, shown.after_xyxy, color=_AFTER, linewidth=1.8),
        # On top: a box that fits shows through the dashes' gaps.
        _box(plot, shown.truth_xyxy, color="white", linewidth=1.1, linestyle=(0, (4, 4))),
    ]
    plot.set_xlim(x0, x0 + side)
    plot.set_ylim(y0 + side, y0)
    plot.set_xticks([])
    plot.set_yticks([])
    plot.grid(False)
    plot.set_title(shown.caption, fontsize=10, weight="normal", color=_INK, pad=4)
    return handles


def _view(shown: ObjectShown) -> tuple[float, float, float]:
    """Corner and side of the square that a panel shows: the object with its margin, and all of the boxes."""
    boxes = np.stack((shown.truth_xyxy, shown.before_xyxy, shown.after_xyxy))
    low, high = boxes[:, :2].min(0), boxes[:, 2:].max(0)
    sides = shown.truth_xyxy[2:] - shown.truth_xyxy[:2]
    side = max((1 + 2 * MARGIN) * float(sides.max()), 1.1 * float((high - low).max()))
    x0, y0 = 0.5 * (low + high - side)
    return float(x0), float(y0), side


def _cut(image: NDArray[np.uint8], x0: float, y0: float, side: float) -> tuple[NDArray[np.uint8], Any]:
    """The pixels that a square touches, grey beside the image, and where they lie: left, right, bottom, top."""
    left, top = int(np.floor(x0)), int(np.floor(y0))
    right, bottom = int(np.ceil(x0 + side)), int(np.ceil(y0 + side))
    pixels = np.full((bottom - top, right - left, 3), _OUTSIDE, np.uint8)
    height, width = image.shape[:2]
    rows, columns = slice(max(top, 0), min(bottom, height)), slice(max(left, 0), min(right, width))
    part = image[rows, columns]
    pixels[rows.start - top : rows.start - top + len(part), columns.start - left :][:, : part.shape[1]] = part
    return pixels, (left, right, bottom, top)


def _box(plot: Any, box_xyxy: Floats, **style: Any) -> Any:
    """A line around the box with a dark seam, which shows on any picture."""
    from matplotlib import patheffects

    x0, y0, x1, y1 = box_xyxy
    seam = patheffects.withStroke(linewidth=style["linewidth"] + 1.0, foreground=_INK, alpha=0.55)
    (line,) = plot.plot(
        [x0, x1, x1, x0, x0], [y0, y0, y1, y1, y0], solid_joinstyle="miter", path_effects=[seam], **style
    )
    return line


def scores_and_coverage(found: Mapping[str, Floats], pits: Mapping[str, Floats] | None = None) -> Picture:
    """What each variant found, and beside it how often the densities of ours hold the true edges.

    ``found``: by name, (R, T) shares of the objects that run r found with an overlap of at least each of THRESHOLDS;
    the mean over the runs is drawn, and how far it is above DIRECT. ``pits``: text of a curve -> (N, 4) values of
    ``measure_coverage``, the last of them drawn boldly; none: no such panel. Raises ValueError for names that are not
    in NAMES, PlotError without matplotlib.
    """
    unknown = [name for name in found if name not in NAMES]
    if unknown or "direct" not in found:
        raise ValueError(f"found must have direct and some of {', '.join(NAMES)} (got {', '.join(found) or 'none'})")
    means = {name: 100 * np.atleast_2d(values).mean(0) for name, values in found.items()}
    count = 3 if pits else 2
    with open_figure((3.3 * count, 3.6)) as figure:
        plots = figure.subplots(1, count)
        handles = [plots[0].plot(THRESHOLDS, means[name], **STYLES[name])[0] for name in means]
        for name, values in means.items():
            plots[1].plot(THRESHOLDS, values - means["direct"], **STYLES[name])
        plots[0].set_ylim(0, 100)
        plots[0].set_ylabel("objects found [%]")
        plots[0].set_title("Found with a given overlap", fontsize=10.5)
        plots[1].set_ylabel("above the detector [points]")
        plots[1].set_title("The same, above Direct", fontsize=10.5)
        for plot in plots:
            plot.set_box_aspect(1)
        for plot in plots[:2]:
            plot.set_xlim(THRESHOLDS[0], THRESHOLDS[-1])
            plot.set_xlabel("IoU of at least")
        if pits:
            _coverage(plots[2], pits)
        figure.legend(
            handles,
            [NAMES[name] for name in means],
            loc="outside lower center",
            ncols=len(means),
            frameon=False,
            fontsize=9,
            handlelength=3.0,
            columnspacing=1.4,
        )
        return rendered(figure)


def _coverage(plot: Any, pits: Mapping[str, Floats]) -> None:
    last = list(pits)[-1]
    for name, pit in pits.items():
        inside = 2 * np.abs(pit - 0.5)[..., None] <= LEVELS  # (N, 4, L)
        covered = 100 * inside.mean((0, 1))
        if name == last and len(pit) > 1:
            # The four edges of one box err together: it counts as one.
            error = 100 * inside.mean(1).std(0, ddof=1) / np.sqrt(len(pit))
            plot.fill_between(100 * LEVELS, covered - 2 * error, covered + 2 * error, color="#c9dff0", linewidth=0)
        style = STYLES["ours"] if name == last else {**STYLES["ours"], "linewidth": 1.3, "linestyle": (0, (4, 1.5))}
        at_90 = covered[round(0.9 * (len(LEVELS) - 1))]
        plot.plot(100 * LEVELS, covered, label=f"{name}: 90 % hold {at_90:.1f} %", **style)
    plot.plot([0, 100], [0, 100], color=_FAINT, linewidth=1, linestyle=(0, (1, 2)))
    plot.set_xlim(0, 100)
    plot.set_ylim(0, 100)
    plot.set_xticks((0, 25, 50, 75, 100))
    plot.set_yticks((0, 25, 50, 75, 100))
    plot.legend(loc="lower right", fontsize=7.5, frameon=False, handlelength=2.2, borderaxespad=0.2)
    plot.set_title(f"Coverage of Ours, n = {len(pits[last])} boxes", fontsize=10.5)
    plot.set_xlabel("level of the interval [%]")
    plot.set_ylabel("true edges inside [%]")


def _iou(a_xyxy: Floats, b_xyxy: Floats) -> float:
    low, high = np.maximum(a_xyxy[:2], b_xyxy[:2]), np.minimum(a_xyxy[2:], b_xyxy[2:])
    inter = float(np.prod(np.clip(high - low, 0, None)))
    areas = [float(np.prod(box[2:] - box[:2])) for box in (a_xyxy, b_xyxy)]
    union = areas[0] + areas[1] - inter
    return inter / union if union > 0 else 0.0
