"""The tracker: ATOM's online classifier finds the target, the energy network fits the box.

This module is the list of steps; each step is a module of its own.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from operator import index
from typing import TYPE_CHECKING, Any, SupportsIndex, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ebm_tracker.boxes import BoxXYWH, check_inside, parse_box_xywh
from ebm_tracker.crops import CropWindow, SearchGeometry, sample_patch
from ebm_tracker.frames import to_rgb_uint8
from ebm_tracker.models import BoxEnergy, EnergyNetwork
from ebm_tracker.models.backbone import fold_batch_norms
from ebm_tracker.models.box_energy_group import GroupBoxEnergy
from ebm_tracker.tracking.augment import dropout_copies, first_frame_patches
from ebm_tracker.tracking.classifier import (
    OnlineClassifier,
    fit_classifier,
    gaussian_label,
    label_sigma,
    normalize_features,
    random_filter,
    random_projection,
)
from ebm_tracker.tracking.clock import StageClock
from ebm_tracker.tracking.config import TrackerConfig
from ebm_tracker.tracking.fourier import ScoreUpsampler
from ebm_tracker.tracking.localize import Localization, Outcome, localize
from ebm_tracker.tracking.memory import SampleMemory
from ebm_tracker.tracking.refinement import refine, select_box, start_boxes
from ebm_tracker.tracking.state import Status, TargetState, TrackOutput

if TYPE_CHECKING:
    from ebm_tracker.tracking.multi import MultiTracker

CELL = 16
"""Stride of the classifier's features in crop pixels."""

_STATUS = {
    Outcome.NORMAL: Status.TRACKED,
    Outcome.HARD_NEGATIVE: Status.TRACKED,
    Outcome.UNCERTAIN: Status.UNCERTAIN,
    Outcome.NOT_FOUND: Status.LOST,
}


@dataclass
class _Target:
    """Everything that belongs to one target: made by ``initialize``, gone with the next one. ``details``: of its
    last frame, when they are kept."""

    frame_wh: tuple[int, int]
    geometry: SearchGeometry
    state: TargetState
    classifier: OnlineClassifier
    memory: SampleMemory
    energy: BoxEnergy
    label_sigma: float
    generator: torch.Generator
    frames: int = 1
    details: FrameDetails | None = None


@dataclass(frozen=True)
class Climb:
    """Refinement in one frame: boxes in crop pixels. ``start_xywh``, ``final_xywh``: (N, 4); ``energies``: (N,), what
    the final boxes are ranked by."""

    start_xywh: Tensor
    final_xywh: Tensor
    energies: Tensor


@dataclass(frozen=True)
class FrameDetails:
    """What the steps of one frame saw, for pictures.

    ``patch``: (1, 3, S, S), the crop, RGB 0..255; ``scores``: (S, S), the classifier's upsampled map, zero displacement
    at its middle; ``location``: what was read off it; ``climb``: None where the target was not found; ``window``: where
    in the frame the crop lies; ``energy``: the target's, ``box_xywh``: its box in the frame, pixels.
    """

    patch: Tensor
    scores: Tensor
    location: Localization
    climb: Climb | None
    window: CropWindow
    energy: BoxEnergy
    box_xywh: BoxXYWH


@dataclass
class _Look:
    """What is known of one target in the frame at hand. ``row``: its place in the batch; ``sample``: projected
    features; ``found_xy``: centre in the frame, None where it was not found."""

    target: _Target
    row: int
    window: CropWindow
    sample: Tensor
    scores: Tensor
    location: Localization
    found_xy: tuple[float, float] | None
    climb: Climb | None = None


