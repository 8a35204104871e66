"""A made-up video with known boxes: a textured object moving before a moving background."""

from __future__ import annotations

from collections.abc import Iterator
from math import cos, pi, sin

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFilter

from ebm_tracker.annotations import Boxes
from ebm_tracker.evaluation.sequences import BoxXYWH, TrackingSequence
from ebm_tracker.frames import RgbFrame

_PAN = 0.25  # the background is this much larger than the frame, for the camera's pan


class MovingTexture:
    """A stream of frames, computed one at a time; the same arguments give the same pixels.

    The object is an ellipse about a sixth of the frame's width. It goes round the frame in a figure of eight,
    up to some 8 pixels a frame at 640 pixels, grows and shrinks by a quarter, and the camera pans and is
    noisy.

    Args:
        size_wh: of the frames, pixels; both at least 32.
        frame_count: at least 1.
        seed: of textures and noise.
    """

    name = "synthetic"
    frames_per_second = 25.0
    bad_frames = 0

    def __init__(self, size_wh: tuple[int, int] = (640, 480), frame_count: int = 200, seed: int = 0) -> None:
        if min(size_wh) < 32 or frame_count < 1:
            raise ValueError(f"needs sides of at least 32 and 1 frame (got {size_wh} and {frame_count})")
        rng = np.random.default_rng(seed)
        width, height = self.size_wh = size_wh
        self.frame_count = frame_count
        self._canvas = _texture(rng, (round(width * (1 + _PAN)), round(height * (1 + _PAN))), (60, 150), 12)
        side = max(width // 5, 16)
        self._patch = _texture(rng, (side, side), (20, 250), 6)
        self._mask = Image.new("L", (side, side))
        ImageDraw.Draw(self._mask).ellipse((1, 1, side - 2, side - 2), fill=255)
        self._mask = self._mask.filter(ImageFilter.GaussianBlur(1))
        self._noise = rng.normal(0, 3, (height, width, 3)).astype(np.int16)

    def __len__(self) -> int:
        return self.frame_count

    def __iter__(self) -> Iterator[RgbFrame]:
        return (self.frame(index) for index in range(self.frame_count))

    def box_xywh(self, index: int) -> BoxXYWH:
        """The object's true box in a frame, whole pixels, always inside."""
        width, height = self.size_wh
        phase = 2 * pi * index / 240
        w = max(round(width / 6 * (1 + 0.25 * sin(1.3 * phase))), 8)
        h = max(round(0.8 * w), 8)
        x = (width - w) * (0.5 + 0.36 * sin(phase))
        y = (height - h) * (0.5 + 0.30 * sin(2 * phase))
        return round(x), round(y), w, h

    def frame(self, index: int) -> RgbFrame:
        """(H, W, 3) uint8 RGB."""
        width, height = self.size_wh
        phase = 2 * pi * index / 310
        left = round(width * _PAN * (0.5 - 0.5 * cos(phase)))
        top = round(height * _PAN * (0.5 + 0.5 * sin(phase)))
        image = self._canvas.crop((left, top, left + width, top + height))
        x, y, w, h = (int(value) for value in self.box_xywh(index))
        image.paste(self._patch.resize((w, h)), (x, y), self._mask.resize((w, h)))
        noise = np.roll(self._noise, (17 * index, 29 * index), axis=(0, 1))
        frame: NDArray[np.uint8] = np.clip(np.asarray(image) + noise, 0, 255).astype(np.uint8)
        return frame

    def sequence(self) -> TrackingSequence:
        """The video with its first and all its true boxes."""
        truth: Boxes = np.array([self.box_xywh(i) for i in range(self.frame_count)], dtype=np.float64)
        return TrackingSequence(self.name, self, self.box_xywh(0), truth)


def _texture(
    rng: np.random.Generator, size_wh: tuple[int, int], value_range: tuple[int, int], cell: int
) -> Image.Image:
    """Coloured noise at three scales, the finest of ``cell`` pixels, stretched to the range of values."""
    width, height = size_wh
    total = np.zeros((height, width, 3))
    for octave in (1, 2, 4):
        shape = (max(height // (cell * octave), 2), max(width // (cell * octave), 2), 3)
        noise = Image.fromarray(rng.integers(0, 256, shape, dtype=np.uint8))
        total += octave * np.asarray(noise.resize(size_wh, Image.Resampling.BICUBIC), dtype=np.float64)
    low, high = value_range
    stretched = low + (total - total.min()) / max(np.ptp(total), 1e-9) * (high - low)
    return Image.fromarray(stretched.astype(np.uint8))
