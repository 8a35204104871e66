"""Own sequences: frames or videos with one ground-truth file each."""

from __future__ import annotations

import pickle
from collections.abc import Sequence
from pathlib import Path

import av
import numpy as np
import pytest
from PIL import Image

from ebm_tracker.training.data.folder import FolderSet
from ebm_tracker.training.data.sequence import DataSetError, FrameReadError, SequenceSet
from ebm_tracker.training.data.video_frames import VideoFrames


def write_frames(folder: Path, names: Sequence[str]) -> None:
    """Frames of one gray each: the number in the name."""
    folder.mkdir(parents=True, exist_ok=True)
    for name in names:
        gray = int("".join(c for c in name if c.isdigit()))
        Image.new("RGB", (32, 24), (gray,) * 3).save(folder / name)


def write_video(path: Path, count: int) -> None:
    with av.open(str(path), "w") as out:
        stream = out.add_stream("mpeg4", rate=25)
        stream.width, stream.height, stream.pix_fmt = 32, 24, "yuv420p"
        for i in range(count):
            pixels = np.full((24, 32, 3), 10 * i, np.uint8)
            out.mux(stream.encode(av.VideoFrame.from_ndarray(pixels, format="rgb24")))
        out.mux(stream.encode(None))


def rows(count: int) -> str:
    return "".join(f"{i},2,5,6\n" for i in range(count))


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Four sequences: three layouts of frames, and a video."""
    home = tmp_path / "mine"
    write_frames(home / "a10", [f"{i}.png" for i in (0, 1, 2, 10)])
    (home / "a10/groundtruth.txt").write_text("0,0,4,5\n1 1 4 5\n2;2;nan;5\n3\t3\t0\t5\r\n")
    write_frames(home / "a9/img", ["0001.jpg", "0002.jpg"])
    (home / "a9/groundtruth_rect.txt").write_text("1,2,3,4\n8,1,12,1,12,9,8,9\n")
    write_frames(home / "b", ["f1.png"])
    (home / "b.txt").write_text("\ufeff1,2,3,4,\n", encoding="utf-8")
    write_video(home / "clip.mp4", 6)
    (home / "clip.txt").write_text(rows(6))
    (home / "notes").mkdir()
    (home / "readme.md").write_text("mine")
    return home


def test_layouts_order_and_boxes(root: Path) -> None:
    found: SequenceSet = FolderSet(root)
    assert [found[i].name for i in range(len(found))] == ["a9", "a10", "b", "clip"]
    assert found.is_video and found.left_out == {} and found.name == "folder"
    frames, visible = found.visible_counts()
    assert frames.tolist() == [2, 4, 1, 6] and visible.tolist() == [2, 2, 1, 6]
    np.testing.assert_array_equal(found[0].boxes_xywh, [[1, 2, 3, 4], [8, 1, 4, 8]])  # the second is a polygon
    np.testing.assert_array_equal(found[1].visible, [True, True, False, False])  # NaN, and a width of zero
    assert found[1].boxes_xywh.dtype == np.float32 and found[1].visible.dtype == np.bool_
    # 2.png before 10.png
    assert [int(found[1].frames.read(i)[0, 0, 0]) for i in range(4)] == [0, 1, 2, 10]
    assert found[0].frames.read(1).shape == (24, 32, 3)


def test_a_video(root: Path) -> None:
    video = FolderSet(root)[3]
    assert len(video.frames) == 6
    for i in (5, 0, 3):
        assert abs(float(video.frames.read(i).mean()) - 10 * i) < 2
    np.testing.assert_array_equal(video.boxes_xywh[4], [4, 2, 5, 6])


def test_the_frames_of_a_video_are_counted_when_its_boxes_do_not_fit(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls = []

    def count(self: VideoFrames) -> int:
        calls.append(self.path.name)
        self._length = 4  # as with an edit list
        return 4

    monkeypatch.setattr(VideoFrames, "count", count)
    assert not FolderSet(root).left_out and calls == []
    (root / "clip.txt").write_text(rows(4))
    found = FolderSet(root)
    assert found.left_out == {} and calls == ["clip.mp4"] and len(found[3].frames) == 4


@pytest.mark.parametrize("name", ["a10", "a9", "b", "clip.mp4"])
def test_a_single_sequence(root: Path, name: str) -> None:
    found = FolderSet(root / name)
    assert len(found) == 1 and found[0].name == Path(name).stem


def test_the_img_folder_itself_and_here(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(root / "a10")
    assert FolderSet(".")[0].name == "a10"


def test_lengths_that_differ_are_cut_and_counted(root: Path) -> None:
    (root / "clip.txt").write_text(rows(4))
    (root / "a9/groundtruth_rect.txt").write_text(rows(5))
    found = FolderSet(root)
    assert found.left_out == {"lengths that differ (the first frames are used)": 2}
    assert [len(found[i].visible) for i in (0, 3)] == [2, 4]
    assert found.notes[0].endswith("a9: 5 boxes for 2 frames, the first 2 are used")
    assert found.visible_counts()[0].tolist() == [2, 4, 1, 4]


def test_what_cannot_be_used_is_counted_and_named(root: Path) -> None:
    (root / "a9/groundtruth_rect.txt").write_text("1,2,3\n")
    (root / "b.txt").unlink()
    (root / "clip.mp4").write_bytes(b"no video")
    (root / "empty").mkdir()
    (root / "empty/groundtruth.txt").write_text(rows(3))
    found = FolderSet(root)
    assert [found[i].name for i in range(len(found))] == ["a10"]
    assert found.left_out == {
        "ground truth that cannot be read": 1,
        "no ground-truth file": 1,
        "videos that cannot be read": 1,
        "no frames": 1,
    }
    for part in ("groundtruth_rect.txt, line 1", f"{root / 'b'}: no ground", "clip.mp4", f"{root / 'empty'}: ground"):
        assert sum(part in note for note in found.notes) == 1, part


def test_nothing_to_train_on(tmp_path: Path, root: Path) -> None:
    with pytest.raises(DataSetError, match="no folder of sequences .*none"):
        FolderSet(tmp_path / "none")
    with pytest.raises(DataSetError, match="holds no sequence.*groundtruth.txt"):
        FolderSet(root / "notes")
    (root / "b.txt").unlink()
    with pytest.raises(DataSetError, match="no ground-truth file"):
        FolderSet(root / "b")


def test_a_box_that_float32_cannot_hold_is_not_visible(root: Path) -> None:
    (root / "a9/groundtruth_rect.txt").write_text("1,2,1e-50,4\n1e300,2,3,4\n")
    assert not FolderSet(root)[0].visible.any()


def test_damaged_and_missing_frames_are_named(root: Path) -> None:
    found = FolderSet(root)
    (root / "a10/1.png").write_bytes(b"\x89PNG")
    (root / "a10/2.png").unlink()
    for index, name in ((1, "1.png"), (2, "2.png")):
        with pytest.raises(FrameReadError, match=name):
            found[1].frames.read(index)


def test_images_are_turned_as_viewers_show_them(root: Path) -> None:
    image = Image.new("RGB", (32, 24))
    exif = image.getexif()
    exif[0x0112] = 6
    image.save(root / "a9/img/0001.jpg", exif=exif)
    assert FolderSet(root)[0].frames.read(0).shape == (32, 24, 3)


def test_left_overs_of_archives_are_no_frames(root: Path) -> None:
    (root / "a9/img/._0001.jpg").write_bytes(b"x")
    assert len(FolderSet(root)[0].frames) == 2


def test_it_can_be_sent_to_workers(root: Path) -> None:
    found = pickle.loads(pickle.dumps(FolderSet(root)))
    assert found[3].frames.read(2).shape == (24, 32, 3)
