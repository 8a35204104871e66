from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from torch import Tensor

from ebm_tracker.boxes import iou_xywh
from ebm_tracker.training.heldout import HeldOutPairs
from ebm_tracker.training.objective import Objective
from ebm_tracker.training.pairs import Pair

STEP = (0.5, 0.5)


def make_pairs(count: int, seed: int = 0) -> list[Pair]:
    """Pairs whose test image holds nothing but the four numbers of the true box."""
    generator = torch.Generator().manual_seed(seed)
    pairs = []
    for _ in range(count):
        size = 40 + 40 * torch.rand(2, generator=generator)
        box = torch.cat((100 + 60 * torch.rand(2, generator=generator), size))
        pairs.append(Pair(torch.zeros(4), box, box.clone(), box))
    return pairs


class Peak:
    """Stands in for a network: the energy is a paraboloid, in relative coordinates, with its top at the truth plus
    ``offset`` (shares of the size), and ``sign`` -1 turns it over."""

    def __init__(self, offset: float = 0.0, sign: float = 1.0) -> None:
        self.head = self
        self.offset, self.sign = offset, sign
        self.encoded = 0

    def features(self, images: Tensor) -> Tensor:
        return images

    def modulation(self, features: Tensor, boxes: Tensor) -> None:
        return None

    def maps(self, features: Tensor) -> Tensor:
        self.encoded += 1
        return features

    def energies(self, maps: Tensor, modulation: Any, boxes: Tensor) -> Tensor:
        truth = maps[:, None]
        top = truth[..., :2] + truth[..., 2:] * (0.5 + self.offset)
        position = (boxes[..., :2] + boxes[..., 2:] / 2 - top) / truth[..., 2:]
        size = (boxes[..., 2:] / truth[..., 2:]).log()
        return -self.sign * 0.5 * (position.square().sum(-1) + size.square().sum(-1))


def test_start_boxes_are_as_rough_as_they_say() -> None:
    """First box: centre off by normal noise of a tenth of sqrt(wh), sides by the factor exp of normal noise of 0.25.
    The nine others: uniform within 5 % of the side around its centre, and 25 % of it in size."""
    held_out = HeldOutPairs(make_pairs(600), batch_size=64)
    truth = torch.cat([batch.test_box for batch in held_out.batches])
    boxes = torch.cat(held_out.start_boxes())
    assert boxes.shape == (600, 10, 4)
    first, rest = boxes[:, 0], boxes[:, 1:]
    side = truth[:, 2:].prod(1).sqrt()[:, None]
    offset = (first[:, :2] + first[:, 2:] / 2 - truth[:, :2] - truth[:, 2:] / 2) / side
    factor = (first[:, 2:] / truth[:, 2:]).log()
    for values, spread in ((offset, 0.1), (factor, 0.25)):
        assert float(values.mean()) == pytest.approx(0, abs=0.15 * spread)
        assert float(values.std()) == pytest.approx(spread, rel=0.08)
    rough = first[:, 2:].prod(1).sqrt()[:, None, None]
    shift = (rest[..., :2] + rest[..., 2:] / 2 - (first[:, :2] + first[:, 2:] / 2)[:, None]) / rough
    growth = (rest[..., 2:] - first[:, None, 2:]) / rough
    assert float(shift.abs().max()) <= 0.0501 and float(shift.std()) == pytest.approx(0.1 / math.sqrt(12), rel=0.05)
    assert float(growth.abs().max()) <= 0.2501 and float(growth.std()) == pytest.approx(0.5 / math.sqrt(12), rel=0.05)
    assert float(boxes[..., 2:].min()) > 0
    start = float(iou_xywh(boxes, truth[:, None]).mean())
    assert 0.55 < start < 0.75


