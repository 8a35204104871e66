"""Which two frames make a training pair (PROTOCOL 4.2)."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from ebm_tracker.training.data.sequence import AnnotatedVideo, DataSetError, FrameReadError, SequenceSet


class FramePair(NamedTuple):
    """Two frames of one video, by number from 0; they may be the same frame."""

    video: AnnotatedVideo
    reference_index: int
    test_index: int


@dataclass(frozen=True)
class SamplerSettings:
    """``max_gap``: frames between the two, in both directions; ``widen_by``: added to it as often as no visible
    frame is in reach. Videos shorter than ``min_frames`` or with fewer than ``min_visible`` visible frames are
    never drawn. The defaults are those of the paper's code."""

    max_gap: int = 200
    widen_by: int = 5
    min_frames: int = 20
    min_visible: int = 5

    def __post_init__(self) -> None:
        for name, least in (("max_gap", 0), ("widen_by", 1), ("min_frames", 1), ("min_visible", 1)):
            if getattr(self, name) < least:
                raise ValueError(f"{name} must be >= {least} (got {getattr(self, name)})")


class PairSampler:
    """Draws a data set by weight, then a video uniformly, then the frames.

    Which videos have enough visible frames is worked out here once, so a draw never searches. Everything a draw
    decides comes from the generator that it is given: with one generator per pair number, any number of workers
    and ranks draws the same pairs.

    ``weights``: one per set, >= 0, need not add up to 1; a set with weight 0 is left alone.

    Raises DataSetError, naming the set, when one with weight > 0 has no video to draw from.
    """

    def __init__(
        self, sets: Sequence[SequenceSet], weights: Sequence[float], settings: SamplerSettings | None = None
    ) -> None:
        self.settings = settings or SamplerSettings()
        used = _used(sets, weights)
        self._sets = [sets[i] for i in used]
        shares = np.array([weights[i] for i in used], np.float64)
        self._edges = np.cumsum(shares / shares.sum())[:-1]
        self._eligible = [_eligible(chosen, self.settings) for chosen in self._sets]

    @property
    def eligible_counts(self) -> dict[str, int]:
        """Videos that can be drawn, by set name."""
        return {s.name: len(videos) for s, videos in zip(self._sets, self._eligible, strict=True)}

    def draw(self, rng: Generator) -> FramePair:
        """One pair. Raises what opening the video raises; FrameReadError when it has lost its visible frames."""
        which = int(np.searchsorted(self._edges, rng.random(), side="right"))
        chosen, eligible = self._sets[which], self._eligible[which]
        video = chosen[int(eligible[rng.integers(len(eligible))])]
        visible = np.flatnonzero(video.visible)
        if not len(visible):
            raise FrameReadError(f"{chosen.name}, {video.name}: no visible frame, though its index counts some")
        reference = int(visible[rng.integers(len(visible))])
        if not chosen.is_video:
            return FramePair(video, reference, reference)
        within = self._near(visible, reference)
        return FramePair(video, reference, int(within[rng.integers(len(within))]))

    def _near(self, visible: NDArray[np.intp], reference: int) -> NDArray[np.intp]:
        """Visible frames in [reference - gap, reference + gap), the gap widened until there is one. The reference
        itself is one, so only a gap of 0 ever widens."""
        gap = self.settings.max_gap
        while True:
            first, last = np.searchsorted(visible, (reference - gap, reference + gap))
            if last > first:
                return visible[first:last]
            gap += self.settings.widen_by


def _used(sets: Sequence[SequenceSet], weights: Sequence[float]) -> list[int]:
    """Numbers of the sets with a weight above 0."""
    if len(sets) != len(weights):
        raise ValueError(f"weights must be one number per data set (got {len(weights)} for {len(sets)} sets)")
    for chosen, weight in zip(sets, weights, strict=True):
        if not (math.isfinite(weight) and weight >= 0):
            raise ValueError(f"weights: that of {chosen.name} must be finite and >= 0 (got {weight})")
    used = [i for i, weight in enumerate(weights) if weight > 0]
    if not used:
        raise ValueError(f"weights: at least one must be above 0 (got {list(weights)})")
    return used


def _eligible(chosen: SequenceSet, settings: SamplerSettings) -> NDArray[np.intp]:
    """Numbers of the videos that may be drawn."""
    frames, visible = chosen.visible_counts()
    if chosen.is_video:
        rule = f"{settings.min_frames} frames, {settings.min_visible} of them visible"
        eligible = np.flatnonzero((frames >= settings.min_frames) & (visible >= settings.min_visible))
    else:
        rule = "one visible object"
        eligible = np.flatnonzero(visible >= 1)
    if not len(eligible):
        raise DataSetError(f"{chosen.name}: none of its {len(chosen)} sequences can be trained on (needs {rule})")
    return eligible
