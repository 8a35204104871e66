from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.utils.data import default_collate

from ebm_tracker.boxes import iou_xywh, xywh_to_relative
from ebm_tracker.energy import GaussianMixture
from ebm_tracker.models import BatchNormMode, EnergyHead, EnergyNetwork, HeadChannels
from ebm_tracker.models.backbone import build_backbone
from ebm_tracker.training.candidates import Candidates
from ebm_tracker.training.objective import (
    OBJECTIVES,
    Objective,
    TrainingStep,
    build_objective,
    sample_losses,
    score_pairs,
)
from ebm_tracker.training.pairs import Pair
from ebm_tracker.training.sample import Sample

BATCH, SAMPLES = 3, 16
COUNTS = {"nll": 17, "iou_mse": 16, "iou_mse_atom": 16, "kl": 16, "nce": 17, "nce_plus": 17}
LIKELIHOODS = ("nll", "kl", "nce", "nce_plus")
TRUTH = torch.tensor([(33.0, 38.0, 24.0, 26.0), (13.0, 8.0, 44.0, 31.0), (53.0, 18.0, 29.0, 51.0)])


def make_network(folded: bool = True) -> EnergyNetwork:
    torch.manual_seed(0)
    head = EnergyHead(HeadChannels((40, 112), (8, 8), (8, 8), (8, 8)))
    return EnergyNetwork(build_backbone("efficientnet_lite0", folded=folded), head)


@pytest.fixture
def network() -> EnergyNetwork:
    return make_network()


@pytest.fixture
def pair() -> Pair:
    generator = torch.Generator().manual_seed(1)
    images = torch.randint(0, 256, (2, BATCH, 3, 96, 96), generator=generator, dtype=torch.uint8)
    return Pair(images[0], TRUTH - torch.tensor([3.0, -2.0, 4.0, 1.0]), images[1], TRUTH)


def draw(objective: Objective, truth: Tensor = TRUTH, seed: int = 0) -> Candidates:
    rng = np.random.default_rng(seed)
    return Candidates(*default_collate([objective.scheme.draw(box, rng) for box in truth]))


def make_sample(objective: Objective, pair: Pair) -> Sample:
    return Sample(pair, draw(objective, pair.test_box), torch.arange(len(pair.test_box)))


def smooth(candidates: Candidates, truth: Tensor = TRUTH) -> Tensor:
    """Some energy of boxes, float64."""
    relative = xywh_to_relative(candidates.boxes_xywh, truth[:, None, 2:]).double()
    return (3 * relative).sin().sum(-1)


# The losses ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", OBJECTIVES)
def test_candidates_and_losses_of_each_name(name: str) -> None:
    objective = build_objective(name, samples=SAMPLES)
    candidates = draw(objective)
    assert objective.name == name
    assert candidates.boxes_xywh.shape == (BATCH, COUNTS[name], 4)
    f = smooth(candidates).requires_grad_()
    losses = objective.loss(f, candidates, TRUTH)
    assert losses.shape == (BATCH,)
    assert torch.autograd.gradcheck(lambda f: objective.loss(f, candidates, TRUTH), (f,))


@pytest.mark.parametrize("name", LIKELIHOODS)
def test_a_constant_added_to_the_energy_changes_nothing(name: str) -> None:
    objective = build_objective(name, samples=SAMPLES)
    candidates = draw(objective)
    f = smooth(candidates)
    for shift in (-1000.0, 5.0):
        torch.testing.assert_close(
            objective.loss(f + shift, candidates, TRUTH), objective.loss(f, candidates, TRUTH), rtol=0, atol=1e-9
        )


@pytest.mark.parametrize("shift", [0.0, 40.0])
def test_log_q_as_the_energy_gives_the_density_at_the_truth(shift: float) -> None:
    """PROTOCOL 9: 7.61413 for the tracking mixture, for any samples."""
    objective = build_objective("nll")
    candidates = draw(objective)
    assert candidates.boxes_xywh.shape == (BATCH, 129, 4)
    losses = objective.loss(candidates.log_q.double() + shift, candidates, TRUTH)
    torch.testing.assert_close(losses, torch.full((BATCH,), -7.61413).double(), atol=1e-5, rtol=0)


