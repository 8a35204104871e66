"""The optimizer of a run: Adam, or stochastic gradient descent with momentum; biases may have a rate of their own."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from ebm_tracker.training.loop_settings import LoopSettings

RATE_FACTOR = "rate_factor"
"""Key of a parameter group: times the rate of the schedule."""


def build_optimizer(trained: nn.Module, settings: LoopSettings) -> torch.optim.Optimizer:
    """Over the parameters of ``trained`` that require a gradient; biases are those whose name ends in "bias".

    Weight decay is added to the gradient (L2), for Adam as for SGD, which is what the paper's experiments had.
    """
    named = [(name, parameter) for name, parameter in trained.named_parameters() if parameter.requires_grad]
    biases = [parameter for name, parameter in named if name.endswith("bias")]
    weights = [parameter for name, parameter in named if not name.endswith("bias")]
    groups: list[dict[str, Any]] = [{"params": [parameter for _, parameter in named], RATE_FACTOR: 1.0}]
    if settings.bias_rate != 1 or not settings.bias_decay:
        groups = [{"params": weights, RATE_FACTOR: 1.0}, {"params": biases, RATE_FACTOR: settings.bias_rate}]
        if not settings.bias_decay:
            groups[1]["weight_decay"] = 0.0
    rate, decay = settings.learning_rate, settings.weight_decay
    if settings.optimizer == "sgd":
        return torch.optim.SGD(groups, lr=rate, momentum=settings.momentum, weight_decay=decay)
    return torch.optim.Adam(groups, lr=rate, weight_decay=decay)


def set_rate(optimizer: torch.optim.Optimizer, rate: float) -> None:
    """The schedule's rate of the next step."""
    for group in optimizer.param_groups:
        group["lr"] = rate * group.get(RATE_FACTOR, 1.0)  # checkpoints of earlier versions have no factor
