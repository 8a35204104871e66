from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import Tensor

from ebm_tracker.models.roi_pool import hat_integral, prroi_pool

Golden = Callable[[str], dict[str, np.ndarray]]
TAGS = ["5x5_s8", "3x3_s8", "3x3_s16", "1x1_s16", "2x3_s16"]


def pool_one_box(features: Tensor, box: tuple[float, ...], bins_hw: tuple[int, int] = (1, 1)) -> Tensor:
    """Scale 1: box in cells. (C, H, W) -> (C, bins_h, bins_w)."""
    return prroi_pool(features[None], torch.tensor([[box]], dtype=features.dtype), bins_hw, 1.0)[0, 0]


def sampled_mean(feature: np.ndarray, box: tuple[float, ...], bins_hw: tuple[int, int], points: int) -> np.ndarray:
    """The mean of the bilinear interpolant over each bin by the midpoint rule, one sample after the other."""
    height, width = feature.shape
    padded = np.pad(feature, 60)  # the map is zero outside
    out = np.zeros(bins_hw)
    for row in range(bins_hw[0]):
        for col in range(bins_hw[1]):
            size_x, size_y = (box[2] - box[0]) / bins_hw[1], (box[3] - box[1]) / bins_hw[0]
            xs = box[0] + size_x * (col + (np.arange(points) + 0.5) / points) + 60
            ys = box[1] + size_y * (row + (np.arange(points) + 0.5) / points) + 60
            x0, y0 = np.floor(xs).astype(int), np.floor(ys).astype(int)
            fx, fy = xs - x0, (ys - y0)[:, None]
            upper = padded[y0][:, x0] * (1 - fx) + padded[y0][:, x0 + 1] * fx
            lower = padded[y0 + 1][:, x0] * (1 - fx) + padded[y0 + 1][:, x0 + 1] * fx
            out[row, col] = (upper * (1 - fy) + lower * fy).mean()
    return out


