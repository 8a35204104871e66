from __future__ import annotations

import math
from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from ebm_tracker.adapters.detection.coordinates import relative_to_xyxy, sides, xyxy_to_relative
from ebm_tracker.adapters.detection.refinement import (
    IOU_NET,
    IOU_NET_STAR,
    OURS,
    Coordinates,
    RefineSettings,
    refine_boxes,
)

BOXES = torch.tensor([[10.0, 20, 40, 60], [100, 30, 260, 90], [5, 5, 9, 9], [300, 300, 420, 640]])
LABELS = torch.tensor([1, 2, 1, 3])
OFFSETS = torch.tensor([[0.1, -0.05, 0.2, -0.1], [-0.2, 0.1, 0.05, 0.3], [0, 0, -0.3, 0.1], [0.02, 0.3, -0.2, -0.2]])


class Energy:
    """f of the corners by autograd; keeps what it was asked for."""

    def __init__(self, f: Callable[[Tensor, Tensor], Tensor]) -> None:
        self.f, self.asked = f, []

    def values(self, boxes_xyxy: Tensor, labels: Tensor) -> Tensor:
        return self.f(boxes_xyxy, labels).detach()

    def value_and_grad(self, boxes_xyxy: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        self.asked.append(boxes_xyxy)
        with torch.enable_grad():
            leaf = boxes_xyxy.clone().requires_grad_()
            f = self.f(leaf, labels)
            (grad,) = torch.autograd.grad(f.sum(), leaf)
        return f.detach(), grad


def bowl(optimum_rel: Tensor, reference: Tensor, steepness: float = 1.0) -> Energy:
    """Minus the squared distance in coordinates relative to the start."""
    return Energy(
        lambda boxes, _: (
            -steepness * (xyxy_to_relative(boxes, reference.to(boxes)) - optimum_rel.to(boxes)).square().sum(-1)
        )
    )


def test_the_defaults_are_the_papers() -> None:
    assert OURS == RefineSettings(1e-4, 4e-4, 0.5, 10, Coordinates.RELATIVE, 0.5, 100)
    assert (IOU_NET_STAR.position_step, IOU_NET_STAR.size_step, IOU_NET_STAR.decay) == (0.002, 0.008, 0.2)
    assert (IOU_NET.position_step, IOU_NET.decay, IOU_NET.coordinates) == (0.5, 0.1, Coordinates.CORNERS)


def test_a_known_f_is_climbed_to_its_optimum() -> None:
    reference = sides(BOXES)
    optimum = xyxy_to_relative(BOXES, reference) + OFFSETS
    found = refine_boxes(bowl(optimum, reference), BOXES, LABELS, RefineSettings(0.3, 0.3, 0.5, 60))
    torch.testing.assert_close(found.boxes_xyxy, relative_to_xyxy(optimum, reference), rtol=1e-5, atol=1e-3)
    torch.testing.assert_close(found.f, torch.zeros(4), rtol=0, atol=1e-7)


def test_too_long_steps_decay_until_they_climb() -> None:
    reference = sides(BOXES)
    optimum = xyxy_to_relative(BOXES, reference) + OFFSETS
    found = refine_boxes(bowl(optimum, reference, 10), BOXES, LABELS, RefineSettings(5.0, 3.0, 0.5, 80))
    torch.testing.assert_close(found.boxes_xyxy, relative_to_xyxy(optimum, reference), rtol=1e-4, atol=1e-2)


def test_algorithm_1_step_by_step() -> None:
    """PROTOCOL 9: f = -y^2, y0 = 1, step 1, decay 0.5. Step 1 proposes -1 with an equal f, which is refused; step 2
    proposes 0, which is taken. Here y is the centre in units of the box's width."""
    box = torch.tensor([[-5.0, 0, 15, 20]], dtype=torch.float64)
    energy = Energy(lambda boxes, _: -((boxes[:, 0] + boxes[:, 2]) / 2 / 20 - 0.25 + 1).square())
    for steps, expected in ((1, -5.0), (2, -25.0), (5, -25.0)):
        found = refine_boxes(energy, box, torch.ones(1).long(), RefineSettings(1.0, 1.0, 0.5, steps))
        torch.testing.assert_close(found.boxes_xyxy[0], torch.tensor([expected, 0, expected + 20, 20]).double())
    assert len(energy.asked) == 2 + 3 + 6  # one evaluation a step and one before


def test_position_and_size_have_their_own_steps_relative_to_the_box() -> None:
    """One step along a known slope: cx moves by step * slope * w0^2, log w by step * d f / d log w."""
    slopes = torch.tensor([0.01, -0.02, 0.03, 0.005], dtype=torch.float64)
    energy = Energy(lambda boxes, _: boxes @ slopes)
    box = torch.tensor([[10.0, 20, 40, 60]], dtype=torch.float64)
    found = refine_boxes(energy, box, torch.ones(1).long(), RefineSettings(0.01, 0.05, 0.5, 1)).boxes_xyxy[0]
    width = 30 * math.exp(0.05 * 15 * (0.03 - 0.01))
    height = 40 * math.exp(0.05 * 20 * (0.005 + 0.02))
    cx, cy = 25 + 0.01 * 900 * (0.01 + 0.03), 40 + 0.01 * 1600 * (-0.02 + 0.005)
    expected = torch.tensor([cx - width / 2, cy - height / 2, cx + width / 2, cy + height / 2])
    torch.testing.assert_close(found, expected.double())


def test_iou_nets_step_is_multiplied_by_the_boxs_present_size() -> None:
    slopes = torch.tensor([0.01, -0.02, 0.03, 0.005], dtype=torch.float64)
    energy = Energy(lambda boxes, _: boxes @ slopes)
    box = torch.tensor([[10.0, 20, 40, 60]], dtype=torch.float64)
    expected = box[0].clone()
    for _ in range(2):
        wh = expected[2:] - expected[:2]
        expected = expected + 0.5 * slopes * wh.repeat(2)
    settings = RefineSettings(0.5, 0.5, 0.1, 2, Coordinates.CORNERS)
    torch.testing.assert_close(refine_boxes(energy, box, torch.ones(1).long(), settings).boxes_xyxy[0], expected)


def test_boxes_do_not_influence_each_other() -> None:
    reference = sides(BOXES)
    optimum = xyxy_to_relative(BOXES, reference) + OFFSETS
    settings = RefineSettings(0.9, 0.4, 0.5, 7)
    together = refine_boxes(bowl(optimum, reference, 3), BOXES, LABELS, settings)
    for i in range(4):
        alone = refine_boxes(bowl(optimum[i : i + 1], reference[i : i + 1], 3), BOXES[i : i + 1], LABELS[:1], settings)
        torch.testing.assert_close(alone.boxes_xyxy[0], together.boxes_xyxy[i])
        torch.testing.assert_close(alone.f[0], together.f[i])


def test_each_box_is_asked_at_its_own_class() -> None:
    energy = Energy(lambda boxes, labels: -(boxes[:, 0] + 10.0 * labels).square())
    found = refine_boxes(energy, BOXES, LABELS, RefineSettings(0.01, 0.01, 0.5, 100, Coordinates.CORNERS))
    torch.testing.assert_close(found.boxes_xyxy[:, 0], -10.0 * LABELS, rtol=0.01, atol=0.1)


def test_what_cannot_be_refined_stays_to_the_bit() -> None:
    nan, inf = math.nan, math.inf
    bad = torch.tensor([[7.0, 7, 7, 9], [9, 9, 3, 3], [nan, 0, 5, 5], [0, 0, inf, 5], [0.1, 0.3, 33.7, 47.9]])
    calls: list[int] = []

    def broken(boxes: Tensor, _: Tensor) -> Tensor:
        calls.append(len(boxes))
        return (boxes * nan).sum(-1)

    found = refine_boxes(Energy(broken), bad, torch.ones(5).long())
    torch.testing.assert_close(found.boxes_xyxy, bad, rtol=0, atol=0, equal_nan=True)
    assert set(calls) == {1} and found.f.isnan().all()
    flat = refine_boxes(Energy(lambda boxes, _: 0 * boxes.sum(-1) + 4), BOXES + 0.1, LABELS)
    assert torch.equal(flat.boxes_xyxy, BOXES + 0.1) and flat.f.tolist() == [4.0] * 4


def test_the_energy_never_falls_and_arguments_stay() -> None:
    generator = torch.Generator().manual_seed(0)
    mixing = torch.randn((4, 4), generator=generator) / 40
    energy = Energy(lambda boxes, _: (boxes @ mixing).sin().sum(-1))
    before, start = BOXES.clone(), energy.values(BOXES, LABELS)
    for steps in range(6):
        found = refine_boxes(energy, BOXES, LABELS, RefineSettings(0.5, 0.5, 0.5, steps))
        assert (found.f >= start - 1e-6).all()
        torch.testing.assert_close(energy.values(found.boxes_xyxy, LABELS), found.f, rtol=1e-5, atol=1e-6)
    assert torch.equal(BOXES, before)


def test_no_boxes_and_no_steps() -> None:
    energy = bowl(torch.zeros(1, 4), torch.ones(1, 2))
    none = refine_boxes(energy, torch.zeros(0, 4), torch.zeros(0).long())
    assert none.boxes_xyxy.shape == (0, 4) and none.f.shape == (0,) and not energy.asked
    still = refine_boxes(energy, BOXES[:1], LABELS[:1], RefineSettings(steps=0))
    assert torch.equal(still.boxes_xyxy, BOXES[:1])
    torch.testing.assert_close(still.f, energy.values(BOXES[:1], LABELS[:1]))


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"position_step": 0.0}, "step lengths"),
        ({"size_step": -1.0}, "step lengths"),
        ({"decay": 0.0}, "decay"),
        ({"decay": 1.5}, "decay"),
        ({"steps": -1}, "steps"),
        ({"most": 0}, "most"),
        ({"nms_threshold": 2.0}, "nms_threshold"),
    ],
)
def test_bad_settings(wrong: dict[str, float], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        RefineSettings(**wrong)  # type: ignore[arg-type]
