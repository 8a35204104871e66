"""A head that differs by seed: its shape as a displaced ellipsoid, its colours as a function of the place on it.

Frame of the head: x to the right of a picture taken from the front, y down, z out of the face; the radius is about 1.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from ebm_tracker.adapters.pose.raster import Floats, ellipsoid_grid, grid_normals

ROWS, COLUMNS = 60, 80
"""Vertices of the mesh, from top to bottom and around."""
_GRID = ellipsoid_grid(ROWS, COLUMNS)
_SKINS = np.array([[0.95, 0.78, 0.68], [0.87, 0.67, 0.53], [0.76, 0.55, 0.40], [0.56, 0.38, 0.27], [0.36, 0.24, 0.18]])
_HAIRS = np.array([[0.08, 0.06, 0.06], [0.24, 0.15, 0.09], [0.45, 0.29, 0.15], [0.82, 0.68, 0.42], [0.62, 0.60, 0.58],
                   [0.50, 0.20, 0.10]])  # fmt: skip
_EYES = np.array([[0.22, 0.13, 0.07], [0.20, 0.35, 0.55], [0.25, 0.40, 0.25]])
_LIPS = np.array([0.70, 0.25, 0.27])


@dataclass(frozen=True)
class Head:
    """Half-axes, lengths in head radii, colours RGB 0..1. ``parting`` is the only thing that is not symmetric."""

    half_axes: tuple[float, float, float]
    nose: float
    nose_width: float
    chin: float
    brow: float
    cheeks: float
    ears: float
    hairline: float
    hair_back: float
    hair_volume: float
    parting: float
    eye_distance: float
    eye_open: float
    mouth_width: float
    mouth_open: float
    beard: float
    glasses: bool
    skin: tuple[float, float, float]
    hair: tuple[float, float, float]
    iris: tuple[float, float, float]

    @staticmethod
    def draw(rng: np.random.Generator) -> Head:
        """A head by chance."""
        uniform = rng.uniform
        bald, long = rng.random() < 0.12, rng.random() < 0.35
        return Head(
            half_axes=(uniform(0.70, 0.84), uniform(0.95, 1.12), uniform(0.86, 1.0)),
            nose=uniform(0.20, 0.38),
            nose_width=uniform(0.09, 0.15),
            chin=uniform(0.02, 0.14),
            brow=uniform(0.0, 0.06),
            cheeks=uniform(-0.03, 0.06),
            ears=uniform(0.10, 0.24),
            hairline=-1.6 if bald else uniform(-0.75, -0.50),
            hair_back=uniform(-0.3, 0.1) if bald else uniform(0.8, 1.3) if long else uniform(0.2, 0.6),
            hair_volume=0.0 if bald else uniform(0.02, 0.16),
            parting=uniform(-0.25, 0.25),
            eye_distance=uniform(0.33, 0.43),
            eye_open=uniform(0.055, 0.095),
            mouth_width=uniform(0.20, 0.32),
            mouth_open=uniform(0.0, 0.07) if rng.random() < 0.4 else 0.0,
            beard=uniform(0.4, 0.9) if rng.random() < 0.2 else 0.0,
            glasses=bool(rng.random() < 0.2),
            skin=_mixed(rng, _SKINS, 0.04),
            hair=_mixed(rng, _HAIRS, 0.03),
            iris=_mixed(rng, _EYES, 0.02),
        )

    def mirrored(self) -> Head:
        """The head that a mirror shows."""
        return replace(self, parting=-self.parting)

    def surface(self) -> tuple[Floats, Floats]:
        """Points and unit normals (rows, columns, 3)."""
        d = _GRID
        x, y, z = d[..., 0], d[..., 1], d[..., 2]
        radius = np.ones_like(x)
        front = _rise(z, 0.0, 0.5)
        # The nose: a ridge from between the eyes down to its tip, broader there.
        along = np.clip((y + 0.15) / 0.42, 0, 1)
        ridge = np.exp(-0.5 * (x / (self.nose_width * (0.55 + 0.6 * along))) ** 2)
        radius += front * self.nose * ridge * along**1.3 * _rise(y, 0.44, 0.30)
        radius += front * self.chin * _bump(x, 0, 0.28) * _bump(y, 0.80, 0.16)
        radius += front * self.brow * _bump(x, 0, 0.45) * _bump(y, -0.28, 0.08)
        for side in (-1, 1):
            radius -= front * 0.07 * _bump(x, side * self.eye_distance, 0.13) * _bump(y, -0.10, 0.09)
            radius += front * self.cheeks * _bump(x, side * 0.5, 0.2) * _bump(y, 0.25, 0.2)
            radius += self.ears * _bump(z, -0.12, 0.10) * _bump(y, 0.02, 0.17) * _rise(side * x, 0.75, 0.95)
        radius += front * 0.04 * _bump(x, 0, self.mouth_width) * (_bump(y, 0.46, 0.05) + _bump(y, 0.57, 0.05))
        radius -= 0.10 * _rise(y, 0.3, 0.9) * (1 - front)  # the neck is narrower than the skull
        points = d * radius[..., None]
        shrink = 1 - 0.20 * _rise(y, 0.15, 1.0)  # jaw
        points = points * np.stack((shrink, np.ones_like(shrink), np.ones_like(shrink)), -1)
        points = points * (1 + self.hair_volume * self._hair(d))[..., None] * np.array(self.half_axes)
        return points, grid_normals(points)

    def values(self) -> Floats:
        """What `colors` asks of every vertex: its direction on the unit sphere (rows, columns, 3)."""
        return _GRID

    def _hair(self, d: Floats) -> Floats:
        """Share of hair 0..1 at unit directions (..., 3)."""
        x, y, z = d[..., 0], d[..., 1], d[..., 2]
        front = self.hairline + 0.35 * np.abs(x) ** 2 + self.parting * x
        line = front + (self.hair_back - front) * _rise(-z, -0.35, 0.15)
        return _rise(line - y, -0.05, 0.05)

    def colors(self, d: Floats) -> tuple[Floats, Floats]:
        """Albedo RGB (P, 3) and gloss (P,) at directions (P, 3)."""
        d = d / np.maximum(np.linalg.norm(d, axis=-1, keepdims=True), 1e-9)
        x, y, z = d[:, 0], d[:, 1], d[:, 2]
        front = _rise(z, 0.05, 0.3)
        skin, hair = np.array(self.skin), np.array(self.hair)
        color = np.tile(skin, (len(d), 1))
        cheeks = front * (_bump(np.abs(x), 0.45, 0.15) * _bump(y, 0.25, 0.15))
        color = _over(color, skin * np.array([1.0, 0.78, 0.76]), 0.5 * cheeks)
        beard = self.beard * front * _rise(y, 0.30, 0.42) * (1 - _spot(x, y - 0.51, self.mouth_width, 0.07))
        color = _over(color, hair * 0.8 + 0.2 * skin, beard)
        for side in (-1, 1):
            ex, ey = x - side * self.eye_distance, y + 0.10
            color = _over(color, skin * 0.75, 0.6 * front * _spot(ex, ey, 0.19, 0.12))
            color = _over(color, np.array([0.93, 0.92, 0.90]), front * _spot(ex, ey, 0.125, self.eye_open))
            inside = _spot(ex, ey, 0.125, self.eye_open)
            color = _over(color, np.array(self.iris), front * inside * _spot(ex, ey, 0.06, 0.06))
            color = _over(color, np.zeros(3), front * inside * _spot(ex, ey, 0.028, 0.028))
            brow = _spot(ex, y + 0.27 - 0.08 * np.abs(ex), 0.17, 0.03)
            color = _over(color, hair * 0.7, front * 0.9 * brow)
            color = _over(color, skin * 0.35, 0.8 * front * _spot(x - side * 0.065, y - 0.335, 0.035, 0.025))
            if self.glasses:
                ring = _spot(ex, ey, 0.20, 0.16) - _spot(ex, ey, 0.165, 0.125)
                color = _over(color, np.array([0.08, 0.08, 0.10]), front * ring)
        if self.glasses:
            bar = _spot(x, y + 0.12, self.eye_distance - 0.16, 0.02)
            color = _over(color, np.array([0.08, 0.08, 0.10]), front * bar)
        mouth = y - 0.51
        color = _over(color, 0.6 * _LIPS + 0.4 * skin, front * _spot(x, mouth, self.mouth_width, 0.065))
        gap = _spot(x, mouth, self.mouth_width * 0.85, 0.010 + self.mouth_open)
        color = _over(color, np.array([0.15, 0.04, 0.05]), front * gap)
        strands = 1 + 0.18 * np.cos(38 * np.arctan2(np.abs(x), np.abs(z) + 0.3) + 9 * y)
        share = self._hair(d)
        color = _over(color, hair * strands[:, None], share)
        return np.clip(color, 0, 1), 0.25 * (1 - share) + 0.12 * share


def _mixed(rng: np.random.Generator, palette: Floats, spread: float) -> tuple[float, float, float]:
    share = rng.dirichlet(np.full(len(palette), 0.35))
    red, green, blue = np.clip(share @ palette + rng.normal(0, spread, 3), 0.02, 1.0)
    return float(red), float(green), float(blue)


def _rise(value: Floats, low: float, high: float) -> Floats:
    """0 at ``low``, 1 at ``high`` (which may be the smaller one), smooth between."""
    t = np.clip((value - low) / (high - low), 0, 1)
    result: Floats = t * t * (3 - 2 * t)
    return result


def _bump(value: Floats, center: float, width: float) -> Floats:
    result: Floats = np.exp(-0.5 * ((value - center) / width) ** 2)
    return result


def _spot(x: Floats, y: Floats, half_width: float, half_height: float) -> Floats:
    """1 inside an ellipse, 0 outside, soft at its edge."""
    return _rise(np.hypot(x / max(half_width, 1e-6), y / max(half_height, 1e-6)), 1.15, 0.85)


def _over(color: Floats, paint: Floats, share: Floats) -> Floats:
    share = np.clip(share, 0, 1)[:, None]
    result: Floats = color * (1 - share) + paint * share
    return result
