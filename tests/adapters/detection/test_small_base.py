from __future__ import annotations

import pickle
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor

from ebm_tracker.adapters.detection import DetectionImages, SmallSettings, open_detection_images
from ebm_tracker.adapters.detection.small_base import SmallBase
from ebm_tracker.build import WEIGHTS_FOLDER
from ebm_tracker.training.display import Silence
from ebm_tracker.training.loop import LoopSettings
from tests.adapters.detection.rectangles import write_rectangles

LOOP = LoopSettings(steps=4, batch_size=2, learning_rate=1e-3, workers=0, tensorboard=False, seed=5)
SETTINGS = SmallSettings(channels=8, features=16, min_size=64, max_size=96, proposals=20, regions=16)


class Watch(Silence):
    """Counts steps; Ctrl-C after one of them."""

    def __init__(self, stop: int | None = None) -> None:
        self.stop, self.seen = stop, list[int]()

    def show(self, steps: int, loss: float, data_s: float, step_s: float) -> None:
        self.seen.append(steps)
        if steps == self.stop:
            raise KeyboardInterrupt


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> DetectionImages:
    root = write_rectangles(tmp_path_factory.mktemp("set"), "train", 6)
    return open_detection_images(root, "train", training=True)


def base_in(folder: Path) -> SmallBase:
    return SmallBase(SETTINGS, LOOP, folder, 3, WEIGHTS_FOLDER / "default.safetensors", {"set": "rectangles"})


def same(one: Mapping[str, Tensor], other: Mapping[str, Tensor]) -> bool:
    return one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)


def test_trained_stopped_gone_on_with_and_loaded(images: DetectionImages, tmp_path: Path) -> None:
    torch.manual_seed(1)
    watch = Watch()
    whole = base_in(tmp_path / "whole").train(images, watch)
    assert watch.seen == [1, 2, 3, 4]
    assert whole.classes == 3 and whole.strides == (4, 8, 16) and not whole.model.training
    assert not any(parameter.requires_grad for parameter in whole.parameters())

    torch.manual_seed(2)  # decides nothing
    with pytest.raises(KeyboardInterrupt):
        base_in(tmp_path / "parts").train(images, Watch(stop=2))
    watch = Watch()
    parts = base_in(tmp_path / "parts").train(images, watch)
    assert watch.seen == [3, 4] and same(parts.state_dict(), whole.state_dict())

    watch = Watch()
    loaded = base_in(tmp_path / "whole").train(images, watch)
    assert watch.seen == [] and same(loaded.state_dict(), whole.state_dict())
    assert not any(parameter.requires_grad for parameter in loaded.parameters())
    found, expected = (detector.detect([images.tensor(0)])[0] for detector in (loaded, whole))
    assert len(found) and torch.equal(found.boxes_xyxy, expected.boxes_xyxy)


def test_what_was_learned_is_in_the_weights(images: DetectionImages, tmp_path: Path) -> None:
    one = base_in(tmp_path / "one").train(images, Silence()).state_dict()
    other = replace(base_in(tmp_path / "other"), loop=replace(LOOP, learning_rate=2e-3)).train(images, Silence())
    names = {name for name, value in other.state_dict().items() if not torch.equal(value, one[name])}
    assert any("roi_heads" in name for name in names) and any("rpn" in name for name in names)
    assert not any("stages" in name for name in names)  # the backbone has the weights it came with


def test_a_copy_for_another_process_loads_the_same(images: DetectionImages, tmp_path: Path) -> None:
    base = base_in(tmp_path)
    first = base.train(images, Silence())
    copy: SmallBase = pickle.loads(pickle.dumps(base))
    assert copy == base
    assert same(copy.train(pickle.loads(pickle.dumps(images)), Silence()).state_dict(), first.state_dict())


def test_another_base_in_the_folder_is_refused(images: DetectionImages, tmp_path: Path) -> None:
    base = base_in(tmp_path)
    base.train(images, Silence())
    for changed, match in (
        (replace(base, settings=replace(SETTINGS, regions=8)), r"detector.regions 16 \(now 8\)"),
        (replace(base, facts={"set": "circles"}), r"data.set 'rectangles' \(now 'circles'\)"),
        (replace(base, loop=replace(LOOP, seed=6)), r"loop.seed 5 \(now 6\)"),
        (replace(base, classes=4), r"detector.classes 3 \(now 4\)"),
    ):
        with pytest.raises(ValueError, match=match):
            changed.train(images, Silence())
    with pytest.raises(ValueError, match=r"data.images 6 \(now 2\)"):
        base.train(images.part([0, 1]), Silence())
