"""Sums over a grid against closed forms of a Gaussian."""

from __future__ import annotations

import math

import numpy as np
import pytest

from ebm_tracker.density import normalized

BOX = (10.0, 20.0, 30.0, 40.0)
MEAN, SIGMA, RHO = (40.0, 21.0), (1.5, 2.5), 0.6


def gaussian_energy(x: np.ndarray, y: np.ndarray, constant: float = 0.0) -> np.ndarray:
    """f of a bivariate normal with correlation, without its normaliser."""
    u, v = (x[None, :] - MEAN[0]) / SIGMA[0], (y[:, None] - MEAN[1]) / SIGMA[1]
    return constant - (u * u - 2 * RHO * u * v + v * v) / (2 * (1 - RHO**2))


def grid() -> tuple[np.ndarray, np.ndarray]:
    return np.linspace(28.0, 52.0, 97), np.linspace(1.0, 41.0, 121)


@pytest.mark.parametrize("constant", [0.0, 5000.0, -5000.0])
def test_a_gaussian_has_its_own_normaliser_whatever_is_added_to_the_energy(constant: float) -> None:
    x, y = grid()
    density = normalized(gaussian_energy(x, y, constant), x, y, "corner", BOX)
    log_norm = math.log(2 * math.pi * SIGMA[0] * SIGMA[1] * math.sqrt(1 - RHO**2))
    np.testing.assert_allclose(density.log_density, gaussian_energy(x, y) - log_norm, atol=1e-6)
    assert density.mass.sum() == pytest.approx(1, abs=1e-10)


def test_marginals_of_a_gaussian_are_gaussians() -> None:
    x, y = grid()
    density = normalized(gaussian_energy(x, y), x, y, "corner", BOX)
    for values, marginal, mean, sigma in zip(
        (x, y), (density.marginal_x, density.marginal_y), MEAN, SIGMA, strict=True
    ):
        expected = np.exp(-0.5 * ((values - mean) / sigma) ** 2) / (sigma * math.sqrt(2 * math.pi))
        np.testing.assert_allclose(marginal, expected, atol=1e-6)
    assert density.mean == pytest.approx(MEAN, abs=1e-5)
    assert density.deviation == pytest.approx(SIGMA, abs=1e-4)
    assert density.peak == pytest.approx(MEAN, abs=0.17)  # half a step: 21 lies on the grid, 40 too


def test_a_flat_energy_is_uniform() -> None:
    x, y = np.linspace(0, 3, 4), np.linspace(0, 2, 5)
    density = normalized(np.zeros((5, 4)), x, y, "size", BOX)
    np.testing.assert_allclose(density.mass, 1 / 20)
    np.testing.assert_allclose(density.log_density, -math.log(20 * 1 * 0.5))


def test_what_is_no_grid_is_refused() -> None:
    x, y = np.linspace(0, 3, 4), np.linspace(0, 2, 5)
    with pytest.raises(ValueError, match="at least"):
        normalized(np.zeros((4, 5)), x, y, "size", BOX)
    with pytest.raises(ValueError, match="finite"):
        normalized(np.full((5, 4), np.nan), x, y, "size", BOX)
