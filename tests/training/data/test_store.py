"""Files of a data set, unpacked and in archives."""

from __future__ import annotations

import os
import pickle
import zipfile
from pathlib import Path

import pytest

from ebm_tracker.training.data.sequence import FrameReadError
from ebm_tracker.training.data.store import Alternative, FileStore

VIDEO = r"(TRAIN_\d+)/frames/([^/]+)/([^/]+)"
ALTERNATIVES = (
    Alternative(VIDEO, r"\1/zips/\2.zip", r"\3"),
    Alternative(r"train/(.+)", r"\1"),
    Alternative(r"train/(.+)", r"train_data/*.zip", r"\1"),
)


def write(path: Path, data: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)


def write_zip(path: Path, members: dict[str, bytes]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(path, "w") as archive:
        for name, data in members.items():
            archive.writestr(name, data)


def test_plain_file_before_alternatives(tmp_path: Path) -> None:
    write(tmp_path / "TRAIN_0/frames/a/0.jpg", b"plain")
    write_zip(tmp_path / "TRAIN_0/zips/a.zip", {"0.jpg": b"zipped 0", "1.jpg": b"zipped 1"})
    write(tmp_path / "b/0.jpg", b"moved up")
    store = FileStore(tmp_path, ALTERNATIVES)
    assert store.read_bytes("TRAIN_0/frames/a/0.jpg") == b"plain"
    assert store.open_archives == ()  # nothing was opened for it
    assert store.read_bytes("TRAIN_0/frames/a/1.jpg") == b"zipped 1"
    assert store.open_archives == ("TRAIN_0/zips/a.zip",)
    assert store.read_bytes("train/b/0.jpg") == b"moved up"


def test_a_file_that_is_nowhere_is_named_with_the_archives_that_were_tried(tmp_path: Path) -> None:
    store = FileStore(tmp_path, ALTERNATIVES)
    with pytest.raises(FrameReadError, match=r"no TRAIN_0/frames/a/7\.jpg in .*nor in TRAIN_0/zips/a\.zip"):
        store.read_bytes("TRAIN_0/frames/a/7.jpg")
    write_zip(tmp_path / "TRAIN_0/zips/a.zip", {"0.jpg": b"zipped 0"})
    assert store.read_bytes("TRAIN_0/frames/a/0.jpg") == b"zipped 0"
    with pytest.raises(FrameReadError, match=r"no TRAIN_0/frames/a/7\.jpg in "):
        store.read_bytes("TRAIN_0/frames/a/7.jpg")


def test_all_archives_of_a_pattern_are_looked_through(tmp_path: Path) -> None:
    for k in (1, 2, 10):
        write_zip(tmp_path / f"train_data/split_{k}.zip", {f"v{k}/1.jpg": b"%d" % k, "same/1.jpg": b"%d" % k})
    store = FileStore(tmp_path, ALTERNATIVES)
    assert store.read_bytes("train/v10/1.jpg") == b"10"
    assert store.read_bytes("train/v2/1.jpg") == b"2"
    assert store.read_bytes("train/same/1.jpg") == b"1"
    assert store.expand("train_data/*.zip") == tuple(f"train_data/split_{k}.zip" for k in (1, 2, 10))


def test_a_folder_that_is_split_between_places_is_found_whole(tmp_path: Path) -> None:
    """Where a folder was found is remembered, which must not hide the rest of it."""
    write_zip(tmp_path / "train_data/split_1.zip", {"v/1.jpg": b"first"})
    write_zip(tmp_path / "train_data/split_2.zip", {"v/2.jpg": b"second"})
    write(tmp_path / "train/v/3.jpg", b"third")
    store = FileStore(tmp_path, ALTERNATIVES)
    for _ in range(2):
        assert [store.read_bytes(f"train/v/{i}.jpg") for i in (1, 2, 3)] == [b"first", b"second", b"third"]


def test_a_damaged_archive_is_named_unless_the_file_is_elsewhere(tmp_path: Path) -> None:
    write(tmp_path / "train_data/split_1.zip", b"PK\3\4 cut off")
    write_zip(tmp_path / "train_data/split_2.zip", {"v2/1.jpg": b"2"})
    store = FileStore(tmp_path, ALTERNATIVES)
    assert store.read_bytes("train/v2/1.jpg") == b"2"
    with pytest.raises(FrameReadError, match=r"split_1\.zip cannot be read"):
        store.read_bytes("train/v1/1.jpg")


def test_only_the_archives_used_last_stay_open(tmp_path: Path) -> None:
    for name in "abcd":
        write_zip(tmp_path / f"TRAIN_0/zips/{name}.zip", {"0.jpg": name.encode()})
    store = FileStore(tmp_path, ALTERNATIVES, max_open=2)
    for name in "abac":
        assert store.read_bytes(f"TRAIN_0/frames/{name}/0.jpg") == name.encode()
    assert store.open_archives == ("TRAIN_0/zips/a.zip", "TRAIN_0/zips/c.zip")
    assert store.read_bytes("TRAIN_0/frames/b/0.jpg") == b"b"
    with pytest.raises(ValueError, match="max_open must be at least 1"):
        FileStore(tmp_path, max_open=0)


def test_a_pickled_store_opens_its_own_archives(tmp_path: Path) -> None:
    write_zip(tmp_path / "TRAIN_0/zips/a.zip", {"0.jpg": b"zipped"})
    store = FileStore(tmp_path, ALTERNATIVES, max_open=3)
    store.read_bytes("TRAIN_0/frames/a/0.jpg")
    copy = pickle.loads(pickle.dumps(store))
    assert copy.open_archives == () and copy.max_open == 3
    assert copy.read_bytes("TRAIN_0/frames/a/0.jpg") == b"zipped"


def test_a_fork_while_another_thread_reads_does_not_lock_up(tmp_path: Path) -> None:
    if not hasattr(os, "fork"):
        pytest.skip("this platform cannot fork")
    write_zip(tmp_path / "TRAIN_0/zips/a.zip", {"0.jpg": b"zipped"})
    store = FileStore(tmp_path, ALTERNATIVES)
    store.read_bytes("TRAIN_0/frames/a/0.jpg")
    with store._lock:  # as if it were in the middle of reading
        child = os.fork()
        if child == 0:
            os._exit(0 if store.read_bytes("TRAIN_0/frames/a/0.jpg") == b"zipped" else 1)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


@pytest.mark.parametrize("path", ["/etc/hostname", "../a.jpg", "train/../../a.jpg"])
def test_nothing_outside_the_root_is_read(tmp_path: Path, path: str) -> None:
    root = tmp_path / "root"
    write(tmp_path / "a.jpg", b"secret")
    root.mkdir()
    with pytest.raises(FrameReadError, match="must lie below it"):
        FileStore(root, ALTERNATIVES).read_bytes(path)


def test_text_without_byte_order_mark(tmp_path: Path) -> None:
    write(tmp_path / "a.txt", b"\xef\xbb\xbf1,2,3,4\r\n")
    write(tmp_path / "b.txt", b"\xff\xfe1\x00")
    store = FileStore(tmp_path)
    assert store.read_text("a.txt") == "1,2,3,4\r\n"
    with pytest.raises(FrameReadError, match=r"b\.txt in .* is not a text file"):
        store.read_text("b.txt")


def test_a_folder_in_place_of_a_file_is_an_error_with_its_name(tmp_path: Path) -> None:
    (tmp_path / "a.jpg").mkdir()
    with pytest.raises(FrameReadError, match=r"a\.jpg cannot be read"):
        FileStore(tmp_path).read_bytes("a.jpg")
