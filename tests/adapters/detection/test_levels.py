from __future__ import annotations

import math

import pytest
import torch
from torchvision.ops.poolers import LevelMapper

from ebm_tracker.adapters.detection.levels import box_levels

STRIDES = (4, 8, 16, 32)


def test_equals_torchvisions_level_mapper() -> None:
    generator = torch.Generator().manual_seed(0)
    corner = 800 * torch.rand((5000, 2), generator=generator) - 50
    boxes = torch.cat((corner, corner + (8 * torch.rand((5000, 2), generator=generator)).exp()), dim=1)
    ours = box_levels(boxes, STRIDES)
    assert torch.equal(ours, LevelMapper(2, 5)([boxes]))
    assert ours.bincount(minlength=4).min() > 200


@pytest.mark.parametrize(
    ("side", "level"),
    [(1.0, 0), (111.9, 0), (112.0, 1), (223.9, 1), (224.0, 2), (447.9, 2), (448.0, 3), (900.0, 3), (1e6, 3)],
)
def test_powers_of_two_of_224_pixels_are_the_borders(side: float, level: int) -> None:
    boxes = torch.tensor([[10.0, 20.0, 10 + side, 20 + side], [0, 0, side / 4, side * 4]])
    assert box_levels(boxes, STRIDES).tolist() == [level, level]


def test_a_box_of_224_pixels_does_not_fall_by_rounding() -> None:
    corner = 500 * torch.rand((2000, 2), generator=torch.Generator().manual_seed(0))
    boxes = torch.cat((corner, corner + 224), dim=1)
    rounded = (boxes[:, 2:] - boxes[:, :2]).prod(-1).sqrt()
    assert (torch.log2(rounded / 224) < 0).any()
    assert box_levels(boxes, STRIDES).tolist() == [2] * len(boxes)


@pytest.mark.parametrize("strides", [(32, 32), (16,), (4, 8), (8, 16, 32)])
def test_other_pyramids(strides: tuple[int, ...]) -> None:
    boxes = torch.tensor([[0.0, 0, side, side] for side in (5, 100, 200, 300, 600, 1200)])
    finest, coarsest = int(math.log2(strides[0])), int(math.log2(strides[-1]))
    assert torch.equal(box_levels(boxes, strides), LevelMapper(finest, coarsest)([boxes]))


def test_boxes_without_an_area_are_the_finest_ones() -> None:
    nan, inf = math.nan, math.inf
    boxes = torch.tensor([[5.0, 5, 5, 400], [400, 400, 5, 5], [400, 5, 5, 400], [0, 0, nan, 9], [-inf, 0, inf, 0]])
    assert box_levels(boxes, STRIDES).tolist() == [0] * 5
    assert box_levels(torch.tensor([[0, 0, inf, inf]]), STRIDES).tolist() == [3]
    assert box_levels(torch.zeros(0, 4), STRIDES).shape == (0,)