def test_start_boxes_are_fixed_by_the_seed() -> None:
    pairs = make_pairs(10)
    one, same, other = (HeldOutPairs(pairs, seed=s) for s in (1, 1, 2))
    assert torch.equal(one.start_boxes()[0], same.start_boxes()[0])
    assert torch.equal(one.start_boxes()[0], one.start_boxes()[0])
    assert not torch.equal(one.start_boxes()[0], other.start_boxes()[0])


def test_batches_hold_all_pairs_in_order() -> None:
    pairs = make_pairs(7)
    held_out = HeldOutPairs(pairs, batch_size=3)
    assert [len(batch.test_box) for batch in held_out.batches] == [3, 3, 1]
    assert torch.equal(torch.cat([b.test_box for b in held_out.batches]), torch.stack([p.test_box for p in pairs]))


def test_refinement_climbs_to_a_peak_at_the_truth() -> None:
    held_out = HeldOutPairs(make_pairs(20), batch_size=8)
    gain = held_out.refinement(Peak(), STEP)  # type: ignore[arg-type]
    truth = torch.cat([batch.test_box for batch in held_out.batches])
    start = float(iou_xywh(torch.cat(held_out.start_boxes()), truth[:, None]).mean())
    assert gain.start_iou == pytest.approx(start)
    assert gain.iou > 0.98 and gain.op75 == 1.0
    few = held_out.refinement(Peak(), STEP, steps=2)  # type: ignore[arg-type]
    assert gain.start_iou == few.start_iou < few.iou < gain.iou


def test_refinement_finds_a_wrong_peak_too() -> None:
    """The score is that of the network, not of the truth: a top half a size away gives IoU 0.25 / 1.75."""
    gain = HeldOutPairs(make_pairs(10)).refinement(Peak(offset=0.5), STEP, steps=20)  # type: ignore[arg-type]
    assert gain.iou == pytest.approx(0.25 / 1.75, abs=0.02) and gain.op75 == 0.0


def test_refinement_on_an_overturned_energy_is_worse_than_none() -> None:
    gain = HeldOutPairs(make_pairs(10)).refinement(Peak(sign=-1), (0.1, 0.1), steps=4)  # type: ignore[arg-type]
    assert gain.iou < gain.start_iou


def test_no_steps_take_the_three_best_start_boxes() -> None:
    held_out = HeldOutPairs(make_pairs(20))
    gain = held_out.refinement(Peak(), STEP, steps=0)  # type: ignore[arg-type]
    (boxes,), truth = held_out.start_boxes(), held_out.batches[0].test_box
    energy = Peak().energies(truth, None, boxes)
    best = torch.stack([b[e.argsort(descending=True)[:3]].mean(0) for b, e in zip(boxes, energy, strict=True)])
    assert gain.iou == pytest.approx(float(iou_xywh(best, truth).mean()))


def test_features_are_computed_once_for_a_search_over_steps() -> None:
    held_out, network = HeldOutPairs(make_pairs(6), batch_size=3), Peak()
    encoded = held_out.encode(network)  # type: ignore[arg-type]
    assert network.encoded == len(encoded) == 2
    known = held_out.refinement(network, STEP, encoded=encoded)  # type: ignore[arg-type]
    assert network.encoded == 2
    assert known == held_out.refinement(network, STEP)  # type: ignore[arg-type]


def test_nll_is_the_mean_over_pairs_with_a_fixed_generator() -> None:
    draws: list[float] = []

    def losses(network: Any, batch: Pair, generator: torch.Generator) -> Tensor:
        draws.append(float(torch.rand(1, generator=generator)))
        assert not torch.is_grad_enabled()
        return batch.test_box.sum(1)

    objective: Objective = losses
    pairs = make_pairs(7)
    held_out = HeldOutPairs(pairs, batch_size=3)
    values = [held_out.nll(Peak(), objective) for _ in range(2)]  # type: ignore[arg-type]
    expected = sum(float(p.test_box.sum()) for p in pairs) / 7  # the last, smaller batch does not weigh more
    assert values == pytest.approx([expected] * 2)
    assert draws[:3] == draws[3:] and len(set(draws[:3])) == 3
