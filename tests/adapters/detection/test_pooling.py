from __future__ import annotations

import math
from itertools import pairwise

import pytest
import torch
from torch import Tensor
from torchvision.ops import MultiScaleRoIAlign

from ebm_tracker.adapters.detection import pooling
from ebm_tracker.adapters.detection.levels import box_levels
from ebm_tracker.adapters.detection.pooling import PooledBoxes, pyramid_pool
from ebm_tracker.models.roi_pool import prroi_pool

STRIDES = (4, 8, 16, 32)
WIDTH, HEIGHT = 320, 256
DEGENERATE = [
    [-90.0, -50, -10, -10],  # outside on either side
    [900, 900, 1000, 1000],
    [-4, -4, 0, 0],  # reaching half of cell 0
    [312, 250, 330, 270],
    [-500, -500, 900, 900],
    [0, 0, 1e6, 1e6],
    [30, 30, 30, 40],  # empty
    [40, 40, 20, 20],  # inverted
    [30, 30, 30.01, 30.01],
    [8, 8, 24, 24],  # edges on cells
]


def random_maps(batch: int = 1, channels: int = 3, dtype: torch.dtype = torch.float64, seed: int = 0) -> list[Tensor]:
    generator = torch.Generator().manual_seed(seed)
    shapes = [(batch, channels, HEIGHT // stride, WIDTH // stride) for stride in STRIDES]
    return [torch.randn(shape, generator=generator, dtype=dtype) for shape in shapes]


def random_boxes(count: int, seed: int = 0) -> Tensor:
    """Of all sizes, many of them sticking out, and the degenerate ones."""
    generator = torch.Generator().manual_seed(seed)
    corner = torch.rand((count, 2), generator=generator, dtype=torch.float64) * torch.tensor([340.0, 270.0]) - 10
    side = (6.4 * torch.rand((count, 2), generator=generator, dtype=torch.float64)).exp()
    return torch.cat((torch.cat((corner, corner + side), dim=1), torch.tensor(DEGENERATE, dtype=torch.float64)))


def one_by_one(maps: list[Tensor], boxes: Tensor, images: Tensor) -> Tensor:
    """Each box from the whole map of its level: (N, C, 7, 7)."""
    levels = box_levels(boxes, STRIDES).tolist()
    return torch.stack(
        [
            prroi_pool(maps[level][image][None], box[None, None], (7, 7), 1 / STRIDES[level])[0, 0]
            for level, image, box in zip(levels, images.tolist(), boxes, strict=True)
        ]
    )


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
def test_values_and_gradients_are_those_of_each_box_alone(layout: torch.memory_format) -> None:
    maps = [m.to(memory_format=layout).requires_grad_() for m in random_maps(2)]
    boxes = random_boxes(150).requires_grad_()
    images = torch.arange(len(boxes)) % 2
    pooled, expected = pyramid_pool(maps, boxes, images, STRIDES), one_by_one(maps, boxes, images)
    torch.testing.assert_close(pooled, expected, rtol=1e-9, atol=1e-11)
    assert pooled.is_contiguous(memory_format=torch.channels_last)
    weight = torch.randn(pooled.shape, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    found, wanted = (torch.autograd.grad(p, [boxes, *maps], weight) for p in (pooled, expected))
    for a, b in zip(found, wanted, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-8, atol=1e-9)


def test_chunks_and_groups_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    maps, boxes = random_maps(), random_boxes(60)
    images = torch.zeros(len(boxes), dtype=torch.long)
    whole = pyramid_pool(maps, boxes, images, STRIDES)
    for name, value in (("GROUP", 1), ("CHUNK", 7), ("SPREAD", 1e9)):
        with monkeypatch.context() as patch:
            patch.setattr(pooling, name, value)
            torch.testing.assert_close(pyramid_pool(maps, boxes, images, STRIDES), whole, rtol=1e-9, atol=1e-11)


def test_is_the_limit_of_torchvisions_roi_align() -> None:
    """Of boxes inside, of a cell or more: RoIAlign takes the mean of points, here 40 x 40 in each bin."""
    maps = random_maps(2)
    generator = torch.Generator().manual_seed(3)
    side = (3.5 + 1.9 * torch.rand((40, 2), generator=generator, dtype=torch.float64)).exp()
    corner = 4 + torch.rand((40, 2), generator=generator, dtype=torch.float64) * (torch.tensor([280, 218]) - side)
    boxes = torch.cat((corner, corner + side), dim=1)
    align = MultiScaleRoIAlign(["0", "1", "2", "3"], 7, 40)
    named = {str(i): m for i, m in enumerate(maps)}
    expected = align(named, [boxes[:25], boxes[25:]], [(HEIGHT, WIDTH)] * 2)
    images = (torch.arange(40) >= 25).long()
    assert len(box_levels(boxes, STRIDES).unique()) == 2
    torch.testing.assert_close(pyramid_pool(maps, boxes, images, STRIDES), expected, rtol=0, atol=5e-3)


def test_a_column_number_map_gives_bin_centres() -> None:
    """PROTOCOL 9: on g(i, j) = j a bin's average is the middle of the bin, in cells."""
    ramp = torch.arange(WIDTH / 8, dtype=torch.float64).expand(1, 1, HEIGHT // 8, -1)
    maps = [ramp.new_zeros(1, 1, 64, 80), ramp, ramp.new_zeros(1, 1, 16, 20), ramp.new_zeros(1, 1, 8, 10)]
    box = torch.tensor([[16.0, 40, 16 + 7 * 18, 40 + 7 * 18]], dtype=torch.float64)  # level 1, bins of 18 pixels
    pooled = pyramid_pool(maps, box, torch.zeros(1, dtype=torch.long), STRIDES)[0, 0]
    torch.testing.assert_close(pooled, (2 + 18 / 8 * (torch.arange(7) + 0.5).double()).expand(7, 7))


def test_gradcheck_of_pooled_values() -> None:
    maps = random_maps(channels=2)
    boxes = torch.tensor([[13.3, 20.7, 60.1, 81.9], [70.3, 30.2, 230.7, 190.6], [-9.7, 200.3, 55.9, 290.1]]).double()
    images = torch.zeros(3, dtype=torch.long)
    assert torch.autograd.gradcheck(
        lambda b: pyramid_pool(maps, b, images, STRIDES), boxes.requires_grad_(), eps=1e-5, atol=1e-4
    )


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
def test_closed_form_gradient(dtype: torch.dtype) -> None:
    maps, boxes = random_maps(dtype=dtype), random_boxes(120).to(dtype).requires_grad_()
    expected = one_by_one([m.double() for m in maps], boxes.double(), torch.zeros(len(boxes), dtype=torch.long))
    weight = torch.randn(expected.shape, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    (wanted,) = torch.autograd.grad(expected, boxes, weight)
    cells = [m[0].permute(1, 2, 0).contiguous() for m in maps]
    pooled = PooledBoxes(cells, boxes.detach(), STRIDES)
    tolerance = 1e-9 if dtype == torch.float64 else 2e-4
    flat = expected.detach().permute(0, 2, 3, 1).flatten(1).to(dtype)
    torch.testing.assert_close(pooled.values, flat, rtol=tolerance, atol=tolerance)
    gradient = pooled.pull_back(weight.permute(0, 2, 3, 1).flatten(1).to(dtype))
    assert gradient.dtype == dtype
    torch.testing.assert_close(gradient, wanted.to(dtype), rtol=5 * tolerance, atol=20 * tolerance)


def test_empty_boxes_give_zeros_and_far_ones_no_gradient() -> None:
    maps = random_maps()
    boxes = torch.tensor([[30.0, 30, 30, 40], [40, 40, 20, 20], [900, 900, 1000, 1000]], dtype=torch.float64)
    assert not pyramid_pool(maps, boxes, torch.zeros(3, dtype=torch.long), STRIDES).any()
    pooled = PooledBoxes([m[0].permute(1, 2, 0).contiguous() for m in maps], boxes, STRIDES)
    assert not pooled.values.any()
    assert not pooled.pull_back(torch.ones_like(pooled.values)).any()


def test_what_is_not_a_number_stays_with_its_box() -> None:
    maps, nan, inf = random_maps(), math.nan, math.inf
    good = [[20.0, 20, 90, 80], [60, 60, 70, 75]]
    boxes = torch.tensor([good[0], [nan, 0, 50, 50], [0, -inf, 50, inf], good[1]], dtype=torch.float64)
    pooled = pyramid_pool(maps, boxes, torch.zeros(4, dtype=torch.long), STRIDES)
    alone = pyramid_pool(maps, torch.tensor(good, dtype=torch.float64), torch.zeros(2, dtype=torch.long), STRIDES)
    torch.testing.assert_close(pooled[[0, 3]], alone)
    assert not pooled[1].isfinite().any()


def test_no_boxes_and_one_cell() -> None:
    maps = random_maps()
    none = torch.zeros(0, 4, dtype=torch.float64)
    assert pyramid_pool(maps, none, torch.zeros(0, dtype=torch.long), STRIDES).shape == (0, 3, 7, 7)
    cells = [m[0].permute(1, 2, 0).contiguous() for m in maps]
    empty = PooledBoxes(cells, none, STRIDES)
    assert empty.values.shape == (0, 147) and empty.pull_back(empty.values).shape == (0, 4)
    tiny = [m[:, :, :1, :1] for m in maps]  # of an image of one pixel
    boxes = torch.tensor([[0.0, 0, 1, 1], [0, 0, 300, 2]], dtype=torch.float64)
    images = torch.zeros(2, dtype=torch.long)
    torch.testing.assert_close(pyramid_pool(tiny, boxes, images, STRIDES), one_by_one(tiny, boxes, images))


def test_bad_arguments_are_named() -> None:
    maps, boxes = random_maps(), random_boxes(2)[:2]
    first = torch.zeros(2, dtype=torch.long)
    with pytest.raises(ValueError, match="maps and strides"):
        pyramid_pool(maps[:3], boxes, first, STRIDES)
    with pytest.raises(ValueError, match=r"boxes_xyxy must be \(N, 4\)"):
        pyramid_pool(maps, boxes[:, :3], first, STRIDES)
    with pytest.raises(ValueError, match="one per box"):
        pyramid_pool(maps, boxes, first[:1], STRIDES)
    with pytest.raises(ValueError, match="0..0"):
        pyramid_pool(maps, boxes, first + 1, STRIDES)


def test_groups_cover_every_box_once_and_share_image_and_level() -> None:
    boxes, maps = random_boxes(200), random_maps(2)
    levels = box_levels(boxes, STRIDES)
    order = levels.argsort(stable=True)
    found = pooling._Boxes(boxes[order], levels[order], [m.permute(0, 2, 3, 1) for m in maps], STRIDES)
    images = [i % 2 for i in range(len(boxes))]
    groups = found._groups(images)
    assert [a.part.stop for a in groups[:-1]] == [b.part.start for _, b in pairwise(groups)]
    assert groups[0].part.start == 0 and groups[-1].part.stop == len(boxes)
    for group in groups:
        assert set(images[group.part]) == {group.image} and set(found.levels[group.part]) == {group.level}
        left, top, right, bottom = group.window
        assert (found.first[group.part] >= torch.tensor([left, top])).all()
        assert (found.end[group.part] <= torch.tensor([right, bottom])).all()


def test_maps_in_half_precision_are_pooled_in_float32() -> None:
    maps = [m.half() for m in random_maps(dtype=torch.float32)]
    boxes = random_boxes(20).float()
    images = torch.zeros(len(boxes), dtype=torch.long)
    pooled = pyramid_pool(maps, boxes, images, STRIDES)
    assert pooled.dtype == torch.float32
    torch.testing.assert_close(pooled, pyramid_pool([m.float() for m in maps], boxes, images, STRIDES))
    assert pyramid_pool(maps, boxes[:0], images[:0], STRIDES).dtype == torch.float32
