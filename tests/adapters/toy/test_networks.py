from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from ebm_tracker.adapters.toy.networks import ENERGIES, RepoEnergy, energy_network, features_network, gaussian_head


def layers(module: nn.Module) -> list[tuple[int, int]]:
    return [(part.in_features, part.out_features) for part in module.modules() if isinstance(part, nn.Linear)]


def test_sizes_are_the_papers() -> None:
    assert layers(features_network()) == [(1, 10), (10, 10)]
    for name in ("paper", "paper_tanh"):
        energy = energy_network(name)
        assert layers(energy.branch) == [(1, 10), (10, 10)]
        assert layers(energy.joint) == [(20, 10), (10, 10), (10, 1)]
    assert [layers(stack) for stack in gaussian_head().stacks] == [[(10, 10), (10, 10), (10, 1)]] * 2


def test_sizes_of_the_later_code() -> None:
    energy = energy_network("repo")
    assert layers(energy.branch) == [(1, 10)]
    assert layers(energy.joint) == [(20, 10), (10, 10), (10, 10), (10, 1)]


def plain(energy: nn.Module, features: Tensor, y: Tensor, activation: Callable[[Tensor], Tensor]) -> Tensor:
    """One y for each row, layers read from the parameters in order."""
    weights = list(energy.parameters())
    pairs = list(zip(weights[::2], weights[1::2], strict=True))
    count = 1 if isinstance(energy, RepoEnergy) else 2
    hidden = y
    for weight, bias in pairs[:count]:
        hidden = activation(hidden @ weight.t() + bias)
    hidden = torch.cat((features, hidden), 1)
    for number, (weight, bias) in enumerate(pairs[count:-1]):
        new = activation(hidden @ weight.t() + bias)
        hidden = hidden + new if isinstance(energy, RepoEnergy) and number > 0 else new
    weight, bias = pairs[-1]
    return (hidden @ weight.t() + bias)[:, 0]


@pytest.mark.parametrize("name", ENERGIES)
def test_energy_equals_its_layers_one_by_one(name: str) -> None:
    torch.manual_seed(0)
    energy = energy_network(name).double()
    features, y = torch.randn(3, 10, dtype=torch.float64), torch.randn(3, 4, 1, dtype=torch.float64)
    activation = torch.relu if name == "paper" else torch.tanh
    f = energy(features, y)
    for m in range(4):
        torch.testing.assert_close(f[:, m], plain(energy, features, y[:, m], activation))


def test_another_name_is_refused() -> None:
    with pytest.raises(ValueError, match="one of paper, paper_tanh, repo .got 'papre'"):
        energy_network("papre")
