"""`ebm experiment detection`: on a miniature in COCO's format with torchvision's own networks, and at small scale."""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import zipfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
import torchvision
from PIL import Image, ImageDraw

from ebm_tracker.adapters.detection import ConfidenceBranch, DetectionDataError, load_branch, load_detector
from ebm_tracker.cli import experiment_detection
from ebm_tracker.errors import EbmError
from ebm_tracker.settings import SettingsError
from ebm_tracker.train_settings import detection
from ebm_tracker.training.checkpoint import load_state

pytest.importorskip("matplotlib")
pytest.importorskip("faster_coco_eval")

MOBILE = "fasterrcnn_mobilenet_v3_large_320_fpn"
COCO_IDS = [number for number in range(1, 91) if number not in (12, 26, 29, 30, 45, 66, 68, 69, 71, 83)]


def run(*arguments: str | Path) -> int:
    parser = argparse.ArgumentParser()
    experiment_detection.add_arguments(parser)
    return experiment_detection.run(parser.parse_args([str(argument) for argument in arguments]))


@pytest.fixture(scope="module")
def coco(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """COCO's layout, its 80 ids, three images a split; a bright box on each image is a person or a kite."""
    root = tmp_path_factory.mktemp("coco")
    rng = np.random.default_rng(0)
    categories = [{"id": number, "name": f"class {number}"} for number in COCO_IDS]
    for split in ("train2017", "val2017", "test2017"):
        (root / split).mkdir()
        images, annotations = [], []
        for number in (1, 2, 3):
            name = f"{number:012d}.jpg"
            picture = Image.fromarray(rng.integers(0, 90, (96, 128, 3), dtype=np.uint8))
            x, y = (int(value) for value in rng.integers(5, 50, 2))
            ImageDraw.Draw(picture).rectangle((x, y, x + 60, y + 40), fill=(250, 200, 90))
            picture.save(root / split / name)
            images.append({"id": number, "file_name": name, "width": 128, "height": 96})
            box = {"bbox": [x, y, 61, 41], "area": 61 * 41, "iscrowd": 0, "category_id": 1 if number % 2 else 38}
            annotations.append({"id": number, "image_id": number, **box})
        content = {"images": images, "annotations": annotations, "categories": categories}
        (root / "annotations").mkdir(exist_ok=True)
        if split == "test2017":
            name = "image_info_test-dev2017.json"
            del content["annotations"]
        else:
            name = f"instances_{split}.json"
        (root / "annotations" / name).write_text(json.dumps(content))
    return root


def weights_of(name: str, folder: Path) -> Path:
    """Random weights whose scorer is sure enough to find something."""
    torch.manual_seed(0)
    model = torchvision.models.get_model(name, weights=None, weights_backbone=None)
    with torch.no_grad():
        # Just above the threshold of 0.05, for one class: more boxes take long to refine.
        model.roi_heads.box_predictor.cls_score.bias[1] += 1.7
    path = folder / f"{name}.pth"
    torch.save(model.state_dict(), path)
    return path


@pytest.fixture(scope="module")
def mobile(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return weights_of(MOBILE, tmp_path_factory.mktemp("weights"))


def test_one_step_of_the_papers_detector(
    coco: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """ResNet50-FPN at 800 pixels, the paper's SGD: all of the full-scale command but its length."""
    name = "fasterrcnn_resnet50_fpn"
    weights, out = weights_of(name, tmp_path), tmp_path / "out"
    command = ("--data", coco, "--detector_weights", weights, "--out", out, "--device", "cpu", "--loaders", 0)
    size = ("--methods", "ours", "--steps", 1, "--batch_size", 1, "--limit", 1, "--coverage", 0)
    assert run(*command, *size) == 0
    said = capsys.readouterr().out
    assert "train: 1 images of train2017" in said and "fasterrcnn_resnet50_fpn on val2017" in said
    stored = load_state(out / "runs" / "run-0" / "ours" / "final.pt")
    assert stored["steps"] == 1 and stored["settings"]["loop.optimizer"] == "'sgd'"
    assert stored["settings"]["loop.learning_rate"] == "0.001" and stored["settings"]["loop.bias_rate"] == "2.0"
    detector = load_detector(name, weights)
    trained, start = load_branch(detector, out / "runs" / "run-0" / "ours"), ConfidenceBranch.of_detector(detector)
    assert not torch.equal(trained.trunk.first.weight, start.trunk.first.weight)
    found = json.loads((out / "runs" / "run-0" / "ours" / "detections.json").read_text())
    assert found and {item["category_id"] for item in found} <= set(COCO_IDS)
    text = (out / "table.md").read_text()
    assert "Paper AP" in text and "39.1" in text and "Direct (Faster R-CNN)" in text


def test_heads_a_branch_and_the_test_server(
    coco: Path, mobile: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    command = ["--data", coco, "--detector", MOBILE, "--detector_weights", mobile, "--out", out, "--device", "cpu"]
    command += ["--loaders", 0, "--steps", 1, "--batch_size", 1, "--coverage", 1, "--limit", 1]
    names = ["gaussian", "laplace", "ours"]
    assert run(*command, "--grid_search", 1, "--methods", *names) == 0
    said = capsys.readouterr().out
    assert "Step lengths of ours on 1 validation image" in said and "Chosen in" in said
    assert "Step lengths are chosen on val2017, which is tested on, too" in said
    folder = out / "runs" / "run-0"
    assert {path.name for path in folder.iterdir()} == {*names, "direct"}
    figures = [json.loads((folder / name / "scores.json").read_text())["figures"] for name in names]
    assert all({"AP", "AP75", "matched IoU"} <= one.keys() for one in figures)
    assert run(*command, "--methods", "ours", "--test_split", "test-dev2017", "--out", tmp_path / "server") == 0
    archive = zipfile.ZipFile(tmp_path / "server" / "detections_test-dev2017_ours-run0_results.zip")
    (name,) = archive.namelist()
    assert name == "detections_test-dev2017_ours-run0_results.json"
    assert {item["image_id"] for item in json.loads(archive.read(name))} == {1}


def test_two_processes_train_one_branch(coco: Path, mobile: Path, tmp_path: Path) -> None:
    """Real processes over gloo: both learn, the first one detects, and the weights are those of one process."""
    command = ["--data", coco, "--detector", MOBILE, "--detector_weights", mobile, "--device", "cpu", "--loaders", 0]
    command += ["--methods", "gaussian", "--steps", 2, "--batch_size", 2, "--coverage", 0]
    words = [str(word) for word in (*command, "--out", tmp_path / "two")]
    launcher = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    done = subprocess.run(
        [*launcher, "-m", "ebm_tracker.cli", "experiment", "detection", *words],
        capture_output=True,
        text=True,
        timeout=300,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )
    assert done.returncode == 0, done.stderr[-2000:]
    assert done.stdout.count("everything goes to") == 1 and done.stdout.count("written: ") == 1
    assert load_state(tmp_path / "two" / "runs" / "run-0" / "gaussian" / "final.pt")["steps"] == 2
    assert (tmp_path / "two" / "table.md").is_file()


def test_the_small_experiment(
    photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    recipe = detection.SMALL
    compose = replace(recipe.compose, counts=(6, 2, 4), size_wh=(128, 96), sides=(30.0, 80.0), objects=(1, 2))
    loop = replace(recipe.base, steps=3, batch_size=2, warmup=0)
    study = replace(recipe.study, head_loop=loop, iou_loop=loop, nll_loop=loop, runs=2, samples=8, search_images=2)
    sizes = replace(recipe.detector, min_size=96, max_size=128, channels=8, features=16, proposals=20)
    small = replace(recipe, compose=compose, base=loop, study=study, detector=sizes, coverage=2)
    monkeypatch.setattr(detection, "SMALL", small)
    out = tmp_path / "out"
    assert run("--data", photos, "--small", "--out", out, "--device", "cpu") == 0
    said = capsys.readouterr().out
    assert "train: 6 images, val: 2 images, test: 4 images" in said and "then frozen" in said
    made = {path.name for path in out.iterdir()}
    assert {"set", "base", "features", "runs", "table.md", "table.csv", "table_2.csv"} <= made
    assert not (out / "shown").exists()
    before = (out / "table.md").read_text()
    assert "No detection matched an object: no coverage." in before  # and so all step lengths are as good
    assert "Step lengths of ours (position / size): 0.0001 / 0.0004; 10 steps." in before
    assert "IoU-Net\\*" in before and "How far ours is above" in before
    stamps = {path: path.stat().st_mtime_ns for path in out.glob("runs/*/*/*")}
    assert run("--data", photos, "--small", "--out", out, "--device", "cpu", "--show", photos) == 0
    assert (out / "table.md").read_text() == before
    assert len(list((out / "shown" / "test").glob("*.jpg"))) == detection.SHOWN_IMAGES
    assert {path: path.stat().st_mtime_ns for path in out.glob("runs/*/*/*")} == stamps


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Photos with masks in ECSSD's layout: an ellipse on noise."""
    root = tmp_path_factory.mktemp("photos")
    rng = np.random.default_rng(1)
    for folder in ("images", "masks"):
        (root / "ecssd" / folder).mkdir(parents=True)
    for number in range(30):
        picture = Image.fromarray(rng.integers(0, 120, (120, 160, 3), dtype=np.uint8))
        mask = Image.new("L", (160, 120))
        x, y, w, h = (int(value) for value in (*rng.integers(20, 50, 2), *rng.integers(30, 60, 2)))
        colour = tuple(int(value) for value in rng.integers(120, 256, 3))
        ImageDraw.Draw(picture).ellipse((x, y, x + w, y + h), fill=colour)
        ImageDraw.Draw(mask).ellipse((x, y, x + w, y + h), fill=255)
        picture.save(root / "ecssd" / "images" / f"{number:04d}.jpg")
        mask.save(root / "ecssd" / "masks" / f"{number:04d}.png")
    return root


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (("--methods", "mine"), r"methods must be some of gaussian, .* \(got mine\)"),
        (("--limit", -1), r"--limit must be at least 0 \(got -1\)"),
        (("--workers", 2), r"--workers needs --small; .* torchrun"),
        (("--small", "--detector", MOBILE), r"--detector goes with COCO, not with --small"),
        (("--backbone_weights", "x"), r"--backbone_weights needs --small"),
        (("--detector", "yolo"), r"unknown detector 'yolo'; known: "),
    ],
)
def test_flags_that_do_not_fit(coco: Path, tmp_path: Path, arguments: tuple[str, ...], text: str) -> None:
    with pytest.raises(ValueError, match=text):
        run("--data", coco, "--out", tmp_path, *arguments)


def test_what_cannot_be_used_is_said_before_a_training(coco: Path, mobile: Path, tmp_path: Path) -> None:
    """Categories that differ between the splits, no annotations to search on, weights that are no numbers."""
    root = tmp_path / "set"
    shutil.copytree(coco, root)
    path = root / "annotations" / "instances_val2017.json"
    content = json.loads(path.read_text())
    content["categories"][0]["name"] = "another"
    path.write_text(json.dumps(content))
    command = ("--detector", MOBILE, "--detector_weights", mobile, "--out", tmp_path / "out", "--loaders", 0)
    with pytest.raises(DetectionDataError, match=r"must list the categories of .* \(got 1 another, 2 class 2"):
        run("--data", root, *command)
    with pytest.raises(DetectionDataError, match="test-dev2017 has no annotations: step lengths cannot"):
        run("--data", coco, *command, "--grid_search", 2, "--val_split", "test-dev2017")
    assert not (tmp_path / "out").exists()
    state = torch.load(mobile, weights_only=True)
    nans = {key: value * torch.nan if value.is_floating_point() else value for key, value in state.items()}
    torch.save(nans, tmp_path / "nan.pth")
    broken = ("--detector", MOBILE, "--detector_weights", tmp_path / "nan.pth", "--out", tmp_path / "out")
    size = ("--methods", "gaussian", "--steps", 1, "--batch_size", 1, "--limit", 1, "--device", "cpu", "--loaders", 0)
    with pytest.raises(EbmError, match="training stopped: "):
        run("--data", coco, *broken, *size)


def test_corrected_boxes_are_scored_anew(coco: Path, mobile: Path, tmp_path: Path) -> None:
    root, out = tmp_path / "set", tmp_path / "out"
    shutil.copytree(coco, root)
    command = ["--data", root, "--detector", MOBILE, "--detector_weights", mobile, "--out", out, "--device", "cpu"]
    command += ["--loaders", 0, "--methods", "gaussian", "--steps", 1, "--batch_size", 1, "--limit", 1]
    assert run(*command) == 0
    scores = out / "runs" / "run-0" / "gaussian" / "scores.json"
    before = json.loads(scores.read_text())
    (found, *_) = json.loads((scores.parent / "detections.json").read_text())
    path = root / "annotations" / "instances_val2017.json"
    content = json.loads(path.read_text())
    content["annotations"][0] |= {"bbox": found["bbox"], "category_id": found["category_id"]}
    path.write_text(json.dumps(content))
    assert run(*command) == 0
    after = json.loads(scores.read_text())
    # Another detection of a higher score may take the object first: 0.5 is the least overlap of a match.
    assert after["settings"]["test"] != before["settings"]["test"] and after["matches"] == 1
    assert after["figures"]["matched IoU"] != before["figures"]["matched IoU"]
    # Another test split is detected in with the same training.
    weights = (scores.parent / "final.pt").read_bytes()
    assert run(*command, "--test_split", "test-dev2017") == 0
    assert (scores.parent / "final.pt").read_bytes() == weights
    assert (out / "detections_test-dev2017_gaussian-run0_results.zip").is_file()


def test_without_data_the_settings_are_asked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EBM_SETTINGS", str(tmp_path / "settings.toml"))
    (tmp_path / "settings.toml").write_text("")
    with pytest.raises(SettingsError, match="--data DIR"):
        run("--out", tmp_path / "out")
    monkeypatch.setenv("EBM_DATA_PHOTOS", str(tmp_path))
    with pytest.raises(DetectionDataError, match="holds no photos"):
        run("--small", "--out", tmp_path / "out")


def test_folders_that_are_no_data(mobile: Path, tmp_path: Path) -> None:
    with pytest.raises(DetectionDataError, match="must hold annotations/instances_train2017.json"):
        run("--data", tmp_path, "--detector", MOBILE, "--detector_weights", mobile, "--out", tmp_path / "out")
    with pytest.raises(DetectionDataError, match="must hold annotations/instances_train2017.json"):
        run("--data", tmp_path, "--out", tmp_path / "out")  # before the detector's weights are fetched
    with pytest.raises(DetectionDataError, match="holds no photos"):
        run("--data", tmp_path, "--small", "--out", tmp_path / "out")
