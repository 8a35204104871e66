from __future__ import annotations

import math

import pytest
import torch
from torch.distributions import LogNormal, Normal

from ebm_tracker.adapters.toy.data import TRUTHS

MIXTURE, WAVE = TRUTHS["mixture"], TRUTHS["wave"]


def at(x: float, y: float, truth: object = MIXTURE) -> float:
    values = (torch.tensor(v, dtype=torch.float64) for v in (x, y))
    return float(truth.log_density(*values).exp())  # type: ignore[attr-defined]


@pytest.mark.parametrize("name", TRUTHS)
def test_density_integrates_to_1(name: str) -> None:
    x = torch.linspace(-3, 3, 13, dtype=torch.float64)[:, None]
    y = torch.linspace(-6, 6, 20_001, dtype=torch.float64)
    mass = TRUTHS[name].log_density(x, y).exp().sum(1) * 12 / 20_000
    torch.testing.assert_close(mass, torch.ones(13, dtype=torch.float64), atol=1e-6, rtol=0)


@pytest.mark.parametrize("y", [-0.9, -0.6, 0.8414709848])
def test_left_half_is_the_mixture_of_the_protocol(y: float) -> None:
    def normal(mean: float) -> float:
        return math.exp(-0.5 * ((y - mean) / 0.075) ** 2) / (0.075 * math.sqrt(2 * math.pi))

    expected = 0.8 * normal(math.sin(-1)) + 0.2 * normal(-math.sin(-1))
    assert at(-1, y) == pytest.approx(expected, rel=1e-9)


@pytest.mark.parametrize("y", [-0.4, 0.0, 0.7])
def test_right_half_is_the_log_normal_moved_down_by_1(y: float) -> None:
    expected = float(LogNormal(0.0, 0.25).log_prob(torch.tensor(y + 1)).exp())
    assert at(1.3, y) == pytest.approx(expected, rel=1e-5)
    assert at(1.3, -1.2) == 0 == at(1.3, -1.0)


def test_second_set_is_one_gaussian_whose_width_grows() -> None:
    for x in (-3.0, 0.0, 2.0):
        expected = Normal(math.sin(x), 0.15 / (1 + math.exp(-x))).log_prob(torch.tensor(math.sin(x) + 0.02))
        assert at(x, math.sin(x) + 0.02, WAVE) == pytest.approx(float(expected.exp()), rel=1e-4)


def test_pairs_follow_the_densities() -> None:
    x, y = MIXTURE.pairs(40_000, seed=1)
    left = x < -0.5
    main = ((y - x.sin()).abs() < 0.3)[left & (x > -2.6)].double().mean()
    right = y[x >= 0].double()
    assert float(main) == pytest.approx(0.8, abs=0.01)
    assert float(right.mean()) == pytest.approx(math.exp(0.25**2 / 2) - 1, abs=0.01)
    assert float((right + 1).log().std()) == pytest.approx(0.25, abs=0.005)
    assert float(x.mean()) == pytest.approx(0, abs=0.05) and float(x.abs().max()) == pytest.approx(3, abs=0.01)
    x, y = WAVE.pairs(40_000, seed=1)
    assert float(((y - x.sin()) / (0.15 * x.sigmoid())).std()) == pytest.approx(1, abs=0.02)


def test_seed_decides_pairs_and_the_generator_outside_goes_on() -> None:
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    first, second, other = MIXTURE.pairs(seed=3), MIXTURE.pairs(seed=3), MIXTURE.pairs(seed=4)
    assert torch.equal(torch.rand(3), expected)
    assert all(torch.equal(a, b) for a, b in zip(first, second, strict=True))
    assert not torch.equal(first[0], other[0])
    assert first[0].shape == first[1].shape == (2000, 1) and first[0].dtype == torch.float32
