"""Matching against IoU written out, and the shares of foreground and background."""

from __future__ import annotations

import math
from functools import cache

import pytest
import torch
from torch import Tensor
from torchvision.models.detection import FasterRCNN
from torchvision.models.detection.anchor_utils import AnchorGenerator
from torchvision.models.detection.faster_rcnn import FastRCNNPredictor, TwoMLPHead
from torchvision.ops import MultiScaleRoIAlign

from ebm_tracker.adapters.detection import FrozenDetector, RegionExample, RegionSampling, sample_regions
from ebm_tracker.adapters.detection.sampling import best_object
from ebm_tracker.adapters.detection.small import PyramidBackbone
from ebm_tracker.models import build_backbone

CLASSES = 4


@cache
def detector() -> FrozenDetector:
    torch.manual_seed(0)
    model = FasterRCNN(
        PyramidBackbone(build_backbone("mobilenet_v2"), 8),
        rpn_anchor_generator=AnchorGenerator(((24,), (48,), (96,), (192,)), ((1.0,),) * 4),
        box_roi_pool=MultiScaleRoIAlign(["0", "1", "2"], 7, 2),
        box_head=TwoMLPHead(8 * 49, 16),
        box_predictor=FastRCNNPredictor(16, CLASSES),
        min_size=64,
        max_size=128,
        rpn_post_nms_top_n_test=40,
    )
    return FrozenDetector(model)


def overlap(a: list[float], b: list[float]) -> float:
    w, h = (max(0.0, min(a[k + 2], b[k + 2]) - max(a[k], b[k])) for k in (0, 1))
    areas = [(box[2] - box[0]) * (box[3] - box[1]) for box in (a, b)]
    return w * h / (sum(areas) - w * h)


