"""The density p(y | x) of boxes on a grid, as numbers and as pictures."""

from ebm_tracker.density.grid import DensityError, DensityMap, normalized
from ebm_tracker.density.picture import figure, overlay
from ebm_tracker.density.slices import corner_density, size_density

__all__ = [
    "DensityError",
    "DensityMap",
    "corner_density",
    "figure",
    "normalized",
    "overlay",
    "size_density",
]
