"""How often the learned density of a box holds the true one, on images that the branch has not seen."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from ebm_tracker.adapters.detection.base import Detections
from ebm_tracker.adapters.detection.coordinates import sides
from ebm_tracker.adapters.detection.data import DetectionImages
from ebm_tracker.adapters.detection.density import REACH, density_around
from ebm_tracker.adapters.detection.evaluate import matches
from ebm_tracker.adapters.detection.inference import EnergyDetector
from ebm_tracker.adapters.regression.calibration import calibration_curve, pit_distance
from ebm_tracker.adapters.regression.density import check_level

LEVEL = 0.9
"""Of the intervals whose widths are kept."""
LEVELS = tuple(number / 10 for number in range(1, 10))
"""At which an excess is averaged."""
ROUGH = 50
"""Effective draws below which a density's intervals are rough."""


@dataclass(frozen=True)
class EdgeCoverage:
    """Densities of N boxes against the truth, edges in the order x0, y0, x1, y1.

    Attributes:
        pit: (N, 4) P(edge <= true edge), spread evenly over 0..1 where the density is honest.
        truth_xyxy: (N, 4) image pixels.
        refined_xyxy: (N, 4) image pixels, the detections around which the densities were drawn.
        widths: (N, 4) of the central intervals of level LEVEL, relative to the refined box's own width and height.
        effective: (N,) how many equal draws each density is worth, see ROUGH.
        image_index: (N,) of the images that were given.
    """

    pit: Tensor
    truth_xyxy: Tensor
    refined_xyxy: Tensor
    widths: Tensor
    effective: Tensor
    image_index: Tensor

    def __len__(self) -> int:
        """N."""
        return len(self.pit)

    def coverage(self, level: float = LEVEL) -> float:
        """Share of all edges whose truth lies in the central interval of that level; NaN for no boxes."""
        return float(self._inside(level).mean())

    def coverage_error(self, level: float = LEVEL) -> float:
        """Standard error of ``coverage``, from the boxes' own shares: the four edges of one box err together."""
        shares = self._inside(level).mean(1)
        return float(shares.std()) / math.sqrt(len(shares)) if len(shares) > 1 else math.nan

    def curve(self, levels: Sequence[float]) -> Tensor:
        """``coverage`` at every level, (L,), also at 0 and 1."""
        return calibration_curve(self.pit, levels)

    @property
    def excess(self) -> float:
        """Mean over LEVELS of how far the coverage is above the level: below 0 the densities are too narrow."""
        return float(self.curve(LEVELS).mean()) - sum(LEVELS) / len(LEVELS)

    @property
    def distance(self) -> float:
        """Largest distance of the PIT values' distribution from the even one, all edges together: 0 is best."""
        return pit_distance(self.pit)

    @property
    def rough(self) -> float:
        """Share of the boxes whose density is worth fewer than ROUGH equal draws; NaN for no boxes."""
        return float((self.effective < ROUGH).double().mean())

    def _inside(self, level: float) -> Tensor:
        return (2 * (self.pit - 0.5).abs() <= check_level(level)).double()


def spread(images: DetectionImages, count: int) -> dict[int, int]:
    """Evenly spaced images with objects -> how many boxes each may give, ``count`` in all and as equal as can be.

    Raises ValueError for a ``count`` below 1 and for images without objects.
    """
    if count < 1:
        raise ValueError(f"count must be at least 1 (got {count})")
    filled = [index for index, objects in enumerate(images.objects) if len(objects.labels)]
    if not filled:
        raise ValueError(f"images must have objects ({images.file.path.name} has none in those that are used)")
    used = min(count, len(filled))
    share = [(place + 1) * count // used - place * count // used for place in range(used)]
    return {filled[(2 * place + 1) * len(filled) // (2 * used)]: share[place] for place in range(used)}


@torch.no_grad()
def measure_coverage(
    model: EnergyDetector,
    images: DetectionImages,
    count: int = 200,
    *,
    samples: int = 2048,
    reach: float | None = REACH,
    generator: torch.Generator | None = None,
    on_image: Callable[[int], None] | None = None,
) -> EdgeCoverage:
    """Detects in evenly spaced images and draws p(y | x) around detections that were matched with an object.

    At most ``count`` boxes, fewer where images have fewer matches (COCO's, with an overlap of at least 0.5: an object
    that was missed has no density). Which of an image's matches is drawn by lot, not by score or overlap.
    ``samples``: draws for each box; ``reach``: see ``density_around``; ``generator``: on the model's device, the same
    one gives the same numbers.
    ``on_image(number)`` is called after each of the images of ``spread``, counted from 0.
    For a branch that was trained as a density (our loss).
    Raises FrameReadError for a damaged image, ValueError as ``spread`` does.
    """
    parts = []
    for number, (index, most) in enumerate(spread(images, count).items()):
        parts.append(_of_image(model, images, index, most, samples, reach, generator))
        if on_image is not None:
            on_image(number)
    return EdgeCoverage(*(torch.cat(columns) for columns in zip(*parts, strict=True)))


def _of_image(
    model: EnergyDetector,
    images: DetectionImages,
    index: int,
    most: int,
    samples: int,
    reach: float | None,
    generator: torch.Generator | None,
) -> tuple[Tensor, ...]:
    """The columns of EdgeCoverage for the boxes of one image."""
    objects, pyramid = images.objects[index], model.detector.pyramid([images.tensor(index)])
    (found,) = model.detect_in(pyramid)
    device = found.boxes_xyxy.device if generator is None else generator.device
    pairs = matches(objects, Detections(found.boxes_xyxy.cpu(), found.scores.cpu(), found.labels.cpu()))
    lot = torch.randperm(len(pairs.ious), generator=generator, device=device)[:most].cpu()
    chosen = found[pairs.detections[lot].to(found.labels.device)]
    truth, refined = objects.boxes_xyxy[pairs.objects[lot]], chosen.boxes_xyxy.cpu()
    pit, widths, effective = torch.zeros(len(lot), 4).double(), torch.zeros(len(lot), 4), torch.zeros(len(lot))
    energy = model.branch.of_image(pyramid)
    tops = pyramid.to_input(chosen.boxes_xyxy, 0)
    for row, label in enumerate(chosen.labels.tolist()):
        top = tops[row : row + 1]
        density = density_around(
            energy,
            pyramid,
            top,
            label,
            LEVEL,
            temperature=model.temperature,
            reach=reach,
            samples=samples,
            generator=generator,
        )
        pit[row], effective[row] = density.cdf(truth[row]), density.effective
        widths[row] = density.edges.diff(dim=1)[:, 0].cpu() / sides(refined[row]).repeat(2)
    return pit, truth, refined, widths, effective, torch.full((len(lot),), index)