def some_boxes(count: int, seed: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    corner, side = torch.rand(2, count, 2, generator=generator)
    return torch.cat((40 * corner, 40 * corner + 6 + 18 * side), 1)


def test_the_best_object_by_hand() -> None:
    boxes, true = some_boxes(30), some_boxes(4, seed=1)
    largest, match = best_object(boxes, true)
    for box, value, number in zip(boxes.tolist(), largest.tolist(), match.tolist(), strict=True):
        values = [overlap(box, other) for other in true.tolist()]
        assert value == pytest.approx(max(values), abs=1e-6)
        assert values[number] == pytest.approx(max(values), abs=1e-6)
    largest, match = best_object(boxes, torch.zeros(0, 4))
    assert not largest.any() and not match.any() and match.dtype == torch.int64


@pytest.mark.parametrize(
    ("front", "back", "expected"),
    [(50, 500, (16, 48)), (5, 500, (5, 59)), (50, 10, (16, 10)), (0, 500, (0, 64)), (3, 2, (3, 2)), (0, 0, (0, 0))],
)
def test_shares(front: int, back: int, expected: tuple[int, int]) -> None:
    is_foreground = torch.zeros(front + back, dtype=torch.bool)
    is_foreground[torch.randperm(front + back)[:front]] = True
    rows = RegionSampling(count=64).choose(is_foreground)
    assert len(set(rows.tolist())) == len(rows) == sum(expected)
    assert int(is_foreground[rows].sum()) == expected[0] and is_foreground[rows[: expected[0]]].all()


def test_every_region_has_the_same_chance() -> None:
    is_foreground = torch.arange(40) < 10
    sampling = RegionSampling(count=8, foreground=0.5)
    chosen = torch.cat([sampling.choose(is_foreground) for _ in range(3000)])
    shares = chosen.bincount(minlength=40) / 3000
    # Four of 10 and four of 30; deviations of a share are below 0.009.
    torch.testing.assert_close(shares[:10], torch.full((10,), 0.4), rtol=0, atol=0.045)
    torch.testing.assert_close(shares[10:], torch.full((30,), 4 / 30), rtol=0, atol=0.045)


def test_torchs_generator_decides() -> None:
    is_foreground = torch.arange(100) < 30
    draws = []
    for seed in (1, 1, 2):
        torch.manual_seed(seed)
        draws.append(RegionSampling(count=20).choose(is_foreground).tolist())
    assert draws[0] == draws[1] != draws[2]


def sampled(proposals: list[Tensor] | None, count: int = 24) -> tuple[RegionExample, list[dict[str, Tensor]]]:
    """Two images of 32 x 48 pixels, twice as large at the input; the second has no object."""
    objects = [
        {"boxes": some_boxes(3, seed=1) / 2, "labels": torch.tensor([2, 3, 1])},
        {"boxes": torch.zeros(0, 4), "labels": torch.zeros(0, dtype=torch.int64)},
    ]
    pyramid = detector().pyramid([torch.rand(3, 32, 48), torch.rand(3, 32, 48)])
    numbers = torch.tensor([7, 9])
    return sample_regions(detector(), pyramid, objects, numbers, RegionSampling(count), proposals), objects


def test_regions_of_a_batch() -> None:
    true = some_boxes(3, seed=1)
    proposals = torch.cat((true + torch.tensor([1.0, 0.5, -0.5, 1.5]), some_boxes(30)))
    batch, objects = sampled([proposals, some_boxes(10)])
    assert batch.number.tolist() == [7, 9]
    assert batch.features.shape == (2, 24, 16) and batch.labels.shape == (2, 24) and batch.offsets.shape == (2, 24, 4)
    # At most a quarter is foreground, and the objects themselves are proposals.
    front = batch.labels[0] > 0
    assert int(front.sum()) == 6 and not (batch.labels[0] < 0).any()
    assert batch.labels[1].tolist() == 10 * [0] + 14 * [-1] and not batch.offsets[1].any()
    assert not batch.offsets[0][~front].any() and not batch.features[1, 10:].any() and batch.features[1, :10].any()


def test_labels_and_offsets_are_those_of_the_matched_object() -> None:
    true = some_boxes(3, seed=1)
    proposals = torch.cat((true + torch.tensor([1.0, 0.5, -0.5, 1.5]), some_boxes(30)))
    batch, objects = sampled([proposals, some_boxes(10)], count=400)
    candidates = torch.cat((proposals, true))
    pyramid = detector().pyramid([torch.rand(3, 32, 48)])
    assert pyramid.input_sizes == ((64, 96),)
    expected = set()
    for box in candidates.tolist():
        values = [overlap(box, other) for other in true.tolist()]
        match = max(range(3), key=values.__getitem__)
        if values[match] >= 0.5:
            x0, y0, x1, y1 = box
            u0, v0, u1, v1 = true[match].tolist()
            w, h = x1 - x0, y1 - y0
            offset = (
                10 * ((u0 + u1) - (x0 + x1)) / 2 / w,
                10 * ((v0 + v1) - (y0 + y1)) / 2 / h,
                5 * math.log((u1 - u0) / w),
                5 * math.log((v1 - v0) / h),
            )
            expected.add((int(objects[0]["labels"][match]), *(round(d, 2) + 0.0 for d in offset)))
    front = batch.labels[0] > 0
    rows = zip(batch.labels[0][front].tolist(), batch.offsets[0][front].tolist(), strict=True)
    found = {(label, *(round(d, 2) + 0.0 for d in offset)) for label, offset in rows}
    assert len(expected) > 6
    differing = found ^ expected
    assert len(differing) <= 2, differing  # where a third decimal is a 5
    assert int((batch.labels[0] >= 0).sum()) == len(candidates)


def test_the_detectors_own_proposals() -> None:
    batch, _ = sampled(None, count=30)
    assert (batch.labels[0] >= 0).sum() > 3 and batch.features.isfinite().all()
    assert not batch.features.requires_grad


@pytest.mark.parametrize("wrong", [{"count": 0}, {"foreground": 0.0}, {"foreground": 1.5}, {"overlap": 1.0}])
def test_settings_that_make_no_sense(wrong: dict[str, float]) -> None:
    with pytest.raises(ValueError, match="count must be at least 1, foreground above 0"):
        RegionSampling(**wrong)  # type: ignore[arg-type]
