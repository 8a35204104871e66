"""Settings of a tracker: frozen, checked when made, one object per preset."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum

from ebm_tracker.tracking.augment import AugmentationSettings
from ebm_tracker.tracking.classifier import ClassifierSettings
from ebm_tracker.tracking.localize import LocalizationSettings
from ebm_tracker.tracking.memory import MemorySettings


class BoxSpace(Enum):
    """Coordinates in which boxes climb the energy."""

    RELATIVE = "relative"
    """(cx / w0, cy / h0, log w, log h) with the size of the first start box (the paper)."""
    IMAGE = "image"
    """(x, y, w, h), each step multiplied by the box's own (w, h, w, h) (ATOM)."""


@dataclass(frozen=True)
class RefinementSettings:
    """Refinement of the box on the energy (PROTOCOL 4.6).

    ``step_length``: for position and size, in the units of ``space``; ``jitter``: range of the random start
    boxes' offsets in position and size, in units of sqrt(w h); ``best``: how many are averaged.
    """

    boxes: int = 10
    steps: int = 10
    step_length: tuple[float, float] = (2e-4, 1e-3)
    decay: float = 1.0
    space: BoxSpace = BoxSpace.RELATIVE
    jitter: tuple[float, float] = (0.1, 0.5)
    min_side_share: float = 1 / 3
    max_aspect: float = 6.0
    best: int = 3

    def __post_init__(self) -> None:
        if self.boxes < 1 or self.steps < 0 or not 1 <= self.best <= self.boxes:
            raise ValueError(
                f"refinement needs boxes >= 1, steps >= 0 and 1 <= best <= boxes "
                f"(got boxes={self.boxes}, steps={self.steps}, best={self.best})"
            )
        if min(self.step_length) < 0 or not 0 < self.decay <= 1 or self.max_aspect <= 1:
            raise ValueError(
                f"refinement needs step_length >= 0, decay in (0, 1] and max_aspect > 1 (got "
                f"step_length={self.step_length}, decay={self.decay}, max_aspect={self.max_aspect})"
            )


@dataclass(frozen=True)
class WeightsSource:
    """Where a preset's network comes from.

    ``file``: name in the package's ``weights`` folder; ``sha256``: its hash; ``advice``: what to do when the
    file is absent.
    """

    file: str
    sha256: str | None = None
    advice: str = ""


@dataclass(frozen=True)
class TrackerConfig:
    """Everything a tracker needs but the network and the frames.

    ``search_area``: side of the search square over sqrt(w h); ``inside_share``: least part of the target's
    side kept inside the frame; ``max_size_change``: bound on a side's growth or shrinkage per frame;
    ``upstream_compat``: pytracking's geometry and ranking slips (see crops, fourier, refinement) for parity.
    """

    weights: WeightsSource
    crop_size: int = 288
    search_area: float = 5.0
    inside_share: float = 0.2
    max_size_change: float = 1.5
    upstream_compat: bool = False
    classifier: ClassifierSettings = field(default_factory=ClassifierSettings)
    memory: MemorySettings = field(default_factory=MemorySettings)
    localization: LocalizationSettings = field(default_factory=LocalizationSettings)
    augmentation: AugmentationSettings = field(default_factory=AugmentationSettings)
    refinement: RefinementSettings = field(default_factory=RefinementSettings)

    def __post_init__(self) -> None:
        if self.crop_size < 32 or self.crop_size % 32:
            raise ValueError(f"crop_size must be a positive multiple of 32 (got {self.crop_size})")
        if self.search_area <= 1:
            raise ValueError(f"search_area must be > 1 (got {self.search_area})")
        if self.max_size_change <= 1:
            raise ValueError(f"max_size_change must be > 1 (got {self.max_size_change})")
