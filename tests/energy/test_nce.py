from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from ebm_tracker.energy import GaussianMixture, nce


def test_equal_entries_give_the_log_of_their_number() -> None:
    """f = log q + c: nothing tells the true target from the noise."""
    log_q = torch.randn((3, 129), generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    torch.testing.assert_close(
        nce(log_q + 5, log_q), torch.full((3,), math.log(129), dtype=torch.float64), atol=1e-12, rtol=0
    )


def test_known_numbers() -> None:
    """f - log q = log 6, log 1, log 3, log 2: the share of entry 0 is a half."""
    f = torch.tensor([[6.0, 2.0, 9.0, 4.0]]).double().log()
    log_q = torch.tensor([[1.0, 2.0, 3.0, 2.0]]).double().log()
    assert float(nce(f, log_q)) == pytest.approx(math.log(2), rel=1e-12)


def test_a_constant_added_to_f_changes_nothing() -> None:
    generator = torch.Generator().manual_seed(1)
    f, log_q = torch.randn((2, 5, 17), generator=generator, dtype=torch.float64)
    loss = nce(f, log_q)
    assert loss.shape == (5,) and bool((loss > 0).all())
    for shift in (-1e5, 3.0, 1e5):
        torch.testing.assert_close(nce(f + shift, log_q), loss, atol=1e-9, rtol=0)


def test_gradient_is_softmax_minus_one_at_the_truth() -> None:
    generator = torch.Generator().manual_seed(2)
    f, log_q = torch.randn((2, 3, 9), generator=generator, dtype=torch.float64)
    f.requires_grad_()
    nce(f, log_q).sum().backward()
    expected = (f.detach() - log_q).softmax(-1)
    expected[:, 0] -= 1
    torch.testing.assert_close(f.grad, expected)
    assert torch.autograd.gradcheck(lambda f: nce(f, log_q), (f,))


def mean_gradient(mean: float, sigma: float, noise: GaussianMixture) -> tuple[Tensor, Tensor]:
    """Gradient of the loss with respect to mean and log sigma of f = log N(y; mean, sigma), averaged over true
    targets from N(0.1, 0.3), and the standard errors of that average. Noise that does not depend on the target."""
    batch, count, dims = 20_000, 8, 2
    generator = torch.Generator().manual_seed(3)
    truth = 0.1 + 0.3 * torch.randn((batch, 1, dims), generator=generator, dtype=torch.float64)
    center = torch.zeros((batch, dims), dtype=torch.float64)
    y = torch.cat((truth, noise.sample(center, count, generator)), dim=1)
    f = torch.distributions.Normal(mean, sigma).log_prob(y).sum(-1).requires_grad_()
    (slope,) = torch.autograd.grad(nce(f, noise.log_density(y, center)).sum(), f)
    distance = (y - mean) / sigma
    of_f = torch.stack((distance.sum(-1) / sigma, (distance.square() - 1).sum(-1)), dim=-1)  # of mean, log sigma
    gradients = (slope[..., None] * of_f).sum(1)
    return gradients.mean(0), gradients.std(0) / math.sqrt(batch)


def test_the_true_density_is_the_optimum() -> None:
    noise = GaussianMixture((0.2, 0.8))
    gradient, error = mean_gradient(0.1, 0.3, noise)
    assert bool((gradient.abs() < 4 * error).all()), (gradient, error)
    # Elsewhere the same number of draws sees the slope, with the right sign.
    gradient, error = mean_gradient(0.2, 0.3, noise)
    assert float(gradient[0]) > 20 * float(error[0])
    gradient, error = mean_gradient(0.1, 0.2, noise)
    assert float(gradient[1]) < -20 * float(error[1])


def test_large_energies_do_not_overflow() -> None:
    f = torch.tensor([[4999.0, 5000.0]])
    assert float(nce(f, torch.zeros(1, 2))) == pytest.approx(math.log(1 + math.e), rel=1e-3)


def test_shapes_must_agree() -> None:
    with pytest.raises(ValueError, match=r"one shape \(got \(2, 5\) and \(2, 6\)\)"):
        nce(torch.zeros(2, 5), torch.zeros(2, 6))
