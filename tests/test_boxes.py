from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch

from ebm_tracker.boxes import (
    check_inside,
    gradient_to_relative,
    iou_xywh,
    parse_box_xywh,
    relative_to_xywh,
    xywh_to_relative,
    xywh_to_xyxy,
)

Golden = Callable[[str], dict[str, np.ndarray]]


@pytest.mark.parametrize(
    "box",
    [
        [10, 20.5, 30, 40],
        (10, 20.5, 30, 40),
        np.array([10, 20.5, 30, 40]),
        np.array([10, 20.5, 30, 40], dtype=np.float32),
        torch.tensor([10, 20.5, 30, 40]),
        torch.tensor([10, 20.5, 30, 40], requires_grad=True),
        [[10, 20.5, 30, 40]],
        np.array([[10, 20.5, 30, 40]]),
        torch.tensor([[10, 20.5, 30, 40]]),
        [np.float32(10), np.int64(20) + 0.5, torch.tensor(30), 40],
    ],
)
def test_four_numbers_in_any_container_are_a_box(box: Any) -> None:
    parsed = parse_box_xywh(box)
    assert parsed == (10.0, 20.5, 30.0, 40.0)
    assert isinstance(parsed, tuple) and all(type(value) is float for value in parsed)


@pytest.mark.parametrize("box", [(-50, -3, 0.25, 1e-3), (1e6, 2, 1, 1)])
def test_position_and_size_are_not_bounded_here(box: tuple[float, ...]) -> None:
    assert parse_box_xywh(box) == box


@pytest.mark.parametrize(
    ("box", "message"),
    [
        (None, "four numbers"),
        ("1,2,3,4", "four numbers"),
        (b"1234", "four numbers"),
        (["1234"], "1 of them"),
        (7, "four numbers"),
        (np.array(7.0), "four numbers"),
        ({1: 2, 3: 4}, "four numbers"),
        ((1, 2, "wide", 4), "four numbers"),
        ((1, 2, None, 4), "four numbers"),
        ((1, 2, 3, 4j), "four numbers"),
        ((1, 2, 3, 10**400), "four numbers"),
        ([[1, 2], [3, 4]], "four numbers"),
        (np.ones((4, 1)), "four numbers"),
        ((), "0 of them"),
        ((1, 2, 3), "3 of them"),
        ((1, 2, 3, 4, 5), "5 of them"),
        ([[1, 2, 3]], "3 of them"),
        ((math.nan, 2, 3, 4), "finite"),
        ((1, 2, math.inf, 4), "finite"),
        (np.array([1, -np.inf, 3, 4]), "finite"),
        ((1, 2, 0, 4), "> 0"),
        ((1, 2, 3, -4), "> 0"),
    ],
)
def test_anything_else_is_refused_with_its_name(box: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message) as error:
        parse_box_xywh(box, name="init_box")
    assert str(error.value).startswith("init_box")


@pytest.mark.parametrize("box", [(0, 0, 5, 5), (-4.5, -4.5, 5, 5), (99.5, 79.5, 5, 5), (-10, -10, 500, 500)])
def test_a_box_with_a_part_in_the_frame_is_inside(box: tuple[float, float, float, float]) -> None:
    check_inside(box, (100, 80))


@pytest.mark.parametrize("box", [(100, 0, 5, 5), (0, 80, 5, 5), (-5, 0, 5, 5), (0, -5, 5, 5)])
def test_a_box_beside_the_frame_is_refused(box: tuple[float, float, float, float]) -> None:
    with pytest.raises(ValueError, match=r"init_box lies outside the image .*100x80"):
        check_inside(box, (100, 80), name="init_box")


@pytest.mark.parametrize("side", [1e-300, 9e-4, 1.1e6, 1e300])
def test_sides_that_no_object_has_are_refused(side: float) -> None:
    with pytest.raises(ValueError, match=r"init_box: width and height must be 0.001 to 1e\+06 pixels"):
        check_inside((5, 5, side, side), (100, 80), name="init_box")
    check_inside((5, 5, 1e-3, 1e6), (100, 80))


def test_a_long_box_is_not_printed_in_full() -> None:
    with pytest.raises(ValueError, match="10000 of them") as error:
        parse_box_xywh(list(range(10**4)))
    with pytest.raises(ValueError, match="four numbers") as other:
        parse_box_xywh([["x" * 999] * 999] * 4)
    assert max(len(str(error.value)), len(str(other.value))) < 1000


def test_corners() -> None:
    boxes = torch.tensor([[[1.0, 2, 3, 4]], [[-1, 0, 0.5, 2]]])
    assert xywh_to_xyxy(boxes).tolist() == [[[1, 2, 4, 6]], [[-1, 0, -0.5, 2]]]


