"""Training pairs from annotated videos: two frames, two crops (PROTOCOL 4.2)."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
from numpy.random import Generator
from numpy.typing import NDArray
from torch import Tensor

from ebm_tracker.boxes import SIDE_LIMITS, BoxXYWH
from ebm_tracker.errors import VideoError, one_line
from ebm_tracker.training.data.faults import Faults
from ebm_tracker.training.data.sampler import FramePair, PairSampler
from ebm_tracker.training.data.sequence import AnnotatedVideo, DataSetError, FrameReadError
from ebm_tracker.training.pairs import Pair

LUMA = np.array((0.299, 0.587, 0.114), np.float32)  # of ITU-R BT.601, as everyone's gray
TRIES = 100  # skipped pairs in a row after which the data are at fault, not a file


@dataclass(frozen=True)
class CropSettings:
    """The paper's crops. ``area_factor``: side of the crop over sqrt(wh) of the box it is cut around;
    ``scale_jitter``: spread of the logarithms of the test box's sides; ``center_jitter``: full range of its
    centre, in units of sqrt(wh) after the jitter of the sides; ``gray``: share of gray pairs; ``brightness``:
    factors are drawn from 1 -+ this, for each image its own.

    ``upstream``: boxes as the published code maps them, which forgets that a crop begins at a whole pixel: up to
    half a pixel of the frame off. Without it they lie exactly where their object does.
    """

    crop_size: int = 288
    area_factor: float = 5.0
    scale_jitter: float = 0.5
    center_jitter: float = 4.5
    gray: float = 0.05
    brightness: float = 0.2
    upstream: bool = False


class FramePairs:
    """Makes pairs from the frames that ``sampler`` draws.

    A frame that cannot be read, or whose box is smaller than a pixel, does not stop training: the pair is counted
    in ``faults`` and another one drawn with the same generator, so pair i stays a function of its seed. Raises
    DataSetError after 100 skipped pairs in a row.
    """

    def __init__(
        self, sampler: PairSampler, settings: CropSettings | None = None, faults: Faults | None = None
    ) -> None:
        self.sampler, self.settings = sampler, settings or CropSettings()
        self.faults = faults or Faults()

    def make(self, rng: Generator) -> Pair:
        """One pair, crops (3, S, S) uint8, boxes (4,) float32 in crop pixels; the test box may leave its crop."""
        for _ in range(TRIES):
            try:
                pair = self._cut(self.sampler.draw(rng), rng)
            except (FrameReadError, VideoError, OSError) as error:
                self.faults.count_skipped(error)
                last = one_line(error)
            else:
                self.faults.count_made()
                return pair
        raise DataSetError(f"{TRIES} training pairs in a row could not be read, the last one because of: {last}")

    def _cut(self, drawn: FramePair, rng: Generator) -> Pair:
        s, video = self.settings, drawn.video
        reference_box = _checked_box(drawn, drawn.reference_index)
        test_box = _checked_box(drawn, drawn.test_index)
        gray = bool(rng.random() < s.gray)
        around = jittered(test_box, s, rng)
        reference_frame = _read(video, drawn.reference_index)
        same = drawn.test_index == drawn.reference_index
        test_frame = reference_frame if same else _read(video, drawn.test_index)
        crops = []
        for frame, box, region in (
            (reference_frame, reference_box, reference_box),
            (test_frame, test_box, around),
        ):
            pixels, mapped = crop(frame, box, region, s)
            crops.append((_finished(pixels, gray, rng.uniform(1 - s.brightness, 1 + s.brightness)), mapped))
        (reference, reference_in_crop), (test, test_in_crop) = crops
        return Pair(reference, torch.tensor(reference_in_crop), test, torch.tensor(test_in_crop))


def jittered(box_xywh: BoxXYWH, settings: CropSettings, rng: Generator) -> BoxXYWH:
    """The box that the test crop is cut around: sides times exp(0.5 n), then the centre moved by up to +-2.25
    sqrt(wh) of the new sides, each axis its own."""
    x, y, w, h = box_xywh
    new_w, new_h = (side * math.exp(settings.scale_jitter * rng.normal()) for side in (w, h))
    reach = settings.center_jitter * math.sqrt(new_w * new_h)
    cx, cy = x + 0.5 * w + reach * rng.uniform(-0.5, 0.5), y + 0.5 * h + reach * rng.uniform(-0.5, 0.5)
    return cx - 0.5 * new_w, cy - 0.5 * new_h, new_w, new_h


def crop(
    frame: NDArray[np.uint8], box_xywh: BoxXYWH, region_xywh: BoxXYWH, settings: CropSettings
) -> tuple[NDArray[np.float32], BoxXYWH]:
    """The square around ``region_xywh``, (S, S, 3) float32 in 0..255, and where ``box_xywh`` lies in it.

    Frame boxes cover pixel i as [i, i + 1); crop boxes count pixel centres, so the middle of the crop is
    (S - 1) / 2, which is what networks of this package are trained with.
    """
    size = settings.crop_size
    x, y, w, h = region_xywh
    side = max(math.ceil(settings.area_factor * math.sqrt(w * h)), 1)
    center = (x + 0.5 * w, y + 0.5 * h)
    left, top = (round(c - 0.5 * side) for c in center)
    if not settings.upstream:
        center = (left + 0.5 * side, top + 0.5 * side)
    ratio = size / side
    middle = 0.5 * (size - 1)
    bx, by, bw, bh = box_xywh
    cx, cy = middle + (bx + 0.5 * bw - center[0]) * ratio, middle + (by + 0.5 * bh - center[1]) * ratio
    box_in_crop = (cx - 0.5 * bw * ratio, cy - 0.5 * bh * ratio, bw * ratio, bh * ratio)
    return resample(frame, left, top, side, size), box_in_crop


def resample(frame: NDArray[np.uint8], left: int, top: int, side: int, size: int) -> NDArray[np.float32]:
    """Cuts ``side`` x ``side`` pixels, continued beyond the frame by its last row and column, and resizes them
    bilinearly to (size, size, 3), without antialiasing: as the published networks saw them.

    Rows are picked before they are blended, so the cost hardly depends on how large the square is.
    """
    above, below, down = _taps(top, side, frame.shape[0], size)
    before, after, across = _taps(left, side, frame.shape[1], size)
    first = int(before[0])
    band = frame[:, first : int(after[-1]) + 1]
    rows = band[above].astype(np.float32)  # (size, columns, 3)
    lower = band[below].astype(np.float32)
    lower -= rows
    lower *= down[:, None, None]
    rows += lower
    pixels = rows[:, before - first]  # (size, size, 3)
    right = rows[:, after - first]
    right -= pixels
    right *= across[None, :, None]
    pixels += right
    return pixels


def _taps(
    start: int, side: int, limit: int, size: int
) -> tuple[NDArray[np.intp], NDArray[np.intp], NDArray[np.float32]]:
    """For each of ``size`` positions along one axis: the two frame pixels and the weight of the second."""
    position = np.clip((np.arange(size) + 0.5) * (side / size) - 0.5, 0, side - 1)
    low = np.floor(position).astype(np.intp)
    return (
        np.clip(start + low, 0, limit - 1),
        np.clip(start + low + 1, 0, limit - 1),  # of no weight after the square's last pixel
        (position - low).astype(np.float32),
    )


def _finished(pixels: NDArray[np.float32], gray: bool, brightness: float) -> Tensor:
    """(S, S, 3) float 0..255 -> (3, S, S) uint8, changed in place on the way."""
    if gray:
        pixels[:] = (pixels @ LUMA)[..., None]
    pixels *= np.float32(brightness)
    np.rint(pixels, out=pixels)
    np.clip(pixels, 0, 255, out=pixels)
    return torch.from_numpy(pixels.astype(np.uint8)).permute(2, 0, 1).contiguous()


def _read(video: AnnotatedVideo, index: int) -> NDArray[np.uint8]:
    """The frame; whatever is wrong with it, the error says where it is."""
    try:
        return video.frames.read(index)
    except OSError as error:
        if error.filename is not None:
            raise
        raise FrameReadError(f"{video.name}, frame {index}: {one_line(error)}") from error


def _checked_box(drawn: FramePair, index: int) -> BoxXYWH:
    """The frame's box; FrameReadError when a side is below a pixel, which no crop can show, or a number is absurd."""
    x, y, w, h = (float(v) for v in drawn.video.boxes_xywh[index])
    if not (min(w, h) >= 1 and max(abs(x), abs(y), w, h) <= SIDE_LIMITS[1]):  # NaN fails as well
        name = f"{drawn.video.name}, frame {index}"
        raise FrameReadError(f"{name}: sides of the box must be >= 1 pixel (got x={x:g}, y={y:g}, w={w:g}, h={h:g})")
    return x, y, w, h
