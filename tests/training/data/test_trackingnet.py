"""TrackingNet's layout and dialect in miniature."""

from __future__ import annotations

import io
import pickle
import zipfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from ebm_tracker.training.data import trackingnet
from ebm_tracker.training.data.indexed_set import EMPTY, UNREADABLE, IndexedSet
from ebm_tracker.training.data.sequence import DataSetError, FrameReadError, SequenceSet
from ebm_tracker.training.data.trackingnet import NO_FRAMES, OUTSIDE, open_trackingnet


def jpeg(level: int) -> bytes:
    file = io.BytesIO()
    Image.new("RGB", (32, 24), (level, 100, 50)).save(file, "JPEG", quality=95)
    return file.getvalue()


def level(frame: np.ndarray) -> int:
    return round(float(frame[:, :, 0].mean()) / 10)


def write(path: Path, data: str | bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data if isinstance(data, bytes) else data.encode())


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """TRAIN_0: a video of 12 frames in a folder, one in a zip, a list of odd ones. TRAIN_2: one video."""
    root = tmp_path / "TrackingNet"
    rows = "".join(f" {10.25 + i:.2f},  {20 - i:.2f},30.00,40.50\r\n" for i in range(12))
    write(root / "TRAIN_0/anno/aB3_-x_0.txt", "\ufeff" + rows)
    for i in range(12):
        write(root / f"TRAIN_0/frames/aB3_-x_0/{i}.jpg", jpeg(10 * i))
    write(root / "TRAIN_0/anno/packed.txt", "1.00,2.00,3.00,4.00\n5.00,6.00,0.00,8.00\n-5.50,-6.00,20.00,30.00\n")
    (root / "TRAIN_0/zips").mkdir()
    with zipfile.ZipFile(root / "TRAIN_0/zips/packed.zip", "w") as archive:
        for i in range(3):
            archive.writestr(f"{i}.jpg", jpeg(10 * i))
    write(root / "TRAIN_2/anno/one_row.txt", "3.00,4.00,5.00,6.00\n")
    write(root / "TRAIN_2/frames/one_row/0.jpg", jpeg(70))
    return root


def opened(root: Path, *set_ids: int) -> IndexedSet:
    return open_trackingnet(root, set_ids or (0,), cache_dir=root.parent / "cache")


def test_boxes_frames_and_flags(root: Path) -> None:
    data: SequenceSet = opened(root, 0, 2)
    assert data.name == "trackingnet" and data.is_video and len(data) == 3 and not data.left_out
    assert [data[i].name for i in range(3)] == ["aB3_-x_0", "packed", "one_row"]
    video = data[0]
    assert video.boxes_xywh.dtype == np.float32 and video.visible.dtype == np.bool_
    np.testing.assert_array_equal(video.boxes_xywh, [(10.25 + i, 20 - i, 30, 40.5) for i in range(12)])  # not shifted
    assert video.visible.all() and len(video.frames) == 12
    assert [level(video.frames.read(i)) for i in range(12)] == list(range(12))  # 2.jpg before 10.jpg
    assert video.frames.read(0).shape == (24, 32, 3)
    np.testing.assert_array_equal(data[-1].boxes_xywh, [(3, 4, 5, 6)])  # a single row is still a table
    counts = data.visible_counts()
    assert [c.tolist() for c in counts] == [[12, 3, 1], [12, 2, 1]]
    with pytest.raises(IndexError):
        data[3]


def test_images_in_the_zip_as_downloaded(root: Path) -> None:
    video = opened(root)[1]
    np.testing.assert_array_equal(video.boxes_xywh[2], (-5.5, -6, 20, 30))  # partly outside: kept as it is
    assert video.visible.tolist() == [True, False, True]
    assert [level(video.frames.read(i)) for i in (2, 0, 1)] == [2, 0, 1]
    with pytest.raises(IndexError, match="frame must be 0 to 2"):
        video.frames.read(3)


def test_a_zip_with_the_video_s_folder_inside(root: Path) -> None:
    (root / "TRAIN_0/zips/packed.zip").unlink()
    with zipfile.ZipFile(root / "TRAIN_0/zips/packed.zip", "w") as archive:
        archive.writestr("packed/0.jpg", jpeg(90))
    assert level(opened(root)[1].frames.read(0)) == 9


