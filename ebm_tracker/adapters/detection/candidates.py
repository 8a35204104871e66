"""Candidate boxes around the true ones, for training the confidence branch. Nothing comes from the proposal network.

Boxes are ``boxes_xyxy``, two corners, in any pixels; noise is relative to each true box's own size.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple, Protocol

import torch
from torch import Tensor

from ebm_tracker.adapters.detection.coordinates import relative_to_xyxy, sides, xyxy_to_relative
from ebm_tracker.boxes import iou_xywh
from ebm_tracker.energy import GaussianMixture


class CandidateBoxes(NamedTuple):
    """For G true boxes: ``boxes_xyxy`` (G, M, 4); ``log_q`` (G, M): log-density that they were drawn from, in relative
    coordinates, zero where it has no closed form; ``iou`` (G, M): overlap with their true box."""

    boxes_xyxy: Tensor
    log_q: Tensor
    iou: Tensor


class BoxScheme(Protocol):
    """A way to draw candidates, the same number for every true box."""

    has_density: bool
    """Whether ``log_q`` means anything."""

    def draw(self, truth_xyxy: Tensor, generator: torch.Generator | None = None) -> CandidateBoxes:
        """Candidates for true boxes (G, 4) with positive sides; without a generator from torch's own."""
        ...


class MixtureBoxes:
    """``samples`` draws from the mixture of Eq 5 with the paper's spreads for detection (B.2): IoU-Net* and ours.

    No box is refused, however large, small or far outside the image. Raises ValueError for ``samples`` below 1.
    """

    has_density = True

    def __init__(self, sigmas: Sequence[float] = (0.05, 0.1, 0.2), samples: int = 128) -> None:
        if samples < 1:
            raise ValueError(f"samples must be at least 1 (got {samples})")
        self.mixture, self.samples = GaussianMixture(sigmas), samples

    def draw(self, truth_xyxy: Tensor, generator: torch.Generator | None = None) -> CandidateBoxes:
        """See :class:`BoxScheme`."""
        noise = self.mixture.sample(torch.zeros_like(truth_xyxy), self.samples, generator)  # (G, M, 4)
        log_q = self.mixture.log_density(noise, torch.zeros_like(truth_xyxy))
        size = sides(truth_xyxy)[:, None]  # (G, 1, 2)
        boxes = relative_to_xyxy(xyxy_to_relative(truth_xyxy[:, None], size) + noise, size)
        return CandidateBoxes(boxes, log_q, overlaps(boxes, truth_xyxy[:, None]))


class UniformIouBoxes:
    """IoU-Net's candidates: overlap the true box by at least ``min_iou``, and evenly so.

    A pool of ``pool`` boxes around a unit box is made once, from ``seed``: each draws a spread from ``spreads`` and
    gets normal noise of it on centre and sides; one that overlaps less is drawn again with nine tenths of the spread,
    up to 100 times. For each true box ``samples`` of them are taken and scaled to its sides, with a weight that is the
    inverse of the number of boxes in their bin of IoU: every bin that is not empty is as likely. That has no density
    in closed form. (Jiang et al., "Acquisition of Localization Confidence for Accurate Object Detection", ECCV 2018.)
    """

    SPREADS = (0.004, 0.01, 0.05, 0.1, 0.2, 0.3)
    TRIES = 100
    has_density = False

    def __init__(
        self,
        samples: int = 128,
        *,
        pool: int = 50_000,
        min_iou: float = 0.5,
        bins: int = 100,
        spreads: Sequence[float] = SPREADS,
        seed: int = 0,
    ) -> None:
        if min(samples, pool, bins) < 1:
            raise ValueError(f"samples, pool and bins must be at least 1 (got {samples}, {pool} and {bins})")
        if not 0 <= min_iou < 1:
            raise ValueError(f"min_iou must be at least 0 and below 1 (got {min_iou})")
        if not spreads or not min(spreads) > 0:
            raise ValueError(f"spreads must be positive numbers (got {spreads!r})")
        self.samples, self.min_iou = samples, min_iou
        generator = torch.Generator().manual_seed(seed)
        self.pool_xyxy = _unit_pool(pool, min_iou, torch.tensor(spreads, dtype=torch.float64), generator)
        self.pool_iou = overlaps(self.pool_xyxy, _UNIT)
        bin_of = ((self.pool_iou - min_iou) / (1 - min_iou) * bins).long().clamp(0, bins - 1)
        self.weights = 1 / bin_of.bincount(minlength=bins)[bin_of].double()

    def draw(self, truth_xyxy: Tensor, generator: torch.Generator | None = None) -> CandidateBoxes:
        """See :class:`BoxScheme`."""
        count = len(truth_xyxy)
        device = truth_xyxy.device if generator is None else generator.device
        chosen = self._choose(count * self.samples, device, generator).view(count, self.samples)
        unit = self.pool_xyxy.to(truth_xyxy)[chosen.to(truth_xyxy.device)]  # (G, M, 4)
        size = sides(truth_xyxy).repeat(1, 2)[:, None]
        boxes = truth_xyxy[:, :2].repeat(1, 2)[:, None] + unit * size
        return CandidateBoxes(boxes, boxes.new_zeros(boxes.shape[:2]), overlaps(boxes, truth_xyxy[:, None]))

    def _choose(self, count: int, device: torch.device, generator: torch.Generator | None) -> Tensor:
        if not count:
            return torch.zeros(0, dtype=torch.int64, device=device)
        return torch.multinomial(self.weights.to(device), count, replacement=True, generator=generator)


_UNIT = torch.tensor([0.0, 0.0, 1.0, 1.0], dtype=torch.float64)


def overlaps(a_xyxy: Tensor, b_xyxy: Tensor) -> Tensor:
    """IoU of boxes (..., 4) that broadcast against each other: (...)."""
    a = torch.cat((a_xyxy[..., :2], sides(a_xyxy)), -1)
    b = torch.cat((b_xyxy[..., :2], sides(b_xyxy)), -1)
    return iou_xywh(a, b)


def _unit_pool(count: int, min_iou: float, spreads: Tensor, generator: torch.Generator) -> Tensor:
    """(count, 4) float64 boxes around the unit box; those that no try brought near enough are the unit box itself."""
    spread = spreads[torch.randint(len(spreads), (count,), generator=generator)]
    boxes = _UNIT.repeat(count, 1)
    pending = torch.arange(count)
    for _ in range(UniformIouBoxes.TRIES):
        noise = torch.randn((len(pending), 4), generator=generator, dtype=torch.float64) * spread[pending, None]
        center, size = 0.5 + noise[:, :2], 1 + noise[:, 2:]
        tried = torch.cat((center - 0.5 * size, center + 0.5 * size), 1)
        near = (size > 0).all(1) & (overlaps(tried, _UNIT) > min_iou)
        boxes[pending[near]] = tried[near]
        pending = pending[~near]
        if not len(pending):
            break
        spread[pending] *= 0.9
    return boxes
