from __future__ import annotations

from collections.abc import Sequence

import pytest
import torch
from torch import Tensor, nn

from ebm_tracker.adapters.regression import RegressionEnergy, given, mlp, on_columns


def layer_sizes(module: nn.Module) -> list[tuple[int, int]]:
    return [(layer.in_features, layer.out_features) for layer in module.modules() if isinstance(layer, nn.Linear)]


def concatenated(energy: RegressionEnergy, features: Tensor, y: Tensor) -> Tensor:
    """f as the paper draws it: one row per pair (x, y), features and branch side by side."""
    inside = y if energy.scale is None else y / energy.scale
    branch = energy.branch(inside)
    pairs = torch.cat((features[:, None].expand(-1, y.shape[1], -1), branch), -1)
    return energy.joint(pairs)[..., 0]


def test_the_defaults_are_the_papers_for_age_and_pose() -> None:
    for targets in (1, 3):
        energy = RegressionEnergy(2048, targets)
        assert layer_sizes(energy.branch) == [(targets, 16), (16, 32), (32, 64), (64, 128)]
        assert layer_sizes(energy.joint) == [(2176, 2048), (2048, 1)]
        # A ReLU after every layer of the branch, between the joint ones, and none after the last.
        assert [type(layer) for layer in energy.branch] == [nn.Linear, nn.ReLU] * 4
        assert [type(layer) for layer in energy.joint] == [nn.Linear, nn.ReLU, nn.Linear]


def test_the_sizes_of_the_illustration() -> None:
    energy = RegressionEnergy(10, 1, branch=(10, 10), joint=(10, 10))
    assert layer_sizes(energy.branch) == [(1, 10), (10, 10)]
    assert layer_sizes(energy.joint) == [(20, 10), (10, 10), (10, 1)]


@pytest.mark.parametrize("activation", ["relu", "tanh", "silu"])
@pytest.mark.parametrize(("branch", "joint"), [((16, 8), (24,)), ((5,), (7, 6)), ((), (9,)), ((4,), ())])
@pytest.mark.parametrize("scale", [None, 2.5, (1.0, 2.0, 4.0)])
def test_the_split_first_layer_equals_the_concatenation(
    activation: str, branch: Sequence[int], joint: Sequence[int], scale: float | Sequence[float] | None
) -> None:
    names = {"branch_activation": activation, "joint_activation": activation}
    energy = RegressionEnergy(6, 3, branch=branch, joint=joint, scale=scale, **names).double()
    features = torch.randn(4, 6, dtype=torch.float64, requires_grad=True)
    y = torch.randn(4, 5, 3, dtype=torch.float64, requires_grad=True)
    inputs = [features, y, *energy.parameters()]
    found, expected = energy(features, y), concatenated(energy, features, y)
    assert found.shape == (4, 5)
    torch.testing.assert_close(found, expected)
    weights = torch.randn(4, 5, dtype=torch.float64)
    gradients = [torch.autograd.grad((f * weights).sum(), inputs) for f in (found, expected)]
    for one, other in zip(*gradients, strict=True):
        torch.testing.assert_close(one, other)


def test_without_features_it_is_a_density_of_y() -> None:
    energy = RegressionEnergy(0, 2, branch=(4,), joint=(5,))
    y = torch.randn(3, 7, 2)
    torch.testing.assert_close(energy(torch.zeros(3, 0), y), concatenated(energy, torch.zeros(3, 0), y))


def test_scale_divides_y() -> None:
    energy = RegressionEnergy(2, 2, branch=(4,), joint=(5,), scale=(10.0, 0.5))
    plain = RegressionEnergy(2, 2, branch=(4,), joint=(5,))
    plain.load_state_dict({k: v for k, v in energy.state_dict().items() if k != "scale"})
    features, y = torch.randn(3, 2), torch.randn(3, 6, 2)
    torch.testing.assert_close(energy(features, y * torch.tensor([10.0, 0.5])), plain(features, y))


def test_gradients_against_differences() -> None:
    tanh = {"branch_activation": "tanh", "joint_activation": "tanh"}
    energy = RegressionEnergy(3, 2, branch=(4, 5), joint=(6,), **tanh).double()
    features = torch.randn(2, 3, dtype=torch.float64, requires_grad=True)
    y = torch.randn(2, 4, 2, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(energy, (features, y))
    names = [name for name, _ in energy.named_parameters()]
    values = [parameter.detach().clone().requires_grad_() for parameter in energy.parameters()]

    def of_parameters(*parameters: Tensor) -> Tensor:
        return torch.func.functional_call(energy, dict(zip(names, parameters, strict=True)), (features, y))

    assert torch.autograd.gradcheck(of_parameters, values)


def test_nothing_given_is_changed() -> None:
    energy = RegressionEnergy(3, 2, branch=(), joint=(4,))
    features, y = torch.randn(2, 3), torch.randn(2, 4, 2)
    copies = features.clone(), y.clone()
    energy(features, y)
    assert torch.equal(features, copies[0]) and torch.equal(y, copies[1])


def test_given_keeps_the_features() -> None:
    energy = RegressionEnergy(3, 2, branch=(4,), joint=(5,))
    features, y = torch.randn(2, 3), torch.randn(2, 4, 2)
    assert torch.equal(given(energy, features)(y), energy(features, y))
    torch.testing.assert_close(given(lambda x, y: x[:, :1] * y[..., 0], features)(y), features[:, :1] * y[..., 0])


def test_columns_give_what_rows_give() -> None:
    layers = mlp((3, 8, 5), activation="tanh")
    rows = torch.randn(7, 3)
    torch.testing.assert_close(on_columns(layers, rows.t()).t(), layers(rows))


def test_mlp_puts_activations_between_layers_and_after_the_last_on_demand() -> None:
    assert [type(layer) for layer in mlp((2, 3, 4))] == [nn.Linear, nn.ReLU, nn.Linear]
    assert [type(layer) for layer in mlp((2, 3), activation="tanh", last=True)] == [nn.Linear, nn.Tanh]
    assert len(mlp((2,), last=True)) == 0


def test_arguments_that_make_no_network_are_refused() -> None:
    with pytest.raises(ValueError, match="activation must be one of relu, tanh, silu"):
        mlp((2, 3), activation="elu")
    with pytest.raises(ValueError, match=r"sizes must be .* \(got \(2, 0\)\)"):
        mlp((2, 0))
    with pytest.raises(ValueError, match="target_size >= 1"):
        RegressionEnergy(3, 0)
    for scale in (0.0, float("nan"), (1.0, 2.0, 3.0)):
        with pytest.raises(ValueError, match="scale must be a positive number or 2 of them"):
            RegressionEnergy(3, 2, scale=scale)
    energy = RegressionEnergy(3, 2, branch=(4,), joint=(5,))
    with pytest.raises(ValueError, match=r"features must be \(B, 3\) \(got \(2, 4\)\)"):
        energy(torch.zeros(2, 4), torch.zeros(2, 5, 2))
    for shape in ((2, 2), (3, 5, 2), (2, 5, 3)):
        with pytest.raises(ValueError, match=r"y must be \(2, M, 2\)"):
            energy(torch.zeros(2, 3), torch.zeros(shape))
