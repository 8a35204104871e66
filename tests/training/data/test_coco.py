"""COCO's layouts and annotations in miniature."""

from __future__ import annotations

import io
import json
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from ebm_tracker.training.data import coco
from ebm_tracker.training.data.coco import CROWD, DAMAGED, OUTSIDE, SMALL, open_coco
from ebm_tracker.training.data.indexed_set import IndexedSet
from ebm_tracker.training.data.sequence import DataSetError, FrameReadError, SequenceSet


def jpeg(level: int) -> bytes:
    file = io.BytesIO()
    Image.new("RGB", (64, 48), (level, 100, 50)).save(file, "JPEG", quality=95)
    return file.getvalue()


def level(frame: np.ndarray) -> int:
    return round(float(frame[:, :, 0].mean()) / 10)


def annotation(number: int, image: int, box: Any, crowd: int = 0) -> dict[str, Any]:
    shape = {"segmentation": [[1.0, 2.0, 3.0, 4.0, 5.0, 6.0]], "category_id": 18, "area": 12.5}
    return {"id": number, "image_id": image, "bbox": box, "iscrowd": crowd, **shape}


def document(prefix: str) -> dict[str, Any]:
    images = [
        {"id": i, "file_name": f"{prefix}{i:012d}.jpg", "width": 64, "height": 48, "license": 1} for i in (9, 25, 30)
    ]
    annotations = [
        annotation(1768, 25, [10.5, 5.25, 20.0, 30.75]),
        annotation(45, 9, [0.0, 0.0, 64.0, 48.0]),
        annotation(900100000009, 9, [1.0, 1.0, 30.0, 30.0], crowd=1),
        annotation(46, 9, [9.98, 188.56, 5.54, 0.0]),  # the one that stopped upstream's training
        annotation(47, 9, [1.0, 1.0, 0.9, 20.0]),
        annotation(48, 9, [1.0, 1.0, 1.0, 1.0]),
        annotation(49, 30, [63.5, 10.0, 20.0, 20.0]),  # half a pixel inside
        annotation(50, 30, [-10.0, 40.0, 20.0, 20.0]),  # partly outside
        annotation(54, 30, [-30.0, 10.0, 20.0, 20.0]),  # wholly left
        annotation(51, 99, [1.0, 1.0, 5.0, 5.0]),  # no such image
        annotation(52, 30, [1.0, 1.0, 5.0]),
        annotation(53, 30, [1.0, 1.0, float("nan"), 5.0]),
    ]
    return {"info": {}, "licenses": [], "images": images, "annotations": annotations, "categories": []}


def images(prefix: str) -> dict[str, bytes]:
    return {f"{prefix}{i:012d}.jpg": jpeg(10 * n) for n, i in enumerate((9, 25, 30), start=1)}


def write(path: Path, data: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)


