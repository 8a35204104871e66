"""Pictures of a density: a heat map over the frame, with colour bar and axes, by Pillow alone."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from ebm_tracker.density.grid import Array, BoxXYWH, DensityMap
from ebm_tracker.drawing import STATUS_COLORS, TRUTH_COLOR, Color, draw_box, draw_pill, label_font, pill_size
from ebm_tracker.frames import RgbFrame

_INK: Color = (28, 32, 38)
_FAINT: Color = (120, 126, 134)
_PAPER: Color = (255, 255, 255)
_DARK: Color = (16, 18, 22)
_CURVE: Color = (203, 65, 60)
# Matplotlib's "inferno" (CC0) without its black end, at even distances: lightness rises evenly, so that the order
# of values shows in gray as well.
_RAMP = np.array(
    [
        (38, 12, 81), (66, 10, 104), (93, 18, 110), (120, 28, 109), (147, 38, 103), (174, 48, 92), (199, 62, 76),
        (221, 81, 58), (237, 105, 37), (248, 133, 15), (252, 165, 10), (250, 198, 45), (242, 230, 97), (252, 255, 164),
    ],
    np.float64,
)  # fmt: skip
_OPAQUE = 0.9
_PANEL = 400  # side of a panel's picture in the figure, pixels


def ramp(values: Array) -> NDArray[np.uint8]:
    """Colours (..., 3) uint8 of values in 0..1 on a perceptually ordered scale."""
    at = np.clip(values, 0, 1) * (len(_RAMP) - 1)
    colors = [np.interp(at, np.arange(len(_RAMP)), channel) for channel in _RAMP.T]
    return np.stack(colors, axis=-1).round().astype(np.uint8)


def overlay(frame_rgb: RgbFrame, density: DensityMap) -> RgbFrame:
    """A copy of the frame (H, W, 3) with a corner density as heat map at its place, its colour bar and a label.

    Low values are transparent. A "size" density, which has no place in the frame, leaves the picture as it is.
    """
    image = Image.fromarray(np.ascontiguousarray(frame_rgb))
    if density.kind != "corner":
        return np.asarray(image).copy()
    _paste_heat(image, density, 1.0, (0.0, 0.0))
    width, height = image.size
    font = label_font(int(np.clip(min(image.size) // 28, 9, 26)))
    draw = ImageDraw.Draw(image, "RGBA")
    top_text, low_text = f"{_peak_value(density):.2g} /px^2", "0"
    label_h = pill_size("0", font)[0][1]
    bar_w, bar_h = max(width // 60, 6), max(height // 3, 20)
    left, top = width - bar_w - 6, (height - bar_h) // 2
    _color_bar(image, (left, top, bar_w, bar_h))
    for text, y in ((top_text, top - label_h - 2), (low_text, top + bar_h + 2)):
        label_w = pill_size(text, font)[0][0]
        draw_pill(draw, (width - label_w - 3, y), text, font, _PAPER, (*_DARK, 170))
    return np.asarray(image)


def figure(
    frame_rgb: RgbFrame,
    corner: DensityMap,
    size: DensityMap,
    title: str = "",
    truth_xywh: BoxXYWH | None = None,
) -> Image.Image:
    """The density of the top-right corner over the frame and that of width and height, side by side.

    Each with the sums over its rows and columns, axes in pixels of the frame, a colour bar, the refined box and, where
    it is known, the true one. About 1150 x 540 pixels.
    """
    truth = truth_xywh if truth_xywh is not None and np.isfinite(truth_xywh).all() else None
    panels = [_corner_panel(frame_rgb, corner, truth), _size_panel(size, truth)]
    head = 46
    sheet = Image.new("RGB", (sum(p.width for p in panels), head + panels[0].height), _PAPER)
    draw = ImageDraw.Draw(sheet)
    draw.text((16, 30), title, fill=_INK, font=label_font(20), anchor="ls")
    x = float(sheet.width - 16)
    for name, color in reversed(_legend(truth)):
        font = label_font(15)
        x -= font.getlength(name)
        draw.text((x, 30), name, fill=_INK, font=font, anchor="ls")
        x -= 19
        draw.rounded_rectangle((x, 18, x + 12, 30), radius=2, fill=color, outline=_INK)
        x -= 18
    left = 0
    for panel in panels:
        sheet.paste(panel, (left, head))
        left += panel.width
    return sheet


def stacked(figures: Sequence[Image.Image], columns: int = 2, scale: float = 1.0) -> Image.Image:
    """Figures of one size on a sheet, row by row, reduced by ``scale``."""
    small = [f.resize((round(f.width * scale), round(f.height * scale)), Image.Resampling.LANCZOS) for f in figures]
    width, height = small[0].size
    rows = -(-len(small) // columns)
    sheet = Image.new("RGB", (columns * width, rows * height), _PAPER)
    for number, picture in enumerate(small):
        sheet.paste(picture, (number % columns * width, number // columns * height))
    return sheet


def _legend(truth: BoxXYWH | None) -> list[tuple[str, Color]]:
    entries = [("refined box", STATUS_COLORS["tracked"])]
    return [*entries, ("ground truth", TRUTH_COLOR)] if truth is not None else entries


def _peak_value(density: DensityMap) -> float:
    return float(np.exp(density.log_density.max()))


def _paste_heat(image: Image.Image, density: DensityMap, zoom: float, origin: tuple[float, float]) -> None:
    """The heat map in place: grid point (x, y) at (x - origin) * zoom; cells reach half a step to either side."""
    dx, dy = density.steps
    left, top = density.x[0] - dx / 2, density.y[0] - dy / 2
    right, bottom = density.x[-1] + dx / 2, density.y[-1] + dy / 2
    x0, y0 = round((left - origin[0]) * zoom), round((top - origin[1]) * zoom)
    x1, y1 = round((right - origin[0]) * zoom), round((bottom - origin[1]) * zoom)
    size = max(x1 - x0, 1), max(y1 - y0, 1)
    relative = np.exp(density.log_density - density.log_density.max()).astype(np.float32)
    values = np.asarray(Image.fromarray(relative).resize(size, Image.Resampling.BILINEAR), np.float64)
    alpha = (255 * _OPAQUE * np.clip(values / 0.25, 0, 1)).astype(np.uint8)
    image.paste(Image.fromarray(ramp(values)), (x0, y0), Image.fromarray(alpha))


def _color_bar(image: Image.Image, at_xywh: tuple[int, int, int, int]) -> None:
    x, y, w, h = at_xywh
    bar = np.repeat(ramp(np.linspace(1, 0, h))[:, None], w, axis=1)
    image.paste(Image.fromarray(bar), (x, y))
    ImageDraw.Draw(image).rectangle((x - 1, y - 1, x + w, y + h), outline=_DARK)


class _Panel:
    """A picture with room for curves above and to the right, ticks below and to the left, and the colour bar."""

    LEFT, TOP, CURVE, RIGHT, BOTTOM = 62, 8, 54, 96, 50

    def __init__(self, origin: tuple[float, float], zoom_xy: tuple[float, float]) -> None:
        self.origin, self.zoom_xy = origin, zoom_xy
        width = self.LEFT + _PANEL + 6 + self.CURVE + self.RIGHT
        height = self.TOP + self.CURVE + 6 + _PANEL + self.BOTTOM
        self.sheet = Image.new("RGB", (width, height), _PAPER)
        self.draw = ImageDraw.Draw(self.sheet)
        self.left, self.top = self.LEFT, self.TOP + self.CURVE + 6

    def picture(self, picture: Image.Image) -> None:
        self.sheet.paste(picture, (self.left, self.top))

    def axes(self, x_name: str, y_name: str) -> None:
        font, end = label_font(13), _PANEL
        self.draw.rectangle((self.left - 1, self.top - 1, self.left + end, self.top + end), outline=_INK)
        for value in _ticks(self.origin[0], self.origin[0] + end / self.zoom_xy[0]):
            x = self.left + (value - self.origin[0]) * self.zoom_xy[0]
            self.draw.line((x, self.top + end, x, self.top + end + 5), fill=_INK)
            self.draw.text((x, self.top + end + 8), f"{value:g}", fill=_INK, font=font, anchor="ma")
        for value in _ticks(self.origin[1], self.origin[1] + end / self.zoom_xy[1]):
            y = self.top + (value - self.origin[1]) * self.zoom_xy[1]
            self.draw.line((self.left - 6, y, self.left - 1, y), fill=_INK)
            self.draw.text((self.left - 9, y), f"{value:g}", fill=_INK, font=font, anchor="rm")
        name = label_font(14)
        self.draw.text((self.left + end / 2, self.top + end + 28), x_name, fill=_INK, font=name, anchor="ma")
        upright = Image.new("RGB", (end, 22), _PAPER)
        ImageDraw.Draw(upright).text((end / 2, 11), y_name, fill=_INK, font=name, anchor="mm")
        self.sheet.paste(upright.rotate(90, expand=True), (0, self.top))

    def curves(self, density: DensityMap) -> None:
        """The sums over rows above, over columns to the right; each up to its own highest value."""
        base = self.top - 6
        across = density.marginal_x / density.marginal_x.max() * self.CURVE
        at_x = self.left + (density.x - self.origin[0]) * self.zoom_xy[0]
        self._curve([(x, base - v) for x, v in zip(at_x, across, strict=True)], (base, None))
        side = self.left + _PANEL + 6
        down = density.marginal_y / density.marginal_y.max() * self.CURVE
        at_y = self.top + (density.y - self.origin[1]) * self.zoom_xy[1]
        self._curve([(side + v, y) for y, v in zip(at_y, down, strict=True)], (None, side))

    def _curve(self, points: list[tuple[float, float]], base: tuple[float | None, float | None]) -> None:
        (x0, y0), (x1, y1) = points[0], points[-1]
        if base[0] is not None:
            ground = [(x1, base[0]), (x0, base[0])]
        else:
            assert base[1] is not None
            ground = [(base[1], y1), (base[1], y0)]
        self.draw.polygon([*points, *ground], fill=(246, 219, 214))
        self.draw.line(points, fill=_CURVE, width=2)
        self.draw.line(ground, fill=_FAINT)

    def bar(self, density: DensityMap) -> None:
        x, font = self.left + _PANEL + 6 + self.CURVE + 16, label_font(13)
        _color_bar(self.sheet, (x, self.top, 14, _PANEL))
        peak = _peak_value(density)
        for share in (0.0, 0.25, 0.5, 0.75, 1.0):
            y = self.top + (1 - share) * (_PANEL - 1)
            self.draw.line((x + 14, y, x + 18, y), fill=_INK)
            anchor = "lm" if 0 < share < 1 else ("lt" if share else "lb")
            self.draw.text((x + 22, y), f"{share * peak:.2g}", fill=_INK, font=font, anchor=anchor)
        self.draw.text((x + 70, self.top - 12), "p (1/px^2)", fill=_INK, font=font, anchor="rs")


def _ticks(low: float, high: float) -> list[float]:
    """Three to eight round values between two ends."""
    raw = (high - low) / 5
    unit = 10 ** math.floor(math.log10(raw))
    step = next(factor * unit for factor in (1, 2, 5, 10) if factor * unit >= raw)
    first = math.ceil(low / step)
    return [round(k * step, 9) for k in range(first, math.floor(high / step) + 1)]


def _corner_panel(frame: RgbFrame, density: DensityMap, truth: BoxXYWH | None) -> Image.Image:
    dx, dy = density.steps
    x, y, w, h = density.box_xywh
    lefts, tops = [x, density.x[0] - dx], [y, density.y[0] - dy]
    rights, bottoms = [x + w, density.x[-1] + dx], [y + h, density.y[-1] + dy]
    if truth is not None:
        lefts.append(truth[0]), tops.append(truth[1])  # type: ignore[func-returns-value]
        rights.append(truth[0] + truth[2]), bottoms.append(truth[1] + truth[3])  # type: ignore[func-returns-value]
    side = 1.12 * max(max(rights) - min(lefts), max(bottoms) - min(tops))
    origin = (max(rights) + min(lefts) - side) / 2, (max(bottoms) + min(tops) - side) / 2
    zoom = _PANEL / side
    panel = _Panel(origin, (zoom, zoom))
    picture = Image.fromarray(np.ascontiguousarray(frame)).transform(
        (_PANEL, _PANEL),
        Image.Transform.AFFINE,
        (1 / zoom, 0, origin[0], 0, 1 / zoom, origin[1]),
        Image.Resampling.BICUBIC,
        fillcolor=(70, 74, 80),
    )
    _paste_heat(picture, density, zoom, origin)
    draw = ImageDraw.Draw(picture, "RGBA")
    for box, color, dashed in ((density.box_xywh, STATUS_COLORS["tracked"], False), (truth, TRUTH_COLOR, True)):
        if box is not None:
            scaled = (box[0] - origin[0]) * zoom, (box[1] - origin[1]) * zoom, box[2] * zoom, box[3] * zoom
            draw_box(draw, picture.size, scaled, color, 2, dashed=dashed)
    panel.picture(picture)
    panel.curves(density)
    panel.axes("x of the right edge (px); bottom-left corner fixed", "y of the top edge (px)")
    panel.bar(density)
    return panel.sheet


def _size_panel(density: DensityMap, truth: BoxXYWH | None) -> Image.Image:
    dx, dy = density.steps
    origin = float(density.x[0] - dx / 2), float(density.y[0] - dy / 2)
    zoom_xy = _PANEL / (len(density.x) * dx), _PANEL / (len(density.y) * dy)
    panel = _Panel(origin, zoom_xy)
    relative = np.exp(density.log_density - density.log_density.max()).astype(np.float32)
    values = np.asarray(Image.fromarray(relative).resize((_PANEL, _PANEL), Image.Resampling.BILINEAR), np.float64)
    picture = Image.fromarray(ramp(values))
    draw = ImageDraw.Draw(picture)
    for box, color in ((density.box_xywh, STATUS_COLORS["tracked"]), (truth, TRUTH_COLOR)):
        if box is not None:
            x, y = (box[2] - origin[0]) * zoom_xy[0], (box[3] - origin[1]) * zoom_xy[1]
            for width, paint in ((6, _DARK), (2, color)):
                draw.line((x - 9, y, x + 9, y), fill=paint, width=width)
                draw.line((x, y - 9, x, y + 9), fill=paint, width=width)
    panel.picture(picture)
    panel.curves(density)
    panel.axes("width (px); centre fixed", "height (px)")
    panel.bar(density)
    return panel.sheet