class Tracker:
    """Follows one target: ``initialize`` with its first box, then ``track`` frame by frame.

    With boxes by id, {id: box}, it follows several, and ``track`` answers by id; MultiTracker, which does that work,
    also takes and drops objects in mid-video.

    ``network``: trackers may share one. It is put in eval mode, on ``device``, and its batch norms are folded into
    the convolutions before them, so it cannot be trained further. ``seed`` fixes the random parts
    (augmentation, filter start values, start boxes): the same seed, machine and thread count give bit-equal
    results. ``profile``: keep the time of every stage in ``stage_times``; ``keep_details``: keep what the last frame's
    steps saw in ``details``.
    """

    def __init__(
        self,
        network: EnergyNetwork,
        config: TrackerConfig,
        *,
        device: torch.device | str = "cpu",
        seed: int = 0,
        profile: bool = False,
        keep_details: bool = False,
    ) -> None:
        self.config = config
        self.device = torch.device(device)
        self.seed = check_seed(seed)
        # Folded norms and channels-last memory: what the CPU's convolution kernels are fastest with.
        network = fold_batch_norms(network.eval()).to(self.device)
        self._network: EnergyNetwork = network.to(memory_format=torch.channels_last)
        self._clock = StageClock(profile, self.device)
        cells = config.crop_size // CELL
        self._upsampler = ScoreUpsampler(
            (cells, cells),
            (config.crop_size, config.crop_size),
            upstream_compat=config.upstream_compat,
            device=self.device,
        )
        self._target: _Target | None = None
        self._several: MultiTracker | None = None
        self._keep_details = keep_details

    @property
    def network(self) -> EnergyNetwork:
        """The network, with batch norms folded; shared, not to be changed."""
        return self._network

    @property
    def stage_times(self) -> dict[str, list[float]]:
        """Seconds of every stage, in order; empty unless the tracker was made with ``profile=True``."""
        return self._clock.seconds

    @property
    def details(self) -> FrameDetails | None:
        """Of the last tracked frame; None before it, with several objects, and unless the tracker was made with
        ``keep_details=True``."""
        return None if self._target is None else self._target.details

    # First frame -----------------------------------------------------------------------------------------------

    @torch.inference_mode()
    def initialize(self, frame: Any, box_xywh: Any, color: str = "rgb") -> None:
        """Learns the target from one frame.

        ``frame``: see :func:`ebm_tracker.frames.to_rgb_uint8`; ``box_xywh``: four numbers in pixels, top-left
        corner and size, possibly partly outside the frame; or such boxes by id, for several objects. A second call
        starts afresh, as a new tracker would.

        Raises ValueError, before anything is changed, for a frame or box that cannot be used.
        """
        if isinstance(box_xywh, Mapping):
            from ebm_tracker.tracking.multi import MultiTracker  # it is made of trackers

            several = MultiTracker.of(self)
            several.initialize(frame, box_xywh, color)
            self._target, self._several = None, several
            return
        target = self._started(frame, box_xywh, color)
        self._target, self._several = target, None

    def _started(self, frame: Any, box_xywh: Any, color: str) -> _Target:
        """A target that is learned from this frame; changes nothing of the tracker. Raises as ``initialize`` does."""
        image = to_rgb_uint8(frame, color)
        box = parse_box_xywh(box_xywh)
        height, width = image.shape[:2]
        check_inside(box, (width, height))
        with self._clock.stage("initialize"):
            return self._learn(image, box)

    def _learn(self, image: NDArray[np.uint8], box: tuple[float, float, float, float]) -> _Target:
        config = self.config
        generator = torch.Generator().manual_seed(self.seed)
        geometry = SearchGeometry.around(box, config.search_area, config.crop_size)
        state = TargetState(geometry.center_xy, (box[2], box[3]), geometry.scale)

        # A patch of twice the search square leaves room to move and turn; the identity is its middle.
        size = config.crop_size
        wide, wide_window = sample_patch(
            image, state.center_xy, 2 * size * state.scale, 2 * size, upstream=config.upstream_compat
        )
        patches, _, shifts_xy = first_frame_patches(wide[0], size, generator, config.augmentation)
        window = _inner_window(wide_window, size)

        features8, features16 = self._features(patches)
        samples = normalize_features(features16)
        samples = torch.cat(
            (
                samples,
                dropout_copies(
                    samples[:1], config.augmentation.dropout_count, config.augmentation.dropout_probability, generator
                ),
            )
        )
        sigma = label_sigma(geometry.base_wh, 1 / CELL, config.classifier.label_sigma_factor)
        shifts = torch.cat((shifts_xy, shifts_xy.new_zeros(len(samples) - len(shifts_xy), 2))).double()
        labels = self._labels(window, state.center_xy, sigma, shifts)
        classifier = fit_classifier(
            samples,
            labels,
            config.classifier,
            init_projection=random_projection(config.classifier, samples.shape[1], generator),
            init_filter=random_filter(config.classifier, generator),
        )
        memory = SampleMemory(classifier.project(samples), labels, config.memory)

        crop_box = window.box_to_crop(state.center_xy, state.size_wh)
        modulation = self._network.head.modulation(
            (features8[:1], features16[:1]), torch.tensor([crop_box], dtype=torch.float32, device=self.device)
        )
        energy = BoxEnergy(self._network.head, modulation)
        frame_wh = (image.shape[1], image.shape[0])
        return _Target(frame_wh, geometry, state, classifier, memory, energy, sigma, generator)

    # Every other frame -----------------------------------------------------------------------------------------

    @torch.inference_mode()
    def track(self, frame: Any, color: str = "rgb") -> TrackOutput:
        """Finds the target in the next frame.

        ``frame`` as for ``initialize``. None or an empty array (a frame that could not be read) gives LOST with
        the last box and changes nothing. When the frame's size changes in mid-video, the box is scaled with it.
        After ``initialize`` with boxes by id the answer is a dictionary of outputs by id (which the type of this
        method, that of the usual case, does not tell).

        Raises RuntimeError before ``initialize``, ValueError for a frame that cannot be used.
        """
        if self._several is not None:
            return cast(TrackOutput, self._several.track(frame, color))
        if self._target is None:
            raise RuntimeError("call initialize(frame, box_xywh) before track(frame)")
        return self._followed([self._target], frame, color)[0]

    def _followed(self, targets: Sequence[_Target], frame: Any, color: str) -> list[TrackOutput]:
        """``track`` for any number of targets of one video, an output each."""
        if frame is None or 0 in getattr(frame, "shape", ()):
            return [TrackOutput(target.state.box_xywh, 0.0, Status.LOST) for target in targets]
        image = to_rgb_uint8(frame, color)
        for target in targets:
            self._fit_frame_size(target, (image.shape[1], image.shape[0]))
            target.frames += 1
        return self._step(targets, image) if targets else []

    def _step(self, targets: Sequence[_Target], image: NDArray[np.uint8]) -> list[TrackOutput]:
        config, clock, size = self.config, self._clock, self.config.crop_size
        with clock.stage("crop"):
            crops = [
                sample_patch(
                    image, t.state.center_xy, size * t.state.scale, size, upstream=config.upstream_compat
                )
                for t in targets
            ]
            patches = torch.cat([patch for patch, _ in crops])
        with clock.stage("backbone"):
            features = self._features(patches)
        with clock.stage("localize"):
            looks = [
                self._look(target, row, window, features[1][row : row + 1])
                for row, (target, (_, window)) in enumerate(zip(targets, crops, strict=True))
            ]
        found = [look for look in looks if look.found_xy is not None]
        if found:
            self._fit_boxes(found, features)
        with clock.stage("learn"):
            for look in looks:
                target, hard_negative = look.target, look.location.outcome is Outcome.HARD_NEGATIVE
                if hard_negative or (target.frames - 1) % config.classifier.update_every == 0:
                    target.classifier.update(target.memory)
        if self._keep_details:
            for look in looks:
                patch = patches[look.row : look.row + 1]
                target = look.target
                target.details = FrameDetails(
                    patch,
                    look.scores,
                    look.location,
                    look.climb,
                    look.window,
                    target.energy,
                    target.state.box_xywh,
                )
        return [
            TrackOutput(
                look.target.state.box_xywh, min(max(look.location.peak, 0.0), 1.0), _STATUS[look.location.outcome]
            )
            for look in looks
        ]

    def _look(self, target: _Target, row: int, window: CropWindow, features16: Tensor) -> _Look:
        """Where the classifier sees the target."""
        state = target.state
        sample = target.classifier.project(normalize_features(features16))
        scores = self._upsampler(target.classifier.score(sample))[0]
        crop_wh = (state.size_wh[0] / state.scale, state.size_wh[1] / state.scale)
        location = localize(scores, crop_wh, self.config.localization)
        found = None
        if location.outcome is not Outcome.NOT_FOUND:
            middle = (self.config.crop_size - 1) / 2
            dx, dy = location.displacement_xy
            found = self._kept_inside(window.point_to_frame((middle + dx, middle + dy)), state.size_wh, target.frame_wh)
        return _Look(target, row, window, sample, scores, location, found)

    def _fit_boxes(self, found: Sequence[_Look], features: tuple[Tensor, Tensor]) -> None:
        """New states of the targets that were found, by refinement of all their boxes at once, and the samples that
        they learn from."""
        config = self.config
        with self._clock.stage("energy features"):
            if len(found) < len(features[0]):
                rows = [look.row for look in found]
                features = (features[0][rows], features[1][rows])
            maps = self._network.head.maps(features)
            energies = [look.target.energy for look in found]
            energy = energies[0].frame(maps) if len(found) == 1 else GroupBoxEnergy(energies, maps)
        with self._clock.stage("refine"):
            starts = [self._starts(look) for look in found]
            boxes, ranking = refine(
                energy, torch.cat(starts), config.refinement, objects=len(found), upstream=config.upstream_compat
            )
            climbs = zip(found, starts, boxes.chunk(len(found)), ranking.chunk(len(found)), strict=True)
            for look, start, final, rank in climbs:
                look.climb = Climb(start, final, rank)
                look.target.state = self._refined(look, final, rank)
        for look in found:
            outcome, target = look.location.outcome, look.target
            if outcome is not Outcome.UNCERTAIN:
                hard = outcome is Outcome.HARD_NEGATIVE
                rate = config.memory.hard_negative_learning_rate if hard else config.memory.learning_rate
                still = torch.zeros(1, 2, dtype=torch.float32)
                label = self._labels(look.window, target.state.center_xy, target.label_sigma, still)
                target.memory.add(look.sample, label, rate)

    def _starts(self, look: _Look) -> Tensor:
        """The boxes that climb, (boxes, 4) in crop pixels: the old size around where the target was found."""
        assert look.found_xy is not None
        box = look.window.box_to_crop(look.found_xy, look.target.state.size_wh)
        start = torch.tensor(box, dtype=torch.float32, device=self.device)
        return start_boxes(start, self.config.refinement, look.target.generator)

    def _refined(self, look: _Look, boxes_xywh: Tensor, ranking: Tensor) -> TargetState:
        """The box that climbed highest; the old size where the target was found when none is sound."""
        assert look.found_xy is not None
        config, target, old = self.config, look.target, look.target.state
        best = select_box(boxes_xywh, ranking, config.refinement)
        if best is None:
            # pytracking returns to the previous frame's position here and forgets what the classifier found.
            return old if config.upstream_compat else TargetState(look.found_xy, old.size_wh, old.scale)
        center, size = look.window.box_to_frame(best)
        size = self._bounded(size, old.size_wh, target.frame_wh)
        base_w, base_h = target.geometry.base_wh
        scale = math.sqrt(size[0] * size[1] / (base_w * base_h))
        return TargetState(self._kept_inside(center, size, target.frame_wh), size, scale)

    # Parts -----------------------------------------------------------------------------------------------------

    def _features(self, patches: Tensor) -> tuple[Tensor, Tensor]:
        """Backbone features of (N, 3, S, S) patches, in chunks that bound the memory for it.

        On the CPU by twos: the first layers' outputs of more exceed 32 MB, which glibc's malloc takes from and gives
        back to the system every time, at 16,000 page faults a frame. The values do not depend on it.
        """
        chunk = 2 if self.device.type == "cpu" else 16
        parts = [self._network.features(part.to(self.device)) for part in patches.split(chunk)]
        return torch.cat([part[0] for part in parts]), torch.cat([part[1] for part in parts])

    def _labels(
        self, window: CropWindow, center_xy: tuple[float, float], sigma: float, shifts_xy: Tensor
    ) -> Tensor:
        """Wanted responses (N, cells, cells): a Gaussian at the target, moved by ``shifts_xy`` (N, 2) pixels."""
        cells = self.config.crop_size // CELL
        x, y = window.point_to_crop(center_xy)
        middle = (self.config.crop_size - 1) / 2
        centers = (torch.tensor([[x - middle, y - middle]], dtype=torch.float32) + shifts_xy) / CELL
        return gaussian_label((cells, cells), (sigma, sigma), centers).to(self.device, torch.float32)

    def _kept_inside(
        self, center_xy: tuple[float, float], size_wh: tuple[float, float], frame_wh: tuple[int, int]
    ) -> tuple[float, float]:
        """The centre moved so that at least ``inside_share`` of either side stays in the frame."""
        # Pixel i ends half a pixel after its centre. ATOM leaves that out, which loses boxes below 3 pixels.
        share, edge = self.config.inside_share, 0.0 if self.config.upstream_compat else 0.5
        x, y = (
            min(max(c, (share - 0.5) * size - edge), limit - (share - 0.5) * size - edge)
            for c, size, limit in zip(center_xy, size_wh, frame_wh, strict=True)
        )
        return x, y

    def _bounded(
        self, size_wh: tuple[float, float], old_wh: tuple[float, float], frame_wh: tuple[int, int]
    ) -> tuple[float, float]:
        """Sides that change by at most ``max_size_change`` per frame, from two pixels to the frame's."""
        change = self.config.max_size_change
        w, h = (
            min(max(side, old / change, 2.0), old * change, max(float(limit), old / change, 2.0))
            for side, old, limit in zip(size_wh, old_wh, frame_wh, strict=True)
        )
        return w, h

    def _fit_frame_size(self, target: _Target, frame_wh: tuple[int, int]) -> None:
        if frame_wh != target.frame_wh:
            ratio = (frame_wh[0] / target.frame_wh[0], frame_wh[1] / target.frame_wh[1])
            target.state, target.frame_wh = target.state.resized(ratio), frame_wh


def check_seed(seed: int) -> int:
    """The seed as an int. Raises ValueError for what torch's and NumPy's generators do not both take."""
    if not isinstance(seed, SupportsIndex) or not 0 <= index(seed) < 2**63:
        raise ValueError(f"seed must be a whole number from 0 to 2^63 - 1 (got {seed!r})")
    return index(seed)


def _inner_window(wide: CropWindow, size: int) -> CropWindow:
    """The window of the middle S x S of a 2S x 2S patch."""
    return CropWindow(wide.point_to_frame((size / 2, size / 2)), wide.scale_xy, wide.entry_shift)
