"""A frame with all its objects drawn on it, for window and video, by Pillow alone."""

from __future__ import annotations

import colorsys
import zlib
from collections.abc import Mapping, Sequence

import numpy as np
from PIL import Image, ImageDraw

from ebm_tracker.drawing import Color, draw_pill, label_font, label_position, pill_size
from ebm_tracker.frames import RgbFrame
from ebm_tracker.tracking import Status, TrackOutput

BoxXYWH = tuple[float, float, float, float]
ObjectId = int | str

HELP = (
    "drag: add an object   right-click: remove it",
    "space: pause   right arrow: one frame   r: forget all",
    "d: density   s: snapshot   v: record   h: help   q: quit",
)
_DARK: Color = (16, 18, 22)
_WHITE: Color = (255, 255, 255)
_GOLDEN = 0.6180339887498949


def id_color(object_id: ObjectId) -> Color:
    """A colour for any id, the same everywhere: hues a golden section apart, in three lightnesses."""
    number = object_id if isinstance(object_id, int) else zlib.crc32(object_id.encode())
    hue = (0.36 + number * _GOLDEN) % 1.0
    red, green, blue = colorsys.hls_to_rgb(hue, (0.62, 0.5, 0.74)[number % 3], 0.9)
    return round(255 * red), round(255 * green), round(255 * blue)


def fit_scale(size_wh: tuple[int, int], least: int = 480, most_wh: tuple[int, int] = (1280, 800)) -> float:
    """How much larger a frame is shown: small ones until their short side has ``least`` pixels, large ones reduced to
    ``most_wh``."""
    width, height = size_wh
    larger = max(1, min(4, -(-least // max(min(width, height), 1))))
    return min(float(larger), most_wh[0] / width, most_wh[1] / height)


def draw_objects(
    frame: RgbFrame,
    outputs: Mapping[ObjectId, TrackOutput],
    scale: float = 1.0,
    *,
    lines: Sequence[str] = (),
    notes: Sequence[str] = (),
    drag: BoxXYWH | None = None,
) -> RgbFrame:
    """The frame with a box per object in its id's colour, labelled with id, status and score.

    ``scale``: the result is this many times as large; ``lines``: text in the top-left corner; ``notes``: in the bottom
    one; ``drag``: a box that is being drawn, pixels of the frame. A lost object's box is thin. Returns (round(H *
    scale), round(W * scale), 3) uint8 RGB; ``frame`` is not modified.
    """
    image = Image.fromarray(frame)
    if scale != 1:
        size = (max(round(image.width * scale), 1), max(round(image.height * scale), 1))
        image = image.resize(size, Image.Resampling.BILINEAR if scale > 1 else Image.Resampling.BOX)
    draw = ImageDraw.Draw(image, "RGBA")
    line = max(2, min(image.size) // 180)
    font = label_font(int(np.clip(min(image.size) // 30, 11, 28)))
    for object_id, output in outputs.items():
        _draw_object(draw, image.size, object_id, output, scale, line, font)
    if drag is not None:
        _outline(draw, image.size, drag, scale, _WHITE, 2)
    y = 6.0
    for text in lines:
        y += draw_pill(draw, (6, y), text, font, _WHITE, (*_DARK, 170))[1] + 3
    y = image.height - 6.0
    for text in reversed(notes):
        y -= pill_size(text, font)[0][1]
        draw_pill(draw, (6, y), text, font, _WHITE, (*_DARK, 200))
        y -= 3
    return np.asarray(image)


def _draw_object(
    draw: ImageDraw.ImageDraw,
    size_wh: tuple[int, int],
    object_id: ObjectId,
    output: TrackOutput,
    scale: float,
    line: int,
    font: object,
) -> None:
    color = id_color(object_id)
    _outline(draw, size_wh, output.box_xywh, scale, color, 1 if output.status is Status.LOST else line)
    text = f"{object_id}  {output.status.value} {output.score:.2f}"
    label_wh, pad = pill_size(text, font)  # type: ignore[arg-type]
    x, y, w, h = (value * scale for value in output.box_xywh)
    at_xy = label_position(size_wh, (x, y, w, h), label_wh, (0.0, 0.0), pad)
    draw_pill(draw, at_xy, text, font, _DARK if sum(color) > 330 else _WHITE, (*color, 225))  # type: ignore[arg-type]


def _outline(
    draw: ImageDraw.ImageDraw, size_wh: tuple[int, int], box_xywh: BoxXYWH, scale: float, color: Color, line: int
) -> None:
    far = 2.0 * max(size_wh)  # Pillow takes only numbers of 32 bits
    x, y, w, h = (value * scale for value in box_xywh)
    left, top, right, bottom = (min(max(edge, -far), far) for edge in (x, y, x + w, y + h))
    x0, y0, x1, y1 = round(left), round(top), max(round(right) - 1, round(left)), max(round(bottom) - 1, round(top))
    draw.rectangle((x0 - 1, y0 - 1, x1 + 1, y1 + 1), outline=(*_DARK, 130), width=line + 2)
    draw.rectangle((x0, y0, x1, y1), outline=color, width=line)
