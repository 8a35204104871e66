"""Rendered heads with known angles: pictures of 64 x 64 pixels, in place of BIWI where that is not at hand.

Signs of the angles (degrees), as Hopenet and FSA-Net draw BIWI's: with positive **yaw** the nose points to the left of
the picture, with positive **pitch** up, and positive **roll** turns the head clockwise. Hence a mirror negates yaw and
roll and keeps pitch. The head turns by ``rotation(yaw, pitch, roll)`` before a perspective camera.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from ebm_tracker.adapters.pose.head import Head
from ebm_tracker.adapters.pose.raster import Camera, Floats, Mesh, Seen, ellipsoid_grid, grid_normals, rasterize

SIZE = 64
LIMITS = (75.0, 60.0, 45.0)
"""Largest yaw, pitch and roll that are drawn, about BIWI's own; small angles are likelier (a triangle)."""
_OVERSAMPLING = 2
_BODY = ellipsoid_grid(24, 40)


def rotation(yaw: float, pitch: float, roll: float) -> Floats:
    """(3, 3): head's frame to camera's (x right, y down, z to the viewer), angles in degrees.

    Its columns are the axes that Hopenet's and FSA-Net's figures show: Rx(pitch) Ry(-yaw) Rz(roll).
    """
    p, y, r = np.radians([pitch, -yaw, roll])
    about_x = np.array([[1, 0, 0], [0, np.cos(p), -np.sin(p)], [0, np.sin(p), np.cos(p)]])
    about_y = np.array([[np.cos(y), 0, np.sin(y)], [0, 1, 0], [-np.sin(y), 0, np.cos(y)]])
    about_z = np.array([[np.cos(r), -np.sin(r), 0], [np.sin(r), np.cos(r), 0], [0, 0, 1]])
    result: Floats = about_x @ about_y @ about_z
    return result


@dataclass(frozen=True)
class Scene:
    """All of a picture but the angles. Lengths in head radii, pixels of the 64, colours 0..1.

    Attributes:
        head: the head.
        distance: of the camera from its middle.
        pixels: radius of the head in the picture.
        offset_xy: of the head from the picture's middle, pixels.
        light: direction towards the lamp (unit).
        ambient: share of the light that comes from everywhere.
        tint: of the lamp, RGB.
        shirt: RGB.
        blur: standard deviation, pixels.
        noise: standard deviation, grey levels of 255.
        seed: of background and noise.
        flipped: whether background and noise are mirrored.
    """

    head: Head
    distance: float
    pixels: float
    offset_xy: tuple[float, float]
    light: tuple[float, float, float]
    ambient: float
    tint: tuple[float, float, float]
    shirt: tuple[float, float, float]
    blur: float
    noise: float
    seed: int
    flipped: bool = False

    @staticmethod
    def draw(rng: np.random.Generator) -> Scene:
        """A scene by chance."""
        uniform = rng.uniform
        light = np.array([uniform(-1, 1), uniform(-0.9, 0.3), uniform(0.25, 1)])
        light /= np.linalg.norm(light)
        return Scene(
            head=Head.draw(rng),
            distance=uniform(4.5, 9),
            pixels=uniform(19, 24),
            offset_xy=(uniform(-3, 3), uniform(-3, 3)),
            light=(float(light[0]), float(light[1]), float(light[2])),
            ambient=uniform(0.25, 0.65),
            tint=(uniform(0.9, 1.1), 1.0, uniform(0.85, 1.1)),
            shirt=(uniform(0.05, 0.9), uniform(0.05, 0.9), uniform(0.05, 0.9)),
            blur=uniform(0, 0.8),
            noise=uniform(0, 8),
            seed=int(rng.integers(2**31)),
        )

    def mirrored(self) -> Scene:
        """The scene that a mirror shows."""
        (x, y), (lx, ly, lz) = self.offset_xy, self.light
        return replace(
            self, head=self.head.mirrored(), offset_xy=(-x, y), light=(-lx, ly, lz), flipped=not self.flipped
        )


