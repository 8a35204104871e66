"""The contact sheet: a track on one picture, eight frames above the curve of its score."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageDraw

from ebm_tracker.drawing import (
    STATUS_COLORS,
    TRUTH_COLOR,
    BoxXYWH,
    Color,
    annotate,
    label_font,
    status_color,
)
from ebm_tracker.evaluation.runner import Step
from ebm_tracker.frames import RgbFrame

SHEET_FRAMES = 8
_COLUMNS = 4
_CELL_WIDTH = 420
_MARGIN = 24
_GAP = 10
_CURVE_HEIGHT = 250
# The curve is drawn this many times too large and reduced: Pillow's lines are not smooth.
_SMOOTH = 3
_INK: Color = (28, 32, 38)
_FAINT: Color = (120, 126, 134)
_GRID: Color = (205, 209, 214)
_PAPER: Color = (255, 255, 255)


@dataclass(frozen=True)
class Snapshot:
    """A frame kept for the sheet, already in the sheet's size.

    Attributes:
        index: number of the frame.
        picture: (h, w, 3) uint8 RGB with the box drawn.
    """

    index: int
    picture: RgbFrame


class Snapshots:
    """Keeps a few evenly spread frames of a stream whose length is not known, in bounded memory.

    Every ``stride``-th frame is kept; when there are too many, every second one goes and the stride doubles.
    """

    _MOST = 32

    def __init__(self) -> None:
        self._kept: list[Snapshot] = []
        self._stride = 1
        self._last: tuple[Step, BoxXYWH | None] | None = None

    def add(self, step: Step, truth_xywh: BoxXYWH | None = None) -> None:
        """Offers a step; those without a frame are passed over."""
        if step.frame is None:
            return
        self._last = step, truth_xywh
        if step.index % self._stride:
            return
        self._kept.append(_snapshot(step, truth_xywh))
        if len(self._kept) > self._MOST:
            self._stride *= 2
            self._kept = [kept for kept in self._kept if kept.index % self._stride == 0]

    def spread(self, count: int = SHEET_FRAMES) -> list[Snapshot]:
        """At most ``count`` snapshots, as evenly spread as those at hand allow, first and last included."""
        kept = list(self._kept)
        if self._last is not None and (not kept or kept[-1].index != self._last[0].index):
            kept.append(_snapshot(*self._last))
        if len(kept) <= count:
            return kept
        indices = np.array([snapshot.index for snapshot in kept])
        wanted = np.linspace(indices[0], indices[-1], count)
        nearest = sorted({int(np.abs(indices - index).argmin()) for index in wanted})
        return [kept[i] for i in nearest]


def _snapshot(step: Step, truth_xywh: BoxXYWH | None) -> Snapshot:
    assert step.frame is not None
    height, width = step.frame.shape[:2]
    # A tall frame is bounded by its height, or one row of them would fill the sheet.
    scale = min(_CELL_WIDTH / width, _CELL_WIDTH / height)
    picture = annotate(step.frame, step.box_xywh, step.status, step.score, step.index, truth_xywh, scale)
    return Snapshot(step.index, picture)


def contact_sheet(
    snapshots: Sequence[Snapshot],
    scores: Sequence[float],
    statuses: Sequence[str],
    title: str,
    subtitle: str = "",
    has_truth: bool = False,
) -> Image.Image:
    """The sheet as a Pillow image, about 1760 pixels wide.

    Args:
        snapshots: the frames to show, in order; may be none.
        scores: n scores in 0..1, one for every frame of the track.
        statuses: n status names.
        title: a short heading.
        subtitle: facts beside it.
        has_truth: whether the legend explains the true box.
    """
    width = 2 * _MARGIN + _COLUMNS * _CELL_WIDTH + (_COLUMNS - 1) * _GAP
    cell_height = max((snapshot.picture.shape[0] for snapshot in snapshots), default=0)
    rows = -(-len(snapshots) // _COLUMNS)
    top = 84
    curve_top = top + rows * (cell_height + _GAP) + 14
    sheet = Image.new("RGB", (width, curve_top + _CURVE_HEIGHT + _MARGIN), _PAPER)
    draw = ImageDraw.Draw(sheet)
    _draw_heading(draw, width, title, subtitle, has_truth)
    for i, snapshot in enumerate(snapshots):
        row, column = divmod(i, _COLUMNS)
        picture_height, picture_width = snapshot.picture.shape[:2]
        x = _MARGIN + column * (_CELL_WIDTH + _GAP) + (_CELL_WIDTH - picture_width) // 2
        y = top + row * (cell_height + _GAP) + (cell_height - picture_height) // 2
        sheet.paste(Image.fromarray(snapshot.picture), (x, y))
    marks = [snapshot.index for snapshot in snapshots]
    curve = score_curve(scores, statuses, (width - 2 * _MARGIN, _CURVE_HEIGHT), marks)
    sheet.paste(curve, (_MARGIN, curve_top))
    return sheet


def _draw_heading(draw: ImageDraw.ImageDraw, width: int, title: str, subtitle: str, has_truth: bool) -> None:
    draw.text((_MARGIN, 40), title, fill=_INK, font=label_font(30), anchor="ls")
    draw.text((_MARGIN, 63), subtitle, fill=_FAINT, font=label_font(17), anchor="ls")
    entries = [*STATUS_COLORS.items(), *([("ground truth", TRUTH_COLOR)] if has_truth else [])]
    font = label_font(17)
    x = float(width - _MARGIN)
    for name, color in reversed(entries):
        x -= font.getlength(name)
        draw.text((x, 40), name, fill=_INK, font=font, anchor="ls")
        x -= 22
        # Paper is white, as the true box is.
        outline = _INK if color == TRUTH_COLOR else None
        draw.rounded_rectangle((x, 27, x + 14, 41), radius=3, fill=color, outline=outline)
        x -= 22


def score_curve(
    scores: Sequence[float], statuses: Sequence[str], size_wh: tuple[int, int], marks: Sequence[int] = ()
) -> Image.Image:
    """The score over the frame numbers, on bands in the colours of the statuses.

    Args:
        scores: n values in 0..1.
        statuses: n status names.
        size_wh: of the picture, pixels.
        marks: frame numbers to mark on the curve.
    """
    width, height = (side * _SMOOTH for side in size_wh)
    image = Image.new("RGB", (width, height), _PAPER)
    plot = _Plot(
        len(scores),
        left=46 * _SMOOTH,
        top=30 * _SMOOTH,
        right=width - 8 * _SMOOTH,
        bottom=height - 44 * _SMOOTH,
    )
    draw = ImageDraw.Draw(image, "RGBA")
    _draw_bands(draw, plot, statuses)
    _draw_axes(draw, plot)
    points = [(plot.x(i), plot.y(score)) for i, score in enumerate(scores)]
    if len(points) > 1:
        draw.line(points, fill=_INK, width=2 * _SMOOTH, joint="curve")
    for mark in marks:
        if mark < len(points):
            x, y = points[mark]
            radius = 4 * _SMOOTH
            draw.ellipse(
                (x - radius, y - radius, x + radius, y + radius), fill=_PAPER, outline=_INK, width=2 * _SMOOTH
            )
    return image.resize(size_wh, Image.Resampling.LANCZOS)


@dataclass(frozen=True)
class _Plot:
    """Where values lie on the enlarged picture. Frame i is as wide as any, with its point in the middle."""

    frames: int
    left: int
    top: int
    right: int
    bottom: int

    def x(self, frame: float) -> float:
        return self.left + (frame + 0.5) / max(self.frames, 1) * (self.right - self.left)

    def y(self, score: float) -> float:
        return self.bottom - float(np.clip(np.nan_to_num(score), 0, 1)) * (self.bottom - self.top)


def _draw_bands(draw: ImageDraw.ImageDraw, plot: _Plot, statuses: Sequence[str]) -> None:
    draw.rectangle((plot.left, plot.top, plot.right, plot.bottom), fill=(244, 245, 247))
    runs = status_runs(statuses)
    # The worst last, and each at least a pixel wide: one lost frame of thousands must be seen.
    order = {name: rank for rank, name in enumerate(STATUS_COLORS)}
    for first, end, status in sorted(runs, key=lambda run: order.get(run[2], -1)):
        x0, x1 = plot.x(first - 0.5), plot.x(end - 0.5)
        x1 = max(x1, x0 + 1.5 * _SMOOTH)
        color = status_color(status)
        draw.rectangle((x0, plot.top, x1, plot.bottom), fill=(*color, 70))
        draw.rectangle((x0, plot.bottom, x1, plot.bottom + 7 * _SMOOTH), fill=color)


def status_runs(statuses: Sequence[str]) -> list[tuple[int, int, str]]:
    """Runs of equal statuses as (first frame, frame after the last, status)."""
    runs: list[tuple[int, int, str]] = []
    for i, status in enumerate(statuses):
        if runs and runs[-1][2] == status:
            runs[-1] = (runs[-1][0], i + 1, status)
        else:
            runs.append((i, i + 1, status))
    return runs


def _draw_axes(draw: ImageDraw.ImageDraw, plot: _Plot) -> None:
    font = label_font(15 * _SMOOTH)
    for score in (0.0, 0.25, 0.5, 0.75, 1.0):
        y = plot.y(score)
        draw.line((plot.left, y, plot.right, y), fill=(*_GRID, 255), width=_SMOOTH)
        draw.text((plot.left - 8 * _SMOOTH, y), f"{score:g}", fill=_FAINT, font=font, anchor="rm")
    below = plot.bottom + 12 * _SMOOTH
    for frame in frame_ticks(plot.frames):
        draw.text((plot.x(frame), below), f"{frame}", fill=_FAINT, font=font, anchor="ma")
    draw.text((plot.left - 8 * _SMOOTH, below), "frame", fill=_FAINT, font=font, anchor="ra")
    heading = label_font(17 * _SMOOTH)
    draw.text((plot.left, plot.top - 7 * _SMOOTH), "score", fill=_INK, font=heading, anchor="ls")


def frame_ticks(frames: int) -> list[int]:
    """Round frame numbers for the axis, from 0, at most eleven of them, and the steps 1, 2, 5, 10, ..."""
    step = next(
        factor * 10**power for power in range(12) for factor in (1, 2, 5) if frames <= 11 * factor * 10**power
    )
    return list(range(0, frames, step))
