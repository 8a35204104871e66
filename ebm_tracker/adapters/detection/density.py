"""How sure the energy is of a box: credible intervals of its edges, centre and size from p(y | x)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from ebm_tracker.adapters.detection.base import Pyramid
from ebm_tracker.adapters.detection.branch import ImageEnergy
from ebm_tracker.adapters.detection.coordinates import relative_to_xyxy, sides, usable, xyxy_to_relative
from ebm_tracker.adapters.detection.inference import EnergyDetector
from ebm_tracker.adapters.detection.refinement import refine_boxes
from ebm_tracker.adapters.regression.density import SampledDensity, check_level
from ebm_tracker.energy import GaussianMixture

SIGMAS = (0.05, 0.1, 0.2)
"""Spread of the first draws: those of the training's proposals, where f was taught."""
REACH = 0.4
"""Twice the widest spread: f was taught little of what is farther from a box, and can be anything there."""
ROUNDS = 4
"""In each the proposal is fitted to what the one before has found; the last one has half of the draws."""
NARROWER, WIDEST = 4.0, 0.5
"""A round's spreads are at most so many times narrower than those of the one before, lest a few lucky draws decide, and
never wider than the second number."""


@dataclass(frozen=True)
class BoxDensity:
    """p(y | x) of one box as weighted boxes: ``boxes_xyxy`` (M, 4) in image pixels, ``weights`` (M,) with sum 1.

    ``refined_xyxy`` (4,): the box at the top that refinement found; ``level``: of the intervals.
    """

    boxes_xyxy: Tensor
    weights: Tensor
    refined_xyxy: Tensor
    level: float

    @property
    def effective(self) -> float:
        """How many equal draws the weighted ones are worth: below some fifty the intervals are rough."""
        return float(1 / self.weights.square().sum())

    @property
    def mean_xyxy(self) -> Tensor:
        """(4,)."""
        return self.weights @ self.boxes_xyxy

    @property
    def std_xyxy(self) -> Tensor:
        """Standard deviation of each edge, (4,), pixels."""
        return (self.weights @ (self.boxes_xyxy - self.mean_xyxy).square()).sqrt()

    def cdf(self, box_xyxy: Tensor) -> Tensor:
        """Probability of each edge being at most that of ``box_xyxy`` (4,), as (4,): of a true box its PIT values."""
        weights = self.weights.double() / self.weights.double().sum()  # float32's sum is not quite 1
        return (weights @ (self.boxes_xyxy <= box_xyxy.to(self.boxes_xyxy)).double()).clamp(max=1)

    @property
    def edges(self) -> Tensor:
        """Central intervals of x0, y0, x1, y1 that hold the probability ``level`` each: (4, 2), pixels."""
        return self._intervals(self.boxes_xyxy)

    @property
    def center_and_size(self) -> Tensor:
        """The same of cx, cy, w, h."""
        wh = sides(self.boxes_xyxy)
        return self._intervals(torch.cat((self.boxes_xyxy[:, :2] + 0.5 * wh, wh), dim=1))

    def _intervals(self, values: Tensor) -> Tensor:
        tail = 0.5 * (1 - self.level)
        ordered, order = values.sort(0)
        cumulated = self.weights[order].cumsum(0)
        places = torch.stack([(cumulated < share).sum(0) for share in (tail, 1 - tail)])
        return ordered.gather(0, places.clamp(max=len(values) - 1)).t()


