"""A light detector trained in a folder: the frozen base of an experiment for those who have no trained one."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch

from ebm_tracker.adapters.detection.base import FrozenDetector
from ebm_tracker.adapters.detection.data import DetectionImages, TrainingImages
from ebm_tracker.adapters.detection.small import DetectorStep, SmallSettings, small_detector
from ebm_tracker.adapters.regression.fitting import seeded
from ebm_tracker.adapters.run_folder import train_or_load
from ebm_tracker.training.display import Display
from ebm_tracker.training.loop import LoopSettings


@dataclass(frozen=True)
class SmallBase:
    """How it is trained, and where: picklable, so that every process can load it.

    ``classes``: with the background; ``weights``: of the backbone; ``facts``: what decides the training images.
    """

    settings: SmallSettings
    loop: LoopSettings
    folder: Path
    classes: int
    weights: Path | None = None
    facts: Mapping[str, Any] | None = None

    def train(
        self,
        images: DetectionImages,
        display: Display | None = None,
        device: torch.device = torch.device("cpu"),  # noqa: B008  # cannot change
    ) -> FrozenDetector:
        """Trains it, goes on with it, or loads it. Raises ValueError when the folder was begun with other settings."""
        with seeded(self.loop.seed):
            step = DetectorStep(small_detector(self.classes, self.settings, self.weights))
        dataset = TrainingImages(images, self.loop.steps * self.loop.batch_size, self.loop.seed)
        fingerprint = {
            "detector": {**asdict(self.settings), "classes": self.classes},
            "data": {**(self.facts or {}), "images": len(images)},
        }
        train_or_load(
            step,
            step.trained,
            dataset,
            self.loop,
            self.folder,
            fingerprint=fingerprint,
            display=display,
            device=device,
        )
        return FrozenDetector(step.model)