def test_nll_does_not_count_the_truth_among_the_samples() -> None:
    objective = build_objective("nll", samples=1)
    candidates = draw(objective)
    f = torch.tensor([[100.0, 2.0]] * BATCH)
    torch.testing.assert_close(
        objective.loss(f, candidates, TRUTH), 2 - candidates.log_q[:, 1] - 100.0, rtol=1e-6, atol=1e-5
    )


@pytest.mark.parametrize("name", ["iou_mse", "iou_mse_atom"])
def test_iou_losses_vanish_at_twice_the_overlap_minus_one(name: str) -> None:
    objective = build_objective(name)
    candidates = draw(objective)
    target = 2 * iou_xywh(candidates.boxes_xywh, TRUTH[:, None]) - 1
    assert objective.loss(target, candidates, TRUTH).tolist() == [0, 0, 0]
    torch.testing.assert_close(objective.loss(target + 3, candidates, TRUTH), torch.full((BATCH,), 9.0))


def test_iou_loss_on_known_boxes() -> None:
    """The true box, half of it, one beside it, and one shifted by half: IoU 1, 1/2, 0, 1/3."""
    boxes = torch.tensor([[(10.0, 10, 20, 20), (10, 10, 20, 10), (50, 10, 20, 20), (20, 10, 20, 20)]])
    candidates = Candidates(boxes, torch.zeros(1, 4))
    objective = build_objective("iou_mse")
    loss = objective.loss(torch.zeros(1, 4), candidates, torch.tensor([[10.0, 10, 20, 20]]))
    assert float(loss) == pytest.approx((1 + 0 + 1 + 1 / 9) / 4)


def test_kl_is_zero_for_the_label_density_as_energy() -> None:
    """f = log of a Gaussian of label_sigma in relative coordinates plus a constant, and more for another one."""
    objective = build_objective("kl", samples=4096, label_sigma=0.1)
    candidates = draw(objective)
    ref_wh = TRUTH[:, 2:]
    offsets = (
        xywh_to_relative(candidates.boxes_xywh, ref_wh[:, None]) - xywh_to_relative(TRUTH, ref_wh)[:, None]
    ).double()
    for sigma in (0.1, 0.2):
        f = torch.distributions.Normal(0.0, sigma).log_prob(offsets).sum(-1) + 3
        exact = 4 * (math.log(sigma / 0.1) + 0.01 / (2 * sigma**2) - 0.5)
        losses = objective.loss(f, candidates, TRUTH)
        torch.testing.assert_close(losses, torch.full_like(losses, exact), rtol=0.1, atol=1e-3)


def test_nce_asks_which_entry_is_the_truth() -> None:
    for name in ("nce", "nce_plus"):
        objective = build_objective(name, samples=128)
        candidates = draw(objective)
        losses = objective.loss(candidates.log_q.double() + 2, candidates, TRUTH)
        torch.testing.assert_close(losses, torch.full((BATCH,), math.log(129), dtype=torch.float64))
        f = candidates.log_q.double().clone()
        f[:, 0] += 30
        assert float(objective.loss(f, candidates, TRUTH).max()) < 1e-9


