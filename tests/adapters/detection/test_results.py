from __future__ import annotations

import json
import zipfile
from pathlib import Path

import pytest
import torch

from ebm_tracker.adapters.detection.annotations import Classes, DetectionDataError
from ebm_tracker.adapters.detection.base import Detections
from ebm_tracker.adapters.detection.results import (
    Result,
    pack_results,
    read_results,
    results_of,
    server_name,
    write_results,
)

CLASSES = Classes((1, 18, 90), ("person", "dog", "toothbrush"), (1, 2, 3))


def some() -> Detections:
    boxes = torch.tensor([[1.0, 2.0, 11.5, 7.25], [-3.0, 0.0, 4.0, 9.0], [0.0, 0.0, 5.0, 5.0]])
    return Detections(boxes, torch.tensor([0.5, 0.25, 0.125]), torch.tensor([3, 2, 7]))


def test_ids_of_the_file_and_plain_xywh() -> None:
    assert results_of(42, some(), CLASSES) == [
        {"image_id": 42, "category_id": 90, "bbox": [1.0, 2.0, 10.5, 5.25], "score": 0.5},
        {"image_id": 42, "category_id": 18, "bbox": [-3.0, 0.0, 7.0, 9.0], "score": 0.25},
    ]  # no category has label 7
    assert results_of(42, some()[:0], CLASSES) == []


@pytest.mark.parametrize("place", ["box", "score"])
def test_numbers_must_be_finite(place: str) -> None:
    few = some()
    (few.boxes_xyxy[1] if place == "box" else few.scores)[0] = float("nan")
    with pytest.raises(ValueError, match="must be finite"):
        results_of(1, few, CLASSES)


def test_written_and_read_again(tmp_path: Path) -> None:
    results = results_of(42, some(), CLASSES)
    results[0]["bbox"][0] = 1 / 3
    path = tmp_path / "r.json"
    assert write_results(path, iter(results)) == 2
    results[0]["bbox"][0] = 0.333
    assert read_results(path) == results == json.loads(path.read_text())
    assert write_results(path, []) == 0 and read_results(path) == [] and list(tmp_path.iterdir()) == [path]


def test_a_stopped_write_leaves_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "r.json"
    write_results(path, results_of(1, some(), CLASSES))
    bad: list[Result] = [{"image_id": 1, "category_id": 1, "bbox": [0, 0, 1, 1], "score": float("nan")}]
    with pytest.raises(ValueError):
        write_results(path, bad)
    assert len(read_results(path)) == 2 and list(tmp_path.iterdir()) == [path]


def test_the_servers_zip(tmp_path: Path) -> None:
    write_results(tmp_path / "r.json", results_of(7, some(), CLASSES))
    path = pack_results(tmp_path / "r.json", tmp_path, "ebm")
    assert path.name == "detections_test-dev2017_ebm_results.zip"
    with zipfile.ZipFile(path) as archive:
        assert archive.namelist() == ["detections_test-dev2017_ebm_results.json"]
        assert json.loads(archive.read(archive.namelist()[0])) == read_results(tmp_path / "r.json")
    with pytest.raises(ValueError, match="letters, digits and hyphens"):
        server_name("a/b")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("[", "is not JSON"),
        ("{}", "must hold a list"),
        ('[{"image_id": 1, "category_id": 1, "bbox": [0, 0, 1, 1], "score": 1}, {"image_id": 1}]', "entry 1 of"),
        ('[{"image_id": 1, "category_id": 1, "bbox": [0, 0, 1, NaN], "score": 1}]', "entry 0 of"),
        ('[{"image_id": "1", "category_id": 1, "bbox": [0, 0, 1, 1], "score": 1}]', "entry 0 of"),
    ],
)
def test_damaged_files(tmp_path: Path, text: str, words: str) -> None:
    path = tmp_path / "r.json"
    path.write_text(text)
    with pytest.raises(DetectionDataError, match=words):
        read_results(path)
    with pytest.raises(DetectionDataError, match="no file of detections"):
        read_results(tmp_path / "none.json")
