"""A small line chart, drawn by Pillow: no plotting library is needed for two figures."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from PIL import Image, ImageDraw, ImageFont

from ebm_tracker.files import atomic_path

Color = tuple[int, int, int]
GRID: Color = (225, 225, 225)


class Chart:
    """Axes on white. Points are given in shares of the axes, x to the right and y up, both in 0..1.

    ``margin``: left, top, right, bottom, pixels.
    """

    def __init__(self, size_wh: tuple[int, int], margin: tuple[int, int, int, int], font_size: int = 15) -> None:
        self._canvas = Image.new("RGB", size_wh, "white")
        self.draw = ImageDraw.Draw(self._canvas, "RGBA")
        self._font = ImageFont.load_default(font_size)
        self._left, self._top = margin[:2]
        self._right, self._bottom = size_wh[0] - margin[2], size_wh[1] - margin[3]

    def at(self, x: float, y: float) -> tuple[float, float]:
        """The pixel of a point."""
        return self._left + (self._right - self._left) * x, self._bottom - (self._bottom - self._top) * y

    def rows(self, labels: Sequence[str], color: Color = (0, 0, 0), on_right: bool = False) -> None:
        """Horizontal grid lines at equal distances from bottom to top, with their labels."""
        for share, label in zip(_shares(len(labels)), labels, strict=True):
            self.draw.line([self.at(0, share), self.at(1, share)], fill=GRID)
            x, y = self.at(float(on_right), share)
            self.draw.text((x + (8 if on_right else -8), y), label, color, self._font, "lm" if on_right else "rm")

    def columns(self, labels: Sequence[str]) -> None:
        """Vertical grid lines, from left to right."""
        for share, label in zip(_shares(len(labels)), labels, strict=True):
            self.draw.line([self.at(share, 0), self.at(share, 1)], fill=GRID)
            x, y = self.at(share, 0)
            self.draw.text((x, y + 8), label, "black", self._font, "mt")

    def line(self, points: Sequence[tuple[float, float]], color: Color, width: int) -> None:
        """A line through points in shares of the axes."""
        self.draw.line([self.at(x, y) for x, y in points], fill=color, width=width)

    def band(self, low: Sequence[tuple[float, float]], high: Sequence[tuple[float, float]], color: Color) -> None:
        """The area between two lines."""
        self.draw.polygon([self.at(x, y) for x, y in (*low, *reversed(high))], fill=(*color, 60))

    def titles(self, texts: Sequence[tuple[str, Color]]) -> None:
        """What the colours mean, side by side above the axes."""
        x = float(self._left)
        for text, color in texts:
            self.draw.text((x, self._top / 2), text, color, self._font, "lm")
            x += self.draw.textlength(text, self._font) + 30

    def caption(self, text: str) -> None:
        """One line at the bottom."""
        middle, _ = self.at(0.5, 0)
        self.draw.text((middle, self._canvas.height - 10), text, "black", self._font, "mb")

    def save(self, path: Path) -> None:
        """Writes an image file; its ending chooses the format."""
        with atomic_path(path) as part:
            self._canvas.save(part)


def _shares(count: int) -> list[float]:
    return [index / (count - 1) for index in range(count)]
