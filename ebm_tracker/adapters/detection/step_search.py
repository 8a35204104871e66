"""Search for the step lengths of refinement on a validation split: every combination of a grid."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace

import torch

from ebm_tracker.adapters.detection.base import Detections, Pyramid
from ebm_tracker.adapters.detection.inference import EnergyDetector, refined, survivors
from ebm_tracker.adapters.detection.refinement import Coordinates, RefineSettings


@dataclass(frozen=True)
class Trial:
    """``score`` of the detections with these settings: larger is better."""

    settings: RefineSettings
    score: float


def step_grid(
    settings: RefineSettings,
    factors: Sequence[float] = (0.25, 0.5, 1.0, 2.0, 4.0, 8.0),
    ratios: Sequence[float] = (2.0, 4.0, 8.0),
    decays: Sequence[float] | None = None,
) -> list[RefineSettings]:
    """``settings`` with its position step times each of the ``factors`` and a size step of each of the ``ratios`` to
    it (the paper's is 4). CORNERS has one step length: there the ratios are not used. ``decays``: to try besides."""
    corners = settings.coordinates is Coordinates.CORNERS
    return [
        replace(settings, position_step=step, size_step=step * ratio, decay=decay)
        for step in (settings.position_step * factor for factor in factors)
        for ratio in ((1.0,) if corners else ratios)
        for decay in ((settings.decay,) if decays is None else decays)
    ]


@torch.no_grad()
def search_steps(
    model: EnergyDetector,
    pyramids: Iterable[Pyramid],
    candidates: Sequence[RefineSettings],
    score: Callable[[list[Detections]], float],
    on_image: Callable[[int], None] | None = None,
) -> list[Trial]:
    """Trials of the candidates, best first; equal ones in the order in which they came.

    ``pyramids``: the split's features, in order. The boxes to refine are found once per image, with ``model.settings``,
    and refined with each candidate. ``score`` gets the detections of all images in image pixels, as ``model.detect``
    gives them. ``on_image(number)`` is called after each. Raises ValueError for no candidates.
    """
    if not candidates:
        raise ValueError("candidates must hold at least one (got none)")
    found: list[list[Detections]] = [[] for _ in candidates]
    number = 0
    for pyramid in pyramids:
        for index, raw in enumerate(model.detector.raw(pyramid)):
            energy = model.branch.of_image(pyramid, index)
            kept = survivors(energy, raw, model.settings)
            for settings, detections in zip(candidates, found, strict=True):
                better = refined(energy, kept, settings)
                boxes = pyramid.to_image(better.boxes_xyxy, index).cpu()
                detections.append(Detections(boxes, better.scores.cpu(), better.labels.cpu()))
            if on_image is not None:
                on_image(number)
            number += 1
    trials = [Trial(settings, score(few)) for settings, few in zip(candidates, found, strict=True)]
    return sorted(trials, key=lambda trial: -trial.score)
