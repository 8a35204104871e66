from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor, nn

from ebm_tracker.adapters.regression import (
    EnergyStep,
    Example,
    GaussianHead,
    HeadStep,
    RegressionEnergy,
    gaussian_loss,
    mlp,
)
from ebm_tracker.energy import GaussianMixture


class LogQ(nn.Module):
    """f = log q(y | center) + c, with the centre as feature."""

    def __init__(self, proposal: GaussianMixture, shift: float = 0.0) -> None:
        super().__init__()
        self.proposal, self.shift = proposal, nn.Parameter(torch.tensor(shift, dtype=torch.float64))

    def forward(self, features: Tensor, y: Tensor) -> Tensor:
        return self.proposal.log_density(y, features) + self.shift


def example(dims: int = 1, count: int = 5) -> Example:
    y = torch.randn(count, dims, dtype=torch.float64)
    return Example(torch.arange(count), y.clone(), y)


# PROTOCOL 9: log q at the true target.
AT_CENTER = [((0.1, 0.8), 1, 0.80828), ((0.1, 20.0), 1, 0.69549), ((1.0, 20.0), 3, -3.44984)]


@pytest.mark.parametrize(("sigmas", "dims", "log_q"), AT_CENTER)
@pytest.mark.parametrize("shift", [0.0, 77.0])
def test_nll_of_the_proposal_itself(sigmas: tuple[float, ...], dims: int, log_q: float, shift: float) -> None:
    """With f = log q + c every draw has weight 1: the loss is -log q(y | y), whatever the draws and c."""
    proposal = GaussianMixture(sigmas)
    loss = EnergyStep(nn.Identity(), LogQ(proposal, shift), proposal, 16)(example(dims))
    torch.testing.assert_close(loss, torch.full_like(loss, -log_q), atol=5e-6, rtol=0)


def test_nce_of_the_proposal_itself() -> None:
    proposal = GaussianMixture((0.1, 0.8))
    for objective in ("nce", "nce+"):
        loss = EnergyStep(nn.Identity(), LogQ(proposal), proposal, 15, objective)(example())
        torch.testing.assert_close(loss, torch.full_like(loss, math.log(16)))


def test_kl_is_zero_at_the_label_density_and_else_the_divergence_of_gaussians() -> None:
    proposal = GaussianMixture((0.1, 0.8))
    label = LogQ(GaussianMixture((0.1,)))
    loss = EnergyStep(nn.Identity(), label, proposal, 64, "kl")(example())
    torch.testing.assert_close(loss, torch.zeros_like(loss))
    wider = EnergyStep(nn.Identity(), LogQ(GaussianMixture((0.2,))), proposal, 200_000, "kl")
    # KL(N(0, s^2) || N(0, t^2)) = log(t / s) + s^2 / (2 t^2) - 1/2
    expected = math.log(2) + 1 / 8 - 0.5
    torch.testing.assert_close(wider(example()), torch.full((5,), expected, dtype=torch.float64), atol=0.01, rtol=0)
    same = EnergyStep(nn.Identity(), LogQ(GaussianMixture((0.2,))), proposal, 64, "kl", label_sigma=0.2)(example())
    torch.testing.assert_close(same, torch.zeros_like(same))


def test_nce_plus_moves_entry_zero() -> None:
    """f reads what it is given: with nce the true target is entry 0, with nce+ a neighbour of it."""
    seen: list[Tensor] = []

    class Spy(nn.Module):
        def forward(self, features: Tensor, y: Tensor) -> Tensor:
            seen.append(y)
            return y.sum(-1)

    proposal, batch = GaussianMixture((0.1, 0.8)), example(count=2000)
    for objective in ("nll", "nce", "nce+"):
        EnergyStep(nn.Identity(), Spy(), proposal, 3, objective)(batch)
    nll, nce, plus = ((y[:, 0] - batch.y)[:, 0] for y in seen)
    assert not nll.any() and not nce.any()
    # Variance of the mixture times beta squared.
    assert math.isclose(float(plus.var()), 0.01 * (0.1**2 + 0.8**2) / 2, rel_tol=0.1)


def test_nll_converges_to_the_exact_one() -> None:
    """A normalised Gaussian as exp f: log Z = 0, so the loss is -log p(y)."""
    batch, proposal = example(), GaussianMixture((0.2, 2.0))
    energy = LogQ(GaussianMixture((0.5,)))
    found = EnergyStep(nn.Identity(), energy, proposal, 200_000)(batch)
    expected = 0.5 * math.log(2 * math.pi * 0.25)
    torch.testing.assert_close(found, torch.full_like(found, expected), atol=0.02, rtol=0)


def test_draws_follow_torchs_generator() -> None:
    step = EnergyStep(nn.Identity(), RegressionEnergy(1, 1).double(), GaussianMixture((0.1, 0.8)), 8)
    batch = example()
    losses = []
    for seed in (1, 1, 2):
        torch.manual_seed(seed)
        losses.append(step(batch))
    assert torch.equal(losses[0], losses[1]) and not torch.equal(losses[0], losses[2])


def test_a_head_step_is_the_heads_loss_on_the_features() -> None:
    extractor, head = mlp((2, 4)), GaussianHead(4, 1, 8)
    batch = Example(torch.arange(3), torch.randn(3, 2), torch.randn(3, 1))
    expected = gaussian_loss(*head(extractor(batch.x)), batch.y)
    torch.testing.assert_close(HeadStep(extractor, head)(batch), expected)


def test_a_fixed_extractor_is_no_part_of_what_is_trained() -> None:
    extractor = nn.Sequential(nn.Linear(2, 4), nn.BatchNorm1d(4), nn.Dropout(0.5))
    learning = HeadStep(extractor, GaussianHead(4, 1, 8))
    assert learning.trained is learning
    extractor.requires_grad_(False)
    fixed = HeadStep(extractor, GaussianHead(4, 1, 8)).train()
    assert fixed.trained is fixed.head
    before = {name: value.clone() for name, value in extractor.state_dict().items()}
    fixed(Example(torch.arange(3), torch.randn(3, 2), torch.randn(3, 1))).sum().backward()
    assert all(torch.equal(value, before[name]) for name, value in extractor.state_dict().items())
    assert not extractor.training


def test_an_extractor_is_held_until_its_first_example() -> None:
    step = HeadStep(nn.Sequential(nn.Linear(2, 4), nn.BatchNorm1d(4)), GaussianHead(4, 1, 8)).train()
    step.trained_from = 32
    for first, learns in ((0, False), (16, False), (32, True)):
        step.zero_grad()
        count = int(step.extractor[1].num_batches_tracked)
        numbers = torch.arange(first, first + 16)
        step(Example(numbers, torch.randn(16, 2), torch.randn(16, 1))).mean().backward()
        assert (step.extractor[0].weight.grad is not None) == learns
        assert int(step.extractor[1].num_batches_tracked) - count == int(learns)
        assert step.head.stacks[0][0].weight.grad is not None


def test_arguments_are_checked() -> None:
    with pytest.raises(ValueError, match="objective must be one of nll, kl, nce, nce\\+ \\(got 'mle'\\)"):
        EnergyStep(nn.Identity(), RegressionEnergy(1, 1), GaussianMixture((0.1,)), 8, "mle")
    with pytest.raises(ValueError, match="samples must be at least 1"):
        EnergyStep(nn.Identity(), RegressionEnergy(1, 1), GaussianMixture((0.1,)), 0)
