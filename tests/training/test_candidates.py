from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch import Tensor

from ebm_tracker.boxes import iou_xywh, xywh_to_relative
from ebm_tracker.training.candidates import AtomCandidates, CandidateScheme, First, MixtureCandidates

TRUTH = torch.tensor([100.0, 60.0, 50.0, 80.0])
AT_TRUTH = 7.61413  # log q of the tracking mixture at its centre (PROTOCOL 9)


def rng(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


def relative(boxes: Tensor, truth: Tensor = TRUTH) -> Tensor:
    """Offsets from the truth in relative coordinates, written out."""
    boxes, truth = boxes.double(), truth.double()
    center = boxes[:, :2] + boxes[:, 2:] / 2 - truth[:2] - truth[2:] / 2
    return torch.cat((center / truth[2:], (boxes[:, 2:] / truth[2:]).log()), dim=1)


def density(offsets: Tensor, sigmas: tuple[float, ...]) -> Tensor:
    """The mixture, as the mean of products of one-dimensional densities."""
    parts = [(-0.5 * (offsets / s).square()).exp().div(math.sqrt(2 * math.pi) * s).prod(-1) for s in sigmas]
    return torch.stack(parts).mean(0)


@pytest.mark.parametrize("first", list(First))
def test_log_q_is_the_density_where_the_boxes_lie(first: First) -> None:
    sigmas = (0.05, 0.5)
    boxes, log_q = MixtureCandidates(sigmas, 64, first).draw(TRUTH, rng())
    assert boxes.shape == (64 + (first is not First.NONE), 4) and log_q.shape == boxes.shape[:1]
    assert boxes.dtype is log_q.dtype is torch.float32 and bool((boxes[:, 2:] > 0).all())
    expected = density(relative(boxes), sigmas).log()
    torch.testing.assert_close(log_q.double(), expected, atol=1e-3, rtol=1e-4)


def test_first_entry_is_the_truth_with_its_own_density() -> None:
    boxes, log_q = MixtureCandidates(first=First.TRUTH).draw(TRUTH, rng())
    assert len(boxes) == 129 and torch.equal(boxes[0], TRUTH)
    assert float(log_q[0]) == pytest.approx(AT_TRUTH, abs=1e-5)
    plain = MixtureCandidates().draw(TRUTH, rng())
    assert torch.equal(boxes[1:], plain.boxes_xywh) and torch.equal(log_q[1:], plain.log_q)


def test_noisy_truth_is_beta_as_wide() -> None:
    scheme = MixtureCandidates((0.05, 0.5), 1, First.NOISY_TRUTH, beta=0.1)
    generator = rng()
    offsets = torch.cat([relative(scheme.draw(TRUTH, generator).boxes_xywh[:1]) for _ in range(4000)])
    # Variance: mean of 0.005^2 and 0.05^2; the wide half and the narrow half share one component per box.
    assert float(offsets.square().mean()) == pytest.approx((0.005**2 + 0.05**2) / 2, rel=0.06)
    narrow = (offsets.abs() < 0.025).all(1).double().mean()
    assert float(narrow) == pytest.approx(0.5 + 0.5 * math.erf(0.5 / math.sqrt(2)) ** 4, abs=0.03)
    fixed = MixtureCandidates((0.05, 0.5), 8, First.NOISY_TRUTH, beta=1e-9).draw(TRUTH, rng())
    torch.testing.assert_close(fixed.boxes_xywh[0], TRUTH)
    assert float(fixed.log_q[0]) == pytest.approx(AT_TRUTH, abs=1e-5)


def test_spread_is_that_of_the_mixture() -> None:
    boxes, _ = MixtureCandidates((0.05, 0.5), 200_000).draw(TRUTH, rng())
    offsets = relative(boxes)
    torch.testing.assert_close(offsets.mean(0), torch.zeros(4).double(), atol=4e-3, rtol=0)
    torch.testing.assert_close(offsets.square().mean(0), torch.full((4,), 0.12625).double(), atol=3e-3, rtol=0)
    # One component for all four: a box of the narrow one has all coordinates within 5 * 0.05.
    inside = float((offsets.abs() < 0.25).all(1).double().mean())
    assert inside == pytest.approx(0.5 + 0.5 * math.erf(0.5 / math.sqrt(2)) ** 4, abs=0.005)


def test_own_spreads_for_each_coordinate() -> None:
    boxes, log_q = MixtureCandidates(((0.1, 0.1, 0.4, 0.4),), 50_000).draw(TRUTH, rng())
    torch.testing.assert_close(relative(boxes).std(0), torch.tensor([0.1, 0.1, 0.4, 0.4]).double(), rtol=0.02, atol=0)
    at_truth = -2 * math.log(0.1) - 2 * math.log(0.4) - 2 * math.log(2 * math.pi)
    assert float(log_q.max()) <= at_truth


def test_candidates_scale_with_the_box() -> None:
    scheme = MixtureCandidates(samples=16, first=First.TRUTH)
    one, two = scheme.draw(TRUTH, rng()), scheme.draw(2 * TRUTH, rng())
    torch.testing.assert_close(2 * one.boxes_xywh, two.boxes_xywh)
    assert torch.equal(one.log_q, two.log_q)


@pytest.mark.parametrize("scheme", [MixtureCandidates(first=First.NOISY_TRUTH), AtomCandidates()])
def test_draws_follow_the_generator_alone(scheme: CandidateScheme) -> None:
    torch_state, truth = torch.get_rng_state(), TRUTH.clone()
    numpy_state = np.random.get_state()[1].copy()
    first, again, other = (scheme.draw(truth, rng(seed)).boxes_xywh for seed in (1, 1, 2))
    assert torch.equal(first, again) and not torch.equal(first, other)
    assert torch.equal(truth, TRUTH) and torch.equal(torch_state, torch.get_rng_state())
    assert np.array_equal(numpy_state, np.random.get_state()[1])


def test_atom_boxes_are_integers_that_overlap() -> None:
    scheme = AtomCandidates()
    generator = rng()
    drawn = [scheme.draw(TRUTH, generator) for _ in range(500)]
    boxes = torch.stack([d.boxes_xywh for d in drawn])
    assert boxes.shape == (500, 16, 4) and boxes.dtype is torch.float32
    assert torch.equal(boxes, boxes.round())
    assert float(iou_xywh(boxes, TRUTH).min()) > 0.1
    assert all(not d.log_q.any() for d in drawn)


@pytest.mark.parametrize("spread", [0.01, 0.05, 0.1])
def test_atom_noise_has_the_spread_on_centre_and_sides(spread: float) -> None:
    """Spreads at which no box is refused; rounding the corner adds to the centre's variance 1/12 + 1/4 * 1/12 at
    most, to the sides' 1/12."""
    truth = torch.tensor([1000.0, 1000.0, 500.0, 800.0])
    boxes = AtomCandidates(20_000, (spread,)).draw(truth, rng()).boxes_xywh.double()
    noise = torch.cat((boxes[:, :2] + boxes[:, 2:] / 2, boxes[:, 2:]), dim=1) - torch.tensor([1250.0, 1400, 500, 800])
    expected = math.sqrt((spread * math.sqrt(500 * 800)) ** 2 + 1 / 12)
    torch.testing.assert_close(noise.std(0), torch.full((4,), expected).double(), rtol=0.02, atol=0)
    torch.testing.assert_close(noise.mean(0), torch.zeros(4).double(), rtol=0, atol=4 * expected / math.sqrt(20_000))


def test_atom_spreads_are_drawn_for_each_box() -> None:
    """One box in two of spread 0.001 has no visible noise, and not whole sets of 16 have."""
    truth = torch.tensor([1000.0, 1000.0, 100.0, 100.0])
    scheme, generator = AtomCandidates(16, (0.001, 0.2)), rng()
    still = torch.stack([(scheme.draw(truth, generator).boxes_xywh == truth).all(1) for _ in range(300)]).double()
    assert float(still.mean()) == pytest.approx(0.5, abs=0.03)
    assert float(still.mean(1).std()) == pytest.approx(math.sqrt(0.25 / 16), rel=0.15)


def test_atom_refuses_and_narrows() -> None:
    """A spread of 100 sides: hardly a first try overlaps, but after some dozen tries at 0.9 of the spread one does."""
    boxes = AtomCandidates(200, (100.0,)).draw(TRUTH, rng()).boxes_xywh
    overlap = iou_xywh(boxes, TRUTH)
    assert float(overlap.min()) > 0.1
    loose = AtomCandidates(200, (100.0,), min_iou=-1).draw(TRUTH, rng()).boxes_xywh
    assert float((iou_xywh(loose, TRUTH) > 0.1).double().mean()) < 0.05


def test_atom_gives_up_after_its_tries() -> None:
    """0.9^100 of a spread of 1e9 sides is still 26,000: the last box is taken as it is."""
    boxes = AtomCandidates(16, (1e9,)).draw(TRUTH, rng()).boxes_xywh
    assert bool(boxes.isfinite().all()) and float(iou_xywh(boxes, TRUTH).min()) <= 0.1


def test_atom_replaces_sides_that_vanish() -> None:
    """Sides of 40 with a spread of 10 sides go below 1 in nearly half of the draws: those lie in 0.15-0.5 of 40."""
    truth = torch.tensor([100.0, 100.0, 40.0, 40.0])
    sides = AtomCandidates(20_000, (10.0,), min_iou=-1).draw(truth, rng()).boxes_xywh[:, 2:]
    replaced = (sides >= 6) & (sides <= 20)
    assert float(sides.min()) > 1
    # P(40 + 400 n <= 1) = Phi(-0.0975) = 0.461, and 0.014 of the others lie in that range themselves.
    assert float(replaced.double().mean()) == pytest.approx(0.461 + 0.014, abs=0.01)
    kept = sides[replaced]
    assert float(kept.mean()) == pytest.approx(40 * 0.325, rel=0.01)


def test_atom_boxes_of_small_objects_have_sides() -> None:
    truth = torch.tensor([50.0, 50.0, 2.0, 1.5])
    boxes = AtomCandidates(2000).draw(truth, rng()).boxes_xywh
    assert bool((boxes[:, 2:] > 0).all()) and float(iou_xywh(boxes, truth).min()) > 0.1


def test_relative_offsets_agree_with_the_boxes_module() -> None:
    boxes, _ = MixtureCandidates(samples=32).draw(TRUTH, rng())
    ref_wh = TRUTH[2:]
    offsets = xywh_to_relative(boxes, ref_wh) - xywh_to_relative(TRUTH, ref_wh)
    torch.testing.assert_close(offsets.double(), relative(boxes), atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: MixtureCandidates(samples=0), r"samples must be >= 1 \(got 0\)"),
        (lambda: MixtureCandidates(beta=0.0), r"beta must be > 0 \(got 0.0\)"),
        (lambda: MixtureCandidates(beta=math.nan), r"beta must be > 0 \(got nan\)"),
        (lambda: MixtureCandidates((0.1, -0.1)), "sigmas must be"),
        (lambda: AtomCandidates(0), r"count must be >= 1 \(got 0\)"),
        (lambda: AtomCandidates(spreads=()), "spreads must be positive"),
        (lambda: AtomCandidates(spreads=(0.1, 0.0)), "spreads must be positive"),
    ],
)
def test_bad_settings(build: object, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        build()  # type: ignore[operator]
