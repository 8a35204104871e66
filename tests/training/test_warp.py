from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn import functional

from ebm_tracker.training.pairs import _bend
from ebm_tracker.training.warp import Bend, affine, apply, bounding_box_xywh, invert, warp


@pytest.fixture
def image() -> Tensor:
    return torch.rand(3, 32, 32, generator=torch.Generator().manual_seed(0)) * 255


def test_identity_is_exact(image: Tensor) -> None:
    torch.testing.assert_close(warp(image, affine((0, 0), (0, 0)), 32), image, rtol=0, atol=1e-3)


def test_shift_by_whole_pixels_is_exact(image: Tensor) -> None:
    moved = warp(image, affine((10, 12), (13, 10)), 32, "zeros")  # 3 to the right, 2 up
    torch.testing.assert_close(moved[:, :30, 3:], image[:, 2:, :29], rtol=0, atol=1e-3)
    assert (moved[:, 30:] == 0).all() and (moved[:, :, :3] == 0).all()


@pytest.mark.parametrize("factor", [0.8, 1.5, 2.0, 3.7])
def test_scaling_a_ramp_gives_a_ramp(factor: float) -> None:
    """Bilinear interpolation is exact on ramps: output u shows the input's u / factor."""
    y, x = torch.meshgrid(torch.arange(64.0), torch.arange(64.0), indexing="ij")
    scaled = warp(torch.stack((x, y)), affine((0, 0), (0, 0), (factor, factor)), 48)
    expected = torch.arange(48) / factor
    torch.testing.assert_close(scaled[0], expected.expand(48, 48), rtol=0, atol=1e-4)
    torch.testing.assert_close(scaled[1], expected[:, None].expand(48, 48), rtol=0, atol=1e-4)


@pytest.mark.parametrize("quarter", [1, 2, 3])
def test_quarter_turns(image: Tensor, quarter: int) -> None:
    """Positive angles turn x towards y, clockwise on the screen."""
    middle = (15.5, 15.5)
    turned = warp(image, affine(middle, middle, angle=quarter * math.pi / 2), 32)
    torch.testing.assert_close(turned, torch.rot90(image, -quarter, (1, 2)), rtol=0, atol=1e-2)


def test_mirror(image: Tensor) -> None:
    middle = (15.5, 15.5)
    torch.testing.assert_close(warp(image, affine(middle, middle, (-1.0, 1.0)), 32), image.flip(2), rtol=0, atol=1e-3)


@pytest.mark.parametrize(("padding", "left"), [("zeros", 0.0), ("border", 7.0)])
def test_padding(padding: str, left: float) -> None:
    moved = warp(torch.full((1, 8, 8), 7.0), affine((0, 0), (4, 0)), 8, padding)
    assert float(moved[0, 4, 0]) == left and float(moved[0, 4, 6]) == 7.0


@pytest.mark.parametrize("cell", [2, 4, 8])
def test_prefilter_averages_whole_cells(cell: int) -> None:
    """Shrinking by a power of two about the centre is the mean of each cell; the mean of all is kept."""
    fine = torch.rand(3, 128, 128, generator=torch.Generator().manual_seed(1))
    size = 128 // cell
    small = warp(fine, affine((63.5, 63.5), ((size - 1) / 2,) * 2, (1 / cell, 1 / cell)), size)
    torch.testing.assert_close(small, functional.avg_pool2d(fine, cell), rtol=0, atol=1e-5)
    torch.testing.assert_close(small.mean((1, 2)), fine.mean((1, 2)))


@pytest.mark.parametrize("shrink", [1.7, 3.0, 5.5])
def test_prefilter_keeps_the_mean_and_removes_noise(shrink: float) -> None:
    fine = torch.rand(1, 240, 240, generator=torch.Generator().manual_seed(1))
    size = int(240 / shrink)
    small = warp(fine, affine((119.5, 119.5), ((size - 1) / 2,) * 2, (1 / shrink, 1 / shrink)), size)
    assert float(small.mean()) == pytest.approx(float(fine.mean()), abs=0.01)
    assert float(small.std()) < 0.75 * float(fine.std())


def test_prefilter_keeps_positions() -> None:
    """A blob keeps its centre of mass, whatever the shrink factor."""
    y, x = torch.meshgrid(torch.arange(200.0), torch.arange(200.0), indexing="ij")
    blob = torch.exp(-((x - 120) ** 2 + (y - 75) ** 2) / (2 * 15**2))[None]
    for shrink in (1.0, 1.6, 2.3, 4.0, 6.1):
        matrix = affine((100, 100), (30, 30), (1 / shrink, 1 / shrink), angle=0.3)
        small = warp(blob, matrix, 64, "zeros")[0]
        rows, columns = torch.meshgrid(torch.arange(64.0), torch.arange(64.0), indexing="ij")
        center = float((small * columns).sum() / small.sum()), float((small * rows).sum() / small.sum())
        if shrink > 2:  # else the blob is cut off
            assert center == pytest.approx(apply(matrix, np.array([[120.0, 75.0]]))[0].tolist(), abs=0.2), shrink


