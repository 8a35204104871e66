"""Detection: the variants of the paper's Table 1 on one frozen detector.

    ebm experiment detection --data COCO                      # torchvision's Faster R-CNN, the paper's schedules, a GPU
    ebm experiment detection --data PHOTOS --small            # a light detector on composed images: two CPU cores

``FULL`` has the paper's training (PROTOCOL 3.3): SGD with momentum 0.9, weight decay 1e-4 (none for biases, which learn
at twice the rate), 16 images a step, 60,000 steps, a tenth of the rate from 40,000 and a hundredth from 50,000, warm-up
from a third over 500; rates 0.005 for the Gaussian and Laplace heads, 0.01 for the IoU-Nets, 0.001 for ours. The base
is torchvision's ``fasterrcnn_resnet50_fpn`` (37.0 AP on val2017 by torchvision) where the paper has that of
maskrcnn-benchmark (37.2 on test-dev). What is printed beside ours is Table 1. We had neither COCO nor a GPU to run it.

``SMALL`` composes 1,600 images of cut-out objects (one class) on other photos, trains a Faster R-CNN on
EfficientNet-Lite0 up to stride 16 on them and freezes it; all variants then learn with Adam on features that are kept.
The rates were chosen among 1e-3 and 3e-4 by trainings of 300 steps on validation images: 3e-4 for IoU-Net and IoU-Net*,
either for ours, 1e-3 for the Gaussian head. Step lengths of refinement are searched on validation images.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import torch

from ebm_tracker.adapters.detection.annotations import DetectionDataError
from ebm_tracker.adapters.detection.base import FrozenDetector
from ebm_tracker.adapters.detection.collage import ComposeSettings
from ebm_tracker.adapters.detection.compose import compose_set
from ebm_tracker.adapters.detection.data import DetectionImages, find_split, open_detection_images
from ebm_tracker.adapters.detection.load import load_detector
from ebm_tracker.adapters.detection.small import SmallSettings
from ebm_tracker.adapters.detection.small_base import SmallBase
from ebm_tracker.adapters.detection.variants import DetectionData, DetectionSettings
from ebm_tracker.build import WEIGHTS_FOLDER
from ebm_tracker.models.checkpoint import sha256_of
from ebm_tracker.training.loop import LoopSettings

SHOWN_IMAGES = 12
"""Composed for a picture."""


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
    learning_rate=3e-4,
    schedule="cosine",
    warmup=50,
    workers=0,
    checkpoint_every=100,
    evaluate_every=0,
    tensorboard=False,
)

SMALL = SmallRecipe(
    DetectionSettings(
        head_loop=replace(_SMALL_BRANCH, batch_size=16, steps=800, learning_rate=1e-3),
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
    for split in (source.train, source.test):  # before weights are fetched
        find_split(source.root, split)
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
    _require_one_list(opened)
    if searches and not opened["val"].file.annotations:
        raise DetectionDataError(f"{source.val} has no annotations: step lengths cannot be searched on it")
    if searches and source.val == source.test:
        remarks.append(
            f"Step lengths are chosen on {source.val}, which is tested on, too: these figures are too good. Use the "
            "step lengths with another --test_split."
        )
    facts: dict[str, Any] = {
        "detector": recipe.detector,
        "weights": sha256_of(source.weights)[:16] if source.weights is not None else "torchvision",
    }
    return DetectionData(opened["train"], opened["test"], make, facts, opened.get("val")), remarks


def _require_one_list(opened: Mapping[str, DetectionImages]) -> None:
    """Raises DetectionDataError when two of the files list other categories."""
    train = opened["train"].file
    for images in opened.values():
        if (images.file.classes.ids, images.file.classes.names) != (train.classes.ids, train.classes.names):
            raise DetectionDataError(
                f"{images.file.path.absolute()} must list the categories of {train.path.name}, with the same ids and "
                f"names (got {_listed(images)}; there {_listed(opened['train'])})"
            )


def _listed(images: DetectionImages) -> str:
    classes = images.file.classes
    pairs = [f"{number} {name}" for number, name in zip(classes.ids, classes.names, strict=True)]
    return ", ".join(pairs[:5]) + (f" and {len(pairs) - 5} more" if len(pairs) > 5 else "")


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
    # The annotations say nothing about the pixels; the set's own description has a digest of the photos.
    facts: dict[str, Any] = {"set": sha256_of(root / "compose.json")[:16], "train": train.digest}
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


def compose_shown(recipe: SmallRecipe, photos: Path, out: Path) -> DetectionImages:
    """Some images of other photos, of which nothing was learned."""
    settings = replace(recipe.compose, counts=(1, 1, SHOWN_IMAGES), photo_shares=(0.1, 0.8))
    return open_detection_images(compose_set(photos, out / "shown", settings), "test")


def _trained_base(base: SmallBase, images: DetectionImages) -> FrozenDetector:
    return base.train(images)
