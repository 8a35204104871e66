from __future__ import annotations

import pytest
import torch
from torch import Tensor

from ebm_tracker.tracking.correlation import TapCorrelation


def reference(samples: Tensor, taps: Tensor, k: int) -> Tensor:
    """The same by convolution: pad by k // 2 and drop what an even kernel gives too much."""
    kernel = taps.t().reshape(1, samples.shape[1], k, k)
    maps = torch.nn.functional.conv2d(samples, kernel, padding=k // 2)
    return maps[:, 0, : samples.shape[2], : samples.shape[3]]


CASES = [(1, 3, 3), (2, 4, 5), (3, 6, 4), (4, 18, 18), (4, 5, 7), (5, 8, 6), (4, 1, 2)]


@pytest.mark.parametrize(("k", "height", "width"), CASES)
def test_forward_is_a_convolution(k: int, height: int, width: int) -> None:
    samples = torch.randn(3, 6, height, width, dtype=torch.float64)
    taps = torch.randn(k * k, 6, dtype=torch.float64)
    torch.testing.assert_close(TapCorrelation(samples, k).forward(taps), reference(samples, taps, k))


@pytest.mark.parametrize(("k", "height", "width"), CASES)
def test_adjoint_moves_to_the_other_side_of_the_inner_product(k: int, height: int, width: int) -> None:
    samples = torch.randn(3, 6, height, width, dtype=torch.float64)
    taps = torch.randn(k * k, 6, dtype=torch.float64)
    maps = torch.randn(3, height, width, dtype=torch.float64)
    correlation = TapCorrelation(samples, k)
    left = (correlation.forward(taps) * maps).sum()
    right = (taps * correlation.adjoint(maps)).sum()
    torch.testing.assert_close(left, right)


def test_adjoint_is_the_gradient_of_the_convolution() -> None:
    samples = torch.randn(2, 5, 9, 9, dtype=torch.float64)
    taps = torch.randn(16, 5, dtype=torch.float64, requires_grad=True)
    maps = torch.randn(2, 9, 9, dtype=torch.float64)
    (gradient,) = torch.autograd.grad((reference(samples, taps, 4) * maps).sum(), taps)
    torch.testing.assert_close(TapCorrelation(samples, 4).adjoint(maps), gradient)


def test_samples_may_be_a_view_that_is_not_contiguous() -> None:
    samples = torch.randn(2, 7, 7, 5, dtype=torch.float64).permute(0, 3, 1, 2)
    taps = torch.randn(16, 5, dtype=torch.float64)
    torch.testing.assert_close(TapCorrelation(samples, 4).forward(taps), reference(samples, taps, 4))
