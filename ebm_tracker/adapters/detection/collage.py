"""One image of the composed set: objects cut out of photos on the ground of another one.

A ground's own object is painted over by another piece of the same photo, so that all objects of an image are known;
each one is cut out along its mask, scaled, turned and pasted, later ones over earlier ones.

Boxes are those of the *visible* pixels, as COCO annotates: what another object hides does not count. They are exact.
An object that would show less than ``min_visible`` of itself, or overlap another's box too much, is pasted elsewhere.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageEnhance

from ebm_tracker.adapters.detection.annotations import DetectionDataError
from ebm_tracker.adapters.detection.painting import mask_image, paint_over
from ebm_tracker.errors import one_line
from ebm_tracker.training.data.cutouts import CutoutSettings, paste_object
from ebm_tracker.video import PILLOW_ERRORS

Box = tuple[int, int, int, int]
"""x, y, w, h."""
_MOST_TRIES = 1000
_PASTE = CutoutSettings(max_blur=0.0, object_share=0.9)


@dataclass(frozen=True)
class ClassRule:
    """``names`` of the labels from 1; ``label_of(w, h)`` of a box, 0 for one between the classes, which is not used."""

    names: tuple[str, ...]
    label_of: Callable[[float, float], int]


def _by_shape(w: float, h: float) -> int:
    ratio = h / w
    if 1 / 1.25 <= ratio <= 1.25:
        return 2
    return 1 if ratio <= 1 / 1.6 else 3 if ratio >= 1.6 else 0


def _by_size(w: float, h: float) -> int:
    side = (w * h) ** 0.5
    return 1 if side <= 60 else 2 if side >= 84 else 0


CLASS_RULES: Mapping[str, ClassRule] = {
    "shape": ClassRule(("wide", "compact", "tall"), _by_shape),
    "size": ClassRule(("small", "large"), _by_size),
    "one": ClassRule(("object",), lambda w, h: 1),
}
"""By the visible box: its ratio of sides, the root of its area in pixels, or no difference at all."""


@dataclass(frozen=True)
class ComposeSettings:
    """``counts``: images of train, val and test; ``photo_shares``: of the photos, for val and test. ``size_wh`` in
    pixels, multiples of 32 so that a detector needs no padding. Objects per image and their longer side in pixels,
    drawn evenly in its logarithm (none is scaled up); ``turn``: degrees either way; ``brightness``: up to this much
    lighter or darker. ``min_visible``: of an object's own pixels; ``max_overlap``: IoU of two boxes; ``min_side``: of
    a box, in pixels; ``tries``: places per object; ``quality``: of the JPEGs."""

    counts: tuple[int, int, int] = (1600, 200, 400)
    photo_shares: tuple[float, float] = (0.1, 0.2)
    size_wh: tuple[int, int] = (384, 288)
    classes: str = "shape"
    objects: tuple[int, int] = (1, 6)
    sides: tuple[float, float] = (36.0, 200.0)
    turn: float = 20.0
    brightness: float = 0.25
    min_visible: float = 0.6
    max_overlap: float = 0.4
    min_side: int = 8
    tries: int = 12
    quality: int = 92
    seed: int = 0

    def __post_init__(self) -> None:
        if self.classes not in CLASS_RULES:
            raise ValueError(f"classes must be one of {', '.join(CLASS_RULES)} (got {self.classes!r})")
        if min(self.counts) < 1 or not 1 <= self.objects[0] <= self.objects[1]:
            raise ValueError(f"counts and objects must be at least 1, rising (got {self.counts} and {self.objects})")
        if not (0 < min(self.photo_shares) and sum(self.photo_shares) < 1):
            raise ValueError(f"photo_shares must be positive with a sum below 1 (got {self.photo_shares})")
        if not 8 <= self.sides[0] <= self.sides[1] <= min(self.size_wh):
            raise ValueError(f"sides must lie between 8 and {min(self.size_wh)} pixels, rising (got {self.sides})")


@dataclass(frozen=True)
class Stock:
    """What the images of one split are made from: ``grounds``, photo and mask of what is painted over; ``objects``:
    RGBA. ``photos``: names of all photos that either comes from."""

    grounds: tuple[tuple[Path, Path | None], ...]
    objects: tuple[Image.Image, ...]
    photos: frozenset[str]


@dataclass(frozen=True)
class Composed:
    """``image`` (H, W, 3) uint8; for each object ``boxes_xywh`` (M, 4) in whole pixels, ``areas`` (M,): its visible
    pixels, and ``labels`` (M,) from 1."""

    image: NDArray[np.uint8]
    boxes_xywh: NDArray[np.int64]
    areas: NDArray[np.int64]
    labels: NDArray[np.int64]


def compose_image(stock: Stock, settings: ComposeSettings, rng: np.random.Generator) -> Composed:
    """A ground with at least one object on it. Raises DetectionDataError when no object is of any class."""
    rule = CLASS_RULES[settings.classes]
    image = _ground(stock, settings, rng)
    wanted = int(rng.integers(settings.objects[0], settings.objects[1] + 1))
    whole: list[int] = []
    visible: list[NDArray[np.bool_]] = []
    for tries in range(_MOST_TRIES):
        if len(visible) == wanted or (visible and tries >= wanted * settings.tries):
            break
        stamp = _stamp(stock.objects[int(rng.integers(len(stock.objects)))], settings, rng)
        if not _is_usable(np.asarray(stamp)[..., 3] > 127, settings, rule):
            continue
        pasted, mask = paste_object(stamp, Image.fromarray(image), rng, _PASTE)
        areas, parts = [*whole, int(mask.sum())], [*(part & ~mask for part in visible), mask]
        if _is_good(parts, areas, settings, rule):
            image, whole, visible = pasted, areas, parts
    if not visible:
        raise DetectionDataError(f"none of {len(stock.objects)} objects is of a class by {settings.classes}")
    boxes = np.array([box_of(part) for part in visible])
    labels = np.array([rule.label_of(w, h) for _, _, w, h in boxes.tolist()])
    return Composed(image, boxes, np.array([int(part.sum()) for part in visible]), labels)


def box_of(mask: NDArray[np.bool_]) -> Box:
    """x, y, w, h of a mask that is not empty: pixel i covers [i, i + 1)."""
    rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
    x, y = int(columns[0]), int(rows[0])
    return x, y, int(columns[-1]) + 1 - x, int(rows[-1]) + 1 - y


def is_one_piece(mask: NDArray[np.bool_], share: float = 0.95) -> bool:
    """Whether one connected part has this share of the pixels, seen at 64 pixels a side: gaps of a few do not count."""
    scale = min(1.0, 64 / max(mask.shape))
    size = (max(1, round(scale * mask.shape[1])), max(1, round(scale * mask.shape[0])))
    small = mask_image(mask).resize(size, Image.Resampling.BOX)
    free = small.point(lambda value: 255 if value >= 64 else 0)
    total, largest = int((np.asarray(free) == 255).sum()), 0
    while True:
        left = np.argwhere(np.asarray(free) == 255)
        if not len(left):
            return total > 0 and largest >= share * total
        ImageDraw.floodfill(free, (int(left[0, 1]), int(left[0, 0])), 0)
        largest = max(largest, len(left) - int((np.asarray(free) == 255).sum()))


def _ground(stock: Stock, settings: ComposeSettings, rng: np.random.Generator) -> NDArray[np.uint8]:
    path, mask_path = stock.grounds[int(rng.integers(len(stock.grounds)))]
    pixels = read_photo(path)
    if mask_path is not None:
        pixels = paint_over(pixels, read_mask(mask_path, (pixels.shape[1], pixels.shape[0])), rng)
    height, width = pixels.shape[:2]
    scale = min(width / settings.size_wh[0], height / settings.size_wh[1])
    part_wh = [max(1, int(scale * side)) for side in settings.size_wh]
    left, top = (int(rng.integers(0, side - part + 1)) for side, part in zip((width, height), part_wh, strict=True))
    box = (left, top, left + part_wh[0], top + part_wh[1])
    return np.asarray(Image.fromarray(pixels).resize(settings.size_wh, Image.Resampling.LANCZOS, box=box))


def _stamp(source: Image.Image, settings: ComposeSettings, rng: np.random.Generator) -> Image.Image:
    """The object mirrored, turned, scaled (never up) and brighter or darker."""
    if rng.random() < 0.5:
        source = source.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
    low, high = np.log(settings.sides)
    scale = min(1.0, float(np.exp(rng.uniform(low, high))) / max(source.size))
    size = (max(1, round(scale * source.width)), max(1, round(scale * source.height)))
    small = source.convert("RGBa").resize(size, Image.Resampling.LANCZOS).convert("RGBA")
    lit = ImageEnhance.Brightness(small.convert("RGB")).enhance(1 + rng.uniform(-1, 1) * settings.brightness)
    lit.putalpha(small.getchannel("A"))
    turned = lit.rotate(rng.uniform(-settings.turn, settings.turn), Image.Resampling.BICUBIC, expand=True)
    return turned.crop(turned.getbbox())


def _is_good(
    visible: Sequence[NDArray[np.bool_]], whole: Sequence[int], settings: ComposeSettings, rule: ClassRule
) -> bool:
    """Whether all objects show enough of themselves, are of a class, and have boxes of their own."""
    if any(part.sum() < settings.min_visible * area for part, area in zip(visible, whole, strict=True)):
        return False
    if not all(_is_usable(part, settings, rule) for part in visible):
        return False
    boxes = [box_of(part) for part in visible]
    return all(_iou(a, b) <= settings.max_overlap for a, b in combinations(boxes, 2))


def _is_usable(mask: NDArray[np.bool_], settings: ComposeSettings, rule: ClassRule) -> bool:
    """Whether the mask's box is large enough and of a class."""
    if not mask.any():
        return False
    _, _, w, h = box_of(mask)
    return min(w, h) >= settings.min_side and rule.label_of(w, h) > 0


