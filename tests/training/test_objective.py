from __future__ import annotations

import math

import pytest
import torch

from ebm_tracker.boxes import relative_to_xywh, xywh_to_relative
from ebm_tracker.energy import GaussianMixture
from ebm_tracker.models import EnergyHead, EnergyNetwork, HeadChannels
from ebm_tracker.models.backbone import build_backbone
from ebm_tracker.training.objective import NegativeLogLikelihood, score_pairs
from ebm_tracker.training.pairs import Pair

BATCH, SAMPLES = 3, 16


@pytest.fixture
def network() -> EnergyNetwork:
    head = EnergyHead(HeadChannels((40, 112), (8, 8), (8, 8), (8, 8)))
    return EnergyNetwork(build_backbone("efficientnet_lite0", folded=True), head)


@pytest.fixture
def pair() -> Pair:
    generator = torch.Generator().manual_seed(1)
    images = torch.randint(0, 256, (2, BATCH, 3, 96, 96), generator=generator, dtype=torch.uint8)
    boxes = torch.tensor([(30.0, 40.0, 20.0, 25.0), (10.0, 10.0, 40.0, 30.0), (50.0, 20.0, 25.0, 50.0)])
    return Pair(images[0], boxes, images[1], boxes + torch.tensor([3.0, -2.0, 4.0, 1.0]))


def test_equals_the_formula_from_the_head_s_energies(network: EnergyNetwork, pair: Pair) -> None:
    """-log p = log(1/M sum exp(f_m - log q_m)) - f_0, with the same draws, in double and without logsumexp."""
    network.eval()
    sigmas = (0.05, 0.5)
    losses = NegativeLogLikelihood(sigmas, SAMPLES)(network, pair, torch.Generator().manual_seed(4))
    assert losses.shape == (BATCH,)

    generator, mixture = torch.Generator().manual_seed(4), GaussianMixture(sigmas)
    size = pair.test_box[:, 2:]
    truth = xywh_to_relative(pair.test_box, size)
    draws = mixture.sample(truth, SAMPLES, generator)
    with torch.no_grad():
        reference, test = network.features(pair.reference_image), network.features(pair.test_image)
        f = network.head(reference, pair.reference_box, test, relative_to_xywh(draws, size[:, None])).double()
        f_true = network.head(reference, pair.reference_box, test, pair.test_box[:, None]).double()[:, 0]
    expected = []
    for b in range(BATCH):
        total = 0.0
        for m in range(SAMPLES):
            distance = (draws[b, m] - truth[b]).double()
            q = sum(math.exp(-0.5 * float((distance / s).square().sum())) / ((2 * math.pi) ** 2 * s**4) for s in sigmas)
            total += math.exp(float(f[b, m])) / (q / len(sigmas))
        expected.append(math.log(total / SAMPLES) - float(f_true[b]))
    assert losses.tolist() == pytest.approx(expected, rel=1e-4, abs=1e-4)


def test_samples_are_relative_to_the_true_size(network: EnergyNetwork, pair: Pair) -> None:
    """Nothing is normalised by a frame: a crop twice as large with boxes twice as large draws the same shapes."""
    network.eval()
    seen: list[torch.Tensor] = []

    def energies(maps: object, modulation: object, boxes: torch.Tensor) -> torch.Tensor:
        seen.append(boxes)
        return boxes.sum(-1)

    network.head.energies = energies  # type: ignore[assignment, method-assign]
    objective = NegativeLogLikelihood(samples=SAMPLES)
    with torch.no_grad():
        objective(network, pair, torch.Generator().manual_seed(0))
        objective(network, pair._replace(test_box=2 * pair.test_box), torch.Generator().manual_seed(0))
    assert seen[0].shape == (BATCH, SAMPLES + 1, 4)  # the true box beside the samples, not among them
    torch.testing.assert_close(seen[0][:, 0], pair.test_box)
    torch.testing.assert_close(2 * seen[0], seen[1], rtol=1e-5, atol=1e-4)


def test_gradient_reaches_the_head_and_only_the_head(network: EnergyNetwork, pair: Pair) -> None:
    network.train()
    losses = NegativeLogLikelihood(samples=SAMPLES)(network, pair, torch.Generator().manual_seed(0))
    losses.mean().backward()
    assert all(p.grad is None and not p.requires_grad for p in network.backbone.parameters())
    # The bias of the last layer is a constant added to f, which changes nothing: its gradient is rounding.
    for name, parameter in network.head.named_parameters():
        assert parameter.grad is not None, name
        assert bool(parameter.grad.isfinite().all()), name
    assert float(network.head.iou_predictor.bias.grad.abs()) < 1e-5
    assert float(network.head.conv3_1t[0].weight.grad.abs().max()) > 0
    assert float(network.head.conv3_1r[0].weight.grad.abs().max()) > 0


def test_a_constant_added_to_the_energy_changes_nothing(network: EnergyNetwork, pair: Pair) -> None:
    network.eval()
    objective = NegativeLogLikelihood(samples=SAMPLES)
    with torch.no_grad():
        before = objective(network, pair, torch.Generator().manual_seed(0))
        network.head.iou_predictor.bias += 12.0
        after = objective(network, pair, torch.Generator().manual_seed(0))
    torch.testing.assert_close(before, after, rtol=0, atol=1e-3)


def test_bfloat16_changes_energies_little(network: EnergyNetwork, pair: Pair) -> None:
    network.eval()
    boxes = pair.test_box[:, None].repeat(1, 4, 1)
    with torch.no_grad():
        exact = score_pairs(network, pair, boxes)
        rough = score_pairs(network, pair, boxes, bfloat16=True)
    assert rough.dtype == torch.float32 and rough.shape == (BATCH, 4)
    torch.testing.assert_close(rough, exact, rtol=0.1, atol=0.1)


@pytest.mark.parametrize("samples", [0, -1])
def test_number_of_samples_is_checked(samples: int) -> None:
    with pytest.raises(ValueError, match="samples must be >= 1"):
        NegativeLogLikelihood(samples=samples)