def render(scene: Scene, yaw: float, pitch: float, roll: float) -> NDArray[np.uint8]:
    """The picture (64, 64, 3) RGB of the scene with its head turned by these angles (degrees)."""
    size = SIZE * _OVERSAMPLING
    rng = np.random.default_rng(scene.seed)
    image = _background(rng, size)
    noise = rng.normal(0, 1, (SIZE, SIZE, 3))
    if scene.flipped:
        image, noise = image[:, ::-1], noise[:, ::-1]
    image = image.reshape(-1, 3).copy()
    middle = size / 2 + _OVERSAMPLING * np.array(scene.offset_xy)
    focal = scene.pixels * _OVERSAMPLING * scene.distance
    camera = Camera(size, scene.distance, focal, (float(middle[0]), float(middle[1])))
    nearest = np.zeros(size * size)
    turn = rotation(yaw, pitch, roll)
    points, normals = scene.head.surface()
    head = Mesh(points @ turn.T, normals @ turn.T, scene.head.values())
    for mesh, colors in ((head, scene.head.colors), *_body(scene)):
        seen, inverse_depth = rasterize(mesh, camera)
        visible = inverse_depth > nearest[seen.pixels]
        pixels = seen.pixels[visible]
        nearest[pixels] = inverse_depth[visible]
        image[pixels] = _shaded(scene, Seen(pixels, seen.values[visible], seen.normals[visible]), colors)
    small = image.reshape(SIZE, _OVERSAMPLING, SIZE, _OVERSAMPLING, 3).mean((1, 3))
    small = 255 * _blurred(small, scene.blur) + scene.noise * noise
    return np.clip(np.rint(small), 0, 255).astype(np.uint8)


def draw_angles(rng: np.random.Generator) -> Floats:
    """Yaw, pitch, roll (3,) in degrees, within `LIMITS`."""
    limits = np.array(LIMITS)
    return rng.triangular(-limits, 0, limits)


def render_heads(
    count: int, seed: int, progress: Callable[[int, int], None] | None = None
) -> tuple[NDArray[np.uint8], NDArray[np.float32]]:
    """``count`` heads: pictures (N, 64, 64, 3) RGB and yaw, pitch, roll (N, 3) in degrees.

    Head ``i`` depends on (seed, i) alone. ``progress(done, count)`` is called after each.
    """
    images = np.empty((count, SIZE, SIZE, 3), np.uint8)
    poses = np.empty((count, 3), np.float32)
    for number in range(count):
        rng = np.random.default_rng((seed, number))
        poses[number] = draw_angles(rng)
        images[number] = render(Scene.draw(rng), *(float(v) for v in poses[number]))
        if progress:
            progress(number + 1, count)
    return images, poses


def _body(scene: Scene) -> list[tuple[Mesh, Callable[[Floats], tuple[Floats, Floats]]]]:
    """Neck and shoulders, which do not turn with the head."""

    def ellipsoid(center: tuple[float, float, float], axes: tuple[float, float, float]) -> Mesh:
        points = _BODY * np.array(axes) + np.array(center)
        return Mesh(points, grid_normals(points), _BODY)

    def painted(color: tuple[float, float, float]) -> Callable[[Floats], tuple[Floats, Floats]]:
        return lambda values: (np.tile(np.array(color), (len(values), 1)), np.full(len(values), 0.05))

    neck = ellipsoid((0.0, 1.05, -0.22), (0.42, 0.75, 0.42))
    shoulders = ellipsoid((0.0, 2.05, -0.35), (1.55, 0.75, 0.65))
    return [(neck, painted(scene.head.skin)), (shoulders, painted(scene.shirt))]


def _shaded(scene: Scene, seen: Seen, colors: Callable[[Floats], tuple[Floats, Floats]]) -> Floats:
    albedo, gloss = colors(seen.values)
    light = np.array(scene.light)
    half = light + np.array([0, 0, 1.0])
    half /= np.linalg.norm(half)
    diffuse = scene.ambient + (1 - scene.ambient) * np.maximum(seen.normals @ light, 0)
    shine = gloss * np.maximum(seen.normals @ half, 0) ** 20
    result: Floats = np.clip((albedo * diffuse[:, None] + shine[:, None]) * np.array(scene.tint), 0, 1)
    return result


def _background(rng: np.random.Generator, size: int) -> Floats:
    """A smooth pattern between two colours with a few boxes before it, (size, size, 3)."""
    coarse = rng.uniform(0, 1, (5, 5))
    places = np.linspace(0, 4, size)
    rows = np.stack([np.interp(places, np.arange(5), coarse[:, k]) for k in range(5)], -1)
    share = np.stack([np.interp(places, np.arange(5), row) for row in rows])[..., None]
    one, two = rng.uniform(0, 1, (2, 3))
    image: Floats = one * share + two * (1 - share)
    for _ in range(int(rng.integers(0, 5))):
        x, y = rng.integers(-20, size, 2)
        w, h = rng.integers(10, size // 2, 2)
        image[max(y, 0) : y + h, max(x, 0) : x + w] = rng.uniform(0, 1, 3)
    return image


def _blurred(image: Floats, sigma: float) -> Floats:
    if sigma < 0.05:
        return image
    reach = 3
    weights = np.exp(-0.5 * (np.arange(-reach, reach + 1) / sigma) ** 2)
    weights /= weights.sum()
    for axis in (0, 1):
        pads = [(reach, reach) if k == axis else (0, 0) for k in range(3)]
        padded = np.pad(image, pads, mode="edge")
        length = image.shape[axis]
        image = sum(w * np.take(padded, range(k, k + length), axis=axis) for k, w in enumerate(weights))
    return image
