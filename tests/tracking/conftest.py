"""The frames of the users' cases, without OpenCV, and trackers with the shipped network."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import cache
from typing import Any

import numpy as np
import pytest
import torch

from ebm_tracker.boxes import BoxXYWH, iou_xywh
from ebm_tracker.build import WEIGHTS_FOLDER
from ebm_tracker.models import EnergyNetwork, load_network
from ebm_tracker.parameters import preset
from ebm_tracker.tracking import Tracker

FrameMaker = Callable[..., np.ndarray]
TrackerMaker = Callable[..., Tracker]
Overlap = Callable[[BoxXYWH, BoxXYWH], float]


def gaussian_blur(image: np.ndarray, sigma: float) -> np.ndarray:
    """(H, W, 3) uint8 blurred as OpenCV's ``GaussianBlur(image, (0, 0), sigma)`` does: a kernel of
    round(6 sigma + 1) | 1 taps, borders mirrored without repeating the edge."""
    reach = (round(6 * sigma + 1) | 1) // 2
    taps = np.exp(-0.5 * (np.arange(-reach, reach + 1) / sigma) ** 2)
    taps /= taps.sum()
    values = image.astype(np.float64)
    for axis in (0, 1):
        padding = [(reach, reach) if a == axis else (0, 0) for a in range(3)]
        padded = np.pad(values, padding, mode="reflect")
        values = sum(w * np.take(padded, np.arange(image.shape[axis]) + i, axis) for i, w in enumerate(taps))
    return np.rint(values).astype(np.uint8)


@cache
def _background(width: int, height: int) -> np.ndarray:
    noise = np.random.RandomState(0).rand(height, width, 3) * 60 + 60
    return gaussian_blur(noise.astype(np.uint8), 3)


@cache
def _patch(size: int) -> np.ndarray:
    values = gaussian_blur((np.random.RandomState(1).rand(size, size, 3) * 255).astype(np.uint8), 2).astype(float)
    low, high = values.min(), values.max()
    return np.rint((values - low) / (high - low) * 255).astype(np.uint8)


def make_frame(
    x: int, y: int, s: int = 40, W: int = 320, H: int = 240, more: tuple[tuple[int, int], ...] = ()
) -> np.ndarray:
    """A textured square with corner (x, y) on a dull background, cut off by the frame; ``more``: corners of twins."""
    image = _background(W, H).copy()
    patch = _patch(s)
    for left, top in ((x, y), *more):
        xa, ya, xb, yb = max(left, 0), max(top, 0), min(left + s, W), min(top + s, H)
        if xb > xa and yb > ya:
            image[ya:yb, xa:xb] = patch[ya - top : yb - top, xa - left : xb - left]
    return image


@pytest.fixture(scope="session")
def frame() -> FrameMaker:
    return make_frame


@pytest.fixture(scope="session")
def iou() -> Overlap:
    def overlap(a: BoxXYWH, b: BoxXYWH) -> float:
        return float(iou_xywh(torch.tensor(a, dtype=torch.float64), torch.tensor(b, dtype=torch.float64)))

    return overlap


@pytest.fixture(scope="session")
def network() -> EnergyNetwork:
    return load_network(WEIGHTS_FOLDER / preset("default").weights.file)


@pytest.fixture(scope="session")
def make_tracker(network: EnergyNetwork) -> TrackerMaker:
    """``make_tracker(seed=0, profile=False, upstream_compat=...)``: the preset ``default`` with fields changed."""

    def make(seed: int = 0, profile: bool = False, **changes: Any) -> Tracker:
        return Tracker(network, replace(preset("default"), **changes), seed=seed, profile=profile)

    return make
