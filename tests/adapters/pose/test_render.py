"""Rendered heads: signs of the angles, the mirror, perspective and the z-buffer against closed forms."""

from __future__ import annotations

import numpy as np
import pytest

from ebm_tracker.adapters.pose.augment import mirrored
from ebm_tracker.adapters.pose.raster import Camera, Mesh, ellipsoid_grid, grid_normals, rasterize
from ebm_tracker.adapters.pose.render import LIMITS, Scene, draw_angles, render, render_heads, rotation

NOSE, RIGHT, DOWN = np.array([0, 0, 1.0]), np.array([1.0, 0, 0]), np.array([0, 1.0, 0])


def sphere(radius: float = 0.8, center: tuple[float, float, float] = (0, 0, 0)) -> Mesh:
    directions = ellipsoid_grid(48, 64)
    points = radius * directions + np.array(center)
    return Mesh(points, grid_normals(points), directions)


def test_signs_of_the_angles() -> None:
    assert (rotation(30, 0, 0) @ NOSE)[0] == pytest.approx(-0.5)  # left in the picture
    assert (rotation(0, 30, 0) @ NOSE)[1] == pytest.approx(-0.5)  # up
    assert (rotation(0, 0, 30) @ RIGHT)[1] == pytest.approx(0.5)  # the picture's right side goes down: clockwise


def test_rotation_has_the_axes_that_hopenet_draws() -> None:
    rng = np.random.default_rng(0)
    for _ in range(20):
        yaw, pitch, roll = draw_angles(rng)
        y, p, r = -np.radians(yaw), np.radians(pitch), np.radians(roll)
        x_axis = np.cos(y) * np.cos(r), np.cos(p) * np.sin(r) + np.cos(r) * np.sin(p) * np.sin(y)
        y_axis = -np.cos(y) * np.sin(r), np.cos(p) * np.cos(r) - np.sin(p) * np.sin(y) * np.sin(r)
        z_axis = np.sin(y), -np.cos(y) * np.sin(p)
        drawn = np.stack([x_axis, y_axis, z_axis], -1)
        turn = rotation(yaw, pitch, roll)
        np.testing.assert_allclose(turn[:2], drawn, atol=1e-12)
        np.testing.assert_allclose(turn @ turn.T, np.eye(3), atol=1e-12)
        assert np.linalg.det(turn) == pytest.approx(1)


def test_a_mirrored_picture_is_the_picture_of_the_mirrored_angles() -> None:
    for seed in range(6):
        rng = np.random.default_rng(seed)
        pose = draw_angles(rng)
        scene = Scene.draw(rng)
        image, angles = mirrored(render(scene, *pose), pose)
        other = render(scene.mirrored(), *angles)
        assert np.abs(image.astype(int) - other).mean() < 0.05
        assert np.abs(render(scene.mirrored(), *pose).astype(int) - image).mean() > 2  # the angles do matter


def test_the_face_moves_as_the_signs_say() -> None:
    # A head without hair, light from the front: the dark pupils tell where the face looks.
    from dataclasses import replace

    rng = np.random.default_rng(5)
    scene = Scene.draw(rng)
    head = replace(scene.head, hairline=-1.6, hair_back=-1.6, hair_volume=0.0, beard=0.0, glasses=False,
                   skin=(0.9, 0.9, 0.9), hair=(0.9, 0.9, 0.9), iris=(0, 0, 0), ears=0.0, nose=0.0)  # fmt: skip
    scene = replace(scene, head=head, light=(0.0, 0.0, 1.0), ambient=1.0, blur=0, noise=0, offset_xy=(0, 0))

    def eyes(yaw: float, pitch: float, roll: float) -> tuple[np.ndarray, float]:
        difference = np.abs(
            render(scene, yaw, pitch, roll).astype(float)
            - render(replace(scene, head=replace(head, iris=(0.9, 0.9, 0.9), eye_open=1e-3)), yaw, pitch, roll)
        ).sum(-1)
        y, x = np.nonzero(difference > 60)
        slope = float(np.polyfit(x, y, 1)[0])
        return np.array([x.mean(), y.mean()]), slope

    straight, level = eyes(0, 0, 0)
    assert eyes(25, 0, 0)[0][0] < straight[0] - 4 and eyes(-25, 0, 0)[0][0] > straight[0] + 4
    assert eyes(0, 25, 0)[0][1] < straight[1] - 4 and eyes(0, -25, 0)[0][1] > straight[1] + 4
    assert abs(level) < 0.03
    assert eyes(0, 0, 20)[1] == pytest.approx(np.tan(np.radians(20)), abs=0.08)


