"""Figure of the pose experiment: heads with their axes, and the density of yaw below (matplotlib)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ebm_tracker.adapters.pose.raster import Floats
from ebm_tracker.adapters.pose.render import rotation
from ebm_tracker.errors import EbmError
from ebm_tracker.files import atomic_path

_INK, _FAINT, _GRID, _FILL = "#1c2026", "#5b626c", "#d9dce1", "#c9dff0"
_BEFORE, _AFTER = "#e69f00", "#0072b2"  # told apart by the colour-blind; the lines differ too
_SETTINGS: Mapping[str, Any] = {
    "font.family": "sans-serif",
    "font.sans-serif": ["DejaVu Sans"],
    "font.size": 9,
    "text.color": _INK,
    "axes.edgecolor": _FAINT,
    "axes.labelcolor": _INK,
    "axes.linewidth": 0.8,
    "axes.axisbelow": True,
    "grid.color": _GRID,
    "grid.linewidth": 0.7,
    "xtick.color": _FAINT,
    "ytick.color": _FAINT,
}
_PIXELS_PER_INCH = 120
_LENGTHS = (18.0, 18.0, 28.0)
"""Pixels of the axes: the head's right, its down, and where the nose points."""


@dataclass(frozen=True)
class PoseShown:
    """What is drawn of one head: ``image`` (64, 64, 3) uint8; ``truth``, ``before`` and ``after`` (3,): yaw, pitch and
    roll in degrees, predicted and refined; ``density`` (P,) at the yaws ``yaw`` (P,)."""

    image: NDArray[np.uint8]
    truth: Floats
    before: Floats
    after: Floats
    yaw: Floats
    density: Floats


def draw_poses(path: Path, method: str, heads: Sequence[PoseShown]) -> None:
    """Writes a PNG. ``method`` names what ``before`` is predicted by. Raises EbmError without matplotlib."""
    with _figure((1.75 * len(heads), 3.9)) as figure:
        axes = figure.subplots(2, len(heads), squeeze=False, height_ratios=(1.55, 1))
        for column, head in enumerate(heads):
            roles = _axes_on_image(axes[0, column], head)
            marks = _density(axes[1, column], head)
        axes[1, 0].set_ylabel("p(yaw | image)")
        names = ["truth", method, "refined", "density", "true yaw", "predicted", "refined"]
        figure.legend(
            [*roles, *marks], names, loc="outside lower center", ncols=len(names), fontsize=8, frameon=False,
            handletextpad=0.8, columnspacing=1.3,
        )  # fmt: skip
        path.parent.mkdir(parents=True, exist_ok=True)
        with atomic_path(path) as part:
            figure.savefig(part, dpi=_PIXELS_PER_INCH, facecolor="white")


def axis_ends(pose: Floats) -> Floats:
    """(3, 2): where the head's three axes end in the picture, pixels from their common start."""
    turn = rotation(*(float(angle) for angle in pose))
    ends: Floats = turn[:2].T * np.array(_LENGTHS)[:, None]
    return ends


def _axes_on_image(plot: Any, head: PoseShown) -> list[Any]:
    plot.imshow(head.image, interpolation="nearest")
    plot.set_axis_off()
    size = head.image.shape[0]
    middle = np.array([size / 2, size / 2]) - 0.5
    drawn = []
    styles: tuple[tuple[Floats, dict[str, Any]], ...] = (
        (head.truth, {"color": _INK, "linewidth": 5.5, "solid_capstyle": "round"}),
        (head.truth, {"color": "white", "linewidth": 4.0, "solid_capstyle": "round"}),
        (head.before, {"color": _BEFORE, "linewidth": 2.2, "linestyle": (0, (2, 1))}),
        (head.after, {"color": _AFTER, "linewidth": 1.3}),
    )
    for pose, style in styles:
        for end in axis_ends(pose):
            (line,) = plot.plot(*np.stack((middle, middle + end), -1), **style)
        drawn.append(line)
    outline, inside, before, after = drawn
    plot.set_xlim(-0.5, size - 0.5)
    plot.set_ylim(size - 0.5, -0.5)
    plot.set_title("yaw {:.0f}, pitch {:.0f}, roll {:.0f}".format(*head.truth), fontsize=8)
    return [(outline, inside), before, after]


def _density(plot: Any, head: PoseShown) -> list[Any]:
    fill = plot.fill_between(head.yaw, head.density, color=_FILL, linewidth=0)
    plot.plot(head.yaw, head.density, color=_FAINT, linewidth=1)
    top = float(head.density.max())
    truth = plot.axvline(head.truth[0], color=_INK, linewidth=1.3, linestyle=(0, (4, 2)))
    before = plot.scatter([head.before[0]], [1.12 * top], marker="x", s=26, color=_BEFORE, linewidths=1.6, zorder=3)
    after = plot.scatter(
        [head.after[0]], [1.12 * top], marker="o", s=26, facecolors="none", edgecolors=_AFTER, linewidths=1.4, zorder=4
    )
    seen = head.yaw[head.density > 2e-3 * top]
    marks = (head.truth[0], head.before[0], head.after[0])
    plot.set_xlim(min(seen.min(), *marks) - 2, max(seen.max(), *marks) + 2)
    plot.set_ylim(0, 1.3 * top)
    plot.set_yticks([])
    plot.grid(True, axis="x")
    plot.set_xlabel("yaw [degrees]", fontsize=8)
    return [fill, truth, before, after]


@contextmanager
def _figure(size_wh: tuple[float, float]) -> Iterator[Any]:
    """A figure of that size in inches, without pyplot's state."""
    try:
        import matplotlib
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure
    except ImportError as error:
        raise EbmError("figures need matplotlib: pip install 'ebm-tracker[eval]'") from error
    with matplotlib.rc_context(dict(_SETTINGS)):
        figure = Figure(figsize=size_wh, layout="constrained")
        FigureCanvasAgg(figure)
        yield figure
