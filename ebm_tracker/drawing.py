"""A tracker's answer drawn onto a frame, by Pillow alone."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from ebm_tracker.frames import RgbFrame

Color = tuple[int, int, int]
BoxXYWH = tuple[float, float, float, float]

# Told apart also by people who see no red and green: the three differ in lightness.
STATUS_COLORS: dict[str, Color] = {
    "tracked": (64, 220, 110),
    "uncertain": (255, 190, 40),
    "lost": (232, 48, 64),
}
OTHER_COLOR: Color = (170, 170, 170)
# No status has it, and with its dark seam it shows on any picture.
TRUTH_COLOR: Color = (255, 255, 255)
_DARK: Color = (16, 18, 22)
_WHITE: Color = (255, 255, 255)
# Frames below this are enlarged before drawing, or their labels would be larger than the target.
_READABLE_SIDE = 360
_BADGE_XY = (6, 6)  # the frame's number
_MARGIN = 2  # between a label and the picture's edge


def status_color(status: str) -> Color:
    """RGB of a status name; gray for one that is not known."""
    return STATUS_COLORS.get(status, OTHER_COLOR)


@lru_cache(maxsize=16)
def label_font(size: int) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    """The font that comes inside Pillow, so that every machine draws the same; size in pixels."""
    return ImageFont.load_default(size)


def enlargement(size_wh: tuple[int, int]) -> int:
    """Whole factor, 1 to 4, that makes labels readable on a frame of that size."""
    return int(np.clip(np.ceil(_READABLE_SIDE / max(min(size_wh), 1)), 1, 4))


def annotate(
    frame: RgbFrame,
    box_xywh: BoxXYWH,
    status: str,
    score: float,
    index: int,
    truth_xywh: BoxXYWH | None = None,
    scale: float = 1,
) -> RgbFrame:
    """A copy of the frame with the box in its status's colour, a label of status and score, and the number.

    Args:
        frame: (H, W, 3) uint8 RGB; not modified.
        box_xywh: pixels of ``frame``; may lie partly or wholly outside.
        status: "tracked", "uncertain" or "lost".
        score: in 0..1.
        index: number of the frame.
        truth_xywh: the true box, drawn as a dashed white line; None or with a NaN: not drawn.
        scale: the result is this many times as large.

    Returns:
        (round(H * scale), round(W * scale), 3) uint8 RGB.
    """
    height, width = frame.shape[:2]
    image = Image.fromarray(frame)
    if scale != 1:
        size = (max(round(width * scale), 1), max(round(height * scale), 1))
        image = image.resize(size, Image.Resampling.BICUBIC if scale > 1 else Image.Resampling.BOX)
    draw = ImageDraw.Draw(image, "RGBA")  # RGBA: colours with alpha blend
    side = min(image.size)
    line = max(2, side // 140)
    font = label_font(int(np.clip(side // 22, 11, 40)))
    has_box = bool(np.isfinite(box_xywh).all())
    if has_box:
        draw_box(draw, image.size, _scaled(box_xywh, scale), status_color(status), line)
    if truth_xywh is not None and np.isfinite(truth_xywh).all():
        # Last and with gaps, so that both are seen where they agree.
        draw_box(draw, image.size, _scaled(truth_xywh, scale), TRUTH_COLOR, max(1, line // 2), dashed=True)
    badge, text = f"{index}", f"{status} {score:.2f}"
    if has_box:
        label_wh, pad = pill_size(text, font)
        badge_wh, _ = pill_size(badge, font)
        at_xy = label_position(image.size, _scaled(box_xywh, scale), label_wh, badge_wh, pad)
        color = status_color(status)
        draw_pill(draw, at_xy, text, font, _DARK if sum(color) > 380 else _WHITE, (*color, 225))
    draw_pill(draw, _BADGE_XY, badge, font, _WHITE, (*_DARK, 170))
    return np.asarray(image)


def blank_frame(size_wh: tuple[int, int], index: int) -> RgbFrame:
    """What a video shows for a frame that could not be decoded: (H, W, 3) uint8, dark, with a note."""
    image = Image.new("RGB", size_wh, _DARK)
    draw = ImageDraw.Draw(image, "RGBA")
    font = label_font(int(np.clip(min(size_wh) // 22, 11, 40)))
    draw_pill(
        draw, _BADGE_XY, f"{index}  frame could not be decoded", font, _WHITE, (*STATUS_COLORS["lost"], 170)
    )
    return np.asarray(image)


def draw_pill(
    draw: ImageDraw.ImageDraw,
    at_xy: tuple[float, float],
    text: str,
    font: ImageFont.FreeTypeFont | ImageFont.ImageFont,
    color: Color,
    ground: Color | tuple[int, int, int, int],
) -> tuple[float, float]:
    """Text on a rounded ground whose top-left corner is given; returns the ground's size (w, h) in pixels."""
    (width, height), pad = pill_size(text, font)
    x, y = at_xy
    draw.rounded_rectangle((x, y, x + width - 1, y + height - 1), radius=pad, fill=ground)
    draw.text((x + width / 2, y + height / 2), text, fill=color, font=font, anchor="mm")
    return width, height


