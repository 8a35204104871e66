"""Affine resampling of photos: the only way pixels move when pairs are made."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

Affine = NDArray[np.float64]
"""(2, 3): maps x, y, 1 to x, y; pixel indices on both sides (pixel centres at integers)."""


def affine(
    center_from_xy: tuple[float, float],
    center_to_xy: tuple[float, float],
    scale_xy: tuple[float, float] = (1.0, 1.0),
    angle: float = 0.0,
    shear: float = 0.0,
) -> Affine:
    """Scales and shears about ``center_from_xy``, rotates by ``angle`` radians, moves to ``center_to_xy``."""
    cos, sin = math.cos(angle), math.sin(angle)
    linear = np.array([[cos, -sin], [sin, cos]]) @ np.array([[1.0, shear], [0.0, 1.0]]) @ np.diag(scale_xy)
    offset = np.array(center_to_xy) - linear @ np.array(center_from_xy)
    return np.concatenate((linear, offset[:, None]), axis=1)


def invert(matrix: Affine) -> Affine:
    """The inverse map, again (2, 3)."""
    linear = np.linalg.inv(matrix[:, :2])
    return np.concatenate((linear, -linear @ matrix[:, 2:]), axis=1)


def apply(matrix: Affine, points: NDArray[np.float64]) -> NDArray[np.float64]:
    """Maps (K, 2) points."""
    return points @ matrix[:, :2].T + matrix[:, 2]


def bounding_box_xywh(points: NDArray[np.float64]) -> tuple[float, float, float, float]:
    """Axis-aligned hull of (K, 2) points, corner and size, in the points' coordinates."""
    low, high = points.min(0), points.max(0)
    return float(low[0]), float(low[1]), float(high[0] - low[0]), float(high[1] - low[1])


@dataclass(frozen=True)
class Bend:
    """A smooth displacement of the output plane: output point u shows what an unbent image has at u + d(u),
    d(u) = sum over k of amplitude_k sin(frequency_k . u + phase_k).

    ``amplitude``, ``frequency`` (K, 2) and ``phase`` (K,): pixels, radians per pixel, radians. Where the product
    of amplitude and frequency stays well below 1 the map can be inverted by iteration.
    """

    amplitude: NDArray[np.float64]
    frequency: NDArray[np.float64]
    phase: NDArray[np.float64]

    def displacement(self, points: NDArray[np.float64]) -> NDArray[np.float64]:
        """d at (K, 2) points."""
        return np.asarray(np.sin(points @ self.frequency.T + self.phase) @ self.amplitude)

    def apply(self, points: NDArray[np.float64]) -> NDArray[np.float64]:
        """Where the unbent points (K, 2) appear: solves p + d(p) = point by fixed-point iteration."""
        bent = points
        for _ in range(64):
            last, bent = bent, points - self.displacement(bent)
            if np.abs(bent - last).max() < 1e-8:
                break
        return bent


class Window(NamedTuple):
    """A part of the output plane: first column and row, and how many of either."""

    x: int
    y: int
    w: int
    h: int


def warp(
    image: Tensor,
    source_to_output: Affine,
    size: int | Window,
    padding: str = "border",
    bend: Bend | None = None,
) -> Tensor:
    """(C, H, W) float -> (C, size, size), bilinear, with a box prefilter where the image shrinks.

    ``size``: an int, or a window of the output plane -> (C, h, w). ``padding``: "border", "reflection" or "zeros",
    as in ``grid_sample``. ``bend`` is applied after the map.
    """
    window = size if isinstance(size, Window) else Window(0, 0, size, size)
    matrix = invert(source_to_output)
    shrink = math.sqrt(abs(float(np.linalg.det(matrix[:, :2]))))
    level = max(0, int(math.floor(math.log2(max(shrink, 1e-6)) + 0.4)))
    level = min(level, int(math.log2(min(image.shape[-2:]))))
    if level > 0:
        cell = 2**level
        image = functional.avg_pool2d(image[None], cell, ceil_mode=True, count_include_pad=False)[0]
        # Pixel j of the coarse image is centred at cell * j + (cell - 1) / 2 of the fine one.
        matrix = matrix / cell
        matrix[:, 2] -= (cell - 1) / (2 * cell)
    height, width = image.shape[-2:]
    to_unit = np.array([[2 / width], [2 / height]])
    theta = matrix * to_unit
    theta[:, 2] += to_unit[:, 0] * 0.5 - 1
    across = torch.arange(window.x, window.x + window.w, dtype=torch.float32)
    down = torch.arange(window.y, window.y + window.h, dtype=torch.float32)
    linear, offset = torch.from_numpy(theta[:, :2]).float(), torch.from_numpy(theta[:, 2]).float()
    rows = linear[:, 1] * down[:, None] + offset  # (h, 2)
    grid = rows[:, None, :] + linear[:, 0] * across[None, :, None]  # (h, w, 2)
    if bend is not None:
        grid = grid + _bend_field(bend, window) @ linear.T
    return functional.grid_sample(image[None], grid[None], padding_mode=padding, align_corners=False)[0]


def _bend_field(bend: Bend, window: Window) -> Tensor:
    """d on the output grid, (h, w, 2), by the angle-sum rule: sines of rows and columns only."""
    columns = torch.arange(window.x, window.x + window.w, dtype=torch.float64)[:, None]
    lines = torch.arange(window.y, window.y + window.h, dtype=torch.float64)[:, None]
    frequency, phase = torch.from_numpy(bend.frequency), torch.from_numpy(bend.phase)
    across, down = columns * frequency[:, 0], lines * frequency[:, 1] + phase  # (w, K), (h, K)
    waves = down.sin()[:, None] * across.cos()[None] + down.cos()[:, None] * across.sin()[None]
    return (waves.float() @ torch.from_numpy(bend.amplitude).float()).float()
