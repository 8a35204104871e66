"""Pairs of frames for the energy head, made from single photos.

A pair is what the tracker will see: a reference crop centred on the object with five times its area scale, and a
test crop that missed it by ATOM's jitter (PROTOCOL 4.2). Two kinds, since we have no videos:

- *composite*: a cut-out pasted on another photo, with the object turned, scaled, sheared, blurred, shaded and
  partly covered in the test frame, distractors around it and the background moved independently;
- *natural*: one photo warped twice around an annotated object, so that object and surroundings move together;
- *region*: the same around any textured rectangle of a photo. Users box faces, wheels and shirts: with whole
  objects only, the network learns to snap to outlines instead of to what the reference box framed.

Everything is rendered straight into the crop by one resampling per layer; boxes follow from the outline's exact
image under the same affine map. Pair number i of a seed is the same for any number of workers.
"""

from __future__ import annotations

import io
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol

import numpy as np
import torch
from numpy.random import Generator
from PIL import Image
from torch import Tensor
from torch.nn import functional
from torch.utils.data import Dataset

from ebm_tracker.training.photos import Cutout, Photo, Points, box_outline
from ebm_tracker.training.warp import Affine, Bend, Window, affine, apply, bounding_box_xywh, warp


class Pair(NamedTuple):
    """Crops (3, S, S) uint8 RGB and boxes (4,) xywh in crop pixels (pixel centres at integers)."""

    reference_image: Tensor
    reference_box: Tensor
    test_image: Tensor
    test_box: Tensor


@dataclass(frozen=True)
class PairSettings:
    """How pairs look. Angles in radians, probabilities in [0, 1], spreads of logarithms where so named.

    ``composite_share``: of all pairs; ``region_share``: of the others; ``margin_share``: composites whose boxes
    are drawn tighter or wider than the object, by the same margin in both frames; ``part_share``: composites whose
    box frames a part of the pasted object; ``relight``: of the test frames of composites, other colours of light.
    """

    crop_size: int = 288
    area_factor: float = 5.0
    center_jitter: float = 4.5
    scale_jitter: float = 0.5
    composite_share: float = 0.75
    region_share: float = 0.0
    margin_share: float = 0.0
    part_share: float = 0.0
    relight: float = 0.0
    gray: float = 0.05
    small_turn: float = 0.25
    any_turn_share: float = 0.2
    log_aspect: float = 0.15
    shear: float = 0.12
    bend: float = 0.35
    occlusion: float = 0.3
    twin: float = 0.15
    max_distractors: int = 3
    motion_blur: float = 0.3
    low_resolution: float = 0.4
    noise: float = 0.3
    jpeg: float = 0.3
    frame_border: float = 0.15


class _Pose(NamedTuple):
    """Shape of an object before it is sized and placed."""

    angle: float
    log_aspect: float
    shear: float
    flip: bool


