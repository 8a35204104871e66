"""Age estimation (UTKFace): the paper's six baselines, one energy network, Algorithm S1.

    ebm experiment age --data UTKFACE --splits SPLITS          # the paper's: ResNet50 trained along, one GPU
    ebm experiment age --data FACES --small                    # frozen backbone, small networks: two CPU cores

``FULL`` has the paper's sizes (PROTOCOL 5 and 7): a network with 2,048 features, heads 2,048 -> 2,048 -> 1 or 101,
M = 1,024 draws. What it prints beside ours is Table S1: 4.78 to 4.85 years before refinement, 4.65 to 4.81 after. We
had neither UTKFace as a whole nor a GPU to run it on.

``SMALL`` is for one or two thousand faces on a CPU: the ImageNet backbone, which the shipped network contains, is
frozen, and every face is seen in eight augmented views whose features are computed once; 2,048 hidden units and
M = 1,024 would take hours there, so both are smaller (256 and 128). Baselines and energy network have the same features
(standardised), views, hidden size, rate and weight decay. The epochs were chosen on a fifth of the training faces: 25
for the heads (with 75, Direct L2 was worse and the Gaussian about the same), 50 for the energy network. Heads that
predict y directly start at the mean of the training ages; without, the Gaussian's error was twice as large. sigma,
step, T and the thresholds are the paper's.

On 1,520 faces of UTKFace (ages 1 to 116, at most 16 of each), two CPU cores: 8.22 to 9.35 years before refinement, 8.05
to 8.91 after, lower for all six baselines in all five trainings; the energy network alone 8.67. Features: 3 minutes of
one core; all trainings: 8 minutes of one core.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch.utils.data import default_collate

from ebm_tracker.adapters.age.augment import Augmentation
from ebm_tracker.adapters.age.data import (
    SIZE,
    AugmentImage,
    FaceImages,
    FaceList,
    FaceViews,
    find_faces,
    hold_out,
    hold_out_count,
    open_split,
)
from ebm_tracker.adapters.age.figure import FaceDensity, densities_with_faces, scatter_and_densities
from ebm_tracker.adapters.features import CUT, build_extractor, cached_views, feature_size, pick_view
from ebm_tracker.adapters.regression import Example, FitSettings, RefineSettings
from ebm_tracker.adapters.regression.density import GridDensity
from ebm_tracker.adapters.regression.study import MEAN, MODE, Study, StudyData, StudyResult, StudySettings
from ebm_tracker.build import WEIGHTS_FOLDER
from ebm_tracker.evaluation.regression import METHOD_TITLES, MethodErrors, over_runs, refinement_table
from ebm_tracker.evaluation.report.tables import Column, Row, Table
from ebm_tracker.models.checkpoint import sha256_of

TITLES = {"resnet50": "ResNet50", "efficientnet_lite0": "EfficientNet-Lite0 up to stride 16"}
GRID_POINTS = 2_048
FACES = 6
"""Whose densities are drawn."""


@dataclass(frozen=True)
class AgeRecipe:
    """One experiment.

    Attributes:
        study: networks, schedules, refinement, repetitions.
        backbone: a name of ``adapters.features``.
        grid: regions per side over which a cut backbone's last map is averaged.
        freeze: the backbone stays as it is, and its features are kept.
        views: augmented views of each training face, for a frozen backbone.
        augment: of training faces.
        hold_out: share of the faces that is tested on; 0: the split of Cao et al.
        split_seed: of the hold-out, of the faces left for validation, and of --limit.
        validation: faces of the training list that the paper leaves for validation.
        ages: range of the densities' grid, years.
    """

    study: StudySettings
    backbone: str = "resnet50"
    grid: int = 1
    freeze: bool = False
    views: int = 16
    augment: Augmentation = field(default_factory=Augmentation)
    hold_out: float = 0.0
    split_seed: int = 0
    validation: int = 1_644
    ages: tuple[float, float] = (-20.0, 140.0)


FULL = AgeRecipe(
    StudySettings(
        sigmas=(0.1, 20.0),
        refine=RefineSettings(step=3.0),
        classes=tuple(range(101)),
        head_fit=FitSettings(weight_decay=1e-3, workers=8),
        energy_fit=FitSettings(weight_decay=1e-3, workers=8),
    )
)

_SMALL_FIT = FitSettings(epochs=25, weight_decay=1e-3, schedule="cosine")

SMALL = AgeRecipe(
    StudySettings(
        sigmas=(0.1, 20.0),
        refine=RefineSettings(step=3.0),
        classes=tuple(range(117)),  # the set's ages end at 116; the paper's subset at 60
        hidden=256,
        joint=(256,),
        samples=128,
        centred=True,
        head_fit=_SMALL_FIT,
        energy_fit=replace(_SMALL_FIT, epochs=50),
    ),
    backbone="efficientnet_lite0",
    grid=3,
    freeze=True,
    views=8,
    hold_out=0.2,
    validation=0,
)


def grid_of(backbone: str) -> int:
    """Regions per side for a backbone that is not the recipe's: more than one where the cut leaves a large map."""
    return SMALL.grid if backbone in CUT else 1


