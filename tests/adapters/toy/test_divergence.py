from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor, nn
from torch.distributions import Normal

from ebm_tracker.adapters.regression import EnergyStep, HeadStep
from ebm_tracker.adapters.toy import TRUTHS, features_network, gaussian_head
from ebm_tracker.adapters.toy.divergence import (
    divergence_from,
    kl_divergence,
    log_density_on_grid,
    x_centers,
    y_grid,
)
from ebm_tracker.energy import GaussianMixture


class Perfect(nn.Module):
    """f = log p(y | x) of a truth plus a number that depends on x; the features are x."""

    def __init__(self, name: str) -> None:
        super().__init__()
        self.name = name

    def forward(self, features: Tensor, y: Tensor) -> Tensor:
        return TRUTHS[self.name].log_density(features, y[..., 0]).clamp_min(-60) + 3 * features - 7


def energy_step(energy: nn.Module) -> EnergyStep:
    return EnergyStep(nn.Identity(), energy, GaussianMixture((0.1, 0.8)), 4)


def test_divergence_of_two_gaussians_is_the_closed_form() -> None:
    p, q = Normal(0.0, 0.3), Normal(0.2, 0.5)
    expected = math.log(0.5 / 0.3) + (0.3**2 + 0.2**2) / (2 * 0.5**2) - 0.5
    grid = y_grid()[None]
    assert kl_divergence(p.log_prob(grid), q.log_prob(grid)) == pytest.approx(expected, rel=1e-6)
    assert kl_divergence(p.log_prob(grid), p.log_prob(grid)) == 0


def test_divergence_is_the_mean_over_x() -> None:
    grid = y_grid()[None]
    p, q = Normal(0.0, 0.3).log_prob(grid), Normal(0.2, 0.5).log_prob(grid)
    assert kl_divergence(torch.cat((p, p)), torch.cat((p, q))) == pytest.approx(kl_divergence(p, q) / 2)


def test_a_model_without_mass_counts_with_the_floor() -> None:
    grid = y_grid()[None]
    p = Normal(0.0, 0.3).log_prob(grid)
    nothing = torch.full_like(p, -math.inf)
    entropy = 0.5 * math.log(2 * math.pi * math.e * 0.3**2)
    assert kl_divergence(p, nothing) == pytest.approx(-entropy + 30 * math.log(10), rel=1e-6)


@pytest.mark.parametrize("name", TRUTHS)
def test_the_true_energy_is_at_distance_0_whatever_is_added(name: str) -> None:
    assert divergence_from(TRUTHS[name], energy_step(Perfect(name))) == pytest.approx(0, abs=2e-5)


def test_gaussian_on_the_grid() -> None:
    torch.manual_seed(0)
    step = HeadStep(features_network(), gaussian_head())
    x = torch.tensor([-1.0, 2.0], dtype=torch.float64)
    mean, log_variance = step.head(step.extractor(x[:, None].float()))
    expected = Normal(mean.double(), (0.5 * log_variance.double()).exp()).log_prob(y_grid())
    torch.testing.assert_close(log_density_on_grid(step, x), expected, atol=1e-5, rtol=1e-5)


def test_centers_spread_over_the_range_and_miss_0() -> None:
    x = x_centers(4)
    assert x.tolist() == [-2.25, -0.75, 0.75, 2.25]
    assert not bool((x_centers() == 0).any()) and len(x_centers()) == 512