def test_options_reach_the_candidates() -> None:
    wide = draw(build_objective("nll", sigmas=(0.3,), samples=4))
    expected = GaussianMixture((0.3,)).log_density(torch.zeros(1, 1, 4), torch.zeros(1, 4))
    torch.testing.assert_close(wide.log_q[:, :1], expected.expand(BATCH, 1))
    exact = draw(build_objective("nce_plus", samples=4, beta=1e-9))
    torch.testing.assert_close(exact.boxes_xywh[:, 0], TRUTH)
    assert not torch.allclose(draw(build_objective("nce_plus", samples=4)).boxes_xywh[:, 0], TRUTH)


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: build_objective("mle"), r"one of nll, iou_mse, iou_mse_atom, kl, nce, nce_plus \(got 'mle'\)"),
        (lambda: build_objective("nll", samples=0), r"samples must be >= 1 \(got 0\)"),
        (lambda: build_objective("kl", label_sigma=0.0), r"label_sigma must be > 0 \(got 0.0\)"),
        (lambda: build_objective("nce_plus", beta=-1.0), r"beta must be > 0 \(got -1.0\)"),
        (lambda: build_objective("nll", sigmas=()), "sigmas must be"),
    ],
)
def test_bad_settings(build: Callable[[], object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        build()


# With the network ----------------------------------------------------------------------------------------------


def test_equals_the_formula_from_the_head_s_energies(network: EnergyNetwork, pair: Pair) -> None:
    """-log p = log(1/M sum exp(f_m) / q_m) - f_0, written out in double with the densities of the boxes themselves."""
    network.eval()
    sigmas = (0.05, 0.5)
    objective = build_objective("nll", sigmas=sigmas, samples=SAMPLES)
    sample = make_sample(objective, pair)
    boxes = sample.candidates.boxes_xywh
    with torch.no_grad():
        losses = sample_losses(network, objective, sample)
        reference, test = network.features(pair.reference_image), network.features(pair.test_image)
        f = network.head(reference, pair.reference_box, test, boxes).double()
    size = pair.test_box[:, 2:]
    relative = xywh_to_relative(boxes, size[:, None]).double()
    truth = xywh_to_relative(pair.test_box, size).double()
    expected = []
    for b in range(BATCH):
        total = 0.0
        for m in range(1, SAMPLES + 1):
            distance = relative[b, m] - truth[b]
            q = sum(math.exp(-0.5 * float((distance / s).square().sum())) / ((2 * math.pi) ** 2 * s**4) for s in sigmas)
            total += math.exp(float(f[b, m])) / (q / len(sigmas))
        expected.append(math.log(total / SAMPLES) - float(f[b, 0]))
    assert losses.tolist() == pytest.approx(expected, rel=1e-4, abs=1e-3)


def test_scores_are_the_head_s(network: EnergyNetwork, pair: Pair) -> None:
    """Of the test image's boxes, with the reference image and its box as the target."""
    network.eval()
    pair = pair._replace(reference_box=torch.tensor([(0.0, 0, 90, 90), (60, 60, 30, 30), (5, 70, 80, 20)]))
    boxes = draw(build_objective("iou_mse", samples=4)).boxes_xywh
    with torch.no_grad():
        reference, test = network.features(pair.reference_image), network.features(pair.test_image)
        expected = network.head(reference, pair.reference_box, test, boxes)
        scale = float((expected - network.head(reference, pair.test_box, test, boxes)).abs().max())
        assert float((score_pairs(network, pair, boxes) - expected).abs().max()) < 0.01 * scale


@pytest.mark.parametrize("name", OBJECTIVES)
def test_gradient_reaches_the_head_and_only_the_head(network: EnergyNetwork, pair: Pair, name: str) -> None:
    objective = build_objective(name, samples=SAMPLES)
    step = TrainingStep(network, objective).train()
    losses = step(make_sample(objective, pair))
    assert losses.shape == (BATCH,)
    losses.mean().backward()
    assert all(p.grad is None and not p.requires_grad for p in network.backbone.parameters())
    assert {n for n, p in step.named_parameters() if p.requires_grad} == {
        f"network.head.{n}" for n, _ in network.head.named_parameters()
    }
    for parameter_name, parameter in network.head.named_parameters():
        assert parameter.grad is not None, parameter_name
        assert bool(parameter.grad.isfinite().all()), parameter_name
    assert float(network.head.conv3_1t[0].weight.grad.abs().max()) > 0
    assert float(network.head.conv3_1r[0].weight.grad.abs().max()) > 0
    # The bias of the last layer is a constant added to f: its gradient is rounding where that changes nothing.
    bias = float(network.head.iou_predictor.bias.grad.abs())
    assert bias < 1e-5 if name in LIKELIHOODS else bias > 1e-3


@pytest.mark.parametrize("precision", ["bfloat16", "float16"])
def test_narrow_convolutions_change_energies_little(network: EnergyNetwork, pair: Pair, precision: str) -> None:
    network.eval()
    boxes = pair.test_box[:, None].repeat(1, 4, 1)
    seen: list[torch.dtype] = []
    for layer in (network.head.conv4_2t[0], network.head.conv3_1r[0], network.head.fc3_1r[0], network.head.fc34_4r[0]):
        layer.register_forward_hook(lambda module, inputs, output: seen.append(output.dtype))
    network.head.fc3_rt.register_forward_hook(lambda module, inputs, output: seen.append(output.dtype))
    with torch.no_grad():
        exact = score_pairs(network, pair, boxes)
        assert set(seen) == {torch.float32}
        seen.clear()
        rough = score_pairs(network, pair, boxes, precision)
    narrow = getattr(torch, precision)
    assert seen == [narrow, narrow, torch.float32, torch.float32, torch.float32]
    assert rough.dtype == torch.float32 and rough.shape == (BATCH, 4)
    torch.testing.assert_close(rough, exact, rtol=0.1, atol=0.1)
    assert not torch.equal(rough, exact)


def test_precisions_are_checked(network: EnergyNetwork, pair: Pair) -> None:
    for call in (
        lambda: score_pairs(network, pair, pair.test_box[:, None], "half"),
        lambda: TrainingStep(network, build_objective("nll"), "half"),
    ):
        with pytest.raises(ValueError, match=r"precision must be one of float32, bfloat16, float16 \(got 'half'\)"):
            call()


def test_trained_is_what_a_step_changes(pair: Pair) -> None:
    """Two runs that share what ``trained`` holds give equal energies; nothing else moved."""
    objective = build_objective("nll", samples=SAMPLES)
    sample = make_sample(objective, pair)
    for mode, name in ((BatchNormMode.EVAL, "head"), (BatchNormMode.TRAIN, "network")):
        step = TrainingStep(make_network(folded=False), objective, batch_norm=mode).train()
        optimizer = torch.optim.SGD(step.trained.parameters(), lr=0.01)
        before = {key: value.clone() for key, value in step.network.state_dict().items()}
        step(sample).mean().backward()
        optimizer.step()
        changed = {key for key, value in step.network.state_dict().items() if not torch.equal(value, before[key])}
        prefix = "head." if name == "head" else ""
        assert changed <= {prefix + key for key in step.trained.state_dict()}
        assert any(key.startswith("backbone.") for key in changed) is (mode is BatchNormMode.TRAIN)
        assert not any(key.startswith("backbone.") and key.endswith(("weight", "bias")) for key in changed)
        fresh = TrainingStep(make_network(folded=False), objective, batch_norm=mode)
        fresh.trained.load_state_dict(step.trained.state_dict())
        with torch.no_grad():
            torch.testing.assert_close(fresh.eval()(sample), step.eval()(sample), rtol=0, atol=0)


def test_evaluation_does_not_move_anything(pair: Pair) -> None:
    objective = build_objective("nll", samples=SAMPLES)
    step = TrainingStep(make_network(folded=False), objective, batch_norm=BatchNormMode.TRAIN).eval()
    before = {key: value.clone() for key, value in step.state_dict().items()}
    with torch.no_grad():
        step(make_sample(objective, pair))
    assert all(torch.equal(value, before[key]) for key, value in step.state_dict().items())


def test_training_lowers_the_loss(network: EnergyNetwork, pair: Pair) -> None:
    for name in OBJECTIVES:
        objective = build_objective(name, samples=SAMPLES)
        step, sample = TrainingStep(make_network(), objective, "bfloat16").train(), make_sample(objective, pair)
        optimizer = torch.optim.Adam(step.trained.parameters(), lr=1e-2)
        losses = []
        for _ in range(8):
            loss = step(sample).mean()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            losses.append(float(loss.detach()))
        assert losses[-1] < losses[0], (name, losses)
