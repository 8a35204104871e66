"""Trainings side by side, in processes that import the package anew: most of the time goes there."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import pytest
import torch

from ebm_tracker.adapters.detection import RefineSettings, SmallSettings, open_detection_images
from ebm_tracker.adapters.detection.small_base import SmallBase
from ebm_tracker.adapters.detection.study import DetectionStudy
from ebm_tracker.adapters.detection.variants import DIRECT, DetectionData, DetectionSettings
from ebm_tracker.adapters.regression.study_progress import StudyProgress, work_off
from ebm_tracker.build import WEIGHTS_FOLDER
from ebm_tracker.training.checkpoint import load_state
from ebm_tracker.training.display import Silence
from ebm_tracker.training.loop import LoopSettings
from tests.adapters.detection.rectangles import write_rectangles

LOOP = LoopSettings(steps=4, batch_size=2, learning_rate=1e-3, workers=0, tensorboard=False)
SETTINGS = DetectionSettings(
    LOOP,
    LOOP,
    LOOP,
    methods=("gaussian", "ours"),
    samples=8,
    refine={"ours": RefineSettings(0.02, 0.04, steps=2)},
    search_images=2,
    factors=(0.5, 2.0),
)


def make_data(root: Path) -> DetectionData:
    for split, count in (("train", 6), ("val", 2), ("test", 4)):
        write_rectangles(root, split, count)
    train = open_detection_images(root, "train", training=True)
    base = SmallBase(
        SmallSettings(channels=8, features=16, min_size=64, max_size=96, proposals=20, regions=16),
        LOOP,
        root / "base",
        3,
        WEIGHTS_FOLDER / "default.safetensors",
    )
    test, val = (open_detection_images(root, split) for split in ("test", "val"))
    make = partial(base.train, train, Silence())
    return DetectionData(train, test, make, {"set": "rectangles"}, val, root / "features")


@pytest.fixture
def data(tmp_path: Path) -> DetectionData:
    return make_data(tmp_path / "set")


def test_processes_side_by_side_give_the_same(data: DetectionData, tmp_path: Path) -> None:
    before = torch.get_num_threads()
    torch.set_num_threads(1)  # as in the processes: another number changes the last digits
    alone = DetectionStudy(data, SETTINGS, tmp_path / "alone", quiet=True)
    expected = alone.run()
    torch.set_num_threads(before)
    shared = DetectionStudy(data, SETTINGS, tmp_path / "shared", workers=2, quiet=True)
    assert repr(shared.run()) == repr(expected)  # NaN equals NaN there
    for name in (DIRECT, "gaussian", "ours"):
        assert shared.detections(0, name) == alone.detections(0, name) != []
    weights = [load_state(study.folder_of(0, "ours") / "final.pt")["module"] for study in (alone, shared)]
    assert all(torch.equal(weights[0][name], weights[1][name]) for name in weights[0])


def test_an_error_in_a_process_reaches_the_caller(data: DetectionData, tmp_path: Path) -> None:
    study = DetectionStudy(data, SETTINGS, tmp_path, quiet=True)
    (tmp_path / "run-0" / "ours").mkdir(parents=True)
    (tmp_path / "run-0" / "ours" / "scores.json").write_text("{")
    with pytest.raises(Exception, match="scores.json is damaged"):
        work_off(study, [(0, "ours")], 1, StudyProgress(lambda done, text: None))