@torch.no_grad()
def predict_density(
    model: EnergyDetector,
    image: Tensor,
    box_xyxy: Tensor,
    label: int,
    level: float = 0.9,
    *,
    reach: float | None = REACH,
    samples: int = 2048,
    generator: torch.Generator | None = None,
) -> BoxDensity:
    """p(y | x) = exp(f(x, y) / T) / Z around a box of ``image`` (3, H, W) by importance sampling.

    ``box_xyxy`` (4,): image pixels; it is refined first. ``label``: its class; ``level``: probability that each
    interval holds. ``samples``: draws, each of them costs a forward pass of the branch's layers. ``reach``: see
    ``density_around``. T is ``model.temperature``.
    For a branch that was trained as a density (our loss): IoU-Net's number is no logarithm of one.
    Raises ValueError for a box without an area or finite coordinates, and for a level outside (0, 1).
    """
    _check(level, samples)
    if box_xyxy.shape != (4,) or not bool(usable(box_xyxy[None])):
        raise ValueError(f"box_xyxy must be four finite corners of a box with an area (got {box_xyxy.tolist()})")
    pyramid = model.detector.pyramid([image])
    start = pyramid.to_input(box_xyxy[None].float(), 0).to(pyramid.maps[0].device)
    energy = model.branch.of_image(pyramid)
    top = refine_boxes(energy, start, torch.tensor([label], device=start.device), model.settings).boxes_xyxy
    return density_around(
        energy,
        pyramid,
        top,
        label,
        level,
        temperature=model.temperature,
        reference_wh=sides(start),
        reach=reach,
        samples=samples,
        generator=generator,
    )


@torch.no_grad()
def density_around(
    energy: ImageEnergy,
    pyramid: Pyramid,
    top_xyxy: Tensor,
    label: int,
    level: float = 0.9,
    *,
    temperature: float = 1.0,
    reference_wh: Tensor | None = None,
    reach: float | None = REACH,
    samples: int = 2048,
    generator: torch.Generator | None = None,
) -> BoxDensity:
    """The same for a box that is refined already: for many boxes of one image, whose features are computed once.

    ``energy``: of the one image of ``pyramid``; ``top_xyxy`` (1, 4): the box in input pixels; ``reference_wh`` (1, 2):
    the size that the first draws' spread is relative to, the box's own where it is None. ``reach``: boxes farther than
    that from the top, in any of the relative coordinates, have no probability; None: no such limit. Where f happens to
    be high far from every object, the draws follow it and few of them count.
    """
    _check(level, samples)
    if reach is not None and not reach >= 2 * SIGMAS[0]:
        raise ValueError(f"reach must be at least {2 * SIGMAS[0]:g}, or no draw may be within it (got {reach})")
    reference = sides(top_xyxy) if reference_wh is None else reference_wh
    own, center = torch.tensor([label], device=top_xyxy.device), xyxy_to_relative(top_xyxy, reference)

    def f(_: Tensor, y: Tensor) -> Tensor:
        boxes = relative_to_xyxy(y[0], reference)
        values = energy.values(boxes, own.expand(len(boxes)))[None] / temperature
        if reach is None:
            return values
        return values.masked_fill((y - center).abs().amax(-1) > reach, -torch.inf)

    density = _sampled(f, center, samples, generator)
    return BoxDensity(
        pyramid.to_image(relative_to_xyxy(density.samples[0], reference), 0),
        density.weights[0],
        pyramid.to_image(top_xyxy, 0)[0],
        level,
    )


def _check(level: float, samples: int) -> None:
    check_level(level)
    if samples < 2 * ROUNDS:
        raise ValueError(f"samples must be at least {2 * ROUNDS} (got {samples})")


def _sampled(
    f: Callable[[Tensor, Tensor], Tensor], center: Tensor, samples: int, generator: torch.Generator | None
) -> SampledDensity:
    """Around ``center`` (1, 4): the draws of the last round alone, which is fitted best."""
    features = center.new_zeros(1, 0)
    few = samples // (2 * (ROUNDS - 1))
    spread = center.new_tensor(SIGMAS)[:1].expand(4)
    proposal = GaussianMixture(SIGMAS)
    for _ in range(ROUNDS - 1):
        density = SampledDensity(f, features, center, proposal, few, generator)
        spread = density.std[0].maximum(spread / NARROWER).clamp(max=WIDEST)
        center = density.mean
        proposal = GaussianMixture([(factor * spread).tolist() for factor in (1.0, 2.0, 4.0)])
    return SampledDensity(f, features, center, proposal, samples - (ROUNDS - 1) * few, generator)