def test_a_sphere_covers_the_disc_that_perspective_says() -> None:
    radius, distance, focal = 0.8, 4.0, 200.0
    seen, inverse_depth = rasterize(sphere(radius), Camera(128, distance, focal, (64, 64)))
    silhouette = focal * radius / np.sqrt(distance**2 - radius**2)  # of the tangent cone
    assert len(seen.pixels) == pytest.approx(np.pi * silhouette**2, rel=0.02)
    assert len(set(seen.pixels.tolist())) == len(seen.pixels)
    # The middle pixel sees the nearest point, 1 / (distance - radius) away.
    assert inverse_depth.max() == pytest.approx(1 / (distance - radius), rel=1e-2)
    # Values are what lies there: the ray through a pixel meets the sphere where its direction says.
    y, x = np.divmod(seen.pixels, 128)
    place = radius * seen.values
    np.testing.assert_allclose(64 + focal * place[:, 0] / (distance - place[:, 2]), x + 0.5, atol=0.05)
    np.testing.assert_allclose(64 + focal * place[:, 1] / (distance - place[:, 2]), y + 0.5, atol=0.05)
    assert (seen.values * seen.normals).sum(-1).min() > 0.99


def test_no_holes_and_only_the_near_side() -> None:
    seen, _ = rasterize(sphere(), Camera(128, 6.0, 240.0, (64, 64)))
    covered = np.zeros((128, 128), bool)
    covered.reshape(-1)[seen.pixels] = True
    for row in covered[covered.any(1)]:
        inside = np.flatnonzero(row)
        assert len(inside) == inside[-1] - inside[0] + 1
    assert seen.values[:, 2].min() > 0


def test_the_nearest_of_several_surfaces_is_seen() -> None:
    # A flower's outline, extruded along y: seen from the side its petals hide each other. The camera is so far away
    # that a pixel sees the largest z of the outline at its x, which is found here segment by segment.
    columns, scale, far = 200, 40.0, 1e6
    around = 2 * np.pi * (np.arange(columns) - columns // 2) / columns
    radius = 0.7 + 0.5 * np.cos(7 * around)
    outline = np.stack((radius * np.sin(around), radius * np.cos(around)), -1)  # x, z
    heights = np.linspace(-0.5, 0.5, 9)
    points = np.stack(np.broadcast_arrays(outline[None, :, 0], heights[:, None], outline[None, :, 1]), -1)
    seen, _ = rasterize(Mesh(points, grid_normals(points), points), Camera(128, far, scale * far, (64, 64)))
    on_row = seen.pixels // 128 == 64
    compared, hidden = 0, 0
    for pixel, value in zip(seen.pixels[on_row] % 128, seen.values[on_row], strict=True):
        x = (pixel + 0.5 - 64) / scale
        ends = zip(outline, np.roll(outline, -1, axis=0), strict=True)
        met = [p[1] + (x - p[0]) / (q[0] - p[0]) * (q[1] - p[1]) for p, q in ends if (p[0] <= x) != (q[0] <= x)]
        assert value[2] == pytest.approx(max(met), abs=1e-2)
        compared, hidden = compared + 1, hidden + (len(met) > 2)
    assert compared > 70 and hidden > 20


def test_what_lies_outside_the_picture_is_left_out() -> None:
    camera = Camera(32, 6.0, 120.0, (16, 16))
    seen, _ = rasterize(sphere(center=(30.0, 0, 0)), camera)
    assert len(seen.pixels) == 0
    half, _ = rasterize(sphere(center=(0.8, 0, 0)), camera)
    assert len(half.pixels) and (half.pixels % 32).min() >= 14


def test_heads_follow_from_seed_and_number() -> None:
    images, poses = render_heads(4, seed=3)
    again, angles = render_heads(2, seed=3)
    assert (images[:2] == again).all() and (poses[:2] == angles).all()
    assert images.shape == (4, 64, 64, 3) and images.dtype == np.uint8 and poses.dtype == np.float32
    other, _ = render_heads(1, seed=4)
    assert (other[0] != images[0]).any()


def test_angles_stay_within_their_limits() -> None:
    rng = np.random.default_rng(0)
    drawn = np.array([draw_angles(rng) for _ in range(2000)])
    assert (np.abs(drawn) <= LIMITS).all()
    assert drawn.std(0) == pytest.approx(np.array(LIMITS) / np.sqrt(6), rel=0.05)
    assert np.abs(drawn.mean(0)).max() < 2.5
