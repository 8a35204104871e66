from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor
from torch.distributions import Laplace, Normal

from ebm_tracker.adapters.regression import GridDensity, RegressionEnergy, SampledDensity
from ebm_tracker.energy import GaussianMixture


def gaussian(features: Tensor, y: Tensor) -> Tensor:
    """Unnormalised: mean features[0], spread features[1]; log Z = log(sqrt(2 pi) spread) + 3."""
    return -0.5 * ((y[..., 0] - features[:, :1]) / features[:, 1:]).square() + 3


def two_peaks(features: Tensor, y: Tensor) -> Tensor:
    """Equal mixture of N(-2, 0.2^2) and N(2, 0.2^2) for every row."""
    parts = torch.stack([Normal(center, 0.2).log_prob(y[..., 0]) for center in (-2.0, 2.0)], -1)
    return parts.logsumexp(-1) - math.log(2) + 0 * features[:, :1]


FEATURES = torch.tensor([[0.0, 1.0], [1.5, 0.3], [-2.0, 0.7]], dtype=torch.float64)
TRUE = Normal(FEATURES[:, 0], FEATURES[:, 1])


def grid(points: int = 2048) -> GridDensity:
    return GridDensity(gaussian, FEATURES, -9.0, 9.0, points)


def test_grid_of_a_gaussian_has_its_figures() -> None:
    density = grid()
    torch.testing.assert_close(density.log_partition, (math.sqrt(2 * math.pi) * FEATURES[:, 1]).log() + 3)
    torch.testing.assert_close(density.mass.sum(-1), torch.ones(3, dtype=torch.float64))
    torch.testing.assert_close(density.mean, FEATURES[:, 0])
    torch.testing.assert_close(density.std, FEATURES[:, 1])
    torch.testing.assert_close(density.median, FEATURES[:, 0], atol=1e-4, rtol=0)
    torch.testing.assert_close(density.mode, FEATURES[:, 0], atol=0.5 * 18 / 2047, rtol=0)
    assert float(density.edge.max()) < 1e-10
    y = torch.tensor([0.7, 1.1, -1.0], dtype=torch.float64)
    torch.testing.assert_close(density.log_prob(y), TRUE.log_prob(y))
    torch.testing.assert_close(density.cdf(y), TRUE.cdf(y), atol=1e-4, rtol=0)
    torch.testing.assert_close(density.quantile(0.2), TRUE.icdf(torch.full_like(y, 0.2)), atol=1e-4, rtol=0)
    torch.testing.assert_close(density.quantile(density.cdf(y)), y)


def test_a_uniform_density_by_hand() -> None:
    density = GridDensity(lambda features, y: 7 + 0 * y[..., 0], torch.zeros(1, 1), 2.0, 5.0, 4)
    torch.testing.assert_close(density.log_partition, torch.tensor([7 + math.log(3)]))
    torch.testing.assert_close(density.mass, torch.tensor([[1 / 6, 1 / 3, 1 / 3, 1 / 6]]))
    torch.testing.assert_close(density.log_prob(torch.tensor([2.5])), torch.tensor([-math.log(3)]))
    torch.testing.assert_close(density.cdf(torch.tensor([2.3])), torch.tensor([0.1]))
    torch.testing.assert_close(density.interval(0.8), torch.tensor([[2.3, 4.7]]))
    assert float(density.edge) == 1.0


@pytest.mark.parametrize("kind", ["central", "shortest"])
@pytest.mark.parametrize("level", [0.5, 0.9])
def test_both_intervals_of_a_gaussian_are_the_symmetric_one(kind: str, level: float) -> None:
    half = FEATURES[:, 1] * TRUE.icdf(torch.tensor(0.5 + level / 2)).sub(FEATURES[:, 0]).div(FEATURES[:, 1])
    expected = torch.stack((FEATURES[:, 0] - half, FEATURES[:, 0] + half), -1)
    # The shortest one is flat at its best place: its ends are known to a few steps of the grid.
    torch.testing.assert_close(grid().interval(level, kind), expected, atol=1e-3 if kind == "central" else 0.06, rtol=0)