def _iou(a: Box, b: Box) -> float:
    w = min(a[0] + a[2], b[0] + b[2]) - max(a[0], b[0])
    h = min(a[1] + a[3], b[1] + b[3]) - max(a[1], b[1])
    inter = max(w, 0) * max(h, 0)
    return inter / (a[2] * a[3] + b[2] * b[3] - inter)


def read_photo(path: Path) -> NDArray[np.uint8]:
    """(H, W, 3) RGB. Raises DetectionDataError."""
    try:
        with Image.open(path) as image:
            return np.array(image.convert("RGB"))
    except PILLOW_ERRORS as error:
        raise DetectionDataError(f"{path.absolute()} cannot be read as a photo ({one_line(error)})") from error


def read_mask(path: Path, size_wh: tuple[int, int]) -> NDArray[np.bool_]:
    """(H, W). Raises DetectionDataError, also for another size than that of its photo."""
    try:
        with Image.open(path) as image:
            mask = np.asarray(image.convert("L")) > 127
    except PILLOW_ERRORS as error:
        raise DetectionDataError(f"{path.absolute()} cannot be read as a mask ({one_line(error)})") from error
    if mask.shape[::-1] != size_wh:
        raise DetectionDataError(f"{path.absolute()} is {mask.shape[1]} x {mask.shape[0]}, its photo {size_wh}")
    return mask
