from __future__ import annotations

import math

import pytest
import torch
from torch import nn
from torch.distributions import Laplace, Normal

from ebm_tracker.adapters.regression import (
    HEADS,
    DirectHead,
    GaussianHead,
    JointLaplaceHead,
    LaplaceHead,
    SoftmaxHead,
    gaussian_loss,
    joint_laplace_loss,
    softmax_loss,
)

CLASSES = range(-75, 76)


def layer_sizes(module: nn.Module) -> list[tuple[int, int]]:
    return [(layer.in_features, layer.out_features) for layer in module.modules() if isinstance(layer, nn.Linear)]


def test_the_six_baselines_have_the_papers_layers() -> None:
    assert list(HEADS) == ["direct_huber", "direct_l2", "gaussian", "laplace", "softmax_l2", "softmax_l2_var"]
    for targets, classes in ((1, range(101)), (3, CLASSES)):
        sizes = {name: layer_sizes(HEADS[name](2048, targets, 2048, classes)) for name in HEADS}
        stack = [(2048, 2048), (2048, targets)]
        assert sizes["direct_huber"] == sizes["direct_l2"] == stack
        assert sizes["gaussian"] == sizes["laplace"] == 2 * stack
        count = len(classes)
        assert sizes["softmax_l2"] == sizes["softmax_l2_var"] == targets * [(2048, 2048), (2048, count)]


def test_the_laplace_of_several_targets_is_the_joint_one() -> None:
    assert type(HEADS["laplace"](4, 1, 8, ())) is LaplaceHead
    assert type(HEADS["laplace"](4, 3, 8, ())) is JointLaplaceHead


def test_hidden_layers_may_be_several() -> None:
    # The illustration's Gaussian: two heads 10 -> 10 -> 10 -> 1.
    assert layer_sizes(GaussianHead(10, 1, (10, 10))) == 2 * [(10, 10), (10, 10), (10, 1)]
    assert layer_sizes(DirectHead(7, 2, ())) == [(7, 2)]


@pytest.mark.parametrize("name", HEADS)
@pytest.mark.parametrize("targets", [1, 3])
def test_predictions_and_losses_of_every_head(name: str, targets: int) -> None:
    head = HEADS[name](5, targets, 8, CLASSES)
    features, y = torch.randn(4, 5), 9 * torch.randn(4, targets)
    parameters = head(features)
    assert head.point(parameters).shape == (4, targets)
    loss = head.loss(parameters, y)
    assert loss.shape == (4,)
    loss.sum().backward()
    assert all(parameter.grad is not None for parameter in head.parameters())


def test_the_names_choose_the_losses() -> None:
    features, y = torch.randn(4, 5), 9 * torch.randn(4, 3)
    values = torch.arange(-75.0, 76)
    for name, var in (("softmax_l2", 0.0), ("softmax_l2_var", 0.05)):
        head = HEADS[name](5, 3, 8, CLASSES)
        (logits,) = head(features)
        assert logits.shape == (4, 3, 151)
        torch.testing.assert_close(head.loss((logits,), y), softmax_loss(logits, y, values, 0.1, var))
        torch.testing.assert_close(head.point((logits,)), (logits.softmax(-1) * values).sum(-1))
    head = HEADS["gaussian"](5, 3, 8, ())
    torch.testing.assert_close(head.loss(head(features), y), gaussian_loss(*head(features), y))
    head = HEADS["laplace"](5, 3, 8, ())
    torch.testing.assert_close(head.loss(head(features), y), joint_laplace_loss(*head(features), y))
    prediction = torch.full((4, 3), 10.0)
    assert HEADS["direct_l2"](5, 3, 8, ()).loss((prediction,), torch.zeros(4, 3)).tolist() == [300.0] * 4
    assert HEADS["direct_huber"](5, 3, 8, ()).loss((prediction,), torch.zeros(4, 3)).tolist() == [28.5] * 4


@pytest.mark.parametrize("targets", [1, 3])
def test_densities_and_intervals_against_torch(targets: int) -> None:
    features, y = torch.randn(4, 5), torch.randn(4, targets)
    for head, density in ((GaussianHead(5, targets, 8), Normal), (LaplaceHead(5, targets, 8), Laplace)):
        location, log_spread = head(features)
        spread = (0.5 * log_spread).exp() if density is Normal else log_spread.exp()
        expected = density(location, spread)
        torch.testing.assert_close(head.log_density((location, log_spread), y), expected.log_prob(y).sum(-1))
        interval = head.interval((location, log_spread), 0.9)
        assert interval.shape == (4, targets, 2)
        held = expected.cdf(interval[..., 1]) - expected.cdf(interval[..., 0])
        torch.testing.assert_close(held, torch.full_like(held, 0.9))
        torch.testing.assert_close(interval.mean(-1), location)
        with pytest.raises(ValueError, match="level must lie between 0 and 1"):
            head.interval((location, log_spread), 90)


def test_joint_laplace_of_one_target_has_the_density_of_a_laplace() -> None:
    head, features, y = JointLaplaceHead(5, 1, 8), torch.randn(4, 5), torch.randn(4, 1)
    location, log_beta = head(features)
    expected = Laplace(location, 2 * (0.5 * log_beta).exp()).log_prob(y)[:, 0]
    torch.testing.assert_close(head.log_density((location, log_beta), y), expected)


@pytest.mark.parametrize("targets", [2, 3])
def test_joint_laplace_density_integrates_to_one(targets: int) -> None:
    log_beta = torch.tensor([[0.3, -0.4, 0.1][:targets]], dtype=torch.float64)
    location = torch.zeros(1, targets, dtype=torch.float64)
    axis = torch.linspace(-30, 30, 601 if targets == 2 else 151, dtype=torch.float64)
    grid = torch.cartesian_prod(*[axis] * targets)
    head = JointLaplaceHead(5, targets, 8).double()
    parameters = (location.expand_as(grid), log_beta.expand_as(grid))
    total = float(head.log_density(parameters, grid).exp().sum()) * float(axis[1] - axis[0]) ** targets
    # The kink at the middle costs the sum a little.
    assert math.isclose(total, 1, abs_tol=0.005)


def test_unknown_loss_is_refused() -> None:
    with pytest.raises(ValueError, match="loss must be 'l2' or 'huber'"):
        DirectHead(3, 1, 4, "l1")


def test_class_values_travel_with_the_weights() -> None:
    head, other = SoftmaxHead(3, 1, (0.0, 1.0, 2.0), 4), SoftmaxHead(3, 1, (5.0, 6.0, 7.0), 4)
    other.load_state_dict(head.state_dict())
    assert other.values.tolist() == [0.0, 1.0, 2.0]
