from __future__ import annotations

import pickle
import shutil
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.utils.data import default_collate

from ebm_tracker.adapters.detection import (
    ConfidenceBranch,
    ConfidenceStep,
    DetectionImages,
    FrozenDetector,
    ImageExample,
    MixtureBoxes,
    RegionExample,
    RegionSampling,
    open_detection_images,
    pad_together,
    sample_regions,
)
from ebm_tracker.adapters.detection.annotations import DetectionDataError
from ebm_tracker.adapters.detection.candidates import UniformIouBoxes
from ebm_tracker.adapters.detection.data import mirrored
from ebm_tracker.adapters.detection.kept import VIEWS, KeptFeatures, MapExample, MapViews, RegionViews
from ebm_tracker.training.batches import Share, load_batches
from tests.adapters.detection.conftest import document, write_set
from tests.adapters.detection.tiny_detector import HIDDEN, tiny_detector

COUNT = 5
CLASSES = {1: "a", 2: "b", 3: "c"}
OBJECTS = [
    (1, 2, (4, 5, 30, 20)),
    (1, 3, (35, 30, 20, 25)),
    (2, 1, (10, 8, 24, 30)),
    (3, 1, (0, 0, 80, 60)),
    (3, 2, (50, 20, 22, 18)),
    (3, 3, (8, 30, 40, 28)),
    (4, 2, (20, 20, 12, 12)),
    (5, 3, (44, 6, 33, 40)),
]
FACTS = {"set": "five", "detector": {"seed": 0}}


def open_set(root: Path, sizes: dict[int, tuple[int, int]] | None = None) -> DetectionImages:
    """80 x 60 pixels each, unless given."""
    content = document(sizes or dict.fromkeys(range(1, COUNT + 1), (80, 60)), OBJECTS, CLASSES)
    return open_detection_images(write_set(root, "train", content), "train", training=True)


@pytest.fixture(scope="session")
def images(tmp_path_factory: pytest.TempPathFactory) -> DetectionImages:
    return open_set(tmp_path_factory.mktemp("set"))


def keep(images: DetectionImages, folder: Path, by: FrozenDetector | None = None, **facts: Any) -> KeptFeatures:
    return KeptFeatures(images, by or tiny_detector(), folder, facts={**FACTS, **facts}, quiet=True)


@pytest.fixture(scope="session")
def kept(images: DetectionImages, tmp_path_factory: pytest.TempPathFactory) -> KeptFeatures:
    return keep(images, tmp_path_factory.mktemp("kept") / "features")


def view_of(images: DetectionImages, index: int, view: int) -> tuple[Tensor, Tensor, Tensor]:
    """Image, boxes and labels, mirrored by the training set's own function."""
    image = torch.from_numpy(images.read(index).transpose(2, 0, 1).copy())
    objects = images.objects[index]
    return (*(mirrored(image, objects.boxes_xyxy) if view else (image, objects.boxes_xyxy)), objects.labels)


def map_batch(kept: KeptFeatures, pairs: list[tuple[int, int]]) -> MapExample:
    rows = [MapExample(torch.tensor(i), kept.maps(i, view), *kept.objects(i, view)) for i, view in pairs]
    batch: MapExample = default_collate(rows)
    return batch


# What is kept ---------------------------------------------------------------------------------------------------------


def test_maps_are_the_detectors_own_to_half_precision(images: DetectionImages, kept: KeptFeatures) -> None:
    assert len(kept) == COUNT and VIEWS == 2
    for index in range(COUNT):
        for view in range(VIEWS):
            expected = tiny_detector().pyramid([view_of(images, index, view)[0]])
            found = kept.maps(index, view)
            assert len(found) == len(expected.maps) == 2
            for own, level in zip(expected.maps, found, strict=True):
                assert level.dtype == torch.float16
                torch.testing.assert_close(level.permute(2, 0, 1).float(), own[0], rtol=2**-11, atol=1e-7)
    # The views differ by far more.
    assert float((kept.maps(0, 0)[0] - kept.maps(0, 1)[0]).abs().max()) > 0.05


