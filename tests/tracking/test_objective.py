from __future__ import annotations

import pytest
import torch
from torch import Tensor

from ebm_tracker.tracking.objective import FilterObjective, JointObjective, Targets, activate

COUNT, CHANNELS, PROJECTED, K, SIZE = 3, 7, 4, 4, 6
FILTER_REG, PROJECTION_REG, FLOOR = 0.1, 1e-3, 0.05


def targets() -> Targets:
    return Targets.weighted(
        torch.rand(COUNT, SIZE, SIZE, dtype=torch.float64),
        torch.tensor([0.5, 0.3, 0.2], dtype=torch.float64),
        FLOOR,
    )


def reference_residuals(samples: Tensor, projection: Tensor, kernel: Tensor, aim: Targets) -> Tensor:
    """Every residual of the joint objective, by plain convolutions and the activation's definition."""
    projected = torch.nn.functional.conv2d(samples, projection[:, :, None, None])
    responses = torch.nn.functional.conv2d(projected, kernel[None], padding=2)[:, 0, :-1, :-1]
    activations = torch.where(responses > 0, responses, FLOOR * (torch.exp(responses / FLOOR) - 1))
    data = aim.sqrt_weights * (activations - aim.labels)
    return torch.cat(
        [data.reshape(-1), FILTER_REG**0.5 * kernel.reshape(-1), PROJECTION_REG**0.5 * projection.reshape(-1)]
    )


def joint_case() -> tuple[JointObjective, Tensor, Tensor, Tensor, Targets]:
    samples = torch.randn(COUNT, CHANNELS, SIZE, SIZE, dtype=torch.float64)
    aim = targets()
    objective = JointObjective(
        samples,
        aim,
        projected_channels=PROJECTED,
        kernel_size=K,
        filter_regularization=FILTER_REG,
        projection_regularization=PROJECTION_REG,
    )
    projection = 0.3 * torch.randn(PROJECTED, CHANNELS, dtype=torch.float64)
    kernel = 0.05 * torch.randn(PROJECTED, K, K, dtype=torch.float64)
    return objective, samples, projection, kernel, aim


def test_activation_and_its_slope() -> None:
    values = torch.tensor(
        [-50.0, -0.1, -1e-3, 0.0, 1e-3, 2.0, 500.0], dtype=torch.float64, requires_grad=True
    )
    activations, slope = activate(values, FLOOR)
    exact = torch.where(values > 0, values, FLOOR * torch.expm1(values.clamp(max=0) / FLOOR))
    torch.testing.assert_close(activations, exact)
    assert activations.min() >= -FLOOR
    (gradient,) = torch.autograd.grad(activations[[0, 1, 2, 4, 5, 6]].sum(), values)
    torch.testing.assert_close(slope[[0, 1, 2, 4, 5, 6]], gradient[[0, 1, 2, 4, 5, 6]])
    assert slope[3] == 1.0


def test_activation_is_the_composition_of_the_paper_protocol() -> None:
    values = torch.linspace(-0.3, 1.0, 50, dtype=torch.float64)
    leaky = torch.nn.functional.leaky_relu(values, 1 / FLOOR)
    torch.testing.assert_close(activate(values, FLOOR)[0], torch.nn.functional.elu(leaky, FLOOR))


def test_pack_and_unpack_are_inverse() -> None:
    objective, _, projection, kernel, _ = joint_case()
    again = objective.unpack(objective.pack(projection, kernel))
    assert torch.equal(again[0], projection)
    assert torch.equal(again[1], kernel)


def test_joint_loss() -> None:
    objective, samples, projection, kernel, aim = joint_case()
    expected = reference_residuals(samples, projection, kernel, aim).square().sum()
    torch.testing.assert_close(objective.loss(objective.pack(projection, kernel)), expected)


def test_joint_normal_equations_match_autograd() -> None:
    objective, samples, projection, kernel, aim = joint_case()
    x = objective.pack(projection, kernel)

    def residuals(flat: Tensor) -> Tensor:
        return reference_residuals(samples, *objective.unpack(flat), aim)

    jacobian = torch.func.jacrev(residuals)(x)
    equations = objective.linearize(x)
    torch.testing.assert_close(equations.rhs, -jacobian.T @ residuals(x))
    direction = torch.randn_like(x)
    product = equations.adjoint(equations.forward(direction)) + equations.damping * direction
    torch.testing.assert_close(product, jacobian.T @ (jacobian @ direction))
    data = jacobian[: aim.labels.numel()] @ direction
    torch.testing.assert_close(equations.forward(direction).reshape(-1), data)


def test_joint_forward_and_adjoint_belong_together() -> None:
    objective, _, projection, kernel, aim = joint_case()
    equations = objective.linearize(objective.pack(projection, kernel))
    direction, maps = torch.randn_like(equations.rhs), torch.randn_like(aim.labels)
    left, right = (equations.forward(direction) * maps).sum(), direction @ equations.adjoint(maps)
    torch.testing.assert_close(left, right)


def test_filter_objective_is_the_joint_one_with_a_fixed_projection() -> None:
    joint, samples, projection, kernel, aim = joint_case()
    projected = torch.nn.functional.conv2d(samples, projection[:, :, None, None])
    alone = FilterObjective(projected, aim, K, FILTER_REG)
    x, flat = joint.pack(projection, kernel), kernel.reshape(-1)
    constant = PROJECTION_REG * projection.square().sum()
    torch.testing.assert_close(alone.loss(flat), joint.loss(x) - constant)
    equations, joint_equations = alone.linearize(flat), joint.linearize(x)
    torch.testing.assert_close(equations.rhs, joint_equations.rhs[-flat.numel() :])
    direction = torch.randn_like(flat)
    padded = torch.cat([torch.zeros(projection.numel(), dtype=torch.float64), direction])
    torch.testing.assert_close(equations.forward(direction), joint_equations.forward(padded))


def test_joint_normal_equations_in_float32() -> None:
    objective, samples, projection, kernel, aim = joint_case()
    single = JointObjective(
        samples.float(),
        Targets(aim.labels.float(), aim.sqrt_weights.float(), FLOOR),
        projected_channels=PROJECTED,
        kernel_size=K,
        filter_regularization=FILTER_REG,
        projection_regularization=PROJECTION_REG,
    )
    x = objective.pack(projection, kernel)
    rhs = single.linearize(x.float()).rhs
    assert rhs.dtype is torch.float32
    assert (rhs - objective.linearize(x).rhs).norm().item() == pytest.approx(0.0, abs=1e-5)
