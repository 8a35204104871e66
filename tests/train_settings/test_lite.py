"""The recipe of the shipped network, three steps of it, on photos that the test makes."""

from __future__ import annotations

import csv
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

from ebm_tracker import load
from ebm_tracker.models import EnergyNetwork, load_network
from ebm_tracker.models.backbone import build_backbone
from ebm_tracker.models.checkpoint import read_provenance
from ebm_tracker.train_settings import lite
from ebm_tracker.train_settings.lite import Recipe
from ebm_tracker.training.pairs import Pair

RECIPE = Recipe(
    reference=(4, 4),
    maps=(8, 8),
    hidden=(8, 8),
    steps=3,
    batch_size=2,
    warmup=1,
    samples=8,
    held_out_pairs=2,
    bfloat16=False,
)


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Twelve photos with masks and two with labels, as the two data sets lay them out."""
    root = tmp_path_factory.mktemp("photos")
    for folder in ("ecssd/images", "ecssd/masks", "coco128/images", "coco128/det_labels", "coco128/seg_labels"):
        (root / folder).mkdir(parents=True)
    rng = np.random.default_rng(0)
    y, x = np.mgrid[:120, :160]
    for i in range(12):
        mask = ((x - 80) / (30 + 2 * i)) ** 2 + ((y - 60) / 35) ** 2 <= 1
        image = rng.integers(0, 120, (120, 160, 3), dtype=np.uint8)
        image[mask] += np.array([100, 40, 8 * i], np.uint8)
        Image.fromarray(image).save(root / "ecssd" / "images" / f"{i:04}.jpg")
        Image.fromarray(mask.astype(np.uint8) * 255).save(root / "ecssd" / "masks" / f"{i:04}.png")
    for i in range(2):
        image = rng.integers(0, 256, (120, 160, 3), dtype=np.uint8)
        Image.fromarray(image).save(root / "coco128" / "images" / f"{i:012}.jpg")
    (root / "coco128" / "det_labels" / f"{0:012}.txt").write_text("3 0.5 0.5 0.4 0.5\n")
    (root / "coco128" / "seg_labels" / f"{1:012}.txt").write_text("3 0.2 0.2 0.7 0.2 0.7 0.8 0.2 0.8\n")
    return root


@pytest.fixture(scope="module")
def backbone_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    torch.manual_seed(0)
    path = tmp_path_factory.mktemp("backbone") / "lite0.pth"
    torch.save(build_backbone("efficientnet_lite0").state_dict(), path)
    return path


@pytest.fixture(scope="module")
def trained(photos: Path, backbone_file: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return lite.run(RECIPE, photos, backbone_file, tmp_path_factory.mktemp("run"), workers=0)


def test_run_writes_a_network_that_tracks(trained: Path) -> None:
    tracker = load("default", device="cpu", weights=trained)
    frame = np.random.default_rng(0).integers(0, 256, (120, 160, 3), dtype=np.uint8)
    tracker.initialize(frame, (50, 40, 40, 30))
    assert all(np.isfinite(tracker.track(frame).box_xywh))


def test_network_says_how_it_was_made(trained: Path) -> None:
    provenance = read_provenance(trained)
    recipe = {key: tuple(v) if isinstance(v, list) else v for key, v in provenance["recipe"].items()}
    assert Recipe(**recipe) == RECIPE
    assert provenance["module"] == "ebm_tracker.train_settings.lite"
    assert provenance["photos"] == [12, 2]  # every tenth of fourteen is held out
    assert provenance["held_out"].keys() == {"nll", "start_iou", "iou", "op75"}
    assert all(np.isfinite(v) for v in provenance["held_out"].values())
    assert str(trained.parent) not in str(provenance)


def test_run_leaves_logs_and_a_checkpoint(trained: Path) -> None:
    for name, steps in (("log.csv", ["3"]), ("evaluation.csv", ["3"])):
        with (trained.parent / name).open() as file:
            assert [row["step"] for row in csv.DictReader(file)] == steps
    assert (trained.parent / "last.pt").is_file()


def test_only_the_head_was_trained(trained: Path, backbone_file: Path) -> None:
    network, start = load_network(trained), lite.build_network(RECIPE, backbone_file)
    for key, value in start.backbone.state_dict().items():
        stored = network.backbone.state_dict()[key]
        torch.testing.assert_close(stored, value.half().float(), rtol=0, atol=0, msg=key)
    before, after = start.head.state_dict(), network.head.state_dict()
    assert any(not torch.equal(before[key].half().float(), after[key]) for key in before if "num_" not in key)


@pytest.mark.parametrize("stop", [1, 3])
def test_interrupted_run_ends_with_the_same_network(
    trained: Path, photos: Path, backbone_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, stop: int
) -> None:
    """Ctrl-C in step 1 or 3, after the energies were computed; the same command goes on."""
    original: type = lite.NegativeLogLikelihood

    class Interrupted(original):  # type: ignore[misc]
        calls = 0

        def __call__(self, network: EnergyNetwork, pair: Pair, generator: torch.Generator) -> Tensor:
            losses: Tensor = super().__call__(network, pair, generator)
            Interrupted.calls += 1
            if Interrupted.calls == stop:
                raise KeyboardInterrupt
            return losses

    with monkeypatch.context() as patch:
        patch.setattr(lite, "NegativeLogLikelihood", Interrupted)
        with pytest.raises(KeyboardInterrupt):
            lite.run(RECIPE, photos, backbone_file, tmp_path, workers=0)
    assert not (tmp_path / "network.safetensors").exists()
    resumed = load_network(lite.run(RECIPE, photos, backbone_file, tmp_path, workers=0)).state_dict()
    unbroken = load_network(trained).state_dict()
    assert resumed.keys() == unbroken.keys()
    assert all(torch.equal(resumed[key], unbroken[key]) for key in unbroken)


def test_another_recipe_does_not_go_on_in_the_same_folder(trained: Path, photos: Path, backbone_file: Path) -> None:
    with pytest.raises(ValueError, match="other settings"):
        lite.run(replace(RECIPE, sigmas=(0.1,)), photos, backbone_file, trained.parent, workers=0)


# Command line --------------------------------------------------------------------------------------------------------


def test_set_changes_any_field() -> None:
    changes = ["steps=7", "learning_rate=1e-4", "sigmas=0.1,0.2", "maps=64,32", "bfloat16=false", "backbone=resnet18"]
    recipe = replace(Recipe(), **lite._parse_changes(changes))
    assert (recipe.steps, recipe.learning_rate, recipe.sigmas) == (7, 1e-4, (0.1, 0.2))
    assert (recipe.maps, recipe.bfloat16, recipe.backbone) == ((64, 32), False, "resnet18")


def test_set_lists_the_keys_when_one_is_unknown() -> None:
    with pytest.raises(ValueError, match="step.*unknown key; known: .*steps.*samples"):
        lite._parse_changes(["step=7"])


def test_command_line_reaches_the_run(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    seen: list[Any] = []
    fake: Callable[..., None] = lambda *arguments: seen.append(arguments)  # noqa: E731
    monkeypatch.setattr(lite, "run", fake)
    monkeypatch.setattr("sys.argv", ["lite", "--photos", "p", "--out", str(tmp_path), "--set", "steps=5", "seed=2"])
    lite.main()
    ((recipe, photos, backbone, out, workers),) = seen
    assert recipe == replace(Recipe(), steps=5, seed=2)
    assert (photos, backbone, out, workers) == (Path("p"), None, tmp_path, 1)
    monkeypatch.setattr("sys.argv", ["lite"])
    with pytest.raises(SystemExit):
        lite.main()
    assert "--photos" in capsys.readouterr().err


@pytest.mark.parametrize("change", ["bfloat16=yes", "steps=many", "sigmas=a,b"])
def test_set_refuses_values_of_another_kind(change: str) -> None:
    with pytest.raises(ValueError, match=rf"--set {change}: \w+ takes a (bool|int|tuple) \(got"):
        lite._parse_changes([change])


def test_missing_photos_are_one_sentence(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("sys.argv", ["lite", "--photos", str(tmp_path), "--out", str(tmp_path / "out")])
    with pytest.raises(SystemExit) as stop:
        lite.main()
    assert stop.value.code == 2
    assert re.fullmatch(r"error: no images/\*\.jpg in .*ecssd\n", capsys.readouterr().err)
