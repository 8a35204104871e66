"""Objectives: a batch of pairs -> a loss. All share one signature, so the loop knows none of them."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from ebm_tracker.boxes import relative_to_xywh, xywh_to_relative
from ebm_tracker.energy import GaussianMixture, importance_nll
from ebm_tracker.models.energy_head import EnergyMaps, Modulation
from ebm_tracker.models.network import EnergyNetwork
from ebm_tracker.training.pairs import Pair

Objective = Callable[[EnergyNetwork, Pair, torch.Generator], Tensor]
"""(network, batched pair, generator for the sampled boxes) -> losses (B,)."""


class NegativeLogLikelihood:
    """Eq 4 with M boxes from the mixture proposal around the true box (PROTOCOL 4.3, "ours").

    Boxes are compared in relative coordinates whose unit is the true box's own size, so sigma 0.05 is 5 % of
    it. The true box is scored beside the M samples, not among them.
    """

    def __init__(self, sigmas: Sequence[float] = (0.05, 0.5), samples: int = 128, bfloat16: bool = False) -> None:
        if samples < 1:
            raise ValueError(f"samples must be >= 1 (got {samples})")
        self.proposal, self.samples, self.bfloat16 = GaussianMixture(sigmas), samples, bfloat16

    def __call__(self, network: EnergyNetwork, pair: Pair, generator: torch.Generator) -> Tensor:
        truth = pair.test_box  # (B, 4)
        ref_wh = truth[:, 2:]
        truth_rel = xywh_to_relative(truth, ref_wh)
        samples_rel = self.proposal.sample(truth_rel, self.samples, generator)
        log_q = self.proposal.log_density(samples_rel, truth_rel)
        boxes = torch.cat((truth[:, None], relative_to_xywh(samples_rel, ref_wh[:, None])), dim=1)
        f = score_pairs(network, pair, boxes, self.bfloat16)
        return importance_nll(f[:, 1:], log_q, f[:, 0])


def score_pairs(network: EnergyNetwork, pair: Pair, boxes_xywh: Tensor, bfloat16: bool = False) -> Tensor:
    """Energies (B, N) of boxes (B, N, 4) in the test images of a batch of pairs.

    ``bfloat16`` runs the convolutions in that type. Pooling and the layers after it always stay in float32: with
    eight bits an energy of 20 is known to 0.1, and box edges to a hundredth of a cell.
    """
    batch = len(pair.test_box)
    with torch.autocast(pair.test_box.device.type, torch.bfloat16, enabled=bfloat16):
        features8, features16 = network.features(torch.cat((pair.reference_image, pair.test_image)))
        modulation = network.head.modulation((features8[:batch], features16[:batch]), pair.reference_box)
        maps = network.head.maps((features8[batch:], features16[batch:]))
    return network.head.energies(
        EnergyMaps(maps.stride8.float(), maps.stride16.float()),
        Modulation(modulation.stride8.float(), modulation.stride16.float()),
        boxes_xywh,
    )
