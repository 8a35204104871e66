from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import pytest
import torch

from ebm_tracker.energy import GaussianMixture, importance_nll, log_partition

Golden = Callable[[str], dict[str, np.ndarray]]


@pytest.mark.parametrize(
    ("sigmas", "dims", "log_q_at_center"),
    [((0.05, 0.5), 4, 7.61413), ((0.05, 0.1, 0.2), 4, 7.27286), ((0.1, 0.8), 1, 0.80828), ((1, 20), 3, -3.44984)],
)
@pytest.mark.parametrize("shift", [0.0, 1234.5])
def test_log_q_as_the_energy_gives_its_own_density_for_any_samples(
    sigmas: Sequence[float], dims: int, log_q_at_center: float, shift: float
) -> None:
    mixture, centers = GaussianMixture(sigmas), torch.zeros(3, dims, dtype=torch.float64)
    generator = torch.Generator().manual_seed(1)
    near = mixture.sample(centers, 16, generator)
    anywhere = 10 * torch.randn((3, 16, dims), generator=generator, dtype=torch.float64)
    for samples in (near, anywhere):
        log_q = mixture.log_density(samples, centers)
        f_true = mixture.log_density(centers[:, None], centers)[:, 0] + shift
        loss = importance_nll(log_q + shift, log_q, f_true)
        torch.testing.assert_close(loss, torch.full_like(loss, -log_q_at_center), atol=5e-6, rtol=0)


@pytest.mark.parametrize("dims", [1, 3, 4])
def test_a_constant_added_to_f_changes_nothing(dims: int) -> None:
    mixture, centers = GaussianMixture((0.1, 0.6)), torch.zeros(5, dims, dtype=torch.float64)
    generator = torch.Generator().manual_seed(2)
    samples = mixture.sample(centers, 64, generator)
    log_q = mixture.log_density(samples, centers)
    f, f_true = samples.sin().sum(-1), torch.randn(5, generator=generator, dtype=torch.float64)
    loss = importance_nll(f, log_q, f_true)
    assert loss.shape == (5,)
    for shift in (-1e5, 3.0, 1e5):
        torch.testing.assert_close(importance_nll(f + shift, log_q, f_true + shift), loss, atol=1e-9, rtol=0)


@pytest.mark.parametrize("dims", [1, 3, 4])
def test_a_normalised_density_has_log_partition_zero(dims: int) -> None:
    mixture, centers = GaussianMixture((0.1, 0.6)), torch.zeros(1, dims, dtype=torch.float64)
    errors = []
    for count in (100, 100_000):
        samples = mixture.sample(centers, count, torch.Generator().manual_seed(3))
        f = torch.distributions.Normal(centers[:, None] + 0.1, 0.3).log_prob(samples).sum(-1)
        errors.append(abs(float(log_partition(f, mixture.log_density(samples, centers)))))
    assert errors[1] < 0.02 and errors[1] < errors[0] + 0.01


def test_large_energies_do_not_overflow() -> None:
    f = torch.tensor([[5000.0, 4999.0]])
    assert float(log_partition(f, torch.zeros(1, 2))) == pytest.approx(5000 + np.log((1 + np.exp(-1)) / 2), rel=1e-6)


def test_gradient_is_softmax_minus_one_at_the_truth() -> None:
    generator = torch.Generator().manual_seed(4)
    f = torch.randn((3, 9), generator=generator, dtype=torch.float64, requires_grad=True)
    log_q = torch.randn((3, 9), generator=generator, dtype=torch.float64)
    f_true = torch.randn(3, generator=generator, dtype=torch.float64, requires_grad=True)
    importance_nll(f, log_q, f_true).sum().backward()
    assert f.grad is not None and f_true.grad is not None
    torch.testing.assert_close(f.grad, (f.detach() - log_q).softmax(-1))
    assert f_true.grad.tolist() == [-1, -1, -1]


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
def test_golden_losses_and_gradients(golden: Golden, dtype: torch.dtype) -> None:
    arrays = golden("c_boxes_density_loss")
    scores = torch.from_numpy(arrays["loss_scores"]).to(dtype).requires_grad_()
    log_q = torch.from_numpy(arrays["loss_density"][:, 1:]).to(dtype).log()
    loss = importance_nll(scores[:, 1:], log_q, scores[:, 0])
    np.testing.assert_allclose(loss.detach(), arrays["loss_ml_per_row"], rtol=2e-6, atol=2e-6)
    loss.mean().backward()
    np.testing.assert_allclose(loss.mean().item(), arrays["loss_ml_mean"][0], rtol=2e-6)
    assert scores.grad is not None
    tolerance = 1e-7 if dtype is torch.float64 else 1e-5
    np.testing.assert_allclose(scores.grad, arrays["loss_ml_grad_scores"], rtol=tolerance, atol=tolerance)


def test_shapes_must_agree() -> None:
    with pytest.raises(ValueError, match=r"\(2, 5\) and \(2, 6\)"):
        log_partition(torch.zeros(2, 5), torch.zeros(2, 6))
