from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from ebm_tracker.models import EnergyHead, HeadChannels
from ebm_tracker.models.roi_pool import pool_channels_last
from ebm_tracker.models.window_pool import GROUP, pool_fixed_boxes


def boxes_xyxy(batch: int, count: int, spread: float, generator: torch.Generator) -> Tensor:
    """Around different places of a map of 144 x 112 pixels, of all sizes; many stick out, some lie outside."""
    center = torch.tensor((72.0, 56)) + 60 * (torch.rand((batch, 1, 2), generator=generator) - 0.5)
    center = center + 40 * spread * torch.randn((batch, count, 2), generator=generator)
    side = 30 * (spread * torch.randn((batch, count, 2), generator=generator)).exp()
    return torch.cat((center - side / 2, center + side / 2), dim=-1).double()


@pytest.mark.parametrize("count", [1, GROUP, GROUP + 1, 3 * GROUP + 7])
@pytest.mark.parametrize("spread", [0.05, 0.5, 2.0])
@pytest.mark.parametrize("bins", [(5, 5), (3, 2)])
def test_equals_the_dense_products(count: int, spread: float, bins: tuple[int, int]) -> None:
    generator = torch.Generator().manual_seed(count)
    boxes = boxes_xyxy(3, count, spread, generator)
    features = torch.randn((3, 18, 14, 6), generator=generator, dtype=torch.float64, requires_grad=True)
    dense, fixed = (pool(features, boxes, bins, 1 / 8) for pool in (pool_channels_last, pool_fixed_boxes))
    torch.testing.assert_close(fixed, dense, rtol=1e-12, atol=1e-12)
    weight = torch.randn(dense.shape, generator=generator, dtype=torch.float64)
    gradients = [torch.autograd.grad(pooled, features, weight)[0] for pooled in (dense, fixed)]
    torch.testing.assert_close(gradients[1], gradients[0], rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize(
    "box",
    [
        (8.0, 8, 24, 24),  # edges on cells
        (-50, -50, -10, -10),  # outside on either side
        (300, 300, 400, 400),
        (-8, -8, 0, 0),  # reaching half of cell 0
        (136, 104, 160, 120),
        (-500, -500, 900, 900),
        (30, 30, 30, 40),  # empty
        (40, 40, 20, 20),  # inverted
        (30, 30, 30.004, 30.004),
    ],
)
def test_edges_and_degenerate_boxes(box: tuple[float, ...]) -> None:
    """Alone, where the window is the box's own."""
    features = torch.randn((1, 18, 14, 4), generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    boxes = torch.tensor([[box]], dtype=torch.float64)
    dense, fixed = (pool(features, boxes, (5, 5), 1 / 8) for pool in (pool_channels_last, pool_fixed_boxes))
    torch.testing.assert_close(fixed, dense, rtol=1e-12, atol=1e-12)


def test_boxes_that_are_not_finite_harm_nobody_else() -> None:
    features = torch.randn((1, 18, 14, 4), generator=torch.Generator().manual_seed(0))
    good = torch.tensor([(20.0, 20, 60, 50)])
    for bad in ((math.nan, 0, 10, 10), (0, 0, math.inf, 10), (-math.inf, 0, 10, 10)):
        pooled = pool_fixed_boxes(features, torch.cat((torch.tensor([bad]), good))[None], (3, 3), 1 / 8)
        expected = pool_fixed_boxes(features, good[None], (3, 3), 1 / 8)
        torch.testing.assert_close(pooled[:, 1:], expected)


def test_gradient() -> None:
    generator = torch.Generator().manual_seed(1)
    boxes = boxes_xyxy(2, 5, 0.5, generator)
    features = torch.randn((2, 18, 14, 2), generator=generator, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda f: pool_fixed_boxes(f, boxes, (2, 2), 1 / 8), (features,))


def test_boxes_with_a_gradient_are_refused() -> None:
    with pytest.raises(ValueError, match="boxes_xyxy require a gradient"):
        pool_fixed_boxes(torch.zeros(1, 4, 4, 1), torch.zeros(1, 1, 4, requires_grad=True), (1, 1), 1 / 8)


def test_the_head_s_energies_and_gradients_do_not_depend_on_the_way_of_pooling() -> None:
    """Boxes that require a gradient take the dense way, others the windows."""
    torch.manual_seed(0)
    head = EnergyHead(HeadChannels((8, 8), (4, 4), (6, 6), (8, 8))).double()
    generator = torch.Generator().manual_seed(2)
    features = [torch.randn((2, 8, size, size), generator=generator, dtype=torch.float64) for size in (18, 9)]
    corners = boxes_xyxy(2, 40, 0.5, generator)
    boxes = torch.cat((corners[..., :2], corners[..., 2:] - corners[..., :2]), dim=-1)
    results = []
    for needs_gradient in (False, True):
        head.zero_grad()
        scored = boxes.clone().requires_grad_(needs_gradient)
        pair = (features[0], features[1])
        energies = head(pair, boxes[:, 0], pair, scored)
        energies.square().sum().backward()
        assert (scored.grad is not None) is needs_gradient
        results.append((energies.detach(), [p.grad.clone() for p in head.parameters() if p.grad is not None]))
    torch.testing.assert_close(results[0][0], results[1][0], rtol=1e-9, atol=1e-9)
    torch.testing.assert_close(results[0][1], results[1][1], rtol=1e-8, atol=1e-8)