def test_objects_of_a_view(images: DetectionImages, kept: KeptFeatures) -> None:
    assert kept.most_objects == 3
    for index in range(COUNT):
        for view in range(VIEWS):
            _, expected, expected_labels = view_of(images, index, view)
            boxes, labels = kept.objects(index, view)
            count = len(expected)
            assert boxes.shape == (3, 4) and labels.shape == (3,)
            assert torch.equal(boxes[:count], expected) and torch.equal(labels[:count], expected_labels)
            assert not boxes[count:].any() and not labels[count:].any()
    assert kept.objects(0, 1)[0][0].tolist() == [80 - 34, 5, 80 - 4, 25]


def test_a_pyramid_of_a_batch(images: DetectionImages, kept: KeptFeatures) -> None:
    pairs = [(2, 1), (0, 0), (4, 1)]
    found = kept.pyramid(map_batch(kept, pairs))
    expected = tiny_detector().pyramid([view_of(images, *pair)[0] for pair in pairs])
    assert replace(found, levels={}) == replace(expected, levels={})
    for one, other in zip(found.maps, expected.maps, strict=True):
        assert one.dtype == torch.float32
        torch.testing.assert_close(one, other, rtol=2**-11, atol=1e-6)
    box = torch.tensor([[8.0, 6, 40, 30]])
    assert torch.equal(found.to_input(box, 2), expected.to_input(box, 2)) and not torch.equal(
        found.to_input(box, 2), box
    )


@pytest.mark.parametrize("loss", ["nll", "iou"])
def test_the_branchs_losses_are_those_from_the_images(images: DetectionImages, kept: KeptFeatures, loss: str) -> None:
    """Within a thousandth: maps in half precision change f of a box by that much."""
    pairs = [(0, 1), (2, 0), (3, 0), (2, 1)]
    rows = []
    for place, pair in enumerate(pairs):
        image, boxes, labels = view_of(images, *pair)
        rows.append(ImageExample(torch.tensor(place), image, torch.tensor(image.shape[-2:]), boxes, labels))
    branch = ConfidenceBranch.of_detector(tiny_detector())
    torch.nn.init.normal_(branch.readout.weight, std=3.0)
    scheme = MixtureBoxes(samples=16) if loss == "nll" else UniformIouBoxes(16, pool=500)
    direct = ConfidenceStep(branch, tiny_detector(), loss=loss, scheme=scheme)
    cached = ConfidenceStep(branch, loss=loss, scheme=scheme, pyramid_of=kept.pyramid)  # type: ignore[arg-type]
    torch.manual_seed(4)
    expected = direct(default_collate(pad_together(rows)))
    torch.manual_seed(4)
    found = cached(map_batch(kept, pairs))
    assert expected.shape == (4,) and float(expected.detach().std()) > 0.05
    torch.testing.assert_close(found, expected, rtol=1e-3, atol=1e-3)
    torch.manual_seed(4)
    others = cached(map_batch(kept, [(index, 1 - view) for index, view in pairs]))
    assert float((others - expected).detach().abs().max()) > 0.02


def rows_of(example: RegionExample) -> list[tuple[float, ...]]:
    """Sorted: their order is random."""
    rows = torch.cat((example.labels[:, None].float(), example.offsets, example.features), 1)
    return sorted(tuple(row) for row in rows.tolist())


@pytest.mark.parametrize("view", [0, 1])
def test_regions_are_all_that_sample_regions_knows(images: DetectionImages, kept: KeptFeatures, view: int) -> None:
    image, boxes, labels = view_of(images, 2, view)
    detector = tiny_detector()
    pyramid = detector.pyramid([image])
    assert kept.rows == 60 + 3 == kept.proposals + kept.most_objects
    objects = [{"boxes": boxes, "labels": labels}]
    all_of_them = RegionSampling(kept.rows, foreground=1.0)
    batch = sample_regions(detector, pyramid, objects, torch.tensor([9]), all_of_them)
    found = kept.regions(2, view, 9)
    assert int(found.number) == 9 and found.features.shape == (63, HIDDEN) and found.labels.dtype == torch.int64
    assert found.features.dtype == found.offsets.dtype == torch.float32
    expected = RegionExample(*(part[0] for part in batch))
    assert sorted(found.labels.tolist()) == sorted(expected.labels.tolist())
    assert int((found.labels >= 0).sum()) == len(detector.proposals(pyramid)[0]) + 3
    assert Counter(found.labels.tolist())[1] >= 1  # each object is a region itself
    np.testing.assert_allclose(rows_of(found), rows_of(expected), rtol=2**-11, atol=1e-4)