def write_zip(path: Path, files: dict[str, bytes]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(path, "w") as archive:
        for file, data in files.items():
            archive.writestr(file, data)


def prefix_of(name: str) -> str:
    return f"COCO_{name}_" if name.endswith("2014") else ""


def annotations_of(name: str) -> bytes:
    return json.dumps(document(prefix_of(name))).encode()


def unpacked(root: Path, name: str, folder: str = "") -> None:
    write(root / f"annotations/instances_{name}.json", annotations_of(name))
    for file, data in images(prefix_of(name)).items():
        write(root / folder / name / file, data)


def unpacked_in_images(root: Path, name: str) -> None:
    unpacked(root, name, "images")


def zipped(root: Path, name: str, folder: str = "") -> None:
    members = {f"annotations/instances_{name}.json": annotations_of(name)}
    write_zip(root / f"annotations_trainval{name[-4:]}.zip", members)
    write_zip(root / folder / f"{name}.zip", {f"{name}/{f}": data for f, data in images(prefix_of(name)).items()})


def zipped_in_images(root: Path, name: str) -> None:
    zipped(root, name, "images")


def opened(root: Path, year: int = 2014, split: str = "train") -> IndexedSet:
    return open_coco(root, year, split, cache_dir=root.parent / "cache")


@pytest.mark.parametrize("layout", [unpacked, unpacked_in_images, zipped, zipped_in_images])
@pytest.mark.parametrize(("year", "split"), [(2014, "train"), (2017, "train"), (2017, "val")])
def test_every_layout_gives_the_same(
    tmp_path: Path, layout: Callable[[Path, str], None], year: int, split: str
) -> None:
    root = tmp_path / "coco"
    layout(root, f"{split}{year}")
    for _ in range(2):  # built, then from the cache
        data: SequenceSet = opened(root, year, split)
        assert data.name == f"coco{year}" and not data.is_video
        stem = f"{prefix_of(f'{split}{year}')}000000000025"
        assert [data[i].name for i in range(len(data))][0] == f"{stem}/1768"
        boxes = [data[i].boxes_xywh.tolist() for i in range(len(data))]
        assert boxes == [[[10.5, 5.25, 20, 30.75]], [[0, 0, 64, 48]], [[1, 1, 1, 1]], [[-10, 40, 20, 20]]]
        assert dict(data.left_out) == {CROWD: 1, SMALL: 2, OUTSIDE: 2, DAMAGED: 3}
        assert [level(data[i].frames.read(0)) for i in range(4)] == [2, 1, 1, 3]
        assert data[0].frames.read(0).shape == (48, 64, 3)
        assert [c.tolist() for c in data.visible_counts()] == [[1] * 4, [1] * 4]
        assert all(data[i].visible.tolist() == [True] for i in range(4))


def test_notes_say_which(tmp_path: Path) -> None:
    unpacked(tmp_path / "coco", "train2014")
    notes = "\n".join(opened(tmp_path / "coco").notes)
    assert "annotation 46: box [9.98, 188.56, 5.54, 0.0]" in notes and "annotation 51" in notes


def test_the_second_start_does_not_read_the_json(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root = tmp_path / "coco"
    unpacked(root, "train2014")
    opened(root)
    monkeypatch.setattr(coco, "_read_document", None)
    assert len(opened(root)) == 4
    monkeypatch.undo()
    changed = document("COCO_train2014_")
    changed["annotations"] = changed["annotations"][:1]
    write(root / "annotations/instances_train2014.json", json.dumps(changed).encode())
    assert len(opened(root)) == 1


def test_a_missing_image_is_named(tmp_path: Path) -> None:
    root = tmp_path / "coco"
    unpacked(root, "train2014")
    (root / "train2014/COCO_train2014_000000000025.jpg").unlink()
    with pytest.raises(FrameReadError, match=r"train2014/COCO_train2014_000000000025\.jpg"):
        opened(root)[0].frames.read(0)


def test_image_names_cannot_leave_the_folder(tmp_path: Path) -> None:
    root = tmp_path / "coco"
    (tmp_path / "secret.jpg").write_bytes(jpeg(10))
    made = document("../../")
    made["images"][1]["file_name"] = "../../secret.jpg"
    write(root / "annotations/instances_train2014.json", json.dumps(made).encode())
    with pytest.raises(FrameReadError, match="must lie below it"):
        opened(root)[0].frames.read(0)


def test_sizes_and_fields_that_are_missing(tmp_path: Path) -> None:
    made = document("")
    made["images"] = [{"id": 25, "file_name": "a.jpg", "width": None}, {"id": 9}, "nonsense"]
    made["annotations"] = [annotation(1, 25, [1, 2, 3, 4]), annotation(2, 9, [1, 2, 3, 4]), {}, [], None]
    write(tmp_path / "coco/annotations/instances_val2017.json", json.dumps(made).encode())
    data = opened(tmp_path / "coco", 2017, "val")
    assert len(data) == 1 and data[0].name == "a/1"
    assert data.left_out == {DAMAGED: 4}


def test_errors_name_the_file(tmp_path: Path) -> None:
    root = tmp_path / "coco"
    with pytest.raises(ValueError, match="year must be 2014 or 2017 and split train or val"):
        opened(root, 2015)
    with pytest.raises(DataSetError, match=r"instances_train2014\.json or .*annotations_trainval2014\.zip"):
        opened(root)
    path = root / "annotations/instances_train2014.json"
    write(path, annotations_of("train2014")[:500])
    with pytest.raises(DataSetError, match=r"instances_train2014\.json is not JSON"):
        opened(root)
    write(path, b"[]")
    with pytest.raises(DataSetError, match="must hold lists of images and annotations"):
        opened(root)
    path.unlink()
    write_zip(root / "annotations_trainval2014.zip", {"annotations/instances_val2014.json": b"{}"})
    with pytest.raises(DataSetError, match=r"no annotations/instances_train2014\.json"):
        opened(root)
