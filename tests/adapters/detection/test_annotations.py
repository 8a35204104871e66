from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from ebm_tracker.adapters.detection import annotations as module
from ebm_tracker.adapters.detection.annotations import Annotation, Classes, DetectionDataError, read_annotations
from tests.adapters.detection.conftest import document, write


def read(tmp_path: Path, content: Any) -> module.AnnotationFile:
    return read_annotations(write(tmp_path / "file.json", content))


def test_a_file_is_read_as_it_is(tmp_path: Path) -> None:
    content = document({5: (40, 30), 3: (20, 10)}, [(3, 7, (1, 2, 3, 4.5))])
    content["annotations"][0] |= {"iscrowd": 1, "area": 6.25}
    file = read(tmp_path, content)
    assert [(i.image_id, i.file_name, i.size_wh) for i in file.images] == [
        (5, "0005.png", (40, 30)),
        (3, "0003.png", (20, 10)),
    ]
    assert file.annotations == (Annotation(3, 7, (1.0, 2.0, 3.0, 4.5), 6.25, True),)
    assert file.classes == Classes((2, 7), ("cat", "dog"), (1, 2)) and not file.left_out


def test_missing_area_and_crowd_flag(tmp_path: Path) -> None:
    content = document({1: (40, 30)}, [(1, 2, (0, 0, 4, 5))])
    for area in (None, "large", float("inf")):
        content["annotations"][0]["area"] = area
        assert read(tmp_path, content).annotations[0].area == 20
    del content["annotations"][0]["area"], content["annotations"][0]["iscrowd"]
    (annotation,) = read(tmp_path, content).annotations
    assert annotation.area == 20 and not annotation.is_crowd


def test_test_images_have_no_annotations(tmp_path: Path) -> None:
    content = document({1: (40, 30)}, [])
    del content["annotations"]
    assert read(tmp_path, content).annotations == ()


def test_what_cannot_mean_anything_is_counted(tmp_path: Path) -> None:
    content = document({1: (40, 30), 2: (40, 30)}, [(1, 2, (0, 0, 4, 4)), (2, 7, (1, 1, 5, 5))])
    content["images"] += [
        {"id": 1, "file_name": "again.png", "width": 9, "height": 9},
        {"id": 3, "file_name": "sizeless.png"},
        {"id": 4, "width": 9, "height": 9},
        "nothing",
    ]
    good = content["annotations"][0]
    content["annotations"] += [
        good | {"bbox": [9, 9, 9, 9]},  # the same id again
        good | {"id": 10, "image_id": 99},
        good | {"id": 11, "category_id": 3},
        good | {"id": 12, "bbox": [1, 2, 3]},
        good | {"id": 13, "bbox": [1, 2, 3, None]},
        good | {"id": 14, "bbox": [1, 2, 3, float("nan")]},
        good | {"id": 15, "bbox": [1, 2, 3, 10**400]},
        17,
    ]
    file = read(tmp_path, content)
    assert [a.box_xywh for a in file.annotations] == [(0, 0, 4, 4), (1, 1, 5, 5)]
    assert [i.file_name for i in file.images] == ["0001.png", "0002.png"]
    assert file.left_out == {
        module.SAME_IMAGE: 1,
        module.NO_IMAGE: 3,
        module.SAME_ANNOTATION: 1,
        module.NO_PLACE: 1,
        module.NO_CLASS: 1,
        module.NO_BOX: 5,
    }


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ([], "lists of images, categories"),
        ({"images": [], "annotations": []}, "lists of images, categories"),
        ({"images": [], "annotations": {}, "categories": [{"id": 1}]}, "lists of images, categories, annotations"),
        ({"images": [], "categories": []}, "no categories"),
        ({"images": [], "categories": [{"name": "x"}]}, "whole numbers as ids"),
        ({"images": [], "categories": [{"id": 1, "name": "a"}, {"id": 1, "name": "b"}]}, "two categories with id 1"),
    ],
)
def test_one_error_for_a_file_of_another_kind(tmp_path: Path, content: Any, words: str) -> None:
    with pytest.raises(DetectionDataError, match=words):
        read(tmp_path, content)


def test_missing_or_damaged_file(tmp_path: Path) -> None:
    with pytest.raises(DetectionDataError, match="no annotation file"):
        read_annotations(tmp_path / "none.json")
    (tmp_path / "deep.json").write_text("[" * 100_000)
    with pytest.raises(DetectionDataError, match="is not JSON"):
        read_annotations(tmp_path / "deep.json")
    (tmp_path / "cut.json").write_text('{"images": [')
    with pytest.raises(DetectionDataError, match="is not JSON"):
        read_annotations(tmp_path / "cut.json")


def coco_like() -> Classes:
    """80 ids in 1..90, as COCO's: ten numbers are not used."""
    unused = {12, 26, 29, 30, 45, 66, 68, 69, 71, 83}
    ids = tuple(number for number in range(1, 91) if number not in unused)
    return Classes(ids, tuple(f"c{number}" for number in ids), tuple(range(1, 81)))


def test_labels_without_gaps_and_back() -> None:
    classes = coco_like().fitting(81)
    assert [classes.label_of(number) for number in (1, 11, 13, 90)] == [1, 11, 12, 80]
    assert all(classes.id_of(classes.label_of(number)) == number for number in classes.ids)
    assert classes.id_of(81) is None and classes.name_of(12) == "c13" and classes.name_of(0) == "class 0"
    with pytest.raises(ValueError, match="category_id must be one of the 80"):
        classes.label_of(12)


def test_a_detector_that_counts_as_the_file_does() -> None:
    classes = coco_like().fitting(91)
    assert classes.label_of(90) == 90 and classes.id_of(90) == 90 and classes.id_of(12) is None
    with pytest.raises(ValueError, match=r"81 classes with the background, or 91 .* \(got 21\)"):
        classes.fitting(21)