def test_relative_coordinates_of_the_worked_example() -> None:
    box = torch.tensor([10.0, 20, 30, 40], dtype=torch.float64)
    expected = torch.tensor([25 / 30, 1, math.log(30), math.log(40)], dtype=torch.float64)
    torch.testing.assert_close(xywh_to_relative(box, box[2:]), expected, atol=1e-12, rtol=0)


def test_relative_coordinates_return_to_the_same_boxes() -> None:
    generator = torch.Generator().manual_seed(3)
    boxes = torch.rand((5, 7, 4), generator=generator, dtype=torch.float64) * 200 + 0.01
    boxes[..., :2] -= 100
    for ref_wh in (boxes[..., 2:], boxes[:, :1, 2:], torch.tensor([12.5, 90.0], dtype=torch.float64)):
        relative = xywh_to_relative(boxes, ref_wh)
        assert relative.shape == boxes.shape
        torch.testing.assert_close(relative_to_xywh(relative, ref_wh), boxes, atol=1e-10, rtol=0)


def test_golden_relative_coordinates(golden: Golden) -> None:
    arrays = {key: torch.from_numpy(value).double() for key, value in golden("c_boxes_density_loss").items()}
    boxes = arrays["boxes"]
    for ref_wh, tag, back in (
        (boxes[:, 2:], "rel_own_size", "back_from_own"),
        (arrays["sz_norm"], "rel_fixed_size", "back_from_fixed"),
    ):
        relative = xywh_to_relative(boxes, ref_wh)
        torch.testing.assert_close(relative, arrays[tag], atol=1e-12, rtol=1e-6)
        torch.testing.assert_close(relative_to_xywh(relative, ref_wh), arrays[back], atol=1e-6, rtol=1e-6)


def test_the_gradient_follows_the_chain_rule() -> None:
    generator = torch.Generator().manual_seed(4)
    boxes = torch.rand((6, 4), generator=generator, dtype=torch.float64) * 50 + 1
    coupling = torch.randn((4, 4), generator=generator, dtype=torch.float64)

    def energy(boxes_xywh: torch.Tensor) -> torch.Tensor:
        return torch.sin(0.1 * boxes_xywh @ coupling).sum(1)

    ref_wh = boxes[:1, 2:]
    relative = xywh_to_relative(boxes, ref_wh).requires_grad_()
    (expected,) = torch.autograd.grad(energy(relative_to_xywh(relative, ref_wh)).sum(), relative)
    leaf = boxes.clone().requires_grad_()
    (grad,) = torch.autograd.grad(energy(leaf).sum(), leaf)
    torch.testing.assert_close(gradient_to_relative(grad, boxes, ref_wh), expected, atol=1e-10, rtol=1e-10)


@pytest.mark.parametrize(
    ("a", "b", "expected"),
    [
        ((10, 20, 30, 40), (10, 20, 30, 40), 1.0),
        ((0, 0, 10, 10), (20, 0, 10, 10), 0.0),
        ((0, 0, 10, 10), (0, 20, 10, 10), 0.0),
        ((0, 0, 10, 10), (20, 20, 10, 10), 0.0),  # apart on both axes: two negative sides are no overlap
        ((0, 0, 10, 10), (10, 0, 10, 10), 0.0),
        ((0, 0, 10, 10), (10, 10, 10, 10), 0.0),
        ((0, 0, 10, 10), (2, 3, 5, 4), 0.2),
        ((0, 0, 10, 10), (5, 0, 10, 10), 1 / 3),
        ((0, 0, 10, 10), (5, 5, 10, 10), 25 / 175),
        ((-5, -5, 10, 10), (0, 0, 10, 10), 25 / 175),
        ((0, 0, 10, 10), (3, 3, 0, 5), 0.0),
        ((3, 3, 0, 0), (3, 3, 0, 0), 0.0),
    ],
)
def test_overlap(a: tuple[float, ...], b: tuple[float, ...], expected: float) -> None:
    first, second = torch.tensor(a, dtype=torch.float64), torch.tensor(b, dtype=torch.float64)
    assert float(iou_xywh(first, second)) == pytest.approx(expected, abs=1e-12)
    assert float(iou_xywh(second, first)) == pytest.approx(expected, abs=1e-12)


def test_overlap_broadcasts() -> None:
    boxes = torch.tensor([[0.0, 0, 10, 10], [5, 0, 10, 10], [50, 50, 1, 1]])
    table = iou_xywh(boxes[:, None], boxes[None])
    expected = torch.tensor([[1, 1 / 3, 0], [1 / 3, 1, 0], [0, 0, 1]])
    torch.testing.assert_close(table, expected)