@dataclass(frozen=True)
class AgeSource:
    """Where the faces and weights are.

    Attributes:
        data: folder of the faces.
        splits: folder of utk_train.csv and utk_test.csv; None: ``data``.
        weights: file of the backbone; None: the shipped network's or torchvision's.
        limit: at most so many training faces, and a quarter as many test faces; 0: all.
    """

    data: Path
    splits: Path | None = None
    weights: Path | None = None
    limit: int = 0


def choose_faces(recipe: AgeRecipe, source: AgeSource) -> tuple[FaceList, FaceList, list[str]]:
    """Training and test faces, and sentences about what is in them."""
    if recipe.hold_out:
        faces = find_faces(source.data)
        train, test = hold_out(faces, recipe.hold_out, recipe.split_seed)
        share = f"{recipe.hold_out:.0%} of them, chosen by seed {recipe.split_seed},"
        remarks = [f"{len(faces)} faces; {share} are tested on."]
    else:
        train, test, remarks = open_split(source.data, source.splits or source.data)
        if 0 < recipe.validation < len(train):
            train, _ = hold_out_count(train, recipe.validation, recipe.split_seed)
            remarks.append(
                f"{recipe.validation} training faces, chosen by seed {recipe.split_seed}, are left out: the paper's "
                "number for validation, whose choice is not published."
            )
    if source.limit:
        train, test = (
            faces.part(np.sort(np.random.default_rng(recipe.split_seed).permutation(len(faces))[:count]))
            for faces, count in ((train, source.limit), (test, max(1, source.limit // 4)))
        )
    ages = np.concatenate((train.ages, test.ages))
    remarks.append(f"{len(train)} faces to train on, {len(test)} to test on, ages {ages.min():g} to {ages.max():g}.")
    return train, test, remarks


def open_study_data(
    recipe: AgeRecipe, source: AgeSource, train: FaceList, test: FaceList, folder: Path, device: torch.device
) -> StudyData:
    """What the study takes. The features of a frozen backbone are kept in ``folder``."""
    weights = source.weights
    if weights is None and recipe.backbone == "efficientnet_lite0":
        weights = WEIGHTS_FOLDER / "default.safetensors"  # the shipped network contains it
    build = partial(build_extractor, recipe.backbone, weights, grid=recipe.grid, trained=not recipe.freeze)
    extractor = build()
    facts = {
        "train": train.digest,
        "test": test.digest,
        "backbone": recipe.backbone,
        "weights": sha256_of(weights)[:16] if weights is not None else "torchvision",
        "grid": recipe.grid,
    }
    augment = asdict(recipe.augment)
    common: dict[str, Any] = {
        "train_y": torch.from_numpy(train.ages)[:, None],
        "test_y": torch.from_numpy(test.ages)[:, None],
        "candidates": torch.linspace(*recipe.ages, GRID_POINTS)[:, None],
    }
    if not recipe.freeze:
        return StudyData(
            train_x=FaceImages(train),
            test_x=FaceImages(test),
            feature_size=feature_size(extractor, SIZE),
            fingerprint=facts | {"augment": augment},
            transform=AugmentImage(recipe.augment),
            extractor=build,
            **common,
        )
    seen = facts | {"augment": augment, "seed": recipe.split_seed}
    views = FaceViews(train, recipe.augment, recipe.views, recipe.split_seed)
    made = [
        cached_views(
            given,
            extractor,
            folder / name,
            facts=said,
            device=device,
            workers=recipe.study.head_fit.workers,
            title=f"features, {name} faces",
        )
        for name, given, said in (("train", views, seen), ("test", FaceViews(test), facts))
    ]
    kept = made[0].standardised()
    return StudyData(
        train_x=kept,
        test_x=made[1].standardised(made[0]).features[:, 0],
        feature_size=kept.features.shape[2],
        fingerprint=seen | {"views": recipe.views},
        transform=pick_view,
        **common,
    )


def tables(recipe: AgeRecipe, result: StudyResult, remarks: Sequence[str]) -> tuple[Table, Table]:
    """Ours beside the paper's, and the energy network by itself."""
    small = "small scale" if recipe.hold_out else "UTKFace, ages 21 to 60"
    name = TITLES.get(recipe.backbone, recipe.backbone)
    state = f"frozen {name}" if recipe.freeze else f"{name}, trained along"
    if recipe.hold_out:
        remarks = [*remarks, "The paper's figures are of other faces, ages 21 to 60, and a network trained along."]
    refined = refinement_table(
        f"Age, {small} ({state}): MAE in years",
        [MethodErrors(head, result.errors(head), result.errors(head, refined=True)) for head in result.heads],
        published="age",
        notes=remarks,
    )
    alone = Table(
        "The energy network by itself: MAE in years",
        (Column("Prediction"), Column("MAE", 2)),
        tuple(
            Row((text, over_runs(result.errors_alone(kind)[:, 0])))
            for text, kind in (("Highest value of f", MODE), ("Mean of p(y | x)", MEAN))
        ),
        (f"On {GRID_POINTS} ages from {recipe.ages[0]:g} to {recipe.ages[1]:g}; the same networks as above.",),
    )
    return refined, alone


def draw(study: Study, result: StudyResult, test: FaceList, recipe: AgeRecipe, out: Path) -> list[Path]:
    """``age`` without faces and ``faces`` with them, each .png and .pdf; of the first run."""
    energy = study.energy(0)
    rows = _spread(result.truth[:, 0], FACES)
    x = default_collate([study.data.test_x[row] for row in rows]).to(study.device)
    numbers, y = torch.arange(len(rows)), study.data.test_y[rows]
    with torch.no_grad():
        density = GridDensity(energy.energy, energy.features(Example(numbers, x, y)), *recipe.ages)
    grids, heights = (values.double().cpu().numpy() for values in (density.grid, density.log_density.exp()))
    faces = [
        FaceDensity(
            age=float(result.truth[row, 0]),
            grid=grids[place],
            density=heights[place],
            before={head: float(result.before[head][0, row, 0]) for head in result.heads},
            after={head: float(result.after[head][0, row, 0]) for head in result.heads},
            image=test.image(row),
        )
        for place, row in enumerate(rows)
    ]
    head = min(result.heads, key=lambda name: float(result.errors(name).mean()))
    values = (result.truth[:, 0], result.before[head][0, :, 0], result.after[head][0, :, 0])
    pictures = {
        "age": scatter_and_densities(METHOD_TITLES.get(head, head), *values, faces),
        "faces": densities_with_faces(faces),
    }
    return [path for name, picture in pictures.items() for path in picture.write(out / name)]


def _spread(truth: NDArray[np.float64], count: int) -> list[int]:
    """Rows whose truth is spread over the ages: chosen by the truth alone, so that nobody picks the good ones."""
    order = np.argsort(truth, kind="stable")
    places = np.linspace(0, len(order) - 1, count + 2)[1:-1].round().astype(int)
    return [int(order[place]) for place in dict.fromkeys(places.tolist())]
