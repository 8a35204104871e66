from __future__ import annotations

import pytest
import torch
from torch import Tensor

from ebm_tracker.adapters.regression import RefineSettings, RegressionEnergy, refine


def parabola(features: Tensor, y: Tensor) -> Tensor:
    """f = -(y - peak)^2, the peak as feature."""
    return -(y - features[:, None]).square().sum(-1)


def test_the_vector_of_the_protocol() -> None:
    # f(y) = -y^2 from 1 with step 1 goes to -1, where f is the same: |change| < flat, so it ends there.
    found = refine(parabola, torch.zeros(1, 1), torch.ones(1, 1), RefineSettings(step=1.0))
    assert found.y.tolist() == [[-1.0]]


def test_every_row_climbs_on_its_own() -> None:
    peaks = torch.tensor([[0.0, 0.0], [5.0, -5.0], [1.0, 1.0]])
    start = torch.tensor([[1.0, 0.0], [4.0, -5.0], [1.0, 1.0]])
    together = refine(parabola, peaks, start, RefineSettings(step=0.1, steps=3))
    # Each step multiplies the distance by 0.8.
    torch.testing.assert_close(together.y, peaks + (start - peaks) * 0.8**3)
    for row in range(3):
        alone = refine(parabola, peaks[row : row + 1], start[row : row + 1], RefineSettings(step=0.1, steps=3))
        torch.testing.assert_close(alone.y[0], together.y[row])


def test_drop_ends_a_row_after_its_step() -> None:
    # Step 1.2 overshoots: y -> -1.4 y, f falls by 0.96 < drop; the worse y is what comes back.
    found = refine(parabola, torch.zeros(1, 1), torch.ones(1, 1), RefineSettings(step=1.2, steps=5))
    torch.testing.assert_close(found.y, torch.tensor([[-1.4]]))
    further = refine(parabola, torch.zeros(1, 1), torch.ones(1, 1), RefineSettings(step=1.2, steps=2, drop=-9.0))
    torch.testing.assert_close(further.y, torch.tensor([[1.96]]))


def test_flat_ends_a_row_after_its_step() -> None:
    start = torch.ones(1, 1)
    found = refine(parabola, torch.zeros(1, 1), start, RefineSettings(step=0.1, steps=3, flat=1.0))
    torch.testing.assert_close(found.y, torch.tensor([[0.8]]))
    # Nothing is flatter than 0: the protocol's vector goes on, and back.
    found = refine(parabola, torch.zeros(1, 1), start, RefineSettings(step=1.0, steps=2, flat=0.0))
    assert found.y.tolist() == [[1.0]]


def test_a_step_length_for_each_target() -> None:
    found = refine(parabola, torch.zeros(1, 2), torch.ones(1, 2), RefineSettings(step=(0.5, 0.0), steps=1))
    torch.testing.assert_close(found.y, torch.tensor([[0.0, 1.0]]))


def test_on_a_network_it_is_the_supplements_algorithm_row_by_row() -> None:
    energy = RegressionEnergy(3, 2, branch=(8,), joint=(16,))
    features, start = torch.randn(5, 3), torch.randn(5, 2)
    settings = RefineSettings(step=(0.3, 0.1), steps=6, flat=1e-3, drop=-1e-2)
    found = refine(energy, features, start, settings)
    for row in range(5):
        y = start[row].clone()
        for _ in range(6):
            y.requires_grad_()
            f = energy(features[row][None], y[None, None])[0, 0]
            (gradient,) = torch.autograd.grad(f, y)
            y = (y + torch.tensor([0.3, 0.1]) * gradient).detach()
            new = energy(features[row][None], y[None, None])[0, 0]
            change = float((new - f).detach())
            if abs(change) < 1e-3 or change < -1e-2:
                break
        torch.testing.assert_close(found.y[row], y)
        torch.testing.assert_close(found.f[row], energy(features[row][None], y[None, None])[0, 0])
    assert all(parameter.grad is None for parameter in energy.parameters())


def test_it_works_in_a_block_without_gradients() -> None:
    with torch.no_grad():
        found = refine(parabola, torch.zeros(1, 1), torch.ones(1, 1), RefineSettings(step=0.25, steps=1))
    assert found.y.tolist() == [[0.5]]


def test_starts_must_match_the_features() -> None:
    for start in (torch.zeros(3), torch.zeros(2, 1)):
        with pytest.raises(ValueError, match="one row for each of the 3 features"):
            refine(parabola, torch.zeros(3, 1), start, RefineSettings(step=0.1))