def test_shortest_interval_of_a_one_sided_density_starts_at_its_edge() -> None:
    density = GridDensity(lambda features, y: -y[..., 0], torch.zeros(1, 1), 0.0, 30.0, 4096)
    found = density.interval(0.9, "shortest")[0]
    torch.testing.assert_close(found, torch.tensor([0.0, -math.log(0.1)]), atol=2e-3, rtol=0)
    central = density.interval(0.9)[0]
    torch.testing.assert_close(central, torch.tensor([-math.log(0.95), -math.log(0.05)]), atol=2e-3, rtol=0)


def test_region_has_a_piece_for_each_peak() -> None:
    (pieces,) = GridDensity(two_peaks, torch.zeros(1, 1), -4.0, 4.0).region(0.9)
    half = 0.2 * float(Normal(0.0, 1.0).icdf(torch.tensor(0.95)))
    assert len(pieces) == 2
    for (low, high), center in zip(pieces, (-2, 2), strict=True):
        assert math.isclose(low, center - half, abs_tol=0.01) and math.isclose(high, center + half, abs_tol=0.01)


def test_one_range_for_each_row_and_what_lies_outside_it() -> None:
    low, high = FEATURES[:, 0] - 6 * FEATURES[:, 1], FEATURES[:, 0] + 6 * FEATURES[:, 1]
    density = GridDensity(gaussian, FEATURES, low, high, 257)
    torch.testing.assert_close(density.std, FEATURES[:, 1], atol=1e-6, rtol=1e-6)
    y = torch.tensor([0.0, 99.0, -99.0], dtype=torch.float64)
    log_prob = density.log_prob(y)
    torch.testing.assert_close(log_prob[0], TRUE.log_prob(y)[0])
    assert log_prob[1:].tolist() == [-math.inf, -math.inf]
    assert density.cdf(y)[1:].tolist() == [1.0, 0.0]


def test_edge_tells_of_a_range_that_cuts_the_density() -> None:
    cut = GridDensity(gaussian, FEATURES[:1], -1.0, 9.0)
    assert math.isclose(float(cut.edge), math.exp(-0.5), rel_tol=1e-3)


def test_values_drawn_from_the_grid_have_the_density() -> None:
    drawn = grid().draw(4000, torch.Generator().manual_seed(1))
    assert drawn.shape == (3, 4000)
    torch.testing.assert_close(drawn.mean(-1), FEATURES[:, 0], atol=0.05, rtol=0)
    torch.testing.assert_close(drawn.std(-1), FEATURES[:, 1], atol=0.05, rtol=0)


def test_large_batches_are_cut_for_the_memory_and_equal() -> None:
    energy = RegressionEnergy(2, 1, branch=(4,), joint=(8,))
    features = torch.randn(40, 2)
    together = GridDensity(energy, features, -3.0, 3.0)
    alone = GridDensity(energy, features[7:8], -3.0, 3.0)
    torch.testing.assert_close(together.log_density[7], alone.log_density[0])


def correlated(features: Tensor, y: Tensor) -> Tensor:
    """Gaussian of mean features (B, 2), variances 1 and 0.25, correlation 0.5; not normalised."""
    cov = torch.tensor([[1.0, 0.25], [0.25, 0.25]], dtype=torch.float64)
    d = y - features[:, None]
    return -0.5 * torch.einsum("bmi,ij,bmj->bm", d, cov.inverse(), d)


