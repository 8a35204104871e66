from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor
from torch.distributions import Categorical, Laplace, Normal

from ebm_tracker.adapters.regression import (
    direct_huber,
    direct_l2,
    gaussian_loss,
    joint_laplace_loss,
    laplace_loss,
    softmax_loss,
)

ROWS = 6


def rows(dims: int, count: int = 3) -> list[Tensor]:
    return [torch.randn(ROWS, dims, dtype=torch.float64) for _ in range(count)]


@pytest.mark.parametrize("dims", [1, 3])
def test_direct_losses(dims: int) -> None:
    prediction, y, _ = rows(dims)
    prediction = 3 * prediction
    expected = torch.zeros(ROWS, dtype=torch.float64)
    for row in range(ROWS):
        for k in range(dims):
            d = abs(float(prediction[row, k] - y[row, k]))
            expected[row] += 0.5 * d * d if d <= 1 else d - 0.5
    torch.testing.assert_close(direct_huber(prediction, y), expected)
    # A Gaussian of variance 1/2 has the squared error as its negative log-likelihood, up to a constant.
    nll = -Normal(prediction, math.sqrt(0.5)).log_prob(y).sum(-1) - dims * 0.5 * math.log(math.pi)
    torch.testing.assert_close(direct_l2(prediction, y), nll)


@pytest.mark.parametrize("dims", [1, 3])
def test_gaussian_is_twice_the_negative_log_likelihood(dims: int) -> None:
    mean, log_variance, y = rows(dims)
    nll = -Normal(mean, (0.5 * log_variance).exp()).log_prob(y).sum(-1)
    torch.testing.assert_close(gaussian_loss(mean, log_variance, y), 2 * nll - dims * math.log(2 * math.pi))


@pytest.mark.parametrize("dims", [1, 3])
def test_laplace_is_the_negative_log_likelihood(dims: int) -> None:
    location, log_scale, y = rows(dims)
    nll = -Laplace(location, log_scale.exp()).log_prob(y).sum(-1)
    torch.testing.assert_close(laplace_loss(location, log_scale, y), nll - dims * math.log(2))


def test_joint_laplace_of_one_target_is_a_laplace_density_of_scale_two_roots() -> None:
    location, log_beta, y = rows(1)
    nll = -Laplace(location, 2 * (0.5 * log_beta).exp()).log_prob(y)[:, 0]
    # 2 NLL = |d| / sqrt(beta) + log beta + 2 log 4
    found = joint_laplace_loss(location, log_beta, y, eps=0.0)
    torch.testing.assert_close(found, 2 * nll - 2 * math.log(4))


def test_joint_laplace_by_hand_and_its_slope_at_zero() -> None:
    y, location = torch.tensor([[3.0, 8.0, 0.0]]), torch.zeros(1, 3)
    log_beta = torch.tensor([[1.0, 4.0, 9.0]]).log()
    # sqrt(9/1 + 64/4) = 5
    torch.testing.assert_close(joint_laplace_loss(location, log_beta, y), torch.tensor([5 + math.log(36)]))
    at_zero = torch.zeros(1, 3, requires_grad=True)
    joint_laplace_loss(at_zero, torch.zeros(1, 3), torch.zeros(1, 3)).sum().backward()
    assert at_zero.grad is not None and torch.equal(at_zero.grad, torch.zeros(1, 3))


@pytest.mark.parametrize("dims", [1, 3])
@pytest.mark.parametrize(("l2", "var"), [(0.1, 0.0), (0.1, 0.05), (0.0, 0.0)])
def test_softmax_against_categorical(dims: int, l2: float, var: float) -> None:
    values = torch.arange(-5, 6, dtype=torch.float64)
    logits = torch.randn(ROWS, dims, 11, dtype=torch.float64)
    y = 4 * torch.randn(ROWS, dims, dtype=torch.float64)
    y[0] = 77.7  # beyond the classes
    p = Categorical(logits=logits)
    expected = -p.log_prob((y.round().clamp(-5, 5) + 5).long())
    mean = (p.probs * values).sum(-1)
    second = (p.probs * values.square()).sum(-1)
    expected = expected + l2 * (mean - y) ** 2 + var * (second - mean**2)
    torch.testing.assert_close(softmax_loss(logits, y, values, l2, var), expected.sum(-1))


def test_softmax_defaults_are_the_first_of_the_papers_two() -> None:
    values, logits, y = torch.arange(3.0), torch.zeros(1, 1, 3), torch.tensor([[2.0]])
    # Uniform over 0, 1, 2: mean 1, variance 2/3.
    torch.testing.assert_close(softmax_loss(logits, y, values), torch.tensor([math.log(3) + 0.1]))
    with_variance = softmax_loss(logits, y, values, var=0.05)
    torch.testing.assert_close(with_variance, torch.tensor([math.log(3) + 0.1 + 0.05 * 2 / 3]))


@pytest.mark.parametrize("loss", [gaussian_loss, laplace_loss, joint_laplace_loss])
def test_gradients_against_differences(loss: object) -> None:
    assert callable(loss)
    location, log_spread, y = (tensor.requires_grad_() for tensor in rows(2))
    assert torch.autograd.gradcheck(loss, (location, log_spread, y))


def test_softmax_gradient_against_differences() -> None:
    values = torch.arange(4, dtype=torch.float64)
    logits = torch.randn(3, 2, 4, dtype=torch.float64, requires_grad=True)
    y = 3 * torch.rand(3, 2, dtype=torch.float64)
    assert torch.autograd.gradcheck(lambda logits: softmax_loss(logits, y, values, 0.1, 0.05), (logits,))


def test_shapes_that_would_broadcast_are_refused() -> None:
    y = torch.zeros(5)
    for loss in (direct_huber, direct_l2):
        with pytest.raises(ValueError, match=r"one shape \(B, D\) \(got \(5, 1\), \(5,\)\)"):
            loss(torch.zeros(5, 1), y)
    for loss in (gaussian_loss, laplace_loss, joint_laplace_loss):
        with pytest.raises(ValueError, match="one shape"):
            loss(torch.zeros(5, 1), torch.zeros(5, 1), y)
    with pytest.raises(ValueError, match=r"logits must be \(5, 1, 3\) \(got \(5, 3\)\)"):
        softmax_loss(torch.zeros(5, 3), torch.zeros(5, 1), torch.arange(3.0))
