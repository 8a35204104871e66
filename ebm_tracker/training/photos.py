"""Photos with annotated objects, read once into memory: the raw material of the pairs.

Two layouts are known: ECSSD (``images/*.jpg`` beside ``masks/*.png``, one salient object per photo) and COCO128
(``images/*.jpg`` beside ``det_labels/*.txt`` with "class cx cy w h" and ``seg_labels/*.txt`` with
"class x1 y1 x2 y2 ...", both as fractions of the image).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

Points = NDArray[np.float64]


@dataclass(frozen=True)
class Cutout:
    """An object that lies wholly in its photo: ``rgba`` (H, W, 4) uint8, and ``outline`` (K, 2), x and y of
    points on the object's outer boundary, in pixel indices of ``rgba``."""

    rgba: NDArray[np.uint8]
    outline: Points


@dataclass(frozen=True)
class Photo:
    """``image`` (H, W, 3) uint8; ``outlines``: one per object; ``may_rotate``: per object, whether the outline
    follows its shape (a mask or polygon) or is only a box."""

    name: str
    image: NDArray[np.uint8]
    outlines: tuple[Points, ...]
    may_rotate: tuple[bool, ...]
    cutouts: tuple[Cutout, ...]


def mask_outline(mask: NDArray[np.bool_]) -> Points:
    """The mask's outer boundary as points (K, 2) at pixel edges: both ends of every row and every column."""
    across = _run_ends(mask)
    down = _run_ends(mask.T)[:, ::-1]
    return np.concatenate((across, down)).astype(np.float64)


def _run_ends(mask: NDArray[np.bool_]) -> Points:
    rows = np.flatnonzero(mask.any(1))
    first = mask[rows].argmax(1) - 0.5
    last = mask.shape[1] - 1 - mask[rows][:, ::-1].argmax(1) + 0.5
    return np.concatenate([np.stack((x, rows + dy), 1) for x in (first, last) for dy in (-0.5, 0.5)])


def box_outline(x0: float, y0: float, x1: float, y1: float) -> Points:
    """The four corners, in pixel indices (pixel edges at -0.5), of a box in continuous pixels."""
    return np.array([(x0, y0), (x1, y0), (x1, y1), (x0, y1)]) - 0.5


def cut_out(image: NDArray[np.uint8], mask: NDArray[np.bool_], min_side: int = 24) -> Cutout | None:
    """The masked object with a margin of two pixels; None if it touches the border or is too small or thin."""
    if not mask.any() or mask[0].any() or mask[-1].any() or mask[:, 0].any() or mask[:, -1].any():
        return None
    rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
    y0, y1, x0, x1 = rows[0], rows[-1] + 1, columns[0], columns[-1] + 1
    height, width = y1 - y0, x1 - x0
    if min(height, width) < min_side or max(height, width) > 6 * min(height, width):
        return None
    top, left = max(y0 - 2, 0), max(x0 - 2, 0)
    window = np.s_[top : y1 + 2, left : x1 + 2]
    alpha = mask[window]
    rgba = np.concatenate((image[window], alpha[..., None].astype(np.uint8) * 255), axis=2)
    return Cutout(np.ascontiguousarray(rgba), mask_outline(alpha))


def load_ecssd(root: Path) -> list[Photo]:
    """All photos of an ECSSD folder. Raises FileNotFoundError, naming the folder, when there are none."""
    photos = []
    for path in _images(root):
        image = _read_rgb(path)
        mask_path = root / "masks" / f"{path.stem}.png"
        mask = np.asarray(Image.open(mask_path).convert("L")) > 127
        if mask.shape != image.shape[:2]:
            raise ValueError(f"{mask_path} is {mask.shape[::-1]}, its photo {image.shape[1::-1]}")
        cutout = cut_out(image, mask)
        outlines = (mask_outline(mask),) if mask.any() else ()
        photos.append(
            Photo(f"ecssd/{path.stem}", image, outlines, (True,) * len(outlines), (cutout,) if cutout else ())
        )
    return photos


def load_coco128(root: Path, min_side: float = 20) -> list[Photo]:
    """All photos of a COCO128 folder; objects with a side below ``min_side`` pixels are left out."""
    photos = []
    for path in _images(root):
        image = _read_rgb(path)
        height, width = image.shape[:2]
        outlines: list[Points] = []
        rotates: list[bool] = []
        cutouts: list[Cutout] = []
        polygons = _label_rows(root / "seg_labels" / f"{path.stem}.txt")
        for row in polygons:
            points = np.array(row[1:]).reshape(-1, 2) * (width, height)
            if (np.ptp(points, axis=0) >= min_side).all():
                outlines.append(points - 0.5)
                rotates.append(True)
                cutout = cut_out(image, _polygon_mask(points, (width, height)), min_side=32)
                if cutout is not None:
                    cutouts.append(cutout)
        if not polygons:
            for row in _label_rows(root / "det_labels" / f"{path.stem}.txt"):
                cx, cy, w, h = np.array(row[1:5]) * (width, height, width, height)
                if min(w, h) >= min_side:
                    outlines.append(box_outline(cx - w / 2, cy - h / 2, cx + w / 2, cy + h / 2))
                    rotates.append(False)
        photos.append(Photo(f"coco128/{path.stem}", image, tuple(outlines), tuple(rotates), tuple(cutouts)))
    return photos


def split_photos(photos: Sequence[Photo], every: int = 10) -> tuple[list[Photo], list[Photo]]:
    """(training, held-out): each ``every``-th photo is held out, objects and background alike."""
    training = [p for i, p in enumerate(photos) if i % every]
    return training, [p for i, p in enumerate(photos) if i % every == 0]


def _images(root: Path) -> list[Path]:
    found = sorted((root / "images").glob("*.jpg"))
    if not found:
        raise FileNotFoundError(f"no images/*.jpg in {root.absolute()}")
    return found


def _read_rgb(path: Path) -> NDArray[np.uint8]:
    with Image.open(path) as image:
        return np.array(image.convert("RGB"))


def _label_rows(path: Path) -> list[list[float]]:
    if not path.is_file():
        return []
    return [[float(v) for v in line.split()] for line in path.read_text().splitlines() if line.strip()]


def _polygon_mask(points: Points, size_wh: tuple[int, int]) -> NDArray[np.bool_]:
    canvas = Image.new("1", size_wh)
    ImageDraw.Draw(canvas).polygon([tuple(p) for p in (points - 0.5).tolist()], fill=1)
    return np.asarray(canvas)