def test_sampled_density_of_a_gaussian_in_two_dimensions() -> None:
    mean = torch.tensor([[0.0, 0.0], [5.0, -3.0]], dtype=torch.float64)
    generator = torch.Generator().manual_seed(0)
    density = SampledDensity(correlated, mean, mean + 0.3, GaussianMixture((0.4, 1.5)), 100_000, generator)
    det = 0.25 - 0.0625
    expected = torch.full((2,), math.log(2 * math.pi * math.sqrt(det)), dtype=torch.float64)
    torch.testing.assert_close(density.log_partition, expected, atol=0.02, rtol=0)
    torch.testing.assert_close(density.mean, mean, atol=0.02, rtol=0)
    cov = torch.tensor([[1.0, 0.25], [0.25, 0.25]], dtype=torch.float64).expand(2, 2, 2)
    torch.testing.assert_close(density.cov, cov, atol=0.03, rtol=0)
    std = torch.tensor([1.0, 0.5], dtype=torch.float64)
    torch.testing.assert_close(density.std, std.expand(2, 2), atol=0.02, rtol=0)
    torch.testing.assert_close(density.log_prob(mean), -expected, atol=0.02, rtol=0)
    half = std * 1.6449
    interval = torch.stack((mean - half, mean + half), -1)
    torch.testing.assert_close(density.interval(0.9), interval, atol=0.05, rtol=0)
    torch.testing.assert_close(density.cdf(mean), torch.full_like(mean, 0.5), atol=0.02, rtol=0)
    assert bool((density.effective > 20_000).all()) and bool((density.effective < 100_000).all())
    drawn = density.draw(20_000, generator)
    torch.testing.assert_close(drawn.mean(1), mean, atol=0.05, rtol=0)


def test_sampled_and_grid_agree_on_a_network() -> None:
    energy = RegressionEnergy(2, 1, branch=(8,), joint=(8,)).double()

    def held(features: Tensor, y: Tensor) -> Tensor:
        return 3 * energy(features, y) - 0.5 * y[..., 0].square()  # falls on all sides

    features = torch.randn(3, 2, dtype=torch.float64)
    on_grid = GridDensity(held, features, -8.0, 8.0)
    sampled = SampledDensity(held, features, on_grid.mean[:, None], GaussianMixture((0.5, 2.0)), 50_000)
    torch.testing.assert_close(sampled.log_partition, on_grid.log_partition, atol=0.03, rtol=0)
    torch.testing.assert_close(sampled.mean[:, 0], on_grid.mean, atol=0.03, rtol=0)
    torch.testing.assert_close(sampled.interval(0.8)[:, 0], on_grid.interval(0.8), atol=0.06, rtol=0)


def test_a_heavy_density_of_the_grid_against_torch() -> None:
    true = Laplace(torch.zeros(1, dtype=torch.float64), 0.5)
    zero = torch.zeros(1, 1, dtype=torch.float64)
    density = GridDensity(lambda features, y: true.log_prob(y[..., 0]), zero, -20.0, 20.0, 8192)
    torch.testing.assert_close(density.interval(0.9)[0, 1], true.icdf(torch.tensor(0.95))[0], atol=1e-3, rtol=0)


def test_arguments_are_checked() -> None:
    with pytest.raises(ValueError, match="low must be below high"):
        GridDensity(gaussian, FEATURES, 1.0, 1.0)
    with pytest.raises(ValueError, match="points must be at least 3"):
        GridDensity(gaussian, FEATURES, -1.0, 1.0, 2)
    density = grid(64)
    with pytest.raises(ValueError, match=r"level must lie between 0 and 1 \(got 90\)"):
        density.interval(90)
    with pytest.raises(ValueError, match="kind must be 'central' or 'shortest'"):
        density.interval(0.9, "hdi")
    with pytest.raises(ValueError, match=r"y must have one value per row, \(3,\) \(got \(3, 1\)\)"):
        density.log_prob(torch.zeros(3, 1))
    with pytest.raises(ValueError, match="center must be"):
        SampledDensity(correlated, FEATURES, torch.zeros(2, 2), GaussianMixture((1.0,)))
