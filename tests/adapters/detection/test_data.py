from __future__ import annotations

from pathlib import Path

import pytest
import torch
from PIL import Image
from torch import Tensor

from ebm_tracker.adapters.detection import data as module
from ebm_tracker.adapters.detection.annotations import DetectionDataError, read_annotations
from ebm_tracker.adapters.detection.data import (
    DetectionImages,
    TrainingImages,
    mirrored,
    open_detection_images,
)
from ebm_tracker.adapters.detection.examples import images_of, objects_of
from ebm_tracker.training.batches import Share, load_batches
from ebm_tracker.training.data.sequence import DataSetError, FrameReadError
from tests.adapters.detection.conftest import document, write, write_set


@pytest.fixture
def root(tmp_path: Path) -> Path:
    boxes = [(1, 2, (2, 3, 10, 8)), (1, 7, (-5, 20, 15, 30)), (2, 7, (0, 0, 30, 20)), (4, 2, (1, 1, 6, 7))]
    return write_set(tmp_path, "train", document({1: (40, 30), 2: (30, 20), 4: (20, 50)}, boxes))


def test_boxes_are_clipped_corners_and_labels_have_no_gaps(root: Path) -> None:
    images = open_detection_images(root, "train", training=True)
    assert [image.image_id for image in images.images] == [1, 2, 4] and not images.left_out
    torch.testing.assert_close(images.objects[0].boxes_xyxy, torch.tensor([[2.0, 3, 12, 11], [0, 20, 10, 30]]))
    assert images.objects[0].labels.tolist() == [1, 2]
    assert images.read(0).shape == (30, 40, 3) and images.read(0)[5, 17].tolist() == [17, 1, 0]
    assert images.tensor(0).shape == (3, 30, 40) and float(images.tensor(0)[0, 5, 17]) == pytest.approx(17 / 255)


def test_labels_of_a_detector_that_counts_as_the_file_does(root: Path) -> None:
    images = open_detection_images(root, "train", outputs=8)
    assert images.objects[0].labels.tolist() == [2, 7] and images.classes.id_of(7) == 7
    with pytest.raises(ValueError, match="the detector must have 3 classes"):
        open_detection_images(root, "train", outputs=5)


def test_bad_annotations_are_left_out_and_counted(tmp_path: Path) -> None:
    size = (40, 30)
    content = document(
        {number: size for number in range(1, 8)},
        [
            (1, 2, (0, 0, 40, 30)),
            (1, 2, (1, 1, 5, 5)),
            (2, 2, (3, 3, 0, 5)),
            (2, 2, (3, 3, 5, -2)),
            (2, 7, (4, 4, 6, 6)),
            (3, 2, (40, 5, 5, 5)),
            (4, 2, (5, 5, 1, 20)),
            (5, 2, (5, 5, 9, 9)),
        ],
    )
    content["annotations"][0]["iscrowd"] = 1
    root = write_set(tmp_path, "train", content)
    (root / "train" / "0005.png").unlink()
    images = open_detection_images(root, "train", training=True)
    assert [image.image_id for image in images.images] == [1, 2]
    assert [len(objects.labels) for objects in images.objects] == [1, 1]
    assert images.left_out == {
        module.CROWD: 1,
        module.NO_AREA: 2,
        module.OUTSIDE: 1,
        module.NOTHING_LARGE: 4,  # 3 (outside), 4 (a pixel wide), 6 and 7 (nothing)
        module.MISSING: 1,
    }
    scored = open_detection_images(root, "train")
    assert [image.image_id for image in scored.images] == [1, 2, 3, 4, 6, 7] and scored.left_out == {module.MISSING: 1}
    assert len(scored.file.annotations) == 8  # for the metric


def test_file_names_with_folders_and_outside(tmp_path: Path) -> None:
    content = document({1: (4, 4), 2: (4, 4)}, [])
    content["images"][0]["file_name"] = "a/b.png"
    content["images"][1]["file_name"] = "../secret.png"
    path = write(tmp_path / "x.json", content)
    (tmp_path / "set" / "a").mkdir(parents=True)
    Image.new("RGB", (4, 4)).save(tmp_path / "set" / "a" / "b.png")
    Image.new("RGB", (4, 4)).save(tmp_path / "secret.png")
    images = DetectionImages(read_annotations(path), tmp_path / "set", training=False)
    assert [image.image_id for image in images.images] == [1]


def test_layouts_and_their_errors(tmp_path: Path) -> None:
    with pytest.raises(DetectionDataError, match="annotations/instances_val.json or image_info_val.json"):
        open_detection_images(tmp_path, "val")
    content = document({1: (4, 4)}, [])
    write(tmp_path / "annotations" / "image_info_test-dev2017.json", content)
    with pytest.raises(DetectionDataError, match="images in test2017 or images/test2017"):
        open_detection_images(tmp_path, "test-dev2017")
    (tmp_path / "images" / "test2017").mkdir(parents=True)
    with pytest.raises(DetectionDataError, match=r"no usable image .*1 images whose file is missing"):
        open_detection_images(tmp_path, "test-dev2017")
    Image.new("RGB", (4, 4)).save(tmp_path / "images" / "test2017" / "0001.png")
    assert len(open_detection_images(tmp_path, "test-dev2017")) == 1


def test_unreadable_images(root: Path) -> None:
    images = open_detection_images(root, "train")
    (root / "train" / "0001.png").write_bytes(b"no picture")
    Image.new("RGB", (31, 20)).save(root / "train" / "0002.png")
    with pytest.raises(FrameReadError, match="0001.png"):
        images.read(0)
    with pytest.raises(FrameReadError, match=r"0002.png is 31 x 20, its annotations say \(30, 20\)"):
        images.read(1)


