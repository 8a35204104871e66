"""Detection: the variants of the paper's Table 1 on one frozen detector.

    ebm experiment detection --data COCO                      # torchvision's Faster R-CNN, the paper's schedules, a GPU
    ebm experiment detection --data PHOTOS --small            # a light detector on composed images: two CPU cores

``FULL`` has the paper's training (PROTOCOL 3.3): SGD with momentum 0.9, weight decay 1e-4 (none for biases, which learn
at twice the rate), 16 images a step, 60,000 steps, a tenth of the rate from 40,000 and a hundredth from 50,000, warm-up
from a third over 500; rates 0.005 for the Gaussian and Laplace heads, 0.01 for the IoU-Nets, 0.001 for ours. The base
is torchvision's ``fasterrcnn_resnet50_fpn`` (37.0 AP on val2017 by torchvision) where the paper has that of
maskrcnn-benchmark (37.2 on test-dev). What is printed beside ours is Table 1. We had neither COCO nor a GPU to run it.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from rich.console import Console

from ebm_tracker.adapters.counting import open_counter
from ebm_tracker.adapters.detection.base import FrozenDetector
from ebm_tracker.adapters.detection.collage import ComposeSettings
from ebm_tracker.adapters.detection.comparison import found_shares, objects_shown
from ebm_tracker.adapters.detection.compose import compose_set
from ebm_tracker.adapters.detection.coverage import LEVEL, EdgeCoverage, measure_coverage, spread
from ebm_tracker.adapters.detection.data import DetectionImages, open_detection_images
from ebm_tracker.adapters.detection.figure import before_and_after, scores_and_coverage
from ebm_tracker.adapters.detection.load import load_detector
from ebm_tracker.adapters.detection.small import SmallSettings
from ebm_tracker.adapters.detection.small_base import SmallBase
from ebm_tracker.adapters.detection.steps import METHODS
from ebm_tracker.adapters.detection.study import (
    DIRECT,
    MATCHED,
    DetectionData,
    DetectionResult,
    DetectionSettings,
    DetectionStudy,
)
from ebm_tracker.build import WEIGHTS_FOLDER
from ebm_tracker.evaluation.detection import OURS, MethodScores, detection_table, gain_table
from ebm_tracker.evaluation.regression import over_runs
from ebm_tracker.evaluation.report.tables import Column, Figure, Row, Table, mark_best
from ebm_tracker.files import write_text_atomic
from ebm_tracker.models.checkpoint import sha256_of
from ebm_tracker.training.loop import LoopSettings

SHOWN = ("AP", "AP50", "AP75", MATCHED)
"""Figures of the tables."""
LEVELS = (0.5, 0.9, 0.95)
"""Of the intervals in the table of the coverage."""
OBJECTS = 8
"""Whose boxes are drawn."""


@dataclass(frozen=True)
class DetectionRecipe:
    """One experiment.

    Attributes:
        study: schedules, candidates, step lengths, repetitions.
        detector: a name of torchvision, the frozen base.
        coverage: boxes whose density is drawn for the calibration; 0: none.
    """

    study: DetectionSettings
    detector: str = "fasterrcnn_resnet50_fpn"
    coverage: int = 1_000


@dataclass(frozen=True)
class SmallRecipe:
    """One without COCO: ``compose``: the images; ``detector``: the base, trained by ``base`` and then frozen; ``study``
    and ``coverage`` as above."""

    study: DetectionSettings
    compose: ComposeSettings
    detector: SmallSettings
    base: LoopSettings
    coverage: int = 400


_PAPER = LoopSettings(
    steps=60_000,
    batch_size=16,
    learning_rate=0.005,
    optimizer="sgd",
    momentum=0.9,
    weight_decay=1e-4,
    bias_rate=2.0,
    bias_decay=False,
    milestones=(40_000, 50_000),
    decay=0.1,
    warmup=500,
    warmup_from=1 / 3,
    workers=8,
    checkpoint_every=1_000,
    evaluate_every=0,
    tensorboard=False,
)

FULL = DetectionRecipe(
    DetectionSettings(
        head_loop=_PAPER,
        iou_loop=replace(_PAPER, learning_rate=0.01),
        nll_loop=replace(_PAPER, learning_rate=0.001),
    )
)

_SMALL_BRANCH = LoopSettings(
    steps=1_200,
    batch_size=8,
    learning_rate=1e-3,
    schedule="cosine",
    warmup=50,
    workers=0,
    checkpoint_every=100,
    evaluate_every=0,
    tensorboard=False,
)

SMALL = SmallRecipe(
    DetectionSettings(
        head_loop=replace(_SMALL_BRANCH, batch_size=16, steps=800),
        iou_loop=_SMALL_BRANCH,
        nll_loop=_SMALL_BRANCH,
        runs=3,
        search_images=100,
    ),
    ComposeSettings(classes="one"),
    SmallSettings(min_size=288, max_size=384, train_backbone=True),
    LoopSettings(
        steps=1_200,
        batch_size=8,
        learning_rate=5e-4,
        schedule="cosine",
        warmup=50,
        clip_norm=10.0,
        average_decay=0.998,
        workers=0,
        checkpoint_every=100,
        evaluate_every=0,
        tensorboard=False,
    ),
)


def with_steps(loop: LoopSettings, steps: int) -> LoopSettings:
    """The schedule drawn out or pressed together to so many steps."""
    share = steps / loop.steps
    return replace(
        loop,
        steps=steps,
        warmup=round(loop.warmup * share),
        milestones=tuple(round(milestone * share) for milestone in loop.milestones),
    )


@dataclass(frozen=True)
class CocoSource:
    """Where things are: ``root``: in COCO's layout; ``weights``: of the detector, None for torchvision's; splits by
    name; ``limit``: at most so many images of each split, 0 for all."""

    root: Path
    weights: Path | None = None
    train: str = "train2017"
    val: str = "val2017"
    test: str = "val2017"
    limit: int = 0


def open_coco(recipe: DetectionRecipe, source: CocoSource) -> tuple[DetectionData, list[str]]:
    """What the study takes, and sentences about what is in it. Raises WeightsError without weights of the detector."""
    make = partial(load_detector, recipe.detector, source.weights)
    outputs = make().classes
    searches = recipe.study.search_images > 0
    opened: dict[str, DetectionImages] = {}
    remarks = []
    for role, split in (("train", source.train), ("val", source.val), ("test", source.test)):
        if role == "val" and not searches:
            continue
        images = open_detection_images(source.root, split, training=role == "train", outputs=outputs)
        left_out = "; ".join(f"{count} {reason}" for reason, count in images.left_out.items())
        if source.limit and len(images) > source.limit:
            images = images.part(range(source.limit))
        opened[role] = images
        remarks.append(f"{role}: {len(images)} images of {split}" + (f"; left out: {left_out}" if left_out else ""))
    if searches and source.val == source.test:
        remarks.append(f"Step lengths are searched on {source.val}, which is tested on, too: for the test server only.")
    facts = {
        "detector": recipe.detector,
        "weights": sha256_of(source.weights)[:16] if source.weights is not None else "torchvision",
        "splits": [source.train, source.val, source.test],
        "limit": source.limit,
        "train images": len(opened["train"]),
    }
    return DetectionData(opened["train"], opened["test"], make, facts, opened.get("val")), remarks


def open_small(
    recipe: SmallRecipe, photos: Path, out: Path, device: torch.device, backbone_weights: Path | None = None
) -> tuple[DetectionData, list[str]]:
    """Composes the images, trains the base and keeps its features, as far as that is missing; all of it in ``out``."""
    root = compose_set(photos, out / "set", recipe.compose)
    train = open_detection_images(root, "train", training=True)
    val, test = (open_detection_images(root, split) for split in ("val", "test"))
    weights = backbone_weights
    if weights is None and recipe.detector.backbone == "efficientnet_lite0":
        weights = WEIGHTS_FOLDER / "default.safetensors"  # the shipped network contains it
    facts: dict[str, Any] = {"set": asdict(recipe.compose), "images": len(train)}
    facts["backbone"] = sha256_of(weights)[:16] if weights is not None else "torchvision"
    base = SmallBase(recipe.detector, recipe.base, out / "base", len(train.classes) + 1, weights, facts)
    base.train(train, device=device)
    make = partial(_trained_base, base, train)
    facts = facts | {"detector": asdict(recipe.detector), "base": recipe.base.deciding()}
    data = DetectionData(train, test, make, facts, val, out / "features")
    counts = [f"{name}: {len(images)} images" for name, images in (("train", train), ("val", val), ("test", test))]
    remarks = [
        f"Images composed of cut-out objects on other photos: {', '.join(counts)}; every photo serves one split.",
        f"Base: Faster R-CNN on {recipe.detector.backbone}, {recipe.base.steps} steps on these images, then frozen.",
    ]
    return data, remarks


def _trained_base(base: SmallBase, images: DetectionImages) -> FrozenDetector:
    return base.train(images)


def tables(
    recipe: DetectionRecipe | SmallRecipe, study: DetectionStudy, result: DetectionResult, remarks: Sequence[str]
) -> tuple[Table, ...]:
    """Ours beside the paper's; how far ours is above each of the others; and how often its density holds the truth.

    The last two where ours is among the variants."""
    methods = [
        MethodScores(name, {figure: result.values(name, figure) for figure in SHOWN}) for name in result.scores
    ]
    where = "small scale" if isinstance(recipe, SmallRecipe) else f"{recipe.detector}"
    chosen = [_steps_sentence(name, result) for name in result.scores]
    notes = (*remarks, *(sentence for sentence in chosen if sentence))
    made = [detection_table(f"Detection, {where}: percent", methods, notes=notes)]
    if OURS in result.scores:
        said = ("Differences in points, within each training; the frozen detector is the same for all.",)
        made.append(gain_table("How far ours is above", methods, notes=said))
        found = coverage(recipe, study)
        if found is not None:
            made.append(_coverage_table(found))
    return tuple(made)


def draw(recipe: DetectionRecipe | SmallRecipe, study: DetectionStudy, out: Path) -> list[Path]:
    """``detection``: what each variant found, and the coverage; ``boxes``: before and after; each .png and .pdf."""
    test, names = study.data.test, (DIRECT, *study.settings.methods)
    found = {
        name: np.stack([found_shares(test, study.detections(run, name)) for run, own in study.jobs if own == name])
        for name in names
    }
    edges = coverage(recipe, study) if OURS in names else None
    pictures = {"detection": scores_and_coverage(found, None if edges is None else edges.pit.numpy())}
    refined = [name for name in names if name in METHODS]
    if refined:
        best = OURS if OURS in refined else refined[-1]
        shown = objects_shown(test, study.detections(0, DIRECT), study.detections(0, best), OBJECTS)
        if shown:
            pictures["boxes"] = before_and_after(shown)
    return [path for name, picture in pictures.items() for path in picture.write(out / name)]


def coverage(recipe: DetectionRecipe | SmallRecipe, study: DetectionStudy) -> EdgeCoverage | None:
    """Of ours in the first run, kept beside its detections; None where none is wanted, or nothing was found."""
    count = min(recipe.coverage, sum(len(objects.labels) for objects in study.data.test.objects))
    if not count:
        return None
    path = study.folder_of(0, OURS) / "coverage.json"
    scores = json.loads((path.parent / "scores.json").read_text(encoding="utf-8"))["settings"]
    decides = {"scores": scores, "count": count}
    stored = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
    if stored.get("settings") != decides:
        generator = torch.Generator(study.device).manual_seed(study.settings.seed)
        total = len(spread(study.data.test, count))
        with open_counter("densities, images", total, Console(quiet=study.quiet)) as show:
            made = measure_coverage(
                study.energy_detector(0, OURS),
                study.data.test,
                count,
                generator=generator,
                on_image=lambda number: show(number + 1),
            )
        stored = {"settings": decides, "columns": {key: value.tolist() for key, value in vars(made).items()}}
        write_text_atomic(path, json.dumps(stored) + "\n")
    found = EdgeCoverage(**{key: torch.tensor(values) for key, values in stored["columns"].items()})
    return found if len(found) else None


def _coverage_table(found: EdgeCoverage) -> Table:
    rows = []
    for level in LEVELS:
        error = found.coverage_error(level)
        inside = Figure(100 * found.coverage(level), None if np.isnan(error) else 100 * error)
        rows.append(Row((f"{level:.0%}", inside)))
    widths = found.widths.median()
    notes = (
        f"Central intervals of each edge from p(y | x) around {len(found)} detections of the first training that were "
        "matched with an object (IoU of at least 0.5), chosen by lot; ± is a standard error, a box counting as one.",
        f"Median width of the {LEVEL:.0%} intervals: {100 * float(widths):.1f} % of the box's side.",
    )
    columns = (Column("Interval"), Column("True edges inside [%]", 1))
    return Table("How often the density of ours holds the true edges", columns, tuple(rows), notes)


def _steps_sentence(name: str, result: DetectionResult) -> str:
    settings = [scores.refine for scores in result.scores[name] if scores.refine is not None]
    if not settings:
        return ""
    texts = dict.fromkeys(f"{one.position_step:g} / {one.size_step:g}" for one in settings)
    return f"Step lengths of {name} (position / size): {', '.join(texts)}; {settings[0].steps} steps."


def search_tables(study: DetectionStudy) -> tuple[Table, ...]:
    """The step lengths that were tried for each energy method, with their AP on the validation images."""
    return tuple(_search_table(study, name) for name in study.settings.methods if study.searches(name))


def _search_table(study: DetectionStudy, name: str) -> Table:
    runs = [study.search(run, name) for run in range(study.settings.runs)]
    chosen = Counter(trials[0].settings for trials in runs)
    by_settings = [{trial.settings: trial.score for trial in trials} for trials in runs]
    rows = []
    for settings in sorted(by_settings[0], key=lambda one: (one.position_step, one.size_step)):
        scores = over_runs([scores[settings] for scores in by_settings])
        cells = (f"{settings.position_step:g}", f"{settings.size_step:g}", f"{settings.decay:g}", scores)
        rows.append(Row((*cells, f"{chosen[settings]} of {len(runs)}")))
    columns = (Column("Position step"), Column("Size step"), Column("Decay"), Column("AP", 2), Column("Chosen in"))
    title = f"Step lengths of {name} on {study.settings.search_images} validation images"
    return Table(title, columns, mark_best(rows, (3,)))
