"""LaSOT's layouts and dialect in miniature."""

from __future__ import annotations

import io
import shutil
import zipfile
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from ebm_tracker.training.data import lasot
from ebm_tracker.training.data.indexed_set import CUT, UNREADABLE, IndexedSet
from ebm_tracker.training.data.lasot import BAD_ARCHIVES, MISSING, lasot_test_names, open_lasot
from ebm_tracker.training.data.sequence import DataSetError, FrameReadError, SequenceSet

Tree = dict[str, bytes]
Layout = Callable[[Path, Tree], None]


def jpeg(level: int) -> bytes:
    file = io.BytesIO()
    Image.new("RGB", (32, 24), (level, 100, 50)).save(file, "JPEG", quality=95)
    return file.getvalue()


def level(frame: np.ndarray) -> int:
    return round(float(frame[:, :, 0].mean()) / 10)


def video(rows: list[str], occluded: str, out: str, frames: int) -> Tree:
    files = {
        "groundtruth.txt": "\n".join(rows).encode() + b"\n",
        "full_occlusion.txt": occluded.encode(),
        "out_of_view.txt": out.encode(),
        "nlp.txt": b"white airplane landing on ground",
    }
    return {**files, **{f"img/{i:08d}.jpg": jpeg(10 * i) for i in range(1, frames + 1)}}


def tree() -> Tree:
    """Videos 2, 10 (training) and 1 (test) of airplane, and one of electricfan."""
    videos = {
        "airplane/airplane-10": video(["1,2,3,4", "5,6,7,8"], "0,0", "0,0", 2),
        # visible, occluded, out of view, both, flagged visible without a size, visible
        "airplane/airplane-2": video(
            ["367,101,41,16", "366,103,45,14", "0,0,0,0", "0,0,0,0", "9,9,0,5", "1,1,200,300"],
            "0,1,0,1,0,0\n",
            "0,0,1,1,0,0\n",
            6,
        ),
        "airplane/airplane-1": video(["1,1,5,5"], "0", "0", 1),
        "electricfan/electricfan-2": video(["4,4,5,5"], "0\r\n", "0\r\n", 1),
    }
    return {f"{name}/{file}": data for name, files in videos.items() for file, data in files.items()}


def write_all(root: Path, files: Tree) -> None:
    for name, data in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(data)


def with_classes(root: Path, files: Tree) -> None:
    write_all(root, files)


def without_classes(root: Path, files: Tree) -> None:
    write_all(root, {name.partition("/")[2]: data for name, data in files.items()})


def zipped(root: Path, files: Tree, drop_class: bool = False) -> None:
    root.mkdir()
    for kind in {name.partition("/")[0] for name in files}:
        with zipfile.ZipFile(root / f"{kind}.zip", "w") as archive:
            for name, data in files.items():
                if name.startswith(f"{kind}/"):
                    archive.writestr(name.partition("/")[2] if drop_class else name, data)


def zipped_without_classes(root: Path, files: Tree) -> None:
    zipped(root, files, drop_class=True)


def opened(root: Path, split: str = "train") -> IndexedSet:
    return open_lasot(root, split, cache_dir=root.parent / "cache")


@pytest.mark.parametrize("layout", [with_classes, without_classes, zipped, zipped_without_classes])
def test_every_layout_gives_the_same(tmp_path: Path, layout: Layout) -> None:
    root = tmp_path / "LaSOT"
    layout(root, tree())
    for _ in range(2):  # built, then from the cache
        data: SequenceSet = opened(root)
        assert data.name == "lasot" and data.is_video
        assert [data[i].name for i in range(len(data))] == ["airplane-2", "airplane-10", "electricfan-2"]
        assert dict(data.left_out) == {MISSING: 1120 - 3}
        first = data[0]
        assert first.boxes_xywh[0].tolist() == [367, 101, 41, 16]  # 1-based, as in the file
        assert first.visible.tolist() == [True, False, False, False, False, True]
        assert len(first.frames) == 6
        assert [level(first.frames.read(i)) for i in range(6)] == [1, 2, 3, 4, 5, 6]
        assert [counts.tolist() for counts in data.visible_counts()] == [[6, 2, 1], [2, 2, 1]]


