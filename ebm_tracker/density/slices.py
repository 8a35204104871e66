"""Slices of p(y | x) around the box that the tracker found, from what its last frame left behind."""

from __future__ import annotations

from collections.abc import Hashable, Mapping

import numpy as np
import torch

from ebm_tracker.density.grid import Array, BoxXYWH, DensityError, DensityMap, normalized
from ebm_tracker.models.box_energy_grid import grid_energies
from ebm_tracker.tracking import MultiTracker, Tracker
from ebm_tracker.tracking.tracker import FrameDetails

GRID = 64
SPAN = 0.25
"""Half of the grid's side, as a share of the box's width and height."""


def corner_density(
    tracker: Tracker | MultiTracker,
    object_id: Hashable | None = None,
    grid: int = GRID,
    span: float = SPAN,
    box_xywh: BoxXYWH | None = None,
) -> DensityMap:
    """The density of the box's top-right corner with its bottom-left corner fixed, as in the paper's Figure 1.

    ``tracker``: made with ``keep_details=True``; the frame is the one that it tracked last.
    ``object_id``: which one of a MultiTracker's. ``grid``: points a side, at least 2; ``span`` in (0, 1): they reach
    this share of width and height to either side of the refined corner. ``box_xywh``: another box than the refined
    one, pixels of the frame.

    The slice is exp f as it stands: p in the paper's coordinates (cx / w0, cy / h0, log w, log h), without the
    Jacobian to pixels, which would favour small boxes.

    Raises DensityError where the last frame has no details, ValueError for arguments that are not allowed.
    """
    details = _details(tracker, object_id)
    x, y, w, h = box_xywh or details.box_xywh
    columns, rows = _axes((x + w, y), (w, h), grid, span)
    across = np.stack((np.full(grid, x), columns), axis=1)
    down = np.stack((rows, np.full(grid, y + h)), axis=1)
    energy = _energies(tracker, details, across, down)
    return normalized(energy, columns, rows, "corner", (x, y, w, h))


def size_density(
    tracker: Tracker | MultiTracker,
    object_id: Hashable | None = None,
    grid: int = GRID,
    span: float = SPAN,
    box_xywh: BoxXYWH | None = None,
) -> DensityMap:
    """The density of width and height with the centre fixed; arguments and errors as for ``corner_density``."""
    details = _details(tracker, object_id)
    x, y, w, h = box_xywh or details.box_xywh
    widths, heights = _axes((w, h), (w, h), grid, span)
    center_x, center_y = x + w / 2, y + h / 2
    across = np.stack((center_x - widths / 2, center_x + widths / 2), axis=1)
    down = np.stack((center_y - heights / 2, center_y + heights / 2), axis=1)
    energy = _energies(tracker, details, across, down)
    return normalized(energy, widths, heights, "size", (x, y, w, h))


def _details(tracker: Tracker | MultiTracker, object_id: Hashable | None) -> FrameDetails:
    found = tracker.details
    if isinstance(found, Mapping):
        if object_id is None and len(found) == 1:
            object_id = next(iter(found))
        found = found.get(object_id)
    if found is None:
        raise DensityError(
            "the density needs a tracker made with keep_details=True that has tracked a frame after the first"
            f"{'' if object_id is None else f' with object {object_id!r}'}"
        )
    return found


def _axes(middle: tuple[float, float], size_wh: tuple[float, float], grid: int, span: float) -> tuple[Array, Array]:
    if grid < 2 or not 0 < span < 1:
        raise ValueError(f"grid must be at least 2 and span lie in (0, 1) (got {grid} and {span})")
    first, second = (
        np.linspace(at - span * side, at + span * side, grid) for at, side in zip(middle, size_wh, strict=True)
    )
    return first, second


@torch.inference_mode()
def _energies(tracker: Tracker | MultiTracker, details: FrameDetails, across: Array, down: Array) -> Array:
    """f of the grid's boxes (h, w), given by their edges (w, 2) and (h, 2) in the frame."""
    network, device = tracker.network, tracker.device
    maps = network.head.maps(network.features(details.patch.to(device)))
    energy = details.energy.frame(maps)
    crop_across, crop_down = (
        torch.tensor(_to_crop(details, edges, axis), dtype=torch.float32, device=device)
        for axis, edges in enumerate((across, down))
    )
    return grid_energies(energy, crop_across, crop_down).cpu().double().numpy()


def _to_crop(details: FrameDetails, edges: Array, axis: int) -> Array:
    """Box edges of the frame along one axis -> crop pixels, by the centre and size that the window maps."""
    window = details.window
    low, high = edges[:, 0], edges[:, 1]
    # A frame box's centre as a pixel index: TargetState has it half a pixel before the geometric one.
    center = ((low + high - 1) / 2 - window.origin_xy[axis]) / window.scale_xy[axis]
    half = (high - low) / window.scale_xy[axis] / 2
    return np.stack((center - half, center + half), axis=1) + window.entry_shift
