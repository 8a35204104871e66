"""A z-buffer for meshes of small triangles: which surface point every pixel of a perspective camera sees."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Mesh:
    """A grid that is closed in its second direction: ``points`` and ``normals`` (rows, columns, 3) in the camera's
    frame (x right, y down, z towards the camera), and what pixels take from it, ``values`` (rows, columns, K)."""

    points: Floats
    normals: Floats
    values: Floats


@dataclass(frozen=True)
class Camera:
    """Looks along -z from ``distance`` above the origin, which it shows at ``center_xy`` of a square image; one unit
    there is ``focal`` / ``distance`` pixels long. Pixel centres lie at whole numbers plus a half."""

    size: int
    distance: float
    focal: float
    center_xy: tuple[float, float]

    def project(self, points: Floats) -> tuple[Floats, Floats]:
        """(..., 3) -> image positions (..., 2) in pixels and 1 / depth (...)."""
        inverse_depth = 1.0 / (self.distance - points[..., 2])
        return self.focal * points[..., :2] * inverse_depth[..., None] + np.array(self.center_xy), inverse_depth


@dataclass(frozen=True)
class Seen:
    """The nearest surface at P pixels: ``pixels`` (P,) row-major, ``values`` (P, K) and unit ``normals`` (P, 3)."""

    pixels: NDArray[np.int64]
    values: Floats
    normals: Floats


def rasterize(mesh: Mesh, camera: Camera) -> tuple[Seen, Floats]:
    """What the camera sees of the mesh, and 1 / depth at those pixels (P,).

    All triangles are tested at once, one pixel of their bounding boxes after the other, so they should be a few
    pixels large. Values are interpolated with perspective.
    """
    rows, columns = mesh.points.shape[:2]
    corners = _triangles(rows, columns)
    positions, inverse_depth = camera.project(mesh.points.reshape(-1, 3))
    a, b, c = (positions[corners[:, k]] for k in range(3))
    area = _cross(b - a, c - a)
    front = area > 1e-9  # the others look away; without an area there is nothing to see
    corners, a, b, c, area = corners[front], a[front], b[front], c[front], area[front]
    low = np.floor(np.minimum(np.minimum(a, b), c) + 0.5).astype(np.int64)  # first pixel whose centre may be inside
    high = np.ceil(np.maximum(np.maximum(a, b), c) - 0.5).astype(np.int64)
    low, high = np.maximum(low, 0), np.minimum(high, camera.size)
    extent = high - low
    found: list[tuple[NDArray[np.int64], NDArray[np.int64], Floats]] = []
    width, height = (int(v) for v in np.maximum(extent.max(axis=0, initial=0), 0))
    for dy in range(height):
        for dx in range(width):
            chosen = np.flatnonzero((extent[:, 0] > dx) & (extent[:, 1] > dy))
            if not len(chosen):
                continue
            pixel = low[chosen] + (dx, dy)
            point = pixel + 0.5
            ta, tb, tc = a[chosen], b[chosen], c[chosen]
            weights = np.stack(
                (_cross(tb - point, tc - point), _cross(tc - point, ta - point), _cross(ta - point, tb - point)), -1
            )
            inside = (weights >= 0).all(-1)
            weights = weights[inside] / area[chosen[inside], None]
            found.append((pixel[inside, 1] * camera.size + pixel[inside, 0], chosen[inside], weights))
    if not found:
        empty = np.zeros((0, 3))
        return Seen(np.zeros(0, np.int64), np.zeros((0, mesh.values.shape[-1])), empty), np.zeros(0)
    pixels, triangles, weights = (np.concatenate(parts) for parts in zip(*found, strict=True))
    depths = (weights * inverse_depth[corners[triangles]]).sum(-1)
    winner = np.full(camera.size**2, -1, np.int64)
    order = np.argsort(depths, kind="stable")
    winner[pixels[order]] = order  # of several writes to one place numpy keeps the last: the nearest
    kept = winner[winner >= 0]
    corner = corners[triangles[kept]]
    share = weights[kept] * inverse_depth[corner] / depths[kept, None]

    def at_pixels(grid: Floats) -> Floats:
        flat: Floats = grid.reshape(rows * columns, -1)
        return np.einsum("pk,pkd->pd", share, flat[corner])

    normals = at_pixels(mesh.normals)
    normals /= np.maximum(np.linalg.norm(normals, axis=-1, keepdims=True), 1e-12)
    return Seen(pixels[kept], at_pixels(mesh.values), normals), depths[kept]


def _triangles(rows: int, columns: int) -> NDArray[np.int64]:
    """Vertex numbers (T, 3), two triangles a cell; the diagonals mirror each other about the grid's middle column."""
    row, column = np.mgrid[: rows - 1, :columns]
    beside = (column + 1) % columns
    p, q, s, t = (
        row * columns + column, row * columns + beside, (row + 1) * columns + column, (row + 1) * columns + beside
    )  # fmt: skip
    falling = np.stack((np.stack((p, q, t), -1), np.stack((p, t, s), -1)), -2)
    rising = np.stack((np.stack((p, q, s), -1), np.stack((q, t, s), -1)), -2)
    chosen: NDArray[np.int64] = np.where((column < columns // 2)[..., None, None], falling, rising)
    return chosen.reshape(-1, 3)


def _cross(u: Floats, v: Floats) -> Floats:
    product: Floats = u[..., 0] * v[..., 1] - u[..., 1] * v[..., 0]
    return product


def ellipsoid_grid(rows: int, columns: int) -> Floats:
    """Unit directions (rows, columns, 3) from top (-y) to bottom; the middle column looks to +z (front).

    Seen from outside, columns run in the order in which triangles (row, row, next row) turn clockwise in an image with
    y down, which is what `rasterize` takes for the front.
    """
    polar = np.linspace(0, np.pi, rows)[:, None]
    around = (2 * np.pi * (np.arange(columns) - columns // 2) / columns)[None, :]
    x, y, z = np.sin(polar) * np.sin(around), -np.cos(polar) * np.ones_like(around), np.sin(polar) * np.cos(around)
    return np.stack((x, y, z), -1)


def grid_normals(points: Floats) -> Floats:
    """Outward unit normals (rows, columns, 3) of such a grid."""
    down = np.gradient(points, axis=0)
    along = np.roll(points, -1, axis=1) - np.roll(points, 1, axis=1)
    outside = points - points.mean(axis=(0, 1))
    normals: Floats = np.cross(along, down)
    length = np.linalg.norm(normals, axis=-1, keepdims=True)
    normals = np.where(length < 1e-12, outside, normals)  # the poles, where a row is one point
    return normals / np.linalg.norm(normals, axis=-1, keepdims=True)