@pytest.mark.parametrize("tag", TAGS)
def test_golden_values_and_gradients(golden: Golden, tag: str) -> None:
    arrays = golden("a_prroi_pool")
    bins, stride = tag.split("_s")
    rows, columns = (int(number) for number in bins.split("x"))
    features = torch.from_numpy(arrays["features36" if stride == "8" else "features"]).double().requires_grad_()
    rois = torch.from_numpy(arrays["rois"]).double()
    # Each box sees one of the two images: pool all of them in both, pick, and let the gradients flow back.
    boxes = rois[:, 1:].clone().requires_grad_()
    both = prroi_pool(features, boxes.expand(2, -1, -1), (rows, columns), 1 / int(stride))
    out = both[rois[:, 0].long(), torch.arange(len(rois))]
    np.testing.assert_allclose(out.detach(), arrays[f"{tag}_out"], rtol=1e-6, atol=1e-6)
    out.backward(torch.from_numpy(arrays[f"{tag}_grad_out"]).double())
    np.testing.assert_allclose(boxes.grad, arrays[f"{tag}_grad_boxes"], rtol=1e-5, atol=1e-6)
    if f"{tag}_grad_features" in arrays:
        np.testing.assert_allclose(features.grad, arrays[f"{tag}_grad_features"], rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("tag", TAGS)
def test_float32_keeps_its_digits_on_tiny_boxes(golden: Golden, tag: str) -> None:
    arrays = golden("a_prroi_pool")
    bins, stride = tag.split("_s")
    rows, columns = (int(number) for number in bins.split("x"))
    features = torch.from_numpy(arrays["features36" if stride == "8" else "features"]).float()
    rois = torch.from_numpy(arrays["rois"]).float()
    both = prroi_pool(features, rois[:, 1:].expand(2, -1, -1), (rows, columns), 1 / int(stride))
    assert both.dtype is torch.float32
    out = both[rois[:, 0].long(), torch.arange(len(rois))]
    np.testing.assert_allclose(out, arrays[f"{tag}_out"], rtol=1e-5, atol=1e-5)


# Corners away from cell edges, where the box gradient is unique: inside, partly outside, over the whole map, tiny.
SMOOTH_BOXES = [[1.3, 0.7, 3.6, 3.45], [-0.6, -0.35, 2.2, 1.8], [-2.3, -1.7, 7.7, 6.4], [2.31, 1.27, 2.43, 1.41]]


def test_gradients_agree_with_finite_differences() -> None:
    generator = torch.Generator().manual_seed(1)
    features = torch.randn((2, 2, 4, 5), generator=generator, dtype=torch.float64, requires_grad=True)
    boxes = torch.tensor([SMOOTH_BOXES, SMOOTH_BOXES[::-1]], dtype=torch.float64).mul(8).requires_grad_()

    def pool(features: Tensor, boxes: Tensor) -> Tensor:
        return prroi_pool(features, boxes, (2, 3), 1 / 8)

    assert torch.autograd.gradcheck(pool, (features, boxes), eps=1e-7, atol=1e-6)
    assert torch.autograd.gradgradcheck(pool, (features, boxes), eps=1e-7, atol=1e-5)


@pytest.mark.parametrize("bins_hw", [(1, 1), (5, 5), (2, 3)])
@pytest.mark.parametrize("box", [(0, 0, 8, 5), (1.25, 0.5, 3.75, 4.5), (2, 2, 2.001, 2.001)])
def test_a_constant_map_gives_its_constant(bins_hw: tuple[int, int], box: tuple[float, ...]) -> None:
    pooled = pool_one_box(torch.full((2, 6, 9), 3.5, dtype=torch.float64), box, bins_hw)
    assert pooled.shape == (2, *bins_hw)
    torch.testing.assert_close(pooled, torch.full_like(pooled, 3.5), atol=1e-9, rtol=0)


def test_a_linear_map_gives_the_mean_of_the_coordinate() -> None:
    columns = torch.arange(9, dtype=torch.float64).expand(1, 6, 9)
    pooled = prroi_pool(columns[None], torch.tensor([[[8.0, 8, 24, 24]]]).double(), (1, 1), 1 / 8)
    assert pooled.item() == pytest.approx(2, abs=1e-12)  # the mean of x over [1, 3]
    bins = pool_one_box(columns, (1, 1, 4, 4), (1, 3))
    torch.testing.assert_close(bins[0, 0], torch.tensor([1.5, 2.5, 3.5]).double())
    rows = torch.arange(6, dtype=torch.float64)[:, None].expand(1, 6, 9)
    bins = pool_one_box(rows, (1, 1, 4, 4), (3, 1))
    torch.testing.assert_close(bins[0, :, 0], torch.tensor([1.5, 2.5, 3.5]).double())


@pytest.mark.parametrize(
    ("box", "expected"),
    [
        ((-1, 1, 1, 3), 0.75),  # half outside: the map falls to 0 over one cell, mean (1/2 + 1) / 2
        ((-1, 1, 0, 3), 0.5),
        ((-0.5, 1, 0, 3), 0.75),
        ((-3, 1, 1, 3), 0.375),
        ((7, 1, 9, 3), 0.75),  # the right edge: the last cell sits at 8
        ((2, -1, 4, 1), 0.75),
        ((2, 4, 4, 6), 0.75),
        ((-2, 1, -1, 3), 0.0),
        ((20, 1, 30, 3), 0.0),
        ((-1, -1, 9, 6), 54 / 70),  # everything: 9 x 6 cells over an area of 10 x 7
    ],
)
def test_bins_over_the_edge_of_a_constant_map(box: tuple[float, ...], expected: float) -> None:
    pooled = pool_one_box(torch.ones(1, 6, 9, dtype=torch.float64), box)
    assert pooled.item() == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize("box", [(2, 2, 2, 4), (2, 2, 4, 2), (4, 2, 2, 4), (4, 4, 2, 2), (3.5, 3.5, 3.5, 3.5)])
def test_empty_and_inverted_boxes_give_zero_and_no_gradient(box: tuple[float, ...]) -> None:
    features = torch.rand((1, 2, 6, 9), dtype=torch.float64, requires_grad=True)
    # A good box beside it: the bad one must not disturb it.
    boxes = torch.tensor([[box, (1, 1, 3, 4)]], dtype=torch.float64, requires_grad=True)
    out = prroi_pool(features, boxes, (3, 2), 1.0)
    assert float(out[:, 0].detach().abs().max()) == 0
    torch.testing.assert_close(out[0, 1], pool_one_box(features[0], (1, 1, 3, 4), (3, 2)))
    out.sum().backward()
    assert boxes.grad is not None and boxes.grad[0, 0].tolist() == [0, 0, 0, 0]
    assert bool(boxes.grad[0, 1].abs().min() > 0)
    (only_bad,) = torch.autograd.grad(prroi_pool(features, boxes[:, :1], (3, 2), 1.0).sum(), features)
    assert float(only_bad.abs().max()) == 0


@pytest.mark.parametrize(
    "box", [(1.3, 0.7, 3.6, 3.45), (-0.6, -1.35, 2.2, 1.8), (-2.3, -1.7, 11.7, 8.4), (2.31, 1.27, 2.43, 1.41)]
)
def test_agrees_with_the_integral_taken_numerically(box: tuple[float, ...]) -> None:
    feature = np.random.RandomState(0).standard_normal((6, 9))
    pooled = pool_one_box(torch.from_numpy(feature)[None], box, (2, 3))[0]
    np.testing.assert_allclose(pooled, sampled_mean(feature, box, (2, 3), 800), atol=2e-5)


def test_boxes_read_their_own_image() -> None:
    features = torch.rand(3, 2, 6, 9, dtype=torch.float64)
    boxes = torch.rand(3, 4, 4, dtype=torch.float64).cumsum(-1)
    pooled = prroi_pool(features, boxes, (2, 2), 1.0)
    assert pooled.shape == (3, 4, 2, 2, 2)
    for image in range(3):
        for index in range(4):
            single = pool_one_box(features[image], tuple(boxes[image, index].tolist()), (2, 2))
            torch.testing.assert_close(pooled[image, index], single)


def test_integral_of_the_hat_function() -> None:
    t = torch.tensor([-5, -1, -0.5, 0, 0.5, 1, 5], dtype=torch.float64)
    assert hat_integral(t).tolist() == [0, 0, 0.125, 0.5, 0.875, 1, 1]


def test_huge_coordinates_stay_finite() -> None:
    boxes = torch.tensor([[[-1e9, -1e9, 1e9, 1e9], [1e20, 1e20, 2e20, 2e20]]], requires_grad=True)
    out = prroi_pool(torch.ones(1, 1, 6, 9), boxes, (3, 3), 1 / 8)
    out.sum().backward()
    assert bool(out.isfinite().all()) and boxes.grad is not None and bool(boxes.grad.isfinite().all())
