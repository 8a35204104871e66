"""The variants of the paper's Table 1: their names, how a study trains and measures them, and what it found."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ebm_tracker.adapters.detection.base import FrozenDetector
from ebm_tracker.adapters.detection.data import DetectionImages
from ebm_tracker.adapters.detection.heads import BoxHead, GaussianBoxHead, LaplaceBoxHead
from ebm_tracker.adapters.detection.refinement import IOU_NET, IOU_NET_STAR, OURS, RefineSettings
from ebm_tracker.adapters.detection.steps import METHODS
from ebm_tracker.training.loop import LoopSettings

BASE = "base"
"""Setting of a run that has the detector's digest."""
DIRECT = "direct"
"""The detector as it is; of it there is one run."""
HEADS: Mapping[str, type[BoxHead]] = {"gaussian": GaussianBoxHead, "laplace": LaplaceBoxHead}
TRAINED = (*HEADS, *METHODS)
"""Names of the variants that learn something, in the order of the paper's table."""
MATCHED = "matched IoU"
"""Mean overlap, in percent, of detections with the objects they were matched to, as a figure beside COCO's."""

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class DetectionData:
    """What a study learns from and is measured on.

    Attributes:
        train: images to learn from (``training=True``).
        test: images to detect in.
        detector: makes the frozen base; picklable for several workers.
        fingerprint: what decides the training images and the detector besides their digests, by name.
        val: images to search the step lengths on; None where none are searched.
        kept: folder for the features of the training images; None: every image is read each time it is drawn, which
            takes no room.
    """

    train: DetectionImages
    test: DetectionImages
    detector: Callable[[], FrozenDetector]
    fingerprint: Mapping[str, Any]
    val: DetectionImages | None = None
    kept: Path | None = None


@dataclass(frozen=True)
class DetectionSettings:
    """One study.

    Attributes:
        head_loop, iou_loop, nll_loop: schedules of the Gaussian and Laplace heads, of the two IoU-Nets, and of ours;
            their own ``seed`` is replaced by the run's.
        methods: some of TRAINED.
        runs: trainings of everything; number r draws from seed ``seed`` + r.
        samples: candidates for each object.
        refine: step lengths of the energy methods, by name.
        search_images: validation images on which each training's step lengths are searched; 0: ``refine`` as it is.
        factors, ratios: of that search, see ``step_grid``.
    """

    head_loop: LoopSettings
    iou_loop: LoopSettings
    nll_loop: LoopSettings
    methods: tuple[str, ...] = TRAINED
    runs: int = 1
    seed: int = 0
    samples: int = 128
    refine: Mapping[str, RefineSettings] = field(
        default_factory=lambda: {"iou_net": IOU_NET, "iou_net_star": IOU_NET_STAR, "ours": OURS}
    )
    search_images: int = 0
    factors: tuple[float, ...] = (0.25, 0.5, 1.0, 2.0, 4.0, 8.0)
    ratios: tuple[float, ...] = (4.0,)

    def __post_init__(self) -> None:
        unknown = [name for name in self.methods if name not in TRAINED]
        if unknown:
            raise ValueError(f"methods must be some of {', '.join(TRAINED)} (got {', '.join(unknown)})")
        if len(set(self.methods)) < len(self.methods):
            raise ValueError(f"methods must name each once (got {', '.join(self.methods)})")
        unset = [name for name in self.methods if name in METHODS and name not in self.refine]
        if unset:
            raise ValueError(
                f"refine must have settings of {', '.join(unset)} (got {', '.join(self.refine) or 'none'})"
            )
        if self.runs < 1 or self.search_images < 0:
            raise ValueError(
                f"runs must be at least 1 and search_images at least 0 (got {self.runs} and {self.search_images})"
            )

    def loop_of(self, name: str, run: int) -> LoopSettings:
        """The schedule of one training."""
        chosen = self.head_loop if name in HEADS else self.nll_loop if name == "ours" else self.iou_loop
        return replace(chosen, seed=self.seed + run)


@dataclass(frozen=True)
class Scores:
    """Of one training: ``figures`` of ``score_detections`` and MATCHED, in percent; ``matches``: how many detections
    were matched; ``refine``: the settings that its boxes were refined with, None where they were not."""

    figures: Mapping[str, float]
    matches: int
    refine: RefineSettings | None = None


@dataclass(frozen=True)
class DetectionResult:
    """``scores``: of every run, by name; of DIRECT one."""

    scores: Mapping[str, tuple[Scores, ...]]

    def values(self, name: str, figure: str) -> Floats:
        """(R,), in percent."""
        return np.array([scores.figures[figure] for scores in self.scores[name]])

    def gains(self, name: str, over: str, figure: str) -> Floats:
        """(R,): differences within each run; DIRECT is the same for all."""
        return np.asarray(self.values(name, figure) - self.values(over, figure))
