from __future__ import annotations

import pytest
import torch

from ebm_tracker.energy import iou_mse


def test_mean_square_distance_from_twice_the_overlap_minus_one() -> None:
    iou = torch.tensor([[0.0, 0.25, 0.5, 1.0], [1.0, 1.0, 1.0, 1.0]])
    f = torch.tensor([[0.0, 0.5, -1.0, 1.0], [1.0, 2.0, 3.0, 0.0]])
    # Targets -1, -0.5, 0, 1: errors 1, 1, -1, 0. Then 0, 1, 2, -1.
    assert iou_mse(f, iou).tolist() == [0.75, 1.5]


def test_zero_at_the_target_and_not_unchanged_by_a_constant() -> None:
    iou = torch.rand((3, 8), generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    assert iou_mse(2 * iou - 1, iou).tolist() == [0, 0, 0]
    torch.testing.assert_close(iou_mse(2 * iou - 0.5, iou), torch.full((3,), 0.25).double())


def test_gradient() -> None:
    generator = torch.Generator().manual_seed(1)
    f = torch.randn((2, 5), generator=generator, dtype=torch.float64, requires_grad=True)
    iou = torch.rand((2, 5), generator=generator, dtype=torch.float64)
    assert torch.autograd.gradcheck(lambda f: iou_mse(f, iou), (f,))


def test_shapes_must_agree() -> None:
    with pytest.raises(ValueError, match=r"one shape \(got \(2, 5\) and \(2, 6\)\)"):
        iou_mse(torch.zeros(2, 5), torch.zeros(2, 6))