def pill_size(
    text: str, font: ImageFont.FreeTypeFont | ImageFont.ImageFont
) -> tuple[tuple[float, float], float]:
    """Size (w, h) of the ground that ``draw_pill`` makes and its padding, pixels."""
    left, top, right, bottom = font.getbbox("0Ag")  # the height is the same for all texts
    pad = max(2.0, round((bottom - top) / 3.5))
    left, _, right, _ = font.getbbox(text)
    return (right - left + 3 * pad, bottom - top + 2 * pad), pad


def label_position(
    size_wh: tuple[int, int],
    box_xywh: BoxXYWH,
    label_wh: tuple[float, float],
    badge_wh: tuple[float, float],
    gap: float,
) -> tuple[float, float]:
    """Where the label's top-left corner goes: above the box, else below it, else inside the frame's edge.

    Args:
        size_wh: of the picture, pixels, as everything here.
        box_xywh: may lie partly or wholly outside.
        label_wh: size of the label.
        badge_wh: size of the frame's number in the top-left corner, which the label keeps clear of.
        gap: between the label and what it stands beside.

    Returns:
        (x, y). The label lies inside the picture and beside the number wherever the picture has room for both.
    """
    x, y, _, h = box_xywh
    most_x, most_y = (side - length - _MARGIN for side, length in zip(size_wh, label_wh, strict=True))
    badge_end_x, badge_end_y = (at + length for at, length in zip(_BADGE_XY, badge_wh, strict=True))
    left = min(max(x, _MARGIN), max(most_x, _MARGIN))
    above, below = y - label_wh[1] - gap, y + h + gap
    inside = min(max(above, _MARGIN), max(most_y, _MARGIN))
    beside, under = badge_end_x + gap, badge_end_y + gap
    places = (left, above), (left, below), (beside, above), (left, inside), (beside, inside), (left, under)
    for at_x, at_y in places:
        fits = _MARGIN <= at_x <= most_x and _MARGIN <= at_y <= most_y
        if fits and (at_x >= badge_end_x or at_y >= badge_end_y):
            return at_x, at_y
    return left, inside


def _scaled(box_xywh: BoxXYWH, scale: float) -> BoxXYWH:
    x, y, w, h = (float(value) * scale for value in box_xywh)
    return x, y, w, h


def draw_box(
    draw: ImageDraw.ImageDraw,
    size_wh: tuple[int, int],
    box_xywh: BoxXYWH,
    color: Color,
    line: int,
    dashed: bool = False,
) -> None:
    """A box with a dark seam on a picture of ``size_wh``, both in the picture's pixels; it may lie outside."""
    x, y, w, h = box_xywh
    # Pixel i covers [i, i + 1): the last pixel inside is the one before the far edge. The line lies on the
    # edge, half of it outside, with a dark seam around it for bright pictures.
    out = line // 2
    # Where an edge lies far outside cannot be seen, and Pillow takes only numbers of 32 bits.
    far = 2 * (max(size_wh) + line)
    left, top, right, bottom = (min(max(edge, -far), far) for edge in (x, y, x + w, y + h))
    x0, y0 = round(left) - out, round(top) - out
    x1, y1 = max(round(right) - 1 + out, x0), max(round(bottom) - 1 + out, y0)
    if dashed:
        dashes = _dashes(x0, y0, x1, y1, line)
        for left, top, right, bottom in dashes:
            draw.rectangle((left - 1, top - 1, right + 1, bottom + 1), fill=_DARK)
        for dash in dashes:
            draw.rectangle(dash, fill=color)
        return
    draw.rectangle((x0 - 1, y0 - 1, x1 + 1, y1 + 1), outline=(*_DARK, 130), width=line + 2)
    draw.rectangle((x0, y0, x1, y1), outline=color, width=line)


def _dashes(x0: int, y0: int, x1: int, y1: int, line: int) -> list[tuple[int, int, int, int]]:
    """The edges of a rectangle in pieces (left, top, right, bottom), all pixels inclusive."""
    on, off = 4 + 3 * line, 5 + 3 * line  # off: the dark seam takes two pixels of it
    wide, high = min(line, x1 - x0 + 1) - 1, min(line, y1 - y0 + 1) - 1  # beyond a piece's first pixel
    across = [(x, min(x + on - 1, x1)) for x in range(x0, x1 + 1, on + off)]
    down = [(y, min(y + on - 1, y1)) for y in range(y0, y1 + 1, on + off)]
    return [
        *((start, y, end, y + high) for start, end in across for y in (y0, y1 - high)),
        *((x, start, x + wide, end) for start, end in down for x in (x0, x1 - wide)),
    ]
