"""A user's own branch: trained, gone on with, loaded, and the refusals."""

from __future__ import annotations

from copy import deepcopy
from pathlib import Path

import pytest
import torch

from ebm_tracker.adapters.detection import (
    EnergyDetector,
    FrozenDetector,
    fit_branch,
    load_branch,
    open_detection_images,
)
from ebm_tracker.errors import WeightsError
from ebm_tracker.training.display import Silence
from ebm_tracker.training.loop import LoopSettings
from tests.adapters.detection.conftest import document, write_set
from tests.adapters.detection.tiny_detector import image, tiny_detector

LOOP = LoopSettings(steps=3, batch_size=2, learning_rate=1e-2, workers=0, tensorboard=False)
NAMES = {2: "cat", 7: "dog", 8: "cow"}  # the tiny detector has three classes


@pytest.fixture
def root(tmp_path: Path) -> Path:
    boxes = [(1, 2, (10, 8, 30, 20)), (1, 7, (40, 30, 20, 20)), (2, 8, (5, 5, 40, 30))]
    return write_set(tmp_path / "set", "train", document({1: (80, 60), 2: (80, 60)}, boxes, NAMES))


def test_a_branch_is_trained_and_loaded(root: Path, tmp_path: Path) -> None:
    detector, images = tiny_detector(), open_detection_images(root, "train", training=True)
    folder = tmp_path / "branch"
    branch = fit_branch(detector, images, folder, loop=LOOP, samples=8, display=Silence())
    first = {name: value.clone() for name, value in branch.state_dict().items()}
    again = fit_branch(detector, images, folder, loop=LOOP, samples=8, display=Silence())
    loaded = load_branch(detector, folder)
    for other in (again, loaded):
        assert all(torch.equal(value, first[name]) for name, value in other.state_dict().items())
    assert not loaded.training
    fresh = fit_branch(detector, images, tmp_path / "longer", loop=LOOP, steps=6, samples=8, display=Silence())
    assert not torch.equal(fresh.readout.weight, first["readout.weight"])
    assert len(EnergyDetector(detector, loaded).detect([image()])) == 1


def test_a_run_that_was_stopped_ends_alike(root: Path, tmp_path: Path) -> None:
    detector, images = tiny_detector(), open_detection_images(root, "train", training=True)
    whole = fit_branch(detector, images, tmp_path / "whole", loop=LOOP, samples=8, display=Silence())

    class Stopping(Silence):
        def show(self, steps: int, loss: float, data_s: float, step_s: float) -> None:
            if steps == 2:
                raise KeyboardInterrupt

    part = tmp_path / "part"
    with pytest.raises(KeyboardInterrupt):
        fit_branch(detector, images, part, loop=LOOP, samples=8, display=Stopping())
    with pytest.raises(WeightsError, match="holds no finished training: final.pt is missing"):
        load_branch(detector, part)
    resumed = fit_branch(detector, images, part, loop=LOOP, samples=8, display=Silence())
    assert all(torch.equal(value, resumed.state_dict()[name]) for name, value in whole.state_dict().items())


def test_refusals(root: Path, tmp_path: Path) -> None:
    detector, images = tiny_detector(), open_detection_images(root, "train", training=True)
    with pytest.raises(ValueError, match=r"method must be one of iou_net, iou_net_star, ours \(got 'gaussian'\)"):
        fit_branch(detector, images, tmp_path / "a", method="gaussian")
    fit_branch(detector, images, tmp_path / "a", loop=LOOP, samples=8, display=Silence())
    with pytest.raises(ValueError, match="samples 8 "):
        fit_branch(detector, images, tmp_path / "a", loop=LOOP, samples=9, display=Silence())
    two = write_set(tmp_path / "two", "train", document({1: (80, 60)}, [(1, 2, (10, 8, 30, 20))]))
    with pytest.raises(ValueError, match="the detector must have 3 classes"):
        fit_branch(detector, open_detection_images(two, "train", training=True), tmp_path / "b")
    # Ids 1 and 3 of four outputs, as torchvision's count: labels 1 and 2 would be other classes.
    gaps = write_set(tmp_path / "gaps", "train", document({1: (80, 60)}, [(1, 3, (10, 8, 30, 20))], {1: "a", 3: "b"}))
    with pytest.raises(ValueError, match=r"open them with outputs=detector.classes \(got labels up to 2 for 4 outputs"):
        fit_branch(detector, open_detection_images(gaps, "train", training=True), tmp_path / "b")
    fitting = open_detection_images(gaps, "train", training=True, outputs=detector.classes)
    fit_branch(detector, fitting, tmp_path / "b", loop=LOOP, samples=8, display=Silence())
    with pytest.raises(ValueError, match="images '"):  # as many, with other boxes
        moved = document({1: (80, 60), 2: (80, 60)}, [(1, 2, (11, 8, 30, 20)), (2, 8, (5, 5, 40, 30))], NAMES)
        other = open_detection_images(write_set(tmp_path / "moved", "train", moved), "train", training=True)
        fit_branch(detector, other, tmp_path / "a", loop=LOOP, samples=8, display=Silence())
    with pytest.raises(WeightsError, match="is no readable checkpoint"):
        (tmp_path / "c").mkdir()
        (tmp_path / "c" / "final.pt").write_bytes(b"nothing")
        load_branch(detector, tmp_path / "c")


def test_a_branch_of_another_detector(root: Path, tmp_path: Path) -> None:
    """Of the same shapes: only its weights tell."""
    detector, images = tiny_detector(), open_detection_images(root, "train", training=True)
    fit_branch(detector, images, tmp_path / "a", loop=LOOP, samples=8, display=Silence())
    other = FrozenDetector(deepcopy(detector.model))
    assert load_branch(other, tmp_path / "a") is not None
    with torch.no_grad():
        other.model.roi_heads.box_predictor.cls_score.bias[1] += 1
    with pytest.raises(WeightsError, match="belongs to another detector"):
        load_branch(other, tmp_path / "a")
    with pytest.raises(ValueError, match="base '"):
        fit_branch(other, images, tmp_path / "a", loop=LOOP, samples=8, display=Silence())
    torch.save({"module": {"a": torch.zeros(1)}, "average": None, "steps": 3, "settings": {}}, tmp_path / "a/final.pt")
    with pytest.raises(WeightsError, match="holds other weights than are trained here"):
        load_branch(detector, tmp_path / "a")