class PairMaker:
    """Makes one pair from a numpy generator. ``photos`` serve as objects (if annotated) and backgrounds."""

    def __init__(self, photos: Sequence[Photo], settings: PairSettings | None = None) -> None:
        self.settings = settings or PairSettings()
        self.photos = list(photos)
        self.cutouts = [(i, c) for i, photo in enumerate(self.photos) for c in photo.cutouts]
        self.objects = [(i, k) for i, photo in enumerate(self.photos) for k in range(len(photo.outlines))]
        if not self.cutouts or not self.objects or len(self.photos) < 2:
            raise ValueError(
                f"pairs need at least two photos, one cut-out and one outline "
                f"(got {len(self.photos)} photos, {len(self.cutouts)} cut-outs, {len(self.objects)} outlines)"
            )

    def make(self, rng: Generator) -> Pair:
        """One pair, drawn from ``rng`` alone: crops (3, S, S) uint8, boxes (4,) float32 in crop pixels."""
        settings = self.settings
        maker = self._composite if rng.random() < settings.composite_share else self._natural
        if maker == self._natural and settings.region_share and rng.random() < settings.region_share:
            maker = self._region
        reference, reference_box, test, test_box = maker(rng)
        gray = rng.random() < settings.gray
        return Pair(
            self._finish(reference, reference_box, gray, rng),
            torch.tensor(reference_box),
            self._finish(test, test_box, gray, rng),
            torch.tensor(test_box),
        )

    # Geometry ------------------------------------------------------------------------------------------------

    def _poses(self, rng: Generator, may_rotate: bool = True) -> tuple[_Pose, _Pose]:
        s = self.settings
        turn = rng.normal(0, s.small_turn)
        if rng.random() < s.any_turn_share:
            turn = rng.uniform(-math.pi, math.pi)
        flip = rng.random() < 0.5
        first = _Pose(rng.normal(0, 0.1), rng.normal(0, 0.1), rng.normal(0, 0.05), flip)
        second = _Pose(
            first.angle + turn,
            first.log_aspect + rng.normal(0, s.log_aspect),
            first.shear + rng.normal(0, s.shear),
            flip,
        )
        if not may_rotate:
            first, second = (p._replace(angle=0.0, shear=0.0) for p in (first, second))
        return first, second

    def _test_view(self, rng: Generator) -> tuple[float, tuple[float, float]]:
        """ATOM's jitter, expressed in the crop: apparent size sqrt(wh) and centre of the true box."""
        s = self.settings
        base = s.crop_size / s.area_factor
        side = base * math.exp(-0.5 * s.scale_jitter * (rng.normal() + rng.normal()))
        offset = s.center_jitter * base * rng.uniform(-0.5, 0.5, 2)
        middle = (s.crop_size - 1) / 2
        return side, (middle + float(offset[0]), middle + float(offset[1]))

    # Kinds of pairs ------------------------------------------------------------------------------------------

    def _natural(self, rng: Generator) -> tuple[Tensor, tuple[float, ...], Tensor, tuple[float, ...]]:
        photo_index, object_index = self.objects[rng.integers(len(self.objects))]
        photo = self.photos[photo_index]
        outline = photo.outlines[object_index]
        return self._warped_twice(rng, photo, outline, photo.may_rotate[object_index])

    def _region(self, rng: Generator) -> tuple[Tensor, tuple[float, ...], Tensor, tuple[float, ...]]:
        photo = self.photos[rng.integers(len(self.photos))]
        height, width = photo.image.shape[:2]
        outline = box_outline(0, 0, width, height)
        for _ in range(10):
            side = rng.uniform(0.1, 0.35) * min(height, width)
            stretch = math.exp(float(np.clip(rng.normal(0, 0.25), -0.6, 0.6)))
            w, h = side * stretch, side / stretch
            x, y = rng.uniform(0, width - w), rng.uniform(0, height - h)
            outline = box_outline(x, y, x + w, y + h)
            if has_a_place(photo.image[int(y) : int(y + h), int(x) : int(x + w)]):
                break
        return self._warped_twice(rng, photo, outline, may_rotate=False)

    def _warped_twice(
        self, rng: Generator, photo: Photo, outline: Points, may_rotate: bool
    ) -> tuple[Tensor, tuple[float, ...], Tensor, tuple[float, ...]]:
        s = self.settings
        source = _planes(photo.image)
        frames: list[tuple[Tensor, tuple[float, ...]]] = []
        middle = ((s.crop_size - 1) / 2,) * 2
        views = ((s.crop_size / s.area_factor, middle), self._test_view(rng))
        for pose, (side, center) in zip(self._poses(rng, may_rotate), views, strict=True):
            matrix = place(outline, pose, side, (center[0], center[1]))
            box = bounding_box_xywh(apply(matrix, outline))
            # Not mirrored beyond the photo's edges: the target would be there again.
            frames.append((warp(source, matrix, s.crop_size, "border"), box))
        return *frames[0], *frames[1]

    def _composite(self, rng: Generator) -> tuple[Tensor, tuple[float, ...], Tensor, tuple[float, ...]]:
        s = self.settings
        owner, target = self.cutouts[rng.integers(len(self.cutouts))]
        outline = target.outline
        part = part_of(target, rng) if s.part_share and rng.random() < s.part_share else None
        if part is not None:
            outline = part
        base = s.crop_size / s.area_factor
        middle = ((s.crop_size - 1) / 2,) * 2
        # The box around a turned part would hold other things than the part.
        poses = self._poses(rng, may_rotate=part is None)
        views: tuple[tuple[float, tuple[float, float]], ...] = (
            (base * math.exp(rng.normal(0, 0.05)), middle),
            self._test_view(rng),
        )
        backgrounds = self._backgrounds(rng, owner)
        scenery = self._distractors(rng, target)
        drift = rng.normal(0, 25, 2)
        margin = rng.uniform(-0.08, 0.15) if s.margin_share and rng.random() < s.margin_share else 0.0
        frames: list[tuple[Tensor, tuple[float, ...]]] = []
        for frame, (canvas, pose, (side, center)) in enumerate(zip(backgrounds, poses, views, strict=True)):
            shift = drift * frame
            for cutout, other_pose, other_side, position in scenery:
                spot = (float(position[0] + shift[0]), float(position[1] + shift[1]))
                paste(canvas, cutout, place(cutout.outline, other_pose, other_side, spot))
            matrix = place(outline, pose, side / (1 + 2 * margin), center)
            blur = _motion(rng) if frame and rng.random() < s.motion_blur else [(0, 0)]
            bend = _bend(rng, side) if frame and rng.random() < s.bend else None
            paste(canvas, target, matrix, self._shade(rng, frame), blur, bend)
            points = apply(matrix, outline)
            box = _grown(bounding_box_xywh(bend.apply(points) if bend else points), margin)
            if frame and rng.random() < s.occlusion:
                self._occlude(rng, canvas, box)
            frames.append((canvas, box))
        return *frames[0], *frames[1]

    def _shade(self, rng: Generator, frame: int) -> np.ndarray:
        """Factors on red, green and blue: a mild change always, another lamp now and then in the test frame."""
        spread = 0.25 if frame and rng.random() < self.settings.relight else 0.04
        return np.asarray(rng.uniform(0.85, 1.15) * np.exp(rng.normal(0, spread, 3)))

    def _backgrounds(self, rng: Generator, owner: int) -> tuple[Tensor, Tensor]:
        """The same photo twice, the second time moved, scaled and turned a little."""
        s = self.settings
        choice = int(rng.integers(len(self.photos) - 1))
        photo = self.photos[choice + (choice >= owner)]
        source = _planes(photo.image)
        height, width = photo.image.shape[:2]
        scale = s.crop_size / (min(height, width) * rng.uniform(0.4, 1.1))
        spot = rng.uniform(0.3, 0.7, 2) * (width, height)
        angle = rng.normal(0, 0.1)
        first = affine(tuple(spot), ((s.crop_size - 1) / 2,) * 2, (scale, scale), angle)
        moved = spot + rng.normal(0, 40, 2) / scale
        zoom = scale * math.exp(rng.normal(0, 0.15))
        second = affine(tuple(moved), ((s.crop_size - 1) / 2,) * 2, (zoom, zoom), angle + rng.normal(0, 0.1))
        return warp(source, first, s.crop_size, "reflection"), warp(source, second, s.crop_size, "reflection")

    def _distractors(
        self, rng: Generator, target: Cutout
    ) -> list[tuple[Cutout, _Pose, float, tuple[float, float]]]:
        s = self.settings
        base = s.crop_size / s.area_factor
        found = []
        count = int(rng.integers(0, s.max_distractors + 1))
        choices = [self.cutouts[rng.integers(len(self.cutouts))][1] for _ in range(count)]
        if rng.random() < s.twin:
            choices.append(target)
        for cutout in choices:
            radius, bearing = rng.uniform(0.9, 2.4) * base, rng.uniform(0, 2 * math.pi)
            middle = (s.crop_size - 1) / 2
            position = (middle + radius * math.cos(bearing), middle + radius * math.sin(bearing))
            pose = _Pose(rng.normal(0, 0.3), rng.normal(0, 0.2), 0.0, rng.random() < 0.5)
            found.append((cutout, pose, base * math.exp(rng.normal(-0.1, 0.35)), position))
        return found

    def _occlude(self, rng: Generator, canvas: Tensor, box: tuple[float, float, float, float]) -> Tensor:
        """Another object over one side of the target, covering at most about half of it."""
        x, y, w, h = box
        bearing = rng.uniform(0, 2 * math.pi)
        side = math.sqrt(w * h) * rng.uniform(0.4, 1.0)
        reach = rng.uniform(0.45, 0.8)
        spot = (
            x + w * (0.5 + reach * math.cos(bearing)),
            y + h * (0.5 + reach * math.sin(bearing)),
        )
        cutout = self.cutouts[rng.integers(len(self.cutouts))][1]
        pose = _Pose(rng.uniform(-math.pi, math.pi), 0.0, 0.0, False)
        return paste(canvas, cutout, place(cutout.outline, pose, side, spot))

    # Camera --------------------------------------------------------------------------------------------------

    def _finish(self, image: Tensor, box: tuple[float, ...], gray: bool, rng: Generator) -> Tensor:
        """Lens, sensor and codec: (3, S, S) float 0..255 -> uint8."""
        s = self.settings
        size = s.crop_size
        if rng.random() < s.low_resolution:
            small = int(size / rng.uniform(1.2, 3.0))
            image = functional.interpolate(image[None], (small, small), mode="bilinear", antialias=True)
            # Antialiasing changes nothing on the way up, but its kernel gives the same bits for any thread count.
            image = functional.interpolate(image, (size, size), mode="bilinear", antialias=True)[0]
        if gray:
            image = image.mean(0, keepdim=True).expand(3, -1, -1)
        gain, contrast = rng.uniform(0.8, 1.2), rng.uniform(0.85, 1.15)
        # In double, so that the number of threads does not show in the last bit, and then in a pixel.
        mean = float(image.mean(dtype=torch.float64))
        image = ((image - mean) * contrast + mean) * gain
        if rng.random() < s.noise:
            noise = rng.standard_normal(image.shape, dtype=np.float32) * rng.uniform(1, 8)
            image = image + torch.from_numpy(noise)
        pixels = image.clamp(0, 255).round().to(torch.uint8)
        if rng.random() < s.frame_border:
            pixels = _frame_border(pixels, box, rng)
        if rng.random() < s.jpeg:
            pixels = _jpeg(pixels, int(rng.integers(30, 90)))
        return pixels.contiguous()


