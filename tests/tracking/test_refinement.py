from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import pytest
import torch
from torch import Tensor

from ebm_tracker.boxes import relative_to_xywh, xywh_to_relative
from ebm_tracker.crops import CropWindow
from ebm_tracker.models import BoxEnergy, EnergyHead
from ebm_tracker.models.box_energy import FrameBoxEnergy
from ebm_tracker.tracking.config import BoxSpace, RefinementSettings
from ebm_tracker.tracking.refinement import refine, select_box, start_boxes

Golden = Callable[[str], dict[str, np.ndarray]]

GOLDEN_SETTINGS = {
    "relative": RefinementSettings(),
    "relative_big": RefinementSettings(step_length=(2e-3, 1e-2)),
    "relative_decay": RefinementSettings(step_length=(2e-2, 1e-1), decay=0.5),
    "default": RefinementSettings(steps=5, step_length=(1, 1), space=BoxSpace.IMAGE),
}


class GoldenHead(NamedTuple):
    state: dict[str, Tensor]
    reference: tuple[Tensor, Tensor]
    test: tuple[Tensor, Tensor]
    ref_box: Tensor

    def energy(self, dtype: torch.dtype) -> FrameBoxEnergy:
        head = EnergyHead()
        head.load_state_dict(self.state, strict=False)
        head = head.to(dtype).eval()
        with torch.no_grad():
            first, second = self.reference
            modulation = head.modulation((first.to(dtype), second.to(dtype)), self.ref_box.to(dtype)[None])
            first, second = self.test
            return BoxEnergy(head, modulation).frame(head.maps((first.to(dtype), second.to(dtype))))


class Watched(FrameBoxEnergy):
    """An energy that keeps where it was asked for, and what it answered."""

    def __init__(self, energy: FrameBoxEnergy) -> None:
        self.energy = energy
        self.visited: list[tuple[Tensor, Tensor]] = []

    def values(self, boxes_xywh: Tensor) -> Tensor:
        f = self.energy.values(boxes_xywh)
        self.visited.append((boxes_xywh, f))
        return f

    def value_and_grad(self, boxes_xywh: Tensor) -> tuple[Tensor, Tensor]:
        f, grad = self.energy.value_and_grad(boxes_xywh)
        self.visited.append((boxes_xywh, f))
        return f, grad


@pytest.fixture(scope="module")
def golden_head(golden: Golden, golden_head_state: dict[str, Tensor]) -> GoldenHead:
    """The reference run's head and features."""
    arrays, features = golden("b_energy_head"), golden("b_energy_head_features")
    maps = {key: torch.from_numpy(value) for key, value in features.items()}
    return GoldenHead(
        golden_head_state,
        (maps["ref_layer2"], maps["ref_layer3"]),
        (maps["test_layer2"], maps["test_layer3"]),
        torch.from_numpy(arrays["ref_box"]),
    )


@pytest.fixture(scope="module")
def energies_of(golden_head: GoldenHead) -> dict[torch.dtype, FrameBoxEnergy]:
    return {dtype: golden_head.energy(dtype) for dtype in (torch.float64, torch.float32)}


