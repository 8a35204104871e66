from __future__ import annotations

import math

import pytest
import torch
from torch import nn

from ebm_tracker.training.loop_settings import LoopSettings
from ebm_tracker.training.optimizer import build_optimizer, set_rate


def _layer() -> nn.Linear:
    layer = nn.Linear(2, 1)
    with torch.no_grad():
        layer.weight.copy_(torch.tensor([[1.0, -2.0]]))
        layer.bias.fill_(0.5)
    layer.weight.grad = torch.tensor([[0.5, 0.25]])
    layer.bias.grad = torch.tensor([2.0])
    return layer


def test_two_sgd_steps_by_hand() -> None:
    """v <- m v + g + d w, w <- w - rate v; biases at twice the rate, without decay."""
    layer = _layer()
    settings = LoopSettings(
        steps=2, optimizer="sgd", momentum=0.9, weight_decay=0.1, bias_rate=2.0, bias_decay=False
    )
    optimizer = build_optimizer(layer, settings)
    weight, bias, v_weight, v_bias = torch.tensor([[1.0, -2.0]]), 0.5, torch.zeros(1, 2), 0.0
    for rate in (0.1, 0.01):
        set_rate(optimizer, rate)
        optimizer.step()
        v_weight = 0.9 * v_weight + torch.tensor([[0.5, 0.25]]) + 0.1 * weight
        v_bias = 0.9 * v_bias + 2.0
        weight, bias = weight - rate * v_weight, bias - 2 * rate * v_bias
    torch.testing.assert_close(layer.weight.detach(), weight)
    assert float(layer.bias) == pytest.approx(bias)


def test_adam_adds_the_decay_to_the_gradient() -> None:
    """The first step of Adam is rate * g / (|g| + eps): its direction shows the sign of gradient plus decay."""
    layer = _layer()
    optimizer = build_optimizer(layer, LoopSettings(steps=1, weight_decay=0.2))
    set_rate(optimizer, 0.01)
    optimizer.step()  # gradients 0.5 + 0.2, 0.25 - 0.4, 2 + 0.1
    torch.testing.assert_close(layer.weight.detach(), torch.tensor([[0.99, -1.99]]))
    assert float(layer.bias) == pytest.approx(0.49)


def test_without_settings_it_is_plain_adam_in_one_group() -> None:
    optimizer = build_optimizer(_layer(), LoopSettings(steps=1))
    assert isinstance(optimizer, torch.optim.Adam)
    (group,) = optimizer.param_groups
    assert group["weight_decay"] == 0 and len(group["params"]) == 2


def test_frozen_parameters_are_left_out() -> None:
    layer = _layer()
    layer.weight.requires_grad_(False)
    (group,) = build_optimizer(layer, LoopSettings(steps=1)).param_groups
    assert [id(p) for p in group["params"]] == [id(layer.bias)]


def test_a_checkpoint_without_rate_factors_still_gets_the_rate() -> None:
    optimizer = torch.optim.Adam(_layer().parameters(), lr=1.0)
    set_rate(optimizer, 0.25)
    assert optimizer.param_groups[0]["lr"] == 0.25


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"optimizer": "lamb"}, "optimizer must be one of adam, sgd .got 'lamb'"),
        ({"weight_decay": -0.1}, "weight_decay must be at least 0 .got -0.1"),
        ({"momentum": 1.0}, "momentum must be at least 0 and below 1 .got 1.0"),
        ({"momentum": math.nan}, "momentum must be at least 0 and below 1"),
        ({"bias_rate": -1.0}, "bias_rate must be at least 0"),
    ],
)
def test_wrong_settings_are_refused(change: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        LoopSettings(steps=5, **change)  # type: ignore[arg-type]