class PairSource(Protocol):
    """Whatever makes pairs: from photos, or from videos."""

    def make(self, rng: Generator) -> Pair:
        """One pair, drawn from ``rng`` alone."""
        ...


class PairDataset(Dataset[Pair]):
    """``length`` pairs, number i drawn from the generator seeded by (seed, i): any worker, any order."""

    def __init__(self, source: PairSource, length: int, seed: int) -> None:
        self.source, self.length, self.seed = source, length, seed

    @property
    def faults(self) -> Any:
        """What the source could not read, as the loop wants to know it; None for a source that reads no files."""
        return getattr(self.source, "faults", None)

    def __len__(self) -> int:
        return self.length

    def __getitem__(self, index: int) -> Pair:
        return self.source.make(np.random.default_rng((self.seed, index)))


def has_a_place(pixels: np.ndarray) -> bool:
    """Whether a region (h, w, 3) varies along both axes: on a bare wall, or along an edge, a box could slide."""
    gray = pixels.mean(2)
    return bool(min(gray.mean(0).std(), gray.mean(1).std()) > 8)


def part_of(cutout: Cutout, rng: Generator) -> Points | None:
    """The corners of a rectangle on the object, 35 to 80 % of its box in either direction and at least two thirds of
    it covered; None when ten tries find none."""
    alpha = cutout.rgba[..., 3] > 127
    x, y, w, h = bounding_box_xywh(cutout.outline)
    for _ in range(10):
        part_w, part_h = w * rng.uniform(0.35, 0.8), h * rng.uniform(0.35, 0.8)
        left, top = x + rng.uniform(0, w - part_w), y + rng.uniform(0, h - part_h)
        inside = alpha[max(int(top), 0) : int(top + part_h) + 1, max(int(left), 0) : int(left + part_w) + 1]
        if inside.size and inside.mean() > 2 / 3:
            return np.array([(left, top), (left + part_w, top), (left + part_w, top + part_h), (left, top + part_h)])
    return None