def test_golden_energies_of_the_fast_path(energies_of: dict[torch.dtype, FrameBoxEnergy], golden: Golden) -> None:
    arrays = golden("b_energy_head")
    boxes = torch.from_numpy(arrays["proposals"])
    f, grad = energies_of[torch.float64].value_and_grad(boxes.double())
    np.testing.assert_allclose(f, arrays["energies"], rtol=1e-6, atol=1e-6)
    np.testing.assert_allclose(grad, arrays["grad_boxes"], rtol=1e-5, atol=1e-6)
    f, grad = energies_of[torch.float32].value_and_grad(boxes)
    np.testing.assert_allclose(f, arrays["energies"], rtol=1e-4, atol=1e-4)
    np.testing.assert_allclose(grad, arrays["grad_boxes"], rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("tag", list(GOLDEN_SETTINGS))
def test_golden_refinement(energies_of: dict[torch.dtype, FrameBoxEnergy], golden: Golden, tag: str) -> None:
    arrays, settings = golden("d_refinement"), GOLDEN_SETTINGS[tag]
    watched = Watched(energies_of[torch.float64])
    start = torch.from_numpy(arrays["init_boxes"]).double()
    boxes, f = refine(watched, start, settings)
    np.testing.assert_allclose(boxes, arrays[f"{tag}_boxes"], rtol=1e-6, atol=1e-5)
    np.testing.assert_allclose(f, arrays[f"{tag}_final_energies"], rtol=1e-5, atol=1e-6)
    assert len(watched.visited) == settings.steps + 1
    for step in range(settings.steps):
        at, f = watched.visited[step]
        np.testing.assert_allclose(at, arrays[f"{tag}_iter_boxes"][step], rtol=1e-6, atol=1e-5)
        np.testing.assert_allclose(f, arrays[f"{tag}_iter_energies"][step], rtol=1e-5, atol=1e-6)

    watched = Watched(energies_of[torch.float64])
    boxes, stale = refine(watched, start, settings, upstream=True)
    np.testing.assert_allclose(boxes, arrays[f"{tag}_boxes"], rtol=1e-6, atol=1e-5)
    np.testing.assert_allclose(stale, arrays[f"{tag}_returned_energies"], rtol=1e-5, atol=1e-6)
    assert len(watched.visited) == settings.steps, "upstream's ranking needs no evaluation after the last step"


@pytest.mark.parametrize("tag", list(GOLDEN_SETTINGS))
def test_golden_refinement_in_float32(energies_of: dict[torch.dtype, FrameBoxEnergy], golden: Golden, tag: str) -> None:
    arrays = golden("d_refinement")
    start = torch.from_numpy(arrays["init_boxes"])
    boxes, stale = refine(energies_of[torch.float32], start, GOLDEN_SETTINGS[tag], upstream=True)
    assert boxes.dtype is torch.float32
    noise = abs(arrays[f"{tag}_boxes_f32"] - arrays[f"{tag}_boxes"]).max()
    assert abs(boxes.numpy() - arrays[f"{tag}_boxes"]).max() < max(4 * noise, 1e-4)
    noise = abs(arrays[f"{tag}_returned_energies_f32"] - arrays[f"{tag}_returned_energies"]).max()
    assert abs(stale.numpy() - arrays[f"{tag}_returned_energies"]).max() < max(4 * noise, 1e-5)


class Hill(FrameBoxEnergy):
    """f = -1/2 |(b - center) / 10|^2 in pixels, in place of a network."""

    def __init__(self, center: Tensor) -> None:
        self.center = center

    def values(self, boxes_xywh: Tensor) -> Tensor:
        return -0.5 * ((boxes_xywh - self.center) / 10).square().sum(1)

    def value_and_grad(self, boxes_xywh: Tensor) -> tuple[Tensor, Tensor]:
        return self.values(boxes_xywh), -(boxes_xywh - self.center) / 100


def test_relative_steps_are_in_units_of_the_first_box() -> None:
    center = torch.tensor([100.0, 80, 40, 30], dtype=torch.float64)
    start = torch.tensor([[90.0, 85, 50, 20], [110, 70, 80, 10]], dtype=torch.float64)
    boxes, _ = refine(Hill(center), start, RefinementSettings(boxes=2, best=1, steps=1, step_length=(0.01, 0.02)))
    ref_wh = start[:1, 2:]
    relative = xywh_to_relative(start, ref_wh).requires_grad_()
    energy = Hill(center).values(relative_to_xywh(relative, ref_wh)).sum()
    (grad,) = torch.autograd.grad(energy, relative)
    step = torch.tensor([0.01, 0.01, 0.02, 0.02], dtype=torch.float64)
    torch.testing.assert_close(boxes, relative_to_xywh(relative + step * grad, ref_wh).detach(), atol=1e-10, rtol=0)


def test_image_steps_are_scaled_by_each_box() -> None:
    center = torch.tensor([100.0, 80, 40, 30], dtype=torch.float64)
    start = torch.tensor([[90.0, 85, 50, 20], [110, 70, 80, 10]], dtype=torch.float64)
    settings = RefinementSettings(boxes=2, best=1, steps=1, step_length=(0.1, 0.2), space=BoxSpace.IMAGE)
    boxes, _ = refine(Hill(center), start, settings)
    step = torch.tensor([0.1, 0.1, 0.2, 0.2], dtype=torch.float64) * start[:, 2:].repeat(1, 2)
    torch.testing.assert_close(boxes, start + step * -(start - center) / 100, atol=1e-10, rtol=0)


def test_start_boxes_lie_around_the_box() -> None:
    settings = RefinementSettings(boxes=5001, jitter=(0.1, 0.5))
    box = torch.tensor([100.0, 50.0, 90.0, 40.0])
    boxes = start_boxes(box, settings, torch.Generator().manual_seed(1))
    assert boxes.shape == (5001, 4)
    assert torch.equal(boxes[0], box)
    side = 60.0  # sqrt(90 * 40)
    moved = boxes[1:, :2] + boxes[1:, 2:] / 2 - torch.tensor([145.0, 70.0])
    resized = boxes[1:, 2:] - box[2:]
    for offsets, reach in ((moved, 0.05 * side), (resized, 0.25 * side)):
        assert float(offsets.abs().max()) <= reach + 1e-4
        assert float(offsets.amin(0).max()) < -0.98 * reach and float(offsets.amax(0).min()) > 0.98 * reach
        # Uniform: mean 0 and variance (2 reach)^2 / 12, independent coordinates.
        assert float(offsets.mean(0).abs().max()) < 0.04 * reach
        assert float(offsets.var(0).min()) == pytest.approx(reach**2 / 3, rel=0.05)
    correlation = torch.corrcoef(torch.cat((moved, resized), dim=1).T)
    assert float((correlation - torch.eye(4)).abs().max()) < 0.05


def test_start_boxes_keep_a_least_side() -> None:
    settings = RefinementSettings(boxes=1001, jitter=(0.1, 3.0), min_side_share=0.25)
    boxes = start_boxes(torch.tensor([0.0, 0, 64, 16]), settings, torch.Generator().manual_seed(1))
    assert float(boxes[:, 2:].min()) == pytest.approx(4.0)


def test_start_boxes_depend_on_the_generator_alone() -> None:
    settings, box = RefinementSettings(), torch.tensor([10.0, 20, 30, 40])
    first = start_boxes(box, settings, torch.Generator().manual_seed(1))
    torch.manual_seed(99)
    again = start_boxes(box, settings, torch.Generator().manual_seed(1))
    other = start_boxes(box, settings, torch.Generator().manual_seed(2))
    assert torch.equal(first, again) and not torch.equal(first[1:], other[1:])
    double = start_boxes(box.double(), settings, torch.Generator().manual_seed(1))
    torch.testing.assert_close(double.float(), first)


def test_a_single_start_box_is_the_box() -> None:
    box = torch.tensor([10.0, 20, 30, 40])
    boxes = start_boxes(box, RefinementSettings(boxes=1, best=1), torch.Generator().manual_seed(1))
    assert torch.equal(boxes, box[None])


def test_golden_selection(golden: Golden) -> None:
    arrays = golden("d_selection")
    box = select_box(torch.from_numpy(arrays["boxes"]), torch.from_numpy(arrays["energies"]), RefinementSettings())
    assert box is not None
    scale = float(arrays["sample_scale"][0])
    sample_y, sample_x = (float(v) for v in arrays["sample_pos"])
    window = CropWindow((sample_x - 143.5 * scale, sample_y - 143.5 * scale), (scale, scale))
    center, size = window.box_to_frame(box)
    assert center == pytest.approx(tuple(arrays["new_pos"][::-1].tolist()), abs=1e-4)
    assert size == pytest.approx(tuple(arrays["new_target_sz"][::-1].tolist()), abs=1e-4)
    base_h, base_w = (float(v) for v in arrays["base_target_sz"])
    new_scale = math.sqrt(size[0] * size[1] / (base_w * base_h))
    assert new_scale == pytest.approx(float(arrays["new_scale"][0]), rel=1e-6)


def test_selection_averages_the_best() -> None:
    boxes = torch.tensor([[0.0, 0, 10, 10], [3, 0, 13, 10], [90, 90, 10, 10], [6, 3, 10, 16]])
    energies = torch.tensor([5.0, 7, -1, 6])
    assert select_box(boxes, energies, RefinementSettings()) == pytest.approx((3, 1, 11, 12))
    assert select_box(boxes, energies, RefinementSettings(best=1)) == (3, 0, 13, 10)
    assert select_box(boxes, energies, RefinementSettings(best=9)) == pytest.approx((24.75, 23.25, 10.75, 11.5))


def test_selection_drops_long_boxes_and_keeps_a_least_side() -> None:
    boxes = torch.tensor([[0.0, 0, 60, 10], [0, 0, 10, 60], [5, 6, 0.5, -3], [7, 8, 59, 10]])
    energies = torch.tensor([9.0, 8, 7, 6])
    settings = RefinementSettings(best=1)
    assert select_box(boxes, energies, settings) == (5, 6, 1, 1)  # 6:1 is already too long
    assert select_box(boxes[[0, 1, 3]], energies[[0, 1, 3]], settings) == (7, 8, 59, 10)


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
def test_selection_ignores_what_is_not_finite(bad: float) -> None:
    boxes = torch.tensor([[0.0, 0, 10, 10], [bad, 0, 10, 10], [0, 0, bad, 10], [0, 0, 10, bad], [1, 2, 10, 10]])
    energies = torch.tensor([1.0, 9, 9, 9, bad])
    box = select_box(boxes[[0, 1, 4]], energies[[0, 1, 4]], RefinementSettings())
    assert box == (0, 0, 10, 10)
    box = select_box(boxes[:4], energies[:4], RefinementSettings(best=1))
    assert box is not None and all(math.isfinite(value) for value in box)


def test_nothing_survives() -> None:
    settings = RefinementSettings()
    long = torch.tensor([[0.0, 0, 100, 10], [0, 0, 5, 50]])
    assert select_box(long, torch.ones(2), settings) is None
    assert select_box(torch.full((2, 4), math.nan), torch.ones(2), settings) is None
    assert select_box(torch.ones(2, 4), torch.full((2,), math.nan), settings) is None


@pytest.mark.parametrize(
    "options",
    [
        {"boxes": 0},
        {"steps": -1},
        {"best": 0},
        {"best": 11},
        {"step_length": (-1.0, 1.0)},
        {"decay": 0.0},
        {"decay": 1.1},
        {"max_aspect": 1.0},
    ],
)
def test_settings_are_checked(options: dict[str, Any]) -> None:
    (name,) = options
    with pytest.raises(ValueError, match=name):
        RefinementSettings(**options)
