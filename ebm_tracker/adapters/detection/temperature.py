"""The temperature of a density: one number that makes its intervals hold what they say, chosen on validation images.

Maximum likelihood with a few draws for each object makes f too sure of itself, on images that it was not taught most of
all. p(y | x) = exp(f(x, y) / T) / Z with T > 1 is wider and has its top at the same box. (As for classifiers in Guo et
al., "On Calibration of Modern Neural Networks", ICML 2017.)
"""

from __future__ import annotations

import math
from collections.abc import Callable
from copy import copy
from dataclasses import dataclass

import torch

from ebm_tracker.adapters.detection.coverage import EdgeCoverage, measure_coverage
from ebm_tracker.adapters.detection.data import DetectionImages
from ebm_tracker.adapters.detection.inference import EnergyDetector

FACTOR = math.sqrt(2)
"""From one temperature that is tried to the next."""
TRIES = 9
"""At most: up to T = 16, or down to 1 / 16."""


@dataclass(frozen=True)
class Temperature:
    """``value``: T; 1 where nothing was found in the images. ``tried``: temperature -> excess of its coverage over the
    levels (``EdgeCoverage.excess``), in the order in which they were tried; ``boxes``: how many densities each is
    measured on."""

    value: float
    tried: dict[float, float]
    boxes: int


def fit_temperature(
    model: EnergyDetector,
    images: DetectionImages,
    count: int = 100,
    *,
    samples: int = 2048,
    seed: int = 0,
    on_try: Callable[[int], None] | None = None,
) -> Temperature:
    """T at which the coverage of ``count`` boxes' edges meets the levels on the whole.

    ``images``: not those that the branch was trained on. From T = 1 in steps of a factor 2^0.5 to the first one whose
    excess has the other sign, then in between by a line through both excesses over log T; the last one that is tried
    where none has. ``on_try(number)`` is called after each, TRIES of them at most.
    The result goes to ``EnergyDetector(..., temperature=...)``. Raises ValueError for a ``count`` below 1 and for
    images without objects.
    """
    tried: dict[float, float] = {}
    at, direction, before = 1.0, 0.0, 0.0
    for number in range(TRIES):
        measured = _coverage_at(model, images, count, at, samples, seed)
        if not len(measured):
            return Temperature(1.0, {}, 0)
        excess = tried[at] = measured.excess
        if on_try is not None:
            on_try(number)
        if excess == 0:
            break
        if direction == 0:
            direction = -math.copysign(1, excess)
        elif math.copysign(1, excess) == direction:
            at *= FACTOR ** (direction * (before / (before - excess) - 1))
            break
        if number < TRIES - 1:
            at, before = at * FACTOR**direction, excess
    return Temperature(at, tried, len(measured))


def _coverage_at(
    model: EnergyDetector, images: DetectionImages, count: int, temperature: float, samples: int, seed: int
) -> EdgeCoverage:
    device = next(model.detector.parameters()).device
    hot = copy(model)
    hot.temperature = temperature
    generator = torch.Generator(device).manual_seed(seed)  # the same draws at every temperature
    return measure_coverage(hot, images, count, samples=samples, generator=generator)
