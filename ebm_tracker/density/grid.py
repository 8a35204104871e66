"""A density on a regular grid of two coordinates, and its sums."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ebm_tracker.errors import EbmError

Array = NDArray[np.float64]
BoxXYWH = tuple[float, float, float, float]


class DensityError(EbmError):
    """There is no density to compute: the target was not tracked in this frame."""


@dataclass(frozen=True)
class DensityMap:
    """A slice of p(y | x): exp f over two coordinates of the box, the others fixed, scaled to integrate to 1.

    Attributes:
        x: (w,) evenly spaced values of the first coordinate, pixels of the frame.
        y: (h,) those of the second.
        log_density: (h, w) natural logarithm of the density per square pixel.
        energy: (h, w) the network's f; it differs from ``log_density`` by one constant.
        kind: "corner": x, y are the top-right corner, the bottom-left one is fixed. "size": x, y are width and
            height, the centre is fixed.
        box_xywh: the refined box, which fixes the rest; pixels of the frame.
    """

    x: Array
    y: Array
    log_density: Array
    energy: Array
    kind: str
    box_xywh: BoxXYWH

    @property
    def steps(self) -> tuple[float, float]:
        """Distance of neighbouring grid points along x and y, pixels."""
        return float(self.x[1] - self.x[0]), float(self.y[1] - self.y[0])

    @property
    def mass(self) -> Array:
        """(h, w) probability of every cell of the grid; sums to 1."""
        dx, dy = self.steps
        mass: Array = np.exp(self.log_density + np.log(dx * dy))
        return mass

    @property
    def marginal_x(self) -> Array:
        """(w,) density of x per pixel: the slice summed over y."""
        return self.mass.sum(axis=0) / self.steps[0]

    @property
    def marginal_y(self) -> Array:
        """(h,) density of y per pixel."""
        return self.mass.sum(axis=1) / self.steps[1]

    @property
    def mean(self) -> tuple[float, float]:
        """Expected x and y, pixels."""
        mass = self.mass
        return float(mass.sum(axis=0) @ self.x), float(mass.sum(axis=1) @ self.y)

    @property
    def deviation(self) -> tuple[float, float]:
        """Standard deviations of x and y, pixels."""
        mass, (mean_x, mean_y) = self.mass, self.mean
        variance = mass.sum(axis=0) @ (self.x - mean_x) ** 2, mass.sum(axis=1) @ (self.y - mean_y) ** 2
        return float(np.sqrt(variance[0])), float(np.sqrt(variance[1]))

    @property
    def peak(self) -> tuple[float, float]:
        """The grid point of the highest density, pixels."""
        row, column = np.unravel_index(int(self.log_density.argmax()), self.log_density.shape)
        return float(self.x[column]), float(self.y[row])


def normalized(energy: Array, x: Array, y: Array, kind: str, box_xywh: BoxXYWH) -> DensityMap:
    """The density exp f / Z of energies (h, w) on the grid x (w,), y (h,), with Z by the sum over the grid (Eq 1).

    The sum is a log-sum-exp: energies of any size stay finite, and a constant added to them changes nothing.

    Raises ValueError for an energy that is not finite, or a grid of another shape or with less than two points a side.
    """
    energy = np.asarray(energy, np.float64)
    if energy.shape != (len(y), len(x)) or min(energy.shape) < 2:
        raise ValueError(f"energy must be (len(y), len(x)), at least (2, 2) (got {energy.shape}, {len(y)}, {len(x)})")
    if not np.isfinite(energy).all():
        raise ValueError("the energy must be finite at every grid point")
    top = energy.max()
    log_sum = top + np.log(np.exp(energy - top).sum())
    log_cell = np.log((x[1] - x[0]) * (y[1] - y[0]))
    return DensityMap(x, y, energy - log_sum - log_cell, energy, kind, box_xywh)