def test_splits(tmp_path: Path) -> None:
    root = tmp_path / "LaSOT"
    with_classes(root, tree())
    assert [opened(root, "test")[i].name for i in range(1)] == ["airplane-1"]
    assert len(opened(root, "test")) == 1
    every = opened(root, "all")
    assert [every[i].name for i in range(4)] == ["airplane-1", "airplane-2", "airplane-10", "electricfan-2"]
    assert every.left_out == {MISSING: 1396}
    with pytest.raises(ValueError, match="split must be one of train, test, all"):
        opened(root, "val")


def test_some_classes_unpacked_and_some_not(tmp_path: Path) -> None:
    root = tmp_path / "LaSOT"
    zipped(root, tree())
    write_all(root, {name: data for name, data in tree().items() if name.startswith("airplane/airplane-2/")})
    data = opened(root)
    assert [data[i].name for i in range(len(data))] == ["airplane-2", "airplane-10", "electricfan-2"]
    assert [level(data[i].frames.read(0)) for i in range(3)] == [1, 1, 1]


def test_test_names() -> None:
    names = lasot_test_names()
    assert len(names) == len(set(names)) == 280
    per_class = Counter(name.rsplit("-", 1)[0] for name in names)
    assert len(per_class) == 70 and set(per_class.values()) == {4}
    assert all(1 <= int(name.rsplit("-", 1)[1]) <= 20 for name in names)
    assert {"airplane-15", "zebra-17", "rubicCube-14", "licenseplate-12", "flag-2"} <= set(names)
    assert not {"airplane-2", "zebra-1", "person-2"} & set(names)


def test_the_list_is_that_of_the_reference_data(shared_dir: Path) -> None:
    import json

    listed = dict(json.loads((shared_dir / "docs/sequences.json").read_text())["lasot_test"])
    assert set(lasot_test_names()) == {f"{kind}-{n}" for kind, numbers in listed.items() for n in numbers}


def test_missing_and_damaged_files_are_left_out_and_counted(tmp_path: Path) -> None:
    root = tmp_path / "LaSOT"
    files = tree()
    del files["airplane/airplane-2/out_of_view.txt"]
    files["airplane/airplane-10/groundtruth.txt"] = b"1,2,3\n"
    files["electricfan/electricfan-2/full_occlusion.txt"] = b"none\n"
    files |= {f"car/car-1/{name}": data for name, data in video(["1,1,2,2"] * 3, "0,0", "0,0,0,0", 4).items()}
    with_classes(root, files)
    (root / "zebra.zip").write_bytes(b"PK\3\4 cut off")
    data = opened(root)
    assert [data[i].name for i in range(len(data))] == ["car-1"]
    assert len(data[0].frames) == len(data[0].visible) == 2
    assert dict(data.left_out) == {MISSING: 1120 - 4, UNREADABLE: 3, CUT: 1, BAD_ARCHIVES: 1}


def test_notes_name_the_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lasot, "_official", lambda split: set())
    files = tree()
    del files["airplane/airplane-2/out_of_view.txt"]
    files["airplane/airplane-10/groundtruth.txt"] = b"1,2,3,4\n1,2,3\n"
    with_classes(tmp_path / "LaSOT", files)
    notes = "\n".join(opened(tmp_path / "LaSOT").notes)
    assert "airplane/airplane-2/out_of_view.txt" in notes
    assert "airplane/airplane-10/groundtruth.txt, line 2: needs 4 numbers" in notes


def test_a_missing_image_is_named(tmp_path: Path) -> None:
    root = tmp_path / "LaSOT"
    files = tree()
    del files["airplane/airplane-10/img/00000002.jpg"]
    zipped(root, files)
    with pytest.raises(FrameReadError, match=r"airplane/airplane-10/img/00000002\.jpg in .*nor in airplane\.zip"):
        opened(root)[1].frames.read(1)


def test_changes_are_seen(tmp_path: Path) -> None:
    root = tmp_path / "LaSOT"
    with_classes(root, tree())
    assert len(opened(root)) == 3
    shutil.rmtree(root / "electricfan")
    assert len(opened(root)) == 2
    (root / "airplane/airplane-2/full_occlusion.txt").write_text("0,0,0,0,0,0 \n")
    assert opened(root)[0].visible.tolist() == [True, True, False, False, False, True]


def test_a_folder_without_videos_is_an_error_that_says_what_was_found(tmp_path: Path) -> None:
    with pytest.raises(DataSetError, match="there is no LaSOT folder"):
        opened(tmp_path / "nowhere")
    (tmp_path / "LaSOT/airplane").mkdir(parents=True)
    with pytest.raises(DataSetError, match="found none among 0 videos and 0 archives"):
        opened(tmp_path / "LaSOT")