def place(outline: Points, pose: _Pose, side: float, center_xy: tuple[float, float]) -> Affine:
    """The map that gives the outline that pose, sized and moved so that its axis-aligned box has sqrt(wh) =
    ``side`` and that centre."""
    stretch = math.exp(0.5 * pose.log_aspect)
    scale = (-stretch if pose.flip else stretch, 1 / stretch)
    middle = outline.mean(0)
    matrix = affine((middle[0], middle[1]), (0.0, 0.0), scale, pose.angle, pose.shear)
    x, y, w, h = bounding_box_xywh(apply(matrix, outline))
    factor = side / math.sqrt(w * h)
    matrix = matrix * factor
    matrix[:, 2] += np.array(center_xy) - factor * np.array((x + w / 2, y + h / 2))
    return matrix


def paste(
    canvas: Tensor,
    cutout: Cutout,
    matrix: Affine,
    shade: np.ndarray | float = 1.0,
    blur: Sequence[tuple[int, int]] = ((0, 0),),
    bend: Bend | None = None,
) -> Tensor:
    """Draws the cut-out over the canvas (3, S, S), in place, and returns it.

    ``shade``: a factor on the colours, one or (3,); ``blur``: the (dx, dy) over which colour and alpha are averaged.
    Only the window that the object can reach is rendered.
    """
    window = _window(apply(matrix, cutout.outline), canvas.shape[-1], blur, bend)
    if window is None:
        return canvas
    layer = _planes(cutout.rgba)
    alpha = layer[3:] / 255
    layer = torch.cat((layer[:3] * torch.as_tensor(shade, dtype=torch.float32).reshape(-1, 1, 1) * alpha, alpha))
    layer = warp(layer, matrix, window, "zeros", bend)
    if len(blur) > 1:
        layer = _smeared(layer, blur)
    size = canvas.shape[-1]
    x0, y0 = max(window.x, 0), max(window.y, 0)
    x1, y1 = min(window.x + window.w, size), min(window.y + window.h, size)
    if x1 > x0 and y1 > y0:
        layer = layer[:, y0 - window.y : y1 - window.y, x0 - window.x : x1 - window.x]
        canvas[:, y0:y1, x0:x1].mul_(1 - layer[3:]).add_(layer[:3])
    return canvas