def test_faults_of_frames_name_the_file(root: Path) -> None:
    (root / "TRAIN_0/frames/aB3_-x_0/4.jpg").unlink()
    write(root / "TRAIN_0/frames/aB3_-x_0/5.jpg", jpeg(50)[:300])
    video = opened(root)[0]
    with pytest.raises(FrameReadError, match=r"TRAIN_0/frames/aB3_-x_0/4\.jpg"):
        video.frames.read(4)
    with pytest.raises(FrameReadError, match=r"TRAIN_0/frames/aB3_-x_0/5\.jpg cannot be decoded"):
        video.frames.read(5)
    assert level(video.frames.read(6)) == 6
    archive = root / "TRAIN_0/zips/packed.zip"
    archive.write_bytes(archive.read_bytes()[:-100])
    with pytest.raises(FrameReadError, match=r"packed\.zip cannot be read"):
        opened(root)[1].frames.read(0)


def test_odd_annotation_files_are_left_out_and_counted(root: Path) -> None:
    for name, text in {
        "bad_word": "1,2,3,4\n1,2,three,4\n",
        "empty": "",
        "five": "1,2,3,4,5\n",
        "no_frames": "1,2,3,4\n",
        "not_text": "\xff",
    }.items():
        write(root / f"TRAIN_0/anno/{name}.txt", text.encode("latin-1"))
        if name != "no_frames":
            (root / f"TRAIN_0/frames/{name}").mkdir()
    write(root / "TRAIN_0/anno/._hidden.txt", "a Mac's left-over")
    data = opened(root)
    assert [data[i].name for i in range(len(data))] == ["aB3_-x_0", "packed"]
    assert dict(data.left_out) == {UNREADABLE: 3, EMPTY: 1, NO_FRAMES: 1}
    assert any("bad_word.txt, line 2: not only numbers" in note for note in data.notes)
    assert any("no_frames" in note for note in data.notes)


def test_absent_and_outside_boxes_are_not_visible(root: Path) -> None:
    rows = [
        (0, 0, 10, 10),
        (-30, 5, 20, 20),  # wholly left of the image
        (5, -19.5, 20, 20),  # half a pixel left
        (-19, -19, 20, 20),  # one pixel left
        (5, 5, 10, 0),
        ("nan", "nan", "nan", "nan"),
        (5, 5, -3, 10),
        (5, 5, "1e39", 10),  # infinite in float32
        (5, 5, "1e-50", 10),  # zero in float32
    ]
    write(root / "TRAIN_2/anno/one_row.txt", "\n".join(",".join(map(str, row)) for row in rows))
    data = opened(root, 2)
    video = data[0]
    assert video.visible.tolist() == [True, False, False, True, False, False, False, False, False]
    assert data.left_out == {OUTSIDE: 2}
    np.testing.assert_array_equal(video.boxes_xywh[1], (-30, 5, 20, 20))
    assert np.isfinite(video.boxes_xywh[video.visible]).all()


def test_a_second_start_reads_no_annotation(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = opened(root, 0, 2)
    monkeypatch.setattr(trackingnet, "read_store_boxes", None)
    second = opened(root, 0, 2)
    np.testing.assert_array_equal(first.index.boxes_xywh, second.index.boxes_xywh)
    monkeypatch.undo()
    write(root / "TRAIN_2/anno/one_row.txt", "3.00,4.00,5.00,6.00\n7.00,8.00,9.00,1.00\n")
    assert len(opened(root, 0, 2)[2].frames) == 2  # a changed file is seen
    write(root / "TRAIN_2/anno/new.txt", "1,2,3,4\n")
    assert opened(root, 0, 2).left_out == {NO_FRAMES: 1}  # a new one too
    (root / "TRAIN_2/frames/new").mkdir()
    assert len(opened(root, 0, 2)) == 4  # and frames that arrive later
    (root / "TRAIN_2/frames/new").rename(root / "TRAIN_2/frames/newer")
    assert len(opened(root, 0, 2)) == 3


def test_a_pickled_set_gives_the_same(root: Path) -> None:
    data = opened(root)
    copy = pickle.loads(pickle.dumps(data))
    np.testing.assert_array_equal(copy[1].boxes_xywh, data[1].boxes_xywh)
    assert level(copy[1].frames.read(2)) == 2
    video = pickle.loads(pickle.dumps(data[0]))
    assert level(video.frames.read(11)) == 11


def test_errors_name_what_is_missing(root: Path) -> None:
    with pytest.raises(ValueError, match=r"set_ids must be .* 0 to 11 \(got \[12\]\)"):
        opened(root, 12)
    with pytest.raises(ValueError, match="set_ids must be different"):
        opened(root, 0, 0)
    with pytest.raises(DataSetError, match=r"needs .*TRAIN_1.*anno \(found TRAIN_0, TRAIN_2\)"):
        opened(root, 0, 1)
    with pytest.raises(DataSetError, match=r"found no folder at all"):
        opened(root / "nowhere")
    (root / "TRAIN_5/anno").mkdir(parents=True)
    with pytest.raises(DataSetError, match=r"needs <video>\.txt files in .*TRAIN_5"):
        opened(root, 5)