# Making it ------------------------------------------------------------------------------------------------------------


class Counting(FrozenDetector):
    """Notes how many images it has seen, and stops at one."""

    def __init__(self, stop: int | None = None) -> None:
        super().__init__(tiny_detector().model)
        self.seen, self.stop = 0, stop

    def pyramid(self, images: Any) -> Any:
        self.seen += 1
        if self.seen == self.stop:
            raise KeyboardInterrupt
        return super().pyramid(images)


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_a_stopped_making_goes_on(images: DetectionImages, kept: KeptFeatures, tmp_path: Path) -> None:
    # Two for the sizes, two for each image: it stops in the middle of the third.
    with pytest.raises(KeyboardInterrupt):
        keep(images, tmp_path, Counting(stop=2 + 2 * 2 + 2))
    torch.manual_seed(77)
    second = Counting()
    keep(images, tmp_path, second)
    assert second.seen == 2 + 2 * 3
    assert contents(tmp_path) == contents(kept.folder)
    third = Counting()
    keep(images, tmp_path, third)
    assert third.seen == 2


def test_making_leaves_torchs_generator_alone(images: DetectionImages, tmp_path: Path) -> None:
    torch.manual_seed(6)
    expected = torch.rand(3)
    torch.manual_seed(6)
    keep(images, tmp_path)
    assert torch.equal(torch.rand(3), expected)


def test_a_making_that_was_stopped_at_its_very_start_begins_anew(
    images: DetectionImages, kept: KeptFeatures, tmp_path: Path
) -> None:
    (tmp_path / "level0.npy").write_bytes(b"half")
    keep(images, tmp_path)
    assert contents(tmp_path) == contents(kept.folder)


@pytest.fixture
def copy(kept: KeptFeatures, tmp_path: Path) -> Path:
    for name, content in contents(kept.folder).items():
        (tmp_path / name).write_bytes(content)
    return tmp_path


