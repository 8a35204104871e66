from __future__ import annotations

import copy
import math
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.utils.data import default_collate

from ebm_tracker.boxes import iou_xywh
from ebm_tracker.models import BatchNormMode, EnergyHead, EnergyNetwork, HeadChannels
from ebm_tracker.models.backbone import build_backbone
from ebm_tracker.training.candidates import Candidates
from ebm_tracker.training.heldout import HeldOutPairs
from ebm_tracker.training.objective import OBJECTIVES, build_objective, sample_losses, score_pairs
from ebm_tracker.training.pairs import Pair
from ebm_tracker.training.sample import Sample

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


# Loss ----------------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def pairs() -> list[Pair]:
    """Five pairs of noise, 64 pixels wide."""
    generator = torch.Generator().manual_seed(1)
    made = []
    for _ in range(5):
        images = torch.randint(0, 256, (2, 3, 64, 64), generator=generator, dtype=torch.uint8)
        corners, sides = torch.rand(2, 2, 2, generator=generator)
        boxes = torch.cat((10 + 10 * corners, 15 + 20 * sides), dim=1)
        made.append(Pair(images[0], boxes[0], images[1], boxes[1]))
    return made


@pytest.fixture(scope="module")
def network(pairs: list[Pair]) -> EnergyNetwork:
    """With the running statistics of these pairs: with those of a new network the features all but vanish."""
    torch.manual_seed(0)
    head = EnergyHead(HeadChannels((40, 112), (4, 4), (8, 8), (8, 8)))
    network = EnergyNetwork(build_backbone("efficientnet_lite0"), head, BatchNormMode.TRAIN)
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.momentum = 1.0
    batch = default_collate(pairs)
    with torch.no_grad():
        score_pairs(network.train(), batch, batch.test_box[:, None])
    return network.eval()


@pytest.mark.parametrize("name", OBJECTIVES)
def test_loss_is_the_mean_of_the_losses_of_training(network: EnergyNetwork, pairs: list[Pair], name: str) -> None:
    """One pair at a time, with candidates drawn from (seed, number): the last, smaller batch does not weigh more."""
    objective = build_objective(name, samples=8)
    alone = []
    for number, pair in enumerate(pairs):
        candidates = objective.scheme.draw(pair.test_box, np.random.default_rng((3, number)))
        sample = Sample(pair, candidates, torch.tensor(number))
        with torch.no_grad():
            alone.append(float(sample_losses(network, objective, default_collate([sample]))))
    assert np.ptp(alone) > 0.1
    for batch_size in (1, 2, 4, 5):
        held_out = HeldOutPairs(pairs, seed=3, batch_size=batch_size)
        assert held_out.loss(network, objective) == pytest.approx(np.mean(alone), rel=1e-5, abs=1e-5)


def test_loss_is_the_same_in_every_call_and_another_with_other_draws(network: EnergyNetwork, pairs: list[Pair]) -> None:
    objective = build_objective("nll", samples=8)
    held_out = HeldOutPairs(pairs, seed=3)
    torch.manual_seed(5)
    first = held_out.loss(network, objective)
    torch.manual_seed(6)
    np.random.seed(6)
    assert held_out.loss(network, objective) == first
    assert HeldOutPairs(pairs, seed=4).loss(network, objective) != first


def test_loss_makes_no_graph_and_leaves_the_network_as_it_is(network: EnergyNetwork, pairs: list[Pair]) -> None:
    seen: list[bool] = []

    def loss(f: Tensor, candidates: Candidates, truth_xywh: Tensor) -> Tensor:
        seen.append(f.requires_grad or torch.is_grad_enabled())
        return truth_xywh.sum(1)

    objective = replace(build_objective("nll", samples=2), loss=loss)
    before = {key: value.clone() for key, value in network.state_dict().items()}
    value = HeldOutPairs(pairs, batch_size=2).loss(network, objective)
    assert value == pytest.approx(sum(float(pair.test_box.sum()) for pair in pairs) / 5)
    assert seen == [False] * 3 and not network.training
    assert all(torch.equal(before[key], stored) for key, stored in network.state_dict().items())


def test_loss_in_a_narrow_type_is_near(network: EnergyNetwork, pairs: list[Pair]) -> None:
    objective, held_out = build_objective("nll", samples=8), HeldOutPairs(pairs)
    wide, narrow = (held_out.loss(network, objective, precision) for precision in ("float32", "bfloat16"))
    assert wide != narrow and narrow == pytest.approx(wide, rel=0.05)


def test_pairs_go_to_the_device() -> None:
    """"meta" stands for a GPU: tensors there have a device and no values."""
    held_out = HeldOutPairs(make_pairs(4), batch_size=3, device="meta")
    assert held_out.device == torch.device("meta")
    assert {part.device.type for batch in held_out.batches for part in batch} == {"meta"}
    assert {part.device.type for part in HeldOutPairs(make_pairs(4)).batches[0]} == {"cpu"}


@pytest.mark.gpu
def test_a_gpu_gives_the_values_of_the_cpu(network: EnergyNetwork, pairs: list[Pair]) -> None:
    objective = build_objective("nll", samples=8)
    values = []
    for device in ("cpu", "cuda"):
        held_out, there = HeldOutPairs(pairs, batch_size=2, device=device), copy.deepcopy(network).to(device)
        gain = held_out.refinement(there, (4e-4, 2e-3))
        values.append((held_out.loss(there, objective), gain.start_iou, gain.iou))
    assert values[1] == pytest.approx(values[0], abs=5e-3)


def test_no_pairs_are_refused() -> None:
    with pytest.raises(ValueError, match="at least one pair"):
        HeldOutPairs([])
