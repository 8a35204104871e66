"""Several objects in one video: what their trackers do alike in a frame is done for all of them at once.

The crops go through the backbone and the energy head's convolutions in one batch, and all objects' boxes climb the
energy in one batch. The classifiers, one per object with its own filter and memory, work one after the other.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch

from ebm_tracker.boxes import BoxXYWH
from ebm_tracker.models import EnergyNetwork
from ebm_tracker.tracking.config import TrackerConfig, WeightsSource
from ebm_tracker.tracking.state import TrackOutput
from ebm_tracker.tracking.tracker import FrameDetails, Tracker, _Target

ObjectId = int | str


class MultiTracker:
    """Follows any number of objects by id: ``initialize`` or ``add``, then ``track`` frame by frame.

    Arguments as for Tracker; without ``config``, the paper's settings. An object's boxes are those of a Tracker of
    its own with the same seed: exactly while it is alone, up to rounding beside others, since the batch decides in
    which order sums are taken. Nothing else passes between objects: one that comes, goes or gets lost changes the
    others' boxes by that rounding at most.
    """

    def __init__(
        self,
        network: EnergyNetwork,
        config: TrackerConfig | None = None,
        *,
        device: torch.device | str = "cpu",
        seed: int = 0,
        profile: bool = False,
        keep_details: bool = False,
    ) -> None:
        settings = config or TrackerConfig(WeightsSource(""))
        self._engine = Tracker(
            network, settings, device=device, seed=seed, profile=profile, keep_details=keep_details
        )
        self._targets: dict[ObjectId, _Target] = {}

    @classmethod
    def of(cls, tracker: Tracker) -> MultiTracker:
        """One with no objects yet that shares network, settings, seed and stage times with ``tracker``."""
        several = cls.__new__(cls)
        several._engine, several._targets = tracker, {}
        return several

    @property
    def config(self) -> TrackerConfig:
        """The settings, for all objects."""
        return self._engine.config

    @property
    def device(self) -> torch.device:
        """Where the network is."""
        return self._engine.device

    @property
    def seed(self) -> int:
        """Of every object's random parts."""
        return self._engine.seed

    @property
    def network(self) -> EnergyNetwork:
        """The network, with batch norms folded; shared, not to be changed."""
        return self._engine.network

    @property
    def stage_times(self) -> dict[str, list[float]]:
        """Seconds of every stage, once per frame for all objects, "initialize" once per object; empty unless made
        with ``profile=True``."""
        return self._engine.stage_times

    @property
    def ids(self) -> tuple[ObjectId, ...]:
        """The objects, in the order in which they came."""
        return tuple(self._targets)

    @property
    def details(self) -> Mapping[Any, FrameDetails]:
        """Of the last frame, by object; without those that have not been tracked yet, and empty unless made with
        ``keep_details=True``."""
        return {key: target.details for key, target in self._targets.items() if target.details is not None}

    def initialize(self, frame: Any, boxes: Mapping[Any, BoxXYWH], color: str = "rgb") -> None:
        """Forgets all earlier objects and learns these from one frame; frame and boxes as for ``Tracker.initialize``.

        Raises ValueError, before anything is changed, for a frame or box that cannot be used.
        """
        self._targets = {key: self._started(frame, key, box, color) for key, box in boxes.items()}

    def add(self, frame: Any, object_id: ObjectId, box_xywh: BoxXYWH, color: str = "rgb") -> None:
        """Learns one more object from the frame that was tracked last, or before the first is tracked.

        Raises ValueError, before anything is changed, for an id that is there already, or a frame or box that cannot
        be used.
        """
        if object_id in self._targets:
            raise ValueError(f"object {object_id!r} is tracked already: remove it first, or choose another id")
        self._targets[object_id] = self._started(frame, object_id, box_xywh, color)

    def remove(self, object_id: ObjectId) -> None:
        """Forgets one object. Raises KeyError when it is not there."""
        if object_id not in self._targets:
            raise KeyError(f"no object {object_id!r} (there are: {', '.join(map(repr, self._targets)) or 'none'})")
        del self._targets[object_id]

    @torch.inference_mode()
    def track(self, frame: Any, color: str = "rgb") -> dict[ObjectId, TrackOutput]:
        """Finds all objects in the next frame: an output each, in the order of ``ids``; none without objects.

        ``frame`` and its errors as for ``Tracker.track``; None, a frame that could not be read, gives LOST with the
        last boxes and changes nothing.
        """
        outputs = self._engine._followed(list(self._targets.values()), frame, color)
        return dict(zip(self._targets, outputs, strict=True))

    @torch.inference_mode()
    def _started(self, frame: Any, object_id: ObjectId, box_xywh: BoxXYWH, color: str) -> _Target:
        try:
            return self._engine._started(frame, box_xywh, color)
        except ValueError as error:
            raise ValueError(f"object {object_id!r}: {error}") from error
