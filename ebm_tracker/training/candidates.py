"""The boxes whose energies a training step compares: drawn around the true box, one set per pair.

They are drawn with the pair, in the data workers, so that a training step is a function of its batch alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from enum import Enum
from typing import NamedTuple, Protocol

import numpy as np
import torch
from numpy.random import Generator
from numpy.typing import NDArray
from torch import Tensor

from ebm_tracker.boxes import relative_to_xywh, xywh_to_relative
from ebm_tracker.energy import GaussianMixture


class Candidates(NamedTuple):
    """``boxes_xywh`` (N, 4) float32 in crop pixels; ``log_q`` (N,) float32: the log-density that they were drawn
    from, in relative coordinates whose unit is the true box's size (boxes.py)."""

    boxes_xywh: Tensor
    log_q: Tensor


class CandidateScheme(Protocol):
    """A way to draw candidates. One scheme always draws the same number of them, so that sets form batches."""

    def draw(self, truth_xywh: Tensor, rng: Generator) -> Candidates:
        """Candidates for one true box (4,) with positive sides."""
        ...


class First(Enum):
    """What entry 0 is, before the samples."""

    NONE = "none"
    """Nothing: all entries are samples."""
    TRUTH = "truth"
    """The true box."""
    NOISY_TRUTH = "noisy_truth"
    """The true box moved by noise of its own, as NCE+ has it."""


class MixtureCandidates:
    """``samples`` draws from the mixture of Eq 5 around the true box, in relative coordinates: with sigma 0.05 the
    centre is off by 5 % of the true sides, and sides by a factor of about e^0.05. No box is refused, however large,
    small or far outside the crop.

    ``first``: what comes before them, with its own log q; ``beta``: spread of the noise of NOISY_TRUTH, as a share of
    ``sigmas``. Raises ValueError when ``samples`` is not at least 1 or ``beta`` not positive.
    """

    def __init__(
        self,
        sigmas: Sequence[float] | Sequence[Sequence[float]] = (0.05, 0.5),
        samples: int = 128,
        first: First = First.NONE,
        beta: float = 0.1,
    ) -> None:
        if samples < 1:
            raise ValueError(f"samples must be >= 1 (got {samples})")
        if not beta > 0:
            raise ValueError(f"beta must be > 0 (got {beta})")
        self.mixture, self.samples, self.first, self.beta = GaussianMixture(sigmas), samples, first, beta
        self._sigmas: NDArray[np.float64] = self.mixture.sigmas.expand(-1, 4).numpy()

    def draw(self, truth_xywh: Tensor, rng: Generator) -> Candidates:
        """``samples`` candidates, and one more in front unless ``first`` is NONE."""
        offsets = [self._noise(self.samples, rng)]
        if self.first is First.TRUTH:
            offsets.insert(0, np.zeros((1, 4)))
        elif self.first is First.NOISY_TRUTH:
            offsets.insert(0, self.beta * self._noise(1, rng))
        relative = torch.from_numpy(np.concatenate(offsets))
        log_q = self.mixture.log_density(relative[None], relative.new_zeros(1, 4))[0]
        truth = truth_xywh.double()
        boxes = relative_to_xywh(xywh_to_relative(truth, truth[2:]) + relative, truth[2:])
        return Candidates(boxes.float(), log_q.float())

    def _noise(self, count: int, rng: Generator) -> NDArray[np.float64]:
        """(count, 4): one component for all four coordinates of a draw."""
        component = rng.integers(len(self._sigmas), size=count)
        return rng.standard_normal((count, 4)) * self._sigmas[component]


class AtomCandidates:
    """ATOM's ``count`` boxes (PROTOCOL 4.3; Danelljan et al., CVPR 2019).

    Each box draws its spread from ``spreads`` and gets normal noise of spread * sqrt(wh) on centre x, y, width and
    height; a side of at most 1 pixel becomes U(0.15, 0.5) of the true one; the corner and the sides are rounded to
    integers. A box that overlaps the true one by an IoU of 0.1 or less is drawn again with nine tenths of the
    spread, up to 100 times. That procedure has no density in closed form: ``log_q`` is zero, and only losses that
    ignore it may use these candidates.
    """

    SPREADS = (0.01, 0.05, 0.1, 0.2, 0.3)
    TRIES = 100

    def __init__(self, count: int = 16, spreads: Sequence[float] = SPREADS, min_iou: float = 0.1) -> None:
        if count < 1:
            raise ValueError(f"count must be >= 1 (got {count})")
        if not spreads or not min(spreads) > 0:
            raise ValueError(f"spreads must be positive numbers (got {spreads!r})")
        self.count, self.spreads, self.min_iou = count, np.asarray(spreads, np.float64), min_iou

    def draw(self, truth_xywh: Tensor, rng: Generator) -> Candidates:
        """``count`` candidates."""
        truth = truth_xywh.double().numpy()
        spread = rng.choice(self.spreads, self.count) * np.sqrt(truth[2] * truth[3])
        boxes = np.empty((self.count, 4))
        pending = np.arange(self.count)
        for _ in range(self.TRIES):
            tried = _perturbed(truth, spread[pending], rng)
            boxes[pending] = tried
            pending = pending[_iou(tried, truth) <= self.min_iou]
            if not len(pending):
                break
            spread[pending] *= 0.9
        return Candidates(torch.from_numpy(boxes).float(), torch.zeros(self.count))


def _perturbed(truth: NDArray[np.float64], spread: NDArray[np.float64], rng: Generator) -> NDArray[np.float64]:
    """One noisy box (n, 4) for each spread (n,), corners and sides rounded."""
    noise = rng.standard_normal((len(spread), 4)) * spread[:, None]
    center = truth[:2] + 0.5 * truth[2:] + noise[:, :2]
    sides = _not_empty(truth[2:] + noise[:, 2:], truth, rng)
    boxes = np.rint(np.concatenate((center - 0.5 * sides, sides), axis=1))
    boxes[:, 2:] = _not_empty(boxes[:, 2:], truth, rng)  # rounding makes empty boxes of small ones
    return boxes


def _not_empty(sides: NDArray[np.float64], truth: NDArray[np.float64], rng: Generator) -> NDArray[np.float64]:
    return np.where(sides <= 1, truth[2:] * rng.uniform(0.15, 0.5, sides.shape), sides)


def _iou(boxes: NDArray[np.float64], truth: NDArray[np.float64]) -> NDArray[np.float64]:
    """(n,): boxes.py's iou_xywh for arrays; torch's calls would cost more than the arithmetic."""
    high = np.minimum(boxes[:, :2] + boxes[:, 2:], truth[:2] + truth[2:])
    inter = (high - np.maximum(boxes[:, :2], truth[:2])).clip(min=0).prod(1)
    return inter / (boxes[:, 2:].prod(1) + truth[2:].prod() - inter)