def _window(outline: Points, size: int, blur: Sequence[tuple[int, int]], bend: Bend | None) -> Window | None:
    """The pixels that an object with this outline can reach, on a (size, size) canvas and as far around it as the
    blur reaches in; None if there are none."""
    smear = max(max(abs(dx), abs(dy)) for dx, dy in blur)
    reach = 2 + smear + (0 if bend is None else math.ceil(float(np.abs(bend.amplitude).sum())))
    low = np.floor(outline.min(0)).astype(int) - reach
    high = np.ceil(outline.max(0)).astype(int) + reach + 1
    x0, y0 = np.clip(low, -smear, size + smear)
    x1, y1 = np.clip(high, -smear, size + smear)
    return Window(int(x0), int(y0), int(x1 - x0), int(y1 - y0)) if x1 > x0 and y1 > y0 else None


def _smeared(layer: Tensor, offsets: Sequence[tuple[int, int]]) -> Tensor:
    """The mean of the layer (C, h, w) moved by each (dx, dy); zero comes in at the edges."""
    reach = max(max(abs(dx), abs(dy)) for dx, dy in offsets)
    padded = functional.pad(layer, (reach,) * 4)
    height, width = layer.shape[1:]
    total = torch.zeros_like(layer)
    for dx, dy in offsets:
        total += padded[:, reach - dy : reach - dy + height, reach - dx : reach - dx + width]
    return total / len(offsets)


def _planes(image: np.ndarray) -> Tensor:
    return torch.from_numpy(image).permute(2, 0, 1).float()


def _grown(box: tuple[float, float, float, float], margin: float) -> tuple[float, float, float, float]:
    """The box with ``margin`` times its own side added at every side."""
    x, y, w, h = box
    return x - margin * w, y - margin * h, (1 + 2 * margin) * w, (1 + 2 * margin) * h


def _bend(rng: Generator, side: float) -> Bend:
    """Two waves, each at least 1.2 object sides long and at most 7 % of a side high."""
    bearings = rng.uniform(0, 2 * math.pi, 2)
    lengths = side * rng.uniform(1.2, 3.0, 2)
    frequency = (2 * math.pi / lengths)[:, None] * np.stack((np.cos(bearings), np.sin(bearings)), 1)
    amplitude = side * rng.uniform(-0.07, 0.07, (2, 2)) / math.sqrt(2)
    return Bend(amplitude, frequency, rng.uniform(0, 2 * math.pi, 2))


def _motion(rng: Generator) -> list[tuple[int, int]]:
    """A centred line of 3 to 15 pixels in a random direction, as offsets."""
    length, bearing = rng.uniform(2, 14), rng.uniform(0, math.pi)
    steps = np.linspace(-length / 2, length / 2, 16)
    points = np.rint(np.stack((steps * math.cos(bearing), steps * math.sin(bearing)), 1)).astype(int)
    return [(int(dx), int(dy)) for dx, dy in points]


def _frame_border(pixels: Tensor, box: tuple[float, ...], rng: Generator) -> Tensor:
    """The video ends inside the crop: beyond that line the last row or column repeats, as tracker crops do. At
    least half of the object stays in the picture."""
    size = pixels.shape[-1]
    axis = int(rng.random() < 0.5)  # 0: columns, 1: rows
    middle = min(max(box[axis] + 0.5 * box[axis + 2], 0.0), size - 1.0)
    cut = rng.uniform(0.03, 0.3) * size
    index = torch.arange(size)
    if rng.random() < 0.5:
        index = index.clamp(min=int(min(cut, middle)))
    else:
        index = index.clamp(max=int(max(size - 1 - cut, middle)))
    return pixels.index_select(2 - axis, index)


def _jpeg(pixels: Tensor, quality: int) -> Tensor:
    buffer = io.BytesIO()
    Image.fromarray(pixels.permute(1, 2, 0).contiguous().numpy()).save(buffer, "JPEG", quality=quality)
    with Image.open(buffer) as image:
        return torch.from_numpy(np.array(image)).permute(2, 0, 1)
