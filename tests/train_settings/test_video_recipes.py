"""The recipes for videos: what they draw from, the paper's numbers, and a short run on a folder that the test makes."""

from __future__ import annotations

import importlib
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torchvision

from ebm_tracker.cli.loader_benchmark import write_video
from ebm_tracker.evaluation.synthetic import MovingTexture
from ebm_tracker.models import load_network
from ebm_tracker.settings import Settings
from ebm_tracker.train_settings import atom, atom_star, ebm_tracking, folder, video_recipe
from ebm_tracker.train_settings.recipe import loop_settings, run
from ebm_tracker.train_settings.video_recipe import VideoRecipe
from ebm_tracker.training.data.folder import FolderSet
from ebm_tracker.training.data.sequence import DataSetError, SequenceSet

TINY: dict[str, Any] = {"reference": (4, 4), "maps": (8, 8), "hidden": (8, 8), "steps": 3, "batch_size": 2}
TINY |= {"samples": 8, "held_out_pairs": 2, "warmup": 1, "precision": "float32"}


@pytest.fixture(scope="module")
def sequences(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Eleven sequences of 20 frames."""
    root = tmp_path_factory.mktemp("sequences")
    for i in range(11):
        (root / f"s{i}").mkdir()
        write_video(root / f"s{i}", MovingTexture((96, 64), 20, seed=i))
    return root


def paths(**assignments: Path) -> Settings:
    return Settings.load([f"{name}={path}" for name, path in assignments.items()], environment={})


@pytest.mark.parametrize("name", ["ebm_tracking", "atom", "atom_star", "folder"])
def test_a_recipe_opens_with_what_a_user_needs(name: str) -> None:
    text = importlib.import_module(f"ebm_tracker.train_settings.{name}").__doc__ or ""
    assert f"ebm train {name} --data" in text
    words = " ".join(text.lower().split())
    assert all(word in words for word in ("hardware", "time", "number to expect", "have not reproduced"))


def test_the_papers_numbers() -> None:
    """PROTOCOL 4.2-4.4."""
    recipe = ebm_tracking.RECIPE
    settings = loop_settings(recipe, workers=0)
    rates = [settings.learning_rate_at(1000 * epoch) for epoch in (0, 14, 15, 29, 30, 44, 45, 49)]
    assert rates == pytest.approx([1e-3, 1e-3, 2e-4, 2e-4, 4e-5, 4e-5, 8e-6, 8e-6])
    assert (settings.steps, settings.batch_size, settings.evaluate_every) == (50_000, 64, 5000)
    assert (recipe.objective, recipe.samples, recipe.sigmas) == ("nll", 128, (0.05, 0.5))
    assert (recipe.backbone, recipe.batch_norm, recipe.max_gap) == ("resnet18", "train", 200)
    assert (recipe.trackingnet_sets, recipe.coco_year, recipe.weights) == ((0, 1, 2, 3), 2014, (1, 1, 1, 1))
    assert (recipe.center_jitter, recipe.scale_jitter, recipe.gray, recipe.brightness) == (4.5, 0.5, 0.05, 0.2)


def test_the_baselines_differ_in_what_the_paper_says() -> None:
    def differences(recipe: VideoRecipe) -> dict[str, Any]:
        ours = asdict(ebm_tracking.RECIPE)
        return {key: value for key, value in asdict(recipe).items() if value != ours[key]}

    steps = {"step_lengths": (1e-2, 5e-2)}
    assert differences(atom_star.RECIPE) == {"objective": "iou_mse", **steps}
    assert differences(atom.RECIPE) == {"objective": "iou_mse_atom", "max_gap": 50, **steps}


class Named(FolderSet):
    """A set under another's name."""


def test_paper_sets_are_opened_as_published(sequences: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    opened: list[tuple[str, Path, dict[str, Any]]] = []

    def open_set(name: str, root: Path, **options: Any) -> SequenceSet:
        opened.append((name, root, options))
        return Named(sequences, name)

    monkeypatch.setattr(video_recipe, "open_set", open_set)
    recipe = replace(ebm_tracking.RECIPE, steps=5, batch_size=2, held_out_pairs=2, seed=3)
    roots = {name: tmp_path / name for name in ("trackingnet", "lasot", "got10k", "coco")}
    data = ebm_tracking.open_data(recipe, paths(**roots, pytracking=tmp_path))
    assert opened == [
        ("trackingnet", roots["trackingnet"], {"set_ids": (0, 1, 2, 3)}),
        ("lasot", roots["lasot"], {"split": "train"}),
        ("got10k", roots["got10k"], {"split": "vottrain", "pytracking_dir": tmp_path}),
        ("coco", roots["coco"], {"year": 2014}),
        ("got10k", roots["got10k"], {"split": "votval", "pytracking_dir": tmp_path}),
    ]
    assert len(data.pairs) == 10 and len(data.held_out) == 2  # type: ignore[arg-type]
    assert data.facts["sets"] == {name: [11, 11, 1.0] for name in roots}
    assert data.facts["sampler"]["max_gap"] == 200
    again = ebm_tracking.open_data(recipe, paths(**roots, pytracking=tmp_path))
    for first, second in ((data.pairs[7], again.pairs[7]), (data.held_out[1], again.held_out[1])):
        assert all(torch.equal(a, b) for a, b in zip(first, second, strict=True))


def test_a_set_of_weight_0_need_not_be_there(sequences: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(video_recipe, "open_set", lambda name, root, **options: Named(sequences, name))
    recipe = replace(ebm_tracking.RECIPE, weights=(0.0, 0.0, 2.0, 0.0), held_out_pairs=1)
    data = ebm_tracking.open_data(recipe, paths(got10k=sequences))
    assert data.facts["sets"] == {"got10k": [11, 11, 2.0]}


def test_held_out_sequences_are_not_trained_on(sequences: Path) -> None:
    data = folder.open_data(replace(folder.RECIPE, steps=20, held_out_pairs=4), paths(folder=sequences))
    assert data.facts["sets"] == {"folder": [10, 10, 1.0]}
    assert data.facts["validation"] == {"folder (held out)": 1}
    source: Any = data.pairs.source  # type: ignore[attr-defined]
    drawn = {source.sampler.draw(np.random.default_rng(i)).video.name for i in range(300)}
    assert drawn == {f"s{i}" for i in range(11)} - {"s9"}


def test_few_sequences_are_all_trained_on(sequences: Path) -> None:
    data = folder.open_data(replace(folder.RECIPE, steps=2, held_out_pairs=2), paths(folder=sequences / "s0"))
    assert data.facts["sets"] == {"folder": [1, 1, 1.0]} and len(data.held_out) == 2


def test_short_sequences_need_a_setting(tmp_path: Path) -> None:
    write_video(tmp_path, MovingTexture((96, 64), 8))
    with pytest.raises(DataSetError, match="folder: none of its 1 sequences .*20 frames"):
        folder.open_data(folder.RECIPE, paths(folder=tmp_path))
    recipe = replace(folder.RECIPE, min_frames=8, held_out_pairs=1, steps=1)
    assert len(folder.open_data(recipe, paths(folder=tmp_path)).held_out) == 1


@pytest.mark.parametrize("batch_norm", ["eval", "train"])
def test_a_short_run(sequences: Path, tmp_path: Path, batch_norm: str) -> None:
    recipe = replace(folder.RECIPE, **TINY, backbone="resnet18", batch_norm=batch_norm)
    weights = tmp_path / "backbone.pth"
    torch.manual_seed(0)
    torch.save(torchvision.models.resnet18(weights=None).state_dict(), weights)
    data = folder.open_data(recipe, paths(folder=sequences))
    path = run("folder", recipe, data, tmp_path / "out", backbone_weights=weights, workers=0)
    assert path is not None
    network = load_network(path)
    assert network.backbone.name == "resnet18"
    assert (tmp_path / "out" / "log.csv").is_file() and (tmp_path / "out" / "evaluation.csv").is_file()