def test_features_of_other_images_or_another_detector_are_refused(
    images: DetectionImages, copy: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    before = contents(copy)
    with pytest.raises(DetectionDataError, match="keeps features with another detector: remove it or choose"):
        keep(images, copy, detector={"seed": 1})
    with pytest.raises(DetectionDataError, match="keeps features with another more, set: remove"):
        keep(images, copy, set="six", more=1)
    with pytest.raises(DetectionDataError, match="keeps features with another images, objects: remove"):
        keep(images.part([0, 1]), copy)
    larger = open_set(tmp_path_factory.mktemp("other"), dict.fromkeys(range(1, COUNT + 1), (80, 80)))
    with pytest.raises(DetectionDataError, match="keeps features of other sizes; remove it"):
        keep(larger, copy)
    assert contents(copy) == before


def test_damaged_files_are_refused(images: DetectionImages, copy: Path) -> None:
    whole = contents(copy)

    def refused(match: str) -> None:
        with pytest.raises(DetectionDataError, match=match):
            keep(images, copy)

    (copy / "level1.npy").write_bytes(whole["level1.npy"][:-100])
    refused(r"is damaged \(mmap length is greater than file size\); remove it")
    (copy / "level1.npy").unlink()
    refused(r"is damaged \(.*level1.npy.*\); remove it")
    np.save(copy / "level1.npy", np.array([{}], dtype=object))
    refused(r"is damaged \(.*\); remove it")
    shape = np.load(copy / "level0.npy").shape
    (copy / "level1.npy").write_bytes(whole["level1.npy"])
    np.save(copy / "level0.npy", np.zeros(shape, np.float32))
    refused("keeps features of other sizes")
    for text in ('{"set": ', ""):
        (copy / "kept.json").write_text(text)
        refused(r"is damaged \(kept.json is not JSON: .*\); remove it")
    (copy / "kept.json").write_text("[1]")
    refused("keeps features with another")


def test_images_of_several_sizes_are_refused(tmp_path: Path) -> None:
    images = open_set(tmp_path / "set", {**dict.fromkeys(range(1, COUNT), (80, 60)), COUNT: (80, 64)})
    with pytest.raises(DetectionDataError, match=r"of images of one size only \(got 2 sizes\)"):
        keep(images, tmp_path / "features")
    assert not (tmp_path / "features").exists()


def test_room_is_asked_for_before(images: DetectionImages, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    keep(images, tmp_path / "first")
    needed = sum(path.stat().st_size - 128 for path in (tmp_path / "first").glob("*.npy"))  # without their headers
    usage = shutil.disk_usage(tmp_path)
    monkeypatch.setattr(shutil, "disk_usage", lambda folder: usage._replace(free=needed))
    keep(images, tmp_path / "enough")
    monkeypatch.setattr(shutil, "disk_usage", lambda folder: usage._replace(free=needed - 1))
    with pytest.raises(DetectionDataError, match=r"must have room for 0.00 GB of features \(free: 0.00 GB\)"):
        keep(images, tmp_path / "short")
    assert not list((tmp_path / "short").iterdir())


def test_a_pickle_holds_no_features(kept: KeptFeatures) -> None:
    """For data processes that are spawned."""
    text = pickle.dumps(MapViews(kept, 7, seed=1))
    assert len(text) < 10_000 < (kept.folder / "level0.npy").stat().st_size
    other = pickle.loads(text)
    assert other.draw(3) == MapViews(kept, 7, seed=1).draw(3)
    assert torch.equal(other.kept.maps(3, 1)[1], kept.maps(3, 1)[1])
    assert torch.equal(other.kept.regions(3, 1, 0).features, kept.regions(3, 1, 0).features)


# Draws ----------------------------------------------------------------------------------------------------------------


def test_every_image_once_an_epoch_and_both_views(kept: KeptFeatures) -> None:
    views = MapViews(kept, 40 * COUNT, seed=2)
    drawn = [views.draw(number) for number in range(len(views))]
    epochs = [[index for index, _ in drawn[start : start + COUNT]] for start in range(0, len(drawn), COUNT)]
    assert len(epochs) == 40 and all(sorted(epoch) == list(range(COUNT)) for epoch in epochs)
    assert len({tuple(epoch) for epoch in epochs}) > 20
    assert 70 <= sum(view for _, view in drawn) <= 130 and {view for _, view in drawn} == {0, 1}


def test_a_draw_depends_on_seed_and_number_alone(kept: KeptFeatures) -> None:
    drawn = [MapViews(kept, 60, seed=2).draw(number) for number in range(60)]
    backwards = MapViews(kept, 60, seed=2)
    assert [backwards.draw(number) for number in reversed(range(60))][::-1] == drawn
    assert [RegionViews(kept, 100, seed=2).draw(number) for number in range(60)] == drawn
    assert [MapViews(kept, 60, seed=3).draw(number) for number in range(60)] != drawn
    assert len(MapViews(kept, 60, seed=2)) == 60


def test_examples_of_a_batch(kept: KeptFeatures) -> None:
    """Through torch's loader, as in training."""
    maps = MapViews(kept, 12, seed=2)
    batches: list[MapExample] = list(load_batches(maps, Share(4), range(3), 0, 0, 2, pin=False))
    assert [batch.number.tolist() for batch in batches] == [[0, 1, 2, 3], [4, 5, 6, 7], [8, 9, 10, 11]]
    index, view = maps.draw(6)
    assert torch.equal(batches[1].maps[1][2], kept.maps(index, view)[1])
    assert torch.equal(batches[1].boxes_xyxy[2], kept.objects(index, view)[0])
    assert torch.equal(batches[1].labels[2], kept.objects(index, view)[1])
    regions = RegionViews(kept, 12, seed=2)
    some: list[RegionExample] = list(load_batches(regions, Share(4), range(3), 0, 0, 2, pin=False))
    expected = kept.regions(index, view, 6)
    for one, other in zip(some[1], expected, strict=True):
        assert torch.equal(one[2], other)


@pytest.mark.parametrize("kind", [MapViews, RegionViews])
def test_no_draws_are_refused(kept: KeptFeatures, kind: Any) -> None:
    with pytest.raises(ValueError, match=r"length must be at least 1 \(got 0\)"):
        kind(kept, 0, seed=0)
