"""The variants of the paper's Table 1 on one frozen detector, each trained several times and scored alike.

    study = DetectionStudy(data, settings, Path("runs/detection"))
    result = study.run()                          # trains what is not trained yet, then detects and scores
    result.values("ours", "AP75")                 # (R,): one figure of every run, in percent

In the folder: ``run-0/ours`` and so on, with the weights, ``steps.json`` (the step lengths that were chosen),
``detections.json`` (in COCO's format) and ``scores.json``; ``run-0/direct`` is the detector itself.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict
from enum import Enum
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from rich.console import Console
from torch import nn
from torch.utils.data import Dataset

from ebm_tracker.adapters.detection.annotations import DetectionDataError
from ebm_tracker.adapters.detection.base import Detections, FrozenDetector, Pyramid
from ebm_tracker.adapters.detection.branch import ConfidenceBranch
from ebm_tracker.adapters.detection.data import DetectionImages, TrainingImages
from ebm_tracker.adapters.detection.evaluate import matched_ious, score_detections
from ebm_tracker.adapters.detection.heads import BoxHead, HeadStep
from ebm_tracker.adapters.detection.inference import EnergyDetector
from ebm_tracker.adapters.detection.kept import KeptFeatures, MapViews, RegionViews
from ebm_tracker.adapters.detection.refinement import Coordinates, RefineSettings
from ebm_tracker.adapters.detection.results import Result, read_results, results_of, write_results
from ebm_tracker.adapters.detection.step_search import Trial, search_steps, step_grid
from ebm_tracker.adapters.detection.steps import METHODS, ConfidenceStep
from ebm_tracker.adapters.detection.variants import (
    BASE,
    DIRECT,
    HEADS,
    MATCHED,
    TRAINED,
    DetectionData,
    DetectionResult,
    DetectionSettings,
    Scores,
)
from ebm_tracker.adapters.regression.fitting import seeded
from ebm_tracker.adapters.regression.study_progress import Progress, open_progress, work_off
from ebm_tracker.adapters.run_folder import train_or_load
from ebm_tracker.files import write_text_atomic
from ebm_tracker.training.display import Silence
from ebm_tracker.training.processes import Processes

DETECTIONS = "detections.json"


class DetectionStudy:
    """Trains R times each variant on ``data`` in ``folder``, detects with it and scores what it found.

    ``workers``: trainings side by side, each in a process with one thread (the CPU only). ``processes``: those of one
    training, as torchrun starts them; the first one detects alone. ``quiet``: shows nothing.
    """

    def __init__(
        self,
        data: DetectionData,
        settings: DetectionSettings,
        folder: Path,
        *,
        device: torch.device = torch.device("cpu"),  # noqa: B008  # cannot change
        workers: int = 1,
        processes: Processes | None = None,
        quiet: bool = False,
    ) -> None:
        self.processes = processes or Processes()
        if workers < 1:
            raise ValueError(f"workers must be at least 1 (got {workers})")
        if workers > 1 and (device.type != "cpu" or self.processes.count > 1):
            raise ValueError(f"workers must be 1 on a device other than the CPU and under torchrun (got {workers})")
        if settings.search_images and data.val is None:
            raise ValueError("data must have val where step lengths are searched")
        if settings.search_images and data.val is not None and not data.val.file.annotations:
            path = data.val.file.path.absolute()
            raise ValueError(f"the validation images must have annotations where step lengths are searched ({path})")
        self.data, self.settings, self.folder = data, settings, folder
        self.device, self.workers, self.quiet = self.processes.device(device), workers, quiet

    def __getstate__(self) -> dict[str, Any]:
        """Without what every process loads for itself."""
        return {name: value for name, value in vars(self).items() if name not in ("detector", "kept")}

    @cached_property
    def detector(self) -> FrozenDetector:
        """The frozen base."""
        return self.data.detector().to(self.device)

    @cached_property
    def kept(self) -> KeptFeatures | None:
        """Features of the training images, made where they are missing."""
        if self.data.kept is None:
            return None
        return KeptFeatures(
            self.data.train, self.detector, self.data.kept, facts=self._data_facts, quiet=self.quiet
        )

    @property
    def jobs(self) -> list[tuple[int, str]]:
        """Run and name of all trainings, the detector itself first."""
        return [(0, DIRECT), *((run, name) for run in range(self.settings.runs) for name in self.settings.methods)]

    def run(self) -> DetectionResult | None:
        """Trains, detects and scores what is missing; None in all processes but the first. Ctrl-C stops after the step
        or image under way. Raises ValueError when the folder was begun with other settings."""
        self.processes.from_first(self._prepare)
        if self.processes.count > 1:
            for run, name in self.jobs[1:]:
                self.fit(run, name)
            if not self.processes.is_first:
                return None
            self.processes = Processes()  # the others are gone
        with open_progress(sum(self.units(name) for _, name in self.jobs), quiet=self.quiet) as progress:
            if self.workers == 1:
                for run, name in self.jobs:
                    self.train(run, name, progress.part(f"run {run + 1}, {name}"))
            else:
                work_off(self, self.jobs, self.workers, progress)
        return self.result()

    def _prepare(self) -> None:
        """The detector and the kept features are made once, before processes share them."""
        _ = self.detector, self.kept

    def result(self) -> DetectionResult:
        """What the files of a finished study say."""
        names = (DIRECT, *self.settings.methods)
        return DetectionResult(
            {name: tuple(self.train(run, name) for run, own in self.jobs if own == name) for name in names}
        )

    def units(self, name: str) -> int:
        """Steps of a training and images of what follows, for the progress."""
        images = len(self.data.test) + self._searched(name)
        return images if name == DIRECT else images + self.settings.loop_of(name, 0).steps

    def train(self, run: int, name: str, progress: Progress | None = None) -> Scores:
        """Trains, searches the step lengths, detects and scores, as far as that is missing."""
        part = Progress() if progress is None else progress
        path = self.folder_of(run, name) / "scores.json"
        decides = self._decides(run, name)
        stored = _stored(path, "figures", "matches", "refine")
        if stored.get("settings") != decides or not (path.parent / DETECTIONS).is_file():
            stored = {"settings": decides, **self._score(run, name, part)}
            write_text_atomic(path, json.dumps(stored, indent=1) + "\n")
        part.finish(self.units(name))
        return Scores(stored["figures"], stored["matches"], _settings_of(stored["refine"]))

    def folder_of(self, run: int, name: str) -> Path:
        """Of one training."""
        return self.folder / f"run-{run}" / name

    # One training ----------------------------------------------------------------------------------------------------

    def fit(self, run: int, name: str, progress: Progress | None = None) -> nn.Module:
        """The trained head or branch of a run: trained, gone on with, or loaded."""
        loop = self.settings.loop_of(name, run)
        # Every training its own first weights: a pair that starts alike would err alike.
        with seeded(1000 * loop.seed + TRAINED.index(name)):
            step = self._step(name)
        length = loop.steps * loop.batch_size
        dataset: Dataset[Any]
        if self.kept is None:
            dataset = TrainingImages(self.data.train, length, loop.seed)
        else:
            dataset = (RegionViews if name in HEADS else MapViews)(self.kept, length, loop.seed)
        train_or_load(
            step,
            step.trained,
            dataset,
            loop,
            self.folder_of(run, name),
            fingerprint=self._trained_by(name),
            display=Silence() if progress is None and self.quiet else progress,
            device=self.device,
            processes=self.processes,
        )
        report = dataset.faults.report() if isinstance(dataset, TrainingImages) else None
        if report is not None and not self.quiet:
            Console().print(report, markup=False, soft_wrap=True)
        return step.trained

    def _step(self, name: str) -> HeadStep | ConfidenceStep:
        detector = self.detector
        if name in HEADS:
            head = HEADS[name](detector.feature_size, detector.classes)
            return HeadStep(head, detector if self.kept is None else None)
        loss, scheme = METHODS[name](self.settings.samples)
        branch = ConfidenceBranch.of_detector(detector)
        if self.kept is None:
            return ConfidenceStep(branch, detector, loss=loss, scheme=scheme)
        return ConfidenceStep(branch, loss=loss, scheme=scheme, pyramid_of=self.kept.pyramid)  # type: ignore[arg-type]

    def _trained_by(self, name: str) -> dict[str, Any]:
        facts: dict[str, Any] = {**self._data_facts, "kept": self.data.kept is not None}
        return facts if name in HEADS else facts | {"samples": self.settings.samples}

    def _decides(self, run: int, name: str) -> dict[str, Any]:
        """What decides the scores of a training."""
        known = self._data_facts
        facts: dict[str, Any] = {"data": known["data"], BASE: known[BASE], "test": self._test_digest}
        if name != DIRECT:
            facts |= {"trained": self._trained_by(name), "loop": self._loop_facts(name, run)}
        if name in METHODS:
            facts |= {"refine": _plain(self.settings.refine[name]), "searched": self._search_facts(name)}
        return dict(json.loads(json.dumps(facts)))

    @cached_property
    def _data_facts(self) -> dict[str, Any]:
        """What a training learns from."""
        return {"data": dict(self.data.fingerprint), "train": self.data.train.digest, BASE: self.detector.digest}

    @cached_property
    def _test_digest(self) -> str:
        return self.data.test.digest

    @cached_property
    def _val_digest(self) -> str:
        return "" if self.data.val is None else self.data.val.digest

    def _loop_facts(self, name: str, run: int) -> dict[str, Any]:
        loop = self.settings.loop_of(name, run)
        return {**loop.deciding(), "steps": loop.steps}  # which a run may change until it is finished

    # Step lengths ----------------------------------------------------------------------------------------------------

    def search(self, run: int, name: str, progress: Progress | None = None, done: int = 0) -> list[Trial]:
        """Every step length of the grid, with its AP on the validation images, best first; kept in ``steps.json``."""
        path = self.folder_of(run, name) / "steps.json"
        decides = self._decides(run, name)
        stored = _stored(path, "trials")
        if stored.get("settings") != decides:
            trials = self._search(run, name, Progress() if progress is None else progress, done)
            listed = [{"refine": _plain(trial.settings), "score": trial.score} for trial in trials]
            stored = {"settings": decides, "trials": listed}
            write_text_atomic(path, json.dumps(stored, indent=1) + "\n")
        found = [(_settings_of(trial["refine"]), float(trial["score"])) for trial in stored["trials"]]
        return [Trial(settings, score) for settings, score in found if settings is not None]

    def _search(self, run: int, name: str, progress: Progress, done: int) -> list[Trial]:
        assert self.data.val is not None
        settings, detector = self.settings, self.detector
        val = self.data.val.part(range(self._searched(name)))
        model = EnergyDetector(detector, self._branch(run, name), settings.refine[name])

        def score(found: list[Detections]) -> float:
            results = [
                result
                for image, few in zip(val.images, found, strict=True)
                for result in results_of(image.image_id, few, val.classes)
            ]
            return score_detections(val.file, results, [image.image_id for image in val.images]).figures["AP"]

        return search_steps(
            model,
            (detector.pyramid([val.tensor(index)]) for index in range(len(val))),
            # Where several are best, the settings' own are chosen before the others.
            sorted(
                step_grid(settings.refine[name], settings.factors, settings.ratios),
                key=lambda candidate: candidate != settings.refine[name],
            ),
            score,
            on_image=lambda number: progress.finish(done + number + 1),
        )

    def searches(self, name: str) -> bool:
        """Whether the step lengths of this variant are searched."""
        return self._searched(name) > 0

    def _searched(self, name: str) -> int:
        """Validation images of its search."""
        val = self.data.val
        return min(self.settings.search_images, len(val)) if name in METHODS and val is not None else 0

    def _search_facts(self, name: str) -> dict[str, Any]:
        settings = self.settings
        searched = self._searched(name)
        if not searched:
            return {"images": 0}
        return {"images": searched, "val": self._val_digest, "factors": settings.factors, "ratios": settings.ratios}

    # Detections ------------------------------------------------------------------------------------------------------

    def model(self, run: int, name: str) -> Callable[[Pyramid], list[Detections]]:
        """Detects with a trained variant: features -> detections of each image, in image pixels."""
        detector = self.detector
        if name in METHODS:
            return self.energy_detector(run, name).detect_in
        if name == DIRECT:
            return lambda pyramid: _with_head(detector, None, pyramid)
        head = self.fit(run, name)
        assert isinstance(head, BoxHead)
        return lambda pyramid: _with_head(detector, head, pyramid)

    def energy_detector(self, run: int, name: str) -> EnergyDetector:
        """With a trained branch and the step lengths that were chosen for it."""
        return EnergyDetector(self.detector, self._branch(run, name), self.refine_settings(run, name))

    def refine_settings(self, run: int, name: str) -> RefineSettings:
        """Of an energy method: those of the settings, or the best ones of the search."""
        if not self._searched(name):
            return self.settings.refine[name]
        return self.search(run, name)[0].settings

    def detections(self, run: int, name: str) -> list[Result]:
        """What it found in the test images, in COCO's format."""
        return read_results(self.folder_of(run, name) / DETECTIONS)

    def detect(self, run: int, name: str, images: DetectionImages) -> list[Result]:
        """What it finds in other images, of the same classes. Raises FrameReadError for a damaged one."""
        found = zip(images.images, self._found(run, name, images), strict=True)
        return [result for image, few in found for result in results_of(image.image_id, few, images.classes)]

    def _branch(self, run: int, name: str) -> ConfidenceBranch:
        branch = self.fit(run, name)
        assert isinstance(branch, ConfidenceBranch)
        return branch

    def _score(self, run: int, name: str, progress: Progress) -> dict[str, Any]:
        done = 0
        if name != DIRECT:
            self.fit(run, name, progress)
            done = self.settings.loop_of(name, run).steps
            progress.finish(done)
        refine = None
        if name in METHODS:
            if self._searched(name):
                self.search(run, name, progress, done)
                done += self._searched(name)
            refine = _plain(self.refine_settings(run, name))
        test = self.data.test
        results: list[Result] = []
        overlaps = []
        for index, found in enumerate(self._found(run, name, test)):
            results += results_of(test.images[index].image_id, found, test.classes)
            overlaps.append(matched_ious(test.objects[index], found))
            progress.finish(done + index + 1)
        path = self.folder_of(run, name) / DETECTIONS
        path.parent.mkdir(parents=True, exist_ok=True)  # of DIRECT no training makes it
        write_results(path, results)
        matched = torch.cat(overlaps)
        figures: dict[str, float] = {}
        if test.file.annotations:
            scored = score_detections(test.file, read_results(path), [image.image_id for image in test.images])
            mean = 100 * float(matched.mean()) if len(matched) else float("nan")
            figures = {**scored.figures, MATCHED: mean}
        return {"figures": figures, "matches": len(matched), "refine": refine}

    def _found(self, run: int, name: str, images: DetectionImages) -> Iterator[Detections]:
        """Of each image, in its pixels, on the CPU."""
        detect = self.model(run, name)
        for index in range(len(images)):
            yield _to_cpu(detect(self.detector.pyramid([images.tensor(index)]))[0])


