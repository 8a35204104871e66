"""Scores on held-out pairs: likelihood, and what refinement gains in IoU."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import default_collate

from ebm_tracker.boxes import iou_xywh, relative_to_xywh, xywh_to_relative
from ebm_tracker.energy import Acceptance, ascend, autograd_value_and_grad
from ebm_tracker.models.energy_head import EnergyMaps, Modulation
from ebm_tracker.models.network import EnergyNetwork
from ebm_tracker.training.candidates import Candidates
from ebm_tracker.training.objective import Objective, score_pairs
from ebm_tracker.training.pairs import Pair


@dataclass(frozen=True)
class RefinementGain:
    """Means over pairs: IoU of the start boxes, IoU of the answer (mean of the three best boxes), share of
    answers with IoU > 0.75."""

    start_iou: float
    iou: float
    op75: float


class HeldOutPairs:
    """A fixed set of pairs, their candidates and start boxes the same in every call.

    Start boxes imitate a tracked frame: a rough box (centre off by a tenth of its size, sides by a factor of
    about e^0.25) and nine more around it by ATOM's noise (PROTOCOL 4.6). Everything is computed on ``device``; the
    random numbers are drawn on the CPU, so that they are the same on every device. Raises ValueError without a pair.
    """

    def __init__(
        self, pairs: Sequence[Pair], seed: int = 0, batch_size: int = 32, device: torch.device | str = "cpu"
    ) -> None:
        if not pairs:
            raise ValueError("held-out scores need at least one pair (got none)")
        self.seed, self.device, self.count = seed, torch.device(device), len(pairs)
        self.batches = [
            Pair(*(part.to(self.device) for part in default_collate(list(pairs[i : i + batch_size]))))
            for i in range(0, len(pairs), batch_size)
        ]

    def loss(self, network: EnergyNetwork, objective: Objective, precision: str = "float32") -> float:
        """Mean objective, the network in the mode that it is in (eval, for a score)."""
        total, number = 0.0, 0
        with torch.no_grad():
            for pair in self.batches:
                drawn = []
                for truth in pair.test_box.cpu():
                    drawn.append(objective.scheme.draw(truth, np.random.default_rng((self.seed, number))))
                    number += 1
                candidates = Candidates(*(part.to(self.device) for part in default_collate(drawn)))
                f = score_pairs(network, pair, candidates.boxes_xywh, precision)
                total += float(objective.loss(f, candidates, pair.test_box).sum())
        return total / self.count

    def start_boxes(self) -> list[Tensor]:
        """(B, 10, 4) xywh for each batch."""
        generator = torch.Generator().manual_seed(self.seed)
        return [_start_boxes(batch.test_box.cpu(), generator).to(self.device) for batch in self.batches]

    def encode(self, network: EnergyNetwork) -> list[tuple[EnergyMaps, Modulation]]:
        """Maps and modulation of every batch: computed once, reused by a search over step lengths."""
        encoded = []
        with torch.no_grad():
            for batch in self.batches:
                modulation = network.head.modulation(network.features(batch.reference_image), batch.reference_box)
                encoded.append((network.head.maps(network.features(batch.test_image)), modulation))
        return encoded

    def refinement(
        self,
        network: EnergyNetwork,
        step_length: tuple[float, float],
        steps: int = 10,
        encoded: list[tuple[EnergyMaps, Modulation]] | None = None,
    ) -> RefinementGain:
        """The tracker's refinement on every pair: ``steps`` plain steps of ``step_length`` (position, log size)
        in coordinates relative to the first start box, mean of the three best."""
        lengths = (step_length[0], step_length[0], step_length[1], step_length[1])
        starts, ious = [], []
        encoded = encoded or self.encode(network)
        for batch, (maps, modulation), boxes in zip(self.batches, encoded, self.start_boxes(), strict=True):
            shape, ref_wh = boxes.shape, boxes[:, :1, 2:]

            def energy(
                rows: Tensor,
                maps: EnergyMaps = maps,
                modulation: Modulation = modulation,
                shape: torch.Size = shape,
                ref_wh: Tensor = ref_wh,
            ) -> Tensor:
                return network.head.energies(maps, modulation, relative_to_xywh(rows.view(shape), ref_wh)).view(-1)

            result = ascend(
                autograd_value_and_grad(energy),
                xywh_to_relative(boxes, ref_wh).view(-1, 4),
                step_length=lengths,
                steps=steps,
                acceptance=Acceptance.ALWAYS,
            )
            assert result.f is not None
            refined = relative_to_xywh(result.y.view(shape), ref_wh)
            best = result.f.view(shape[:2]).topk(3, dim=1).indices
            answer = refined.gather(1, best[..., None].expand(-1, -1, 4)).mean(1)
            starts.append(iou_xywh(boxes, batch.test_box[:, None]).mean(1))
            ious.append(iou_xywh(answer, batch.test_box))
        iou = torch.cat(ious)
        return RefinementGain(
            float(torch.cat(starts).mean()), float(iou.mean()), float((iou > 0.75).float().mean())
        )


def _start_boxes(truth: Tensor, generator: torch.Generator, count: int = 10) -> Tensor:
    batch = len(truth)
    side = truth[:, 2:].prod(-1, keepdim=True).sqrt()
    wh = truth[:, 2:] * (0.25 * torch.randn((batch, 2), generator=generator)).exp()
    center = truth[:, :2] + 0.5 * truth[:, 2:] + 0.1 * side * torch.randn((batch, 2), generator=generator)
    side = wh.prod(-1, keepdim=True).sqrt()[:, None]
    noise = torch.rand((batch, count, 4), generator=generator) - 0.5
    noise[:, 0] = 0
    centers = center[:, None] + 0.1 * side * noise[..., :2]
    sizes = (wh[:, None] + 0.5 * side * noise[..., 2:]).maximum(wh.min(-1).values[:, None, None] / 3)
    return torch.cat((centers - 0.5 * sizes, sizes), dim=-1)