def test_part(root: Path) -> None:
    part = open_detection_images(root, "train").part([2, 0])
    assert [image.image_id for image in part.images] == [4, 1] and part.read(0).shape == (50, 20, 3)
    assert part.objects[1].labels.tolist() == [1, 2] and part.classes.names == ("cat", "dog")


def test_mirrored_twice_is_the_same_and_pixels_follow_their_box() -> None:
    image = torch.zeros(3, 6, 10, dtype=torch.uint8)
    image[:, 2:4, 1:4] = 9
    boxes = torch.tensor([[1.0, 2.0, 4.0, 4.0]])
    other, moved = mirrored(image, boxes)
    x0, y0, x1, y1 = (int(v) for v in moved[0])
    assert (other[:, y0:y1, x0:x1] == 9).all() and int((other > 0).sum()) == int((image > 0).sum())
    back, boxes_back = mirrored(other, moved)
    assert torch.equal(back, image) and torch.equal(boxes_back, boxes)


def number_of(example_image: Tensor) -> int:
    return int(example_image[1, 0, 0])


def test_every_image_once_an_epoch_half_of_them_mirrored(root: Path) -> None:
    data = TrainingImages(open_detection_images(root, "train", training=True), 300, seed=3)
    shown, turned = [], 0
    for number in range(300):
        example = data[number]
        shown.append(number_of(example.image))
        height, width = example.size_hw.tolist()
        assert example.image.shape == (3, height, width) and int(example.number) == number
        is_mirrored = int(example.image[0, 0, 0]) > 0
        turned += is_mirrored
        if shown[-1] == 4:
            expected = [13.0, 1, 19, 8] if is_mirrored else [1.0, 1, 7, 8]
            torch.testing.assert_close(example.boxes_xyxy, torch.tensor([expected]))
    epochs = [tuple(shown[at : at + 3]) for at in range(0, 300, 3)]
    assert all(sorted(epoch) == [1, 2, 4] for epoch in epochs) and len(set(epochs)) == 6
    assert 110 < turned < 190


def test_a_draw_depends_on_seed_and_number_alone(root: Path) -> None:
    images = open_detection_images(root, "train", training=True)
    first, second = (TrainingImages(images, 40, seed=1) for _ in range(2))
    for number in (31, 2, 17):
        for a, b in zip(first[number], second.__getitems__([5, number])[1], strict=True):
            if a.ndim == 3:
                b = b[:, : a.shape[1], : a.shape[2]]
            torch.testing.assert_close(a, b[: len(a)] if a.ndim else b)
    other = TrainingImages(images, 40, seed=2)
    assert any(number_of(first[n].image) != number_of(other[n].image) for n in range(20))


def test_batches_of_the_loop(root: Path) -> None:
    data = TrainingImages(open_detection_images(root, "train", training=True), 6, seed=0, flip=0)
    (batch, _) = load_batches(data, Share(3), range(2), workers=0, seed=0, prefetch=2, pin=False)
    assert batch.image.shape == (3, 3, 50, 40) and batch.boxes_xyxy.shape == (3, 2, 4)
    assert batch.number.tolist() == [0, 1, 2] and batch.image.dtype == torch.uint8
    assert {tuple(image.shape[1:]) for image in images_of(batch)} == {(30, 40), (20, 30), (50, 20)}
    assert sorted(len(objects["labels"]) for objects in objects_of(batch)) == [1, 1, 2]


def test_large_images_are_scaled_down_with_their_boxes(root: Path) -> None:
    data = TrainingImages(open_detection_images(root, "train", training=True), 3, seed=0, flip=0, max_side=20)
    by_number = {number_of(data[n].image): data[n] for n in range(3)}
    assert by_number[1].image.shape == (3, 15, 20) and by_number[4].image.shape == (3, 20, 8)
    torch.testing.assert_close(by_number[1].boxes_xyxy[0], torch.tensor([1.0, 1.5, 6.0, 5.5]))
    torch.testing.assert_close(by_number[4].boxes_xyxy[0], torch.tensor([0.4, 0.4, 2.8, 3.2]))


def test_unreadable_images_are_replaced_and_counted(root: Path) -> None:
    data = TrainingImages(open_detection_images(root, "train", training=True), 30, seed=0)
    (root / "train" / "0002.png").unlink()
    shown = {number_of(data[number].image) for number in range(30)}
    assert shown == {1, 4} and data.faults.made == 30 and data.faults.skipped >= 10
    data.faults.check()
    data.faults.minimum = 5
    with pytest.raises(DataSetError, match="were skipped"):
        data.faults.check()
    for name in ("0001.png", "0004.png"):
        (root / "train" / name).unlink()
    with pytest.raises(FrameReadError):
        data[0]


@pytest.mark.parametrize(("length", "flip", "side"), [(0, 0.5, 10), (5, 1.5, 10), (5, 0.5, 0)])
def test_settings_are_checked(root: Path, length: int, flip: float, side: int) -> None:
    with pytest.raises(ValueError, match="must"):
        TrainingImages(open_detection_images(root, "train"), length, 0, flip=flip, max_side=side)


def test_no_objects_have_shapes_too(tmp_path: Path) -> None:
    root = write_set(tmp_path, "val", document({1: (8, 8)}, []))
    objects = open_detection_images(root, "val").objects[0]
    assert objects.boxes_xyxy.shape == (0, 4) and objects.labels.shape == (0,)
    assert objects.boxes_xyxy.dtype == torch.float32 and objects.labels.dtype == torch.int64