def _stored(path: Path, *keys: str) -> dict[str, Any]:
    """What the file says; nothing where there is none."""
    if not path.is_file():
        return {}
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise DetectionDataError(f"{path.absolute()} is damaged ({error}); remove it") from error
    if not isinstance(found, dict) or not {"settings", *keys} <= found.keys():
        raise DetectionDataError(f"{path.absolute()} is damaged (it lacks what a study writes); remove it")
    return found


def _with_head(detector: FrozenDetector, head: BoxHead | None, pyramid: Pyramid) -> list[Detections]:
    """The detector's own suppression, with its own boxes or those of another head."""
    found = []
    with torch.no_grad():
        for index, regions in enumerate(detector.regions(pyramid)):
            offsets = None if head is None else head.offsets(regions.features)
            few = detector.suppress(detector.decode(regions, pyramid.input_sizes[index], offsets))
            found.append(Detections(pyramid.to_image(few.boxes_xyxy, index), few.scores, few.labels))
    return found


def _to_cpu(found: Detections) -> Detections:
    return Detections(found.boxes_xyxy.cpu(), found.scores.cpu(), found.labels.cpu())


def _plain(settings: RefineSettings) -> dict[str, Any]:
    return {name: value.value if isinstance(value, Enum) else value for name, value in asdict(settings).items()}


def _settings_of(plain: Mapping[str, Any] | None) -> RefineSettings | None:
    return None if plain is None else RefineSettings(**{**plain, "coordinates": Coordinates(plain["coordinates"])})