# Maps ----------------------------------------------------------------------------------------------------------------


def test_affine_scales_shears_turns_then_moves() -> None:
    matrix = affine((5, 7), (1, 2), (2.0, 3.0), angle=math.pi / 2, shear=0.5)
    points = np.array([(5.0, 7.0), (6.0, 7.0), (5.0, 8.0)])
    # (1, 0) -> (2, 0) -> sheared (2, 0) -> turned (0, 2); (0, 1) -> (0, 3) -> (1.5, 3) -> (-3, 1.5).
    np.testing.assert_allclose(apply(matrix, points), [(1, 2), (1, 4), (-2, 3.5)], atol=1e-12)


def test_invert_undoes() -> None:
    matrix = affine((5, 7), (1, 2), (2.0, -0.3), angle=1.1, shear=0.5)
    points = np.random.default_rng(0).normal(size=(9, 2))
    np.testing.assert_allclose(apply(invert(matrix), apply(matrix, points)), points, atol=1e-12)


def test_bounding_box() -> None:
    assert bounding_box_xywh(np.array([(3.0, -1.0), (1.0, 4.0), (2.0, 0.0)])) == (1.0, -1.0, 2.0, 5.0)


# Bends ---------------------------------------------------------------------------------------------------------------


def test_bend_apply_inverts_the_displacement() -> None:
    """Output point u shows what was at u + d(u): so the point p appears at the u with u + d(u) = p. All bends that
    training draws can be inverted."""
    rng = np.random.default_rng(0)
    worst = 0.0
    for _ in range(300):
        side = rng.uniform(15, 150)
        bend = _bend(rng, side)
        points = rng.uniform(0, 288, (50, 2))
        bent = bend.apply(points)
        worst = max(worst, float(np.abs(bent + bend.displacement(bent) - points).max()))
    assert worst < 1e-6


def _wave() -> Bend:
    return Bend(np.array([[3.0, 1.0], [-1.0, 2.5]]), np.array([[0.05, 0.02], [-0.03, 0.06]]), np.array([0.3, 1.2]))


def test_bent_image_is_the_image_at_the_displaced_points() -> None:
    """On a ramp the warped image shows the displacement itself."""
    y, x = torch.meshgrid(torch.arange(128.0), torch.arange(128.0), indexing="ij")
    bent = warp(torch.stack((x, y)), affine((0, 0), (-16, -16)), 96, bend=_wave())
    rows, columns = np.mgrid[:96, :96]
    points = np.stack((columns.ravel(), rows.ravel()), 1).astype(float)
    expected = points + _wave().displacement(points) + 16
    np.testing.assert_allclose(bent.reshape(2, -1).T.numpy(), expected, atol=1e-3)


@pytest.mark.parametrize("angle", [0.0, 0.7])
def test_bent_blob_lies_where_its_bent_outline_says(angle: float, make_disc: Callable[..., Tensor]) -> None:
    turn = np.linspace(0, 2 * math.pi, 400)
    outline = 64 + 30 * np.stack((np.cos(turn), np.sin(turn)), 1)
    matrix = affine((64, 64), (50, 46), (0.9, 0.7), angle)
    bent = warp(make_disc(128, 64, 30), matrix, 96, "zeros", _wave())[0] > 0.5
    rows, columns = np.flatnonzero(bent.any(1)), np.flatnonzero(bent.any(0))
    x, y, w, h = bounding_box_xywh(_wave().apply(apply(matrix, outline)))
    drawn = columns[0] - 0.5, rows[0] - 0.5, columns[-1] + 0.5, rows[-1] + 0.5
    np.testing.assert_allclose(drawn, (x, y, x + w, y + h), atol=1)
    plain = bounding_box_xywh(apply(matrix, outline))
    assert np.abs(np.array(plain) - (x, y, w, h)).max() > 2  # the bend matters


@pytest.fixture
def make_disc() -> Callable[..., Tensor]:
    def make(size: int, middle: float, radius: float) -> Tensor:
        y, x = torch.meshgrid(torch.arange(float(size)), torch.arange(float(size)), indexing="ij")
        return ((x - middle).square() + (y - middle).square() <= radius**2).float()[None]

    return make
