"""GOT-10k's layouts and dialect in miniature."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from ebm_tracker.training.data.got10k import open_got10k
from ebm_tracker.training.data.indexed_set import CUT, EMPTY, UNREADABLE, IndexedSet
from ebm_tracker.training.data.sequence import DataSetError, FrameReadError, SequenceSet

Tree = dict[str, bytes]


def jpeg(level: int) -> bytes:
    file = io.BytesIO()
    Image.new("RGB", (32, 24), (level, 100, 50)).save(file, "JPEG", quality=95)
    return file.getvalue()


def level(frame: np.ndarray) -> int:
    return round(float(frame[:, :, 0].mean()) / 10)


def video(rows: list[str], absence: str, cover: str) -> Tree:
    return {
        "groundtruth.txt": "\n".join(rows).encode() + b"\n",
        "absence.label": absence.replace(" ", "\n").encode() + b"\n",
        "cover.label": cover.replace(" ", "\n").encode() + b"\n",
        "cut_by_image.label": b"0\n" * len(rows),
        "meta_info.ini": b"[METAINFO]\nurl: https://example.org\nresolution: (32, 24)\n",
        **{f"{i:08d}.jpg": jpeg(10 * i) for i in range(1, len(rows) + 1)},
    }


def name(number: int, split: str = "Train") -> str:
    return f"GOT-10k_{split}_{number:06d}"


def tree(split: str = "Train", count: int = 12) -> Tree:
    """Video 1 with every kind of frame, the others with as many frames as their number."""
    odd = video(
        ["347.0000,443.0000,429.0000,272.0000", "1.5000,2.2500,3.0000,4.0000", "1,2,3,4", "1,2,3,4", "1,2,0,4"],
        "0 0 1 0 0",
        "8 1 8 0 8",
    )
    videos = {name(1, split): odd}
    for k in range(2, count + 1):
        videos[name(k, split)] = video([f"{k}.0000,2.0000,30.0000,40.0000"] * k, " ".join("0" * k), " ".join("8" * k))
    return {f"{video_name}/{file}": data for video_name, files in videos.items() for file, data in files.items()}


def listing(split: str = "Train", count: int = 12) -> bytes:
    return "".join(f"{name(k, split)}\n" for k in range(1, count + 1)).encode()


def write_all(root: Path, files: Tree) -> None:
    for file, data in files.items():
        (root / file).parent.mkdir(parents=True, exist_ok=True)
        (root / file).write_bytes(data)


def write_zip(path: Path, files: Tree) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(path, "w") as archive:
        for file, data in files.items():
            archive.writestr(file, data)


def below(prefix: str, files: Tree) -> Tree:
    return {f"{prefix}/{file}": data for file, data in files.items()}


def in_parts(path: Path, prefix: str = "") -> None:
    """As downloaded: some archives with a few videos each."""
    for part, numbers in ((1, range(1, 6)), (2, range(6, 10)), (10, range(10, 13))):
        wanted = tuple(name(k) for k in numbers)
        files = {f"{prefix}{file}": data for file, data in tree().items() if file.startswith(wanted)}
        write_zip(path / f"GOT-10k_Train_split_{part:02d}.zip", files)


def unpacked(root: Path) -> None:
    write_all(root / "train", {"list.txt": listing(), **tree()})


def root_is_the_split(root: Path) -> None:
    write_all(root, {"list.txt": listing(), **tree()})


def without_list(root: Path) -> None:
    write_all(root / "train", tree())


def zips_beside_the_list(root: Path) -> None:
    in_parts(root / "train")
    write_all(root / "train", {"list.txt": listing()})


def zips_of_the_download(root: Path) -> None:
    in_parts(root / "full_data/train_data")
    write_all(root / "full_data/train_data", {})
    write_all(root / "train", {"list.txt": listing()})


def zips_in_the_root(root: Path) -> None:
    in_parts(root, "train/")
    write_all(root, {"list.txt": listing()})


def one_zip(root: Path) -> None:
    write_zip(root / "train_data.zip", below("train", {"list.txt": listing(), **tree()}))


LAYOUTS = [
    unpacked,
    root_is_the_split,
    without_list,
    zips_beside_the_list,
    zips_of_the_download,
    zips_in_the_root,
    one_zip,
]


def opened(root: Path, split: str | Path = "train", pytracking: Path | None = None) -> IndexedSet:
    return open_got10k(root, split, pytracking, cache_dir=root.parent / "cache")


@pytest.mark.parametrize("layout", LAYOUTS)
def test_every_layout_gives_the_same(tmp_path: Path, layout: Callable[[Path], None]) -> None:
    root = tmp_path / "got10k"
    layout(root)
    for _ in range(2):  # built, then from the cache
        data: SequenceSet = opened(root)
        assert data.name == "got10k" and data.is_video and not data.left_out
        assert [data[i].name for i in range(len(data))] == [name(k) for k in range(1, 13)]
        first = data[0]
        assert first.boxes_xywh[:2].tolist() == [[347, 443, 429, 272], [1.5, 2.25, 3, 4]]
        # visible, barely visible, absent, covered, without a size
        assert first.visible.tolist() == [True, True, False, False, False]
        assert [level(first.frames.read(i)) for i in range(5)] == [1, 2, 3, 4, 5]  # images count from 1
        assert level(data[11].frames.read(11)) == 12 and level(data[6].frames.read(0)) == 1
        assert [c.tolist() for c in data.visible_counts()] == [[5, *range(2, 13)], [2, *range(2, 13)]]


def test_val(tmp_path: Path) -> None:
    root = tmp_path / "got10k"
    unpacked(root)
    write_zip(root / "val_data.zip", below("val", {"list.txt": listing("Val", 3), **tree("Val", 3)}))
    data = opened(root, "val")
    assert [data[i].name for i in range(len(data))] == [name(k, "Val") for k in (1, 2, 3)]
    assert level(data[2].frames.read(2)) == 3


def test_index_lists(tmp_path: Path) -> None:
    root = tmp_path / "got10k"
    unpacked(root)
    (tmp_path / "mine.txt").write_bytes(b"\xef\xbb\xbf10\r\n0\r\n\r\n4")
    data = opened(root, tmp_path / "mine.txt")
    assert [data[i].name for i in range(len(data))] == [name(11), name(1), name(5)]
    (tmp_path / "mine.txt").write_text("2\n")
    assert [video.name for video in opened(root, str(tmp_path / "mine.txt"))] == [name(3)]


def test_lists_of_a_pytracking_checkout(tmp_path: Path) -> None:
    root = tmp_path / "got10k"
    unpacked(root)
    specs = tmp_path / "pytracking/ltr/data_specs"
    write_all(specs, {"got10k_vot_train_split.txt": b"7\n3\n", "got10k_vot_val_split.txt": b"1\n"})
    assert [video.name for video in opened(root, "vottrain", tmp_path / "pytracking")] == [name(8), name(4)]
    assert [video.name for video in opened(root, "votval", tmp_path / "pytracking")] == [name(2)]
    with pytest.raises(DataSetError, match=r"'vottrain' is a list in a pytracking checkout, so pytracking_dir must"):
        opened(root, "vottrain")
    with pytest.raises(DataSetError, match=r"no file .*elsewhere.*got10k_vot_val_split\.txt"):
        opened(root, "votval", tmp_path / "elsewhere")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("0\n12\n", r"mine\.txt, line 2: must be a number from 0 to 11 \(got '12'\)"),
        ("-1\n", r"line 1: must be .*\(got '-1'\)"),
        ("GOT-10k_Train_000001\n", "line 1: must be a number"),
        ("\n", "is empty"),
    ],
)
def test_bad_index_lists_are_named(tmp_path: Path, text: str, message: str) -> None:
    unpacked(tmp_path / "got10k")
    (tmp_path / "mine.txt").write_text(text)
    with pytest.raises(DataSetError, match=message):
        opened(tmp_path / "got10k", tmp_path / "mine.txt")


def test_an_index_list_needs_the_list_it_counts_in(tmp_path: Path) -> None:
    without_list(tmp_path / "got10k")
    (tmp_path / "mine.txt").write_text("0\n")
    with pytest.raises(DataSetError, match=r"needs train/list\.txt in .*found 12 videos without it"):
        opened(tmp_path / "got10k", tmp_path / "mine.txt")


def test_missing_and_damaged_files_are_left_out_and_counted(tmp_path: Path) -> None:
    root = tmp_path / "got10k"
    unpacked(root)
    (root / "train" / name(2) / "cover.label").unlink()
    (root / "train" / name(3) / "groundtruth.txt").write_text("1,2,3,4\nx\n")
    (root / "train" / name(4) / "groundtruth.txt").write_text("")
    (root / "train" / name(5) / "absence.label").write_text("0\n0\n")
    (root / "train" / name(6) / "groundtruth.txt").write_text("nan,nan,nan,nan\r\n1 2 3 4\r\n" + "1,2,3,4\r\n" * 4)
    with (root / "train/list.txt").open("a") as file:
        file.write(f"{name(13)}\n")
    data = opened(root)
    assert dict(data.left_out) == {UNREADABLE: 3, EMPTY: 1, CUT: 1}
    by_name = {video.name: video for video in data}
    assert sorted(by_name) == [name(k) for k in (1, 5, 6, 7, 8, 9, 10, 11, 12)]
    assert len(by_name[name(5)].frames) == 2
    assert by_name[name(6)].visible.tolist() == [False, True, True, True, True, True]
    notes = "\n".join(data.notes)
    assert f"{name(2)}/cover.label" in notes and f"{name(3)}/groundtruth.txt, line 2" in notes and name(13) in notes


def test_a_test_set_s_single_row(tmp_path: Path) -> None:
    """As GOT-10k's test split has it; with one flag each it is a video of one frame."""
    root = tmp_path / "got10k"
    write_all(root / "train", {"list.txt": listing(count=1), **below(name(1), video(["9,8,7,6"], "0", "8"))})
    assert opened(root)[0].boxes_xywh.tolist() == [[9, 8, 7, 6]]


def test_a_missing_image_is_named(tmp_path: Path) -> None:
    root = tmp_path / "got10k"
    unpacked(root)
    (root / "train" / name(9) / "00000003.jpg").unlink()
    with pytest.raises(FrameReadError, match=rf"train/{name(9)}/00000003\.jpg"):
        opened(root)[8].frames.read(2)


def test_changes_are_seen(tmp_path: Path) -> None:
    root = tmp_path / "got10k"
    unpacked(root)
    assert opened(root)[1].visible.tolist() == [True, True]
    (root / "train" / name(2) / "cover.label").write_text("0\n8 \n")
    assert opened(root)[1].visible.tolist() == [False, True]


def test_nothing_there(tmp_path: Path) -> None:
    with pytest.raises(DataSetError, match="there is no GOT-10k folder"):
        opened(tmp_path / "nowhere")
    (tmp_path / "got10k").mkdir()
    with pytest.raises(DataSetError, match=r"needs train/list\.txt in .*found 0 videos"):
        opened(tmp_path / "got10k")
    with pytest.raises(DataSetError, match="split must be train, val, vottrain, votval or an index list"):
        opened(tmp_path / "got10k", "test")
