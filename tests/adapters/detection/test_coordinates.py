from __future__ import annotations

import math

import torch

from ebm_tracker.adapters.detection.coordinates import (
    corner_gradient_to_relative,
    relative_to_xyxy,
    usable,
    xyxy_to_relative,
    xyxy_to_xywh,
)
from ebm_tracker.boxes import xywh_to_relative


def test_the_protocols_vector() -> None:
    """Box (10, 20, 30, 40) with reference (30, 40), PROTOCOL 9."""
    rel = xyxy_to_relative(torch.tensor([10.0, 20, 40, 60]), torch.tensor([30.0, 40]))
    torch.testing.assert_close(rel, torch.tensor([25 / 30, 1.0, math.log(30), math.log(40)]))


def test_there_and_back() -> None:
    generator = torch.Generator().manual_seed(0)
    corner = 300 * torch.randn((50, 2), generator=generator, dtype=torch.float64)
    boxes = torch.cat((corner, corner + torch.rand((50, 2), generator=generator, dtype=torch.float64) * 90 + 1), dim=1)
    reference = torch.rand((50, 2), generator=generator, dtype=torch.float64) + 0.1
    rel = xyxy_to_relative(boxes, reference)
    torch.testing.assert_close(relative_to_xyxy(rel, reference), boxes)
    assert torch.equal(rel, xywh_to_relative(xyxy_to_xywh(boxes), reference))


def test_gradients_agree_with_autograd() -> None:
    generator = torch.Generator().manual_seed(1)
    reference = torch.rand((9, 2), generator=generator, dtype=torch.float64) * 40 + 5
    rel = torch.randn((9, 4), generator=generator, dtype=torch.float64).requires_grad_()
    slopes = torch.randn((9, 4), generator=generator, dtype=torch.float64)
    boxes = relative_to_xyxy(rel, reference)
    (expected,) = torch.autograd.grad((boxes * slopes).sum(), rel)
    torch.testing.assert_close(corner_gradient_to_relative(slopes, boxes.detach(), reference), expected)


def test_usable_boxes() -> None:
    nan, inf = math.nan, math.inf
    boxes = torch.tensor(
        [[0, 0, 1, 1], [-90, -90, -80, -80], [5, 5, 5, 9], [9, 9, 5, 5], [nan, 0, 1, 1], [0, 0, inf, 1], [0, 0, 2e6, 1]]
    )
    assert usable(boxes).tolist() == [True, True, False, False, False, False, False]
