"""Painting over an object: the ground beneath it, guessed from the rest of the photo."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageFilter


def paint_over(
    pixels: NDArray[np.uint8], mask: NDArray[np.bool_], rng: np.random.Generator, offers: int = 48
) -> NDArray[np.uint8]:
    """The photo with what is under the mask, and six pixels around, replaced by another piece of it.

    Of ``offers`` shifted or mirrored copies of the photo the one is taken that fits best along the edge; where that has
    the object as well, colours of the surroundings.
    """
    hole = _grown(mask, 6)
    ring = _grown(hole, 4) & ~hole
    fill = _smooth_fill(pixels, hole)
    ring_y, ring_x = (places[::3] for places in np.nonzero(ring))
    hole_y, hole_x = (places[::9] for places in np.nonzero(hole))
    if not len(ring_y):
        return np.rint(fill).astype(np.uint8)
    best, least = None, np.inf
    height, width = mask.shape
    for _ in range(offers):
        # Mostly sideways: what is above and what is below should stay so.
        rows, columns = _shifted(height, height // 4, rng), _shifted(width, width, rng)
        free = ~hole[rows[ring_y], columns[ring_x]]
        cover = float((~hole[rows[hole_y], columns[hole_x]]).mean())
        if not free.any():
            continue
        difference = pixels[ring_y, ring_x][free] - pixels[rows[ring_y], columns[ring_x]][free].astype(np.int16)
        cost = float(np.abs(difference).mean()) + 120 * (1 - cover)
        if cost < least:
            best, least = (rows, columns, difference.mean(0)), cost
    if best is not None:
        rows, columns, brighter = best
        source = (pixels[rows][:, columns] + brighter.clip(-40, 40).astype(np.float32)).clip(0, 255)
        usable = _soft(~hole[rows][:, columns], 3.0)
        fill = usable * source + (1 - usable) * fill
    edge = _soft(hole, 2.0)
    return np.rint(edge * fill + (1 - edge) * pixels).astype(np.uint8)


def _shifted(side: int, most: int, rng: np.random.Generator) -> NDArray[np.int64]:
    """(side,): for each place the one that is shown there, shifted by at most ``most``, mirrored at the borders."""
    places = (np.arange(side) + int(rng.integers(-most, most + 1))) % (2 * side)
    return np.where(places < side, places, 2 * side - 1 - places)


def _smooth_fill(pixels: NDArray[np.uint8], hole: NDArray[np.bool_]) -> NDArray[np.float32]:
    """Each pixel of the hole as the mean of what is known around it, from as near as there is something; the blurs are
    made at a quarter of the size."""
    size_wh = pixels.shape[1::-1]
    small_wh = (max(1, size_wh[0] // 4), max(1, size_wh[1] // 4))
    known = mask_image(~hole).resize(small_wh, Image.Resampling.BOX)
    photo = Image.fromarray(np.where(hole[..., None], np.uint8(0), pixels)).resize(small_wh, Image.Resampling.BOX)
    mean = pixels[~hole].mean(0) if not hole.all() else np.full(3, 127.0)
    result = np.broadcast_to(mean.astype(np.float32), (small_wh[1], small_wh[0], 3))
    for radius in (16, 8, 4, 2):
        blur = ImageFilter.GaussianBlur(radius)
        weight = np.asarray(known.filter(blur), np.float32)[..., None] / 255
        colour = np.asarray(photo.filter(blur), np.float32)
        result = np.where(weight > 0.1, colour / np.maximum(weight, 0.1), result)
    filled = Image.fromarray(result.clip(0, 255).astype(np.uint8)).resize(size_wh, Image.Resampling.BILINEAR)
    return np.where(hole[..., None], np.asarray(filled), pixels).astype(np.float32)


def mask_image(mask: NDArray[np.bool_]) -> Image.Image:
    """Gray, 0 and 255."""
    return Image.fromarray(mask.astype(np.uint8) * 255)


def _grown(mask: NDArray[np.bool_], by: int) -> NDArray[np.bool_]:
    """With the pixels up to ``by`` rows and columns away."""
    return np.asarray(mask_image(mask).filter(ImageFilter.BoxBlur(by))) > 0


def _soft(mask: NDArray[np.bool_], radius: float) -> NDArray[np.float32]:
    """(H, W, 1) 0..1, blurred."""
    blurred = mask_image(mask).filter(ImageFilter.GaussianBlur(radius))
    return np.asarray(blurred, np.float32)[..., None] / np.float32(255)
