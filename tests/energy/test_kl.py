from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from ebm_tracker.energy import GaussianMixture, importance_kl

TRACKING = GaussianMixture((0.05, 0.5))


def draws(count: int, dims: int, seed: int = 0) -> tuple[Tensor, Tensor]:
    """Samples (1, count, dims) of the tracking proposal around 0, and their log q."""
    center = torch.zeros(1, dims, dtype=torch.float64)
    samples = TRACKING.sample(center, count, torch.Generator().manual_seed(seed))
    return samples, TRACKING.log_density(samples, center)


def normal(samples: Tensor, mean: float, sigma: float) -> Tensor:
    return torch.distributions.Normal(mean, sigma).log_prob(samples).sum(-1)


@pytest.mark.parametrize("dims", [1, 4])
@pytest.mark.parametrize(("mean", "sigma"), [(0.0, 0.1), (0.05, 0.05), (-0.1, 0.2)])
def test_two_gaussians_approach_the_closed_form(dims: int, mean: float, sigma: float) -> None:
    """KL(N(0, s1) || N(m, s2)) = log(s2 / s1) + (s1^2 + m^2) / (2 s2^2) - 1/2 for each dimension."""
    label = 0.05
    exact = dims * (math.log(sigma / label) + (label**2 + mean**2) / (2 * sigma**2) - 0.5)
    samples, log_q = draws(400_000, dims)
    estimate = importance_kl(normal(samples, mean, sigma) + 7.0, log_q, normal(samples, 0, label))
    assert float(estimate) == pytest.approx(exact, rel=0.02, abs=0.005)


def test_a_perfect_fit_reads_zero_for_any_samples() -> None:
    generator = torch.Generator().manual_seed(1)
    samples = torch.randn((3, 16, 4), generator=generator, dtype=torch.float64)
    log_q = torch.randn((3, 16), generator=generator, dtype=torch.float64)
    log_label = normal(samples, 0, 0.05)
    f = (log_label - 12.0).requires_grad_()
    loss = importance_kl(f, log_q, log_label)
    loss.sum().backward()
    torch.testing.assert_close(loss, torch.zeros(3).double(), atol=1e-12, rtol=0)
    assert f.grad is not None and float(f.grad.abs().max()) < 1e-12


def test_equals_the_weighted_sums_written_out() -> None:
    """log Z - sum w f + sum w log p with both normalisers from the same draws, without any softmax."""
    samples, log_q = draws(32, 4)
    f, log_label = samples.sin().sum(-1), normal(samples, 0.02, 0.1)
    weights = [math.exp(p - q) for p, q in zip(log_label[0].tolist(), log_q[0].tolist(), strict=True)]
    z = sum(math.exp(value - q) for value, q in zip(f[0].tolist(), log_q[0].tolist(), strict=True)) / 32
    label_mass = sum(weights) / 32
    expected = math.log(z) - math.log(label_mass)
    expected += sum(w * (p - v) for w, p, v in zip(weights, log_label[0].tolist(), f[0].tolist(), strict=True)) / (
        32 * label_mass
    )
    assert float(importance_kl(f, log_q, log_label)) == pytest.approx(expected, rel=1e-10)


def test_never_negative_and_unchanged_by_constants() -> None:
    generator = torch.Generator().manual_seed(2)
    f, log_q, log_label = 3 * torch.randn((3, 200, 16), generator=generator, dtype=torch.float64)
    loss = importance_kl(f, log_q, log_label)
    assert loss.shape == (200,) and bool((loss > 0).all())
    for shift in (-1e5, 3.0, 1e5):
        torch.testing.assert_close(importance_kl(f + shift, log_q, log_label), loss, atol=1e-9, rtol=0)
        # An unnormalised label density does as well.
        torch.testing.assert_close(importance_kl(f, log_q, log_label + shift), loss, atol=1e-9, rtol=0)


def test_gradient_is_the_difference_of_two_softmaxes() -> None:
    generator = torch.Generator().manual_seed(3)
    f, log_q, log_label = torch.randn((3, 4, 9), generator=generator, dtype=torch.float64)
    f.requires_grad_()
    importance_kl(f, log_q, log_label).sum().backward()
    expected = (f.detach() - log_q).softmax(-1) - (log_label - log_q).softmax(-1)
    torch.testing.assert_close(f.grad, expected)
    assert torch.autograd.gradcheck(lambda f: importance_kl(f, log_q, log_label), (f,))


def test_stays_finite_where_the_densities_underflow() -> None:
    samples = torch.tensor([[[60.0] * 4, [-60.0] * 4, [0.0] * 4]])
    log_q = TRACKING.log_density(samples, torch.zeros(1, 4))
    loss = importance_kl(torch.zeros(1, 3), log_q, normal(samples, 0, 0.05))
    assert bool(loss.isfinite().all())


def test_shapes_must_agree() -> None:
    with pytest.raises(ValueError, match=r"one shape \(got \(2, 5\), \(2, 5\) and \(2, 6\)\)"):
        importance_kl(torch.zeros(2, 5), torch.zeros(2, 5), torch.zeros(2, 6))
