"""The cached index: once built, mapped, rebuilt when it must be."""

from __future__ import annotations

import io
import os
import pickle
import shutil
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from ebm_tracker.training.data import index_cache
from ebm_tracker.training.data.index import IndexBuilder, SequenceIndex
from ebm_tracker.training.data.index_cache import (
    IndexKey,
    load_index,
    open_index,
    stamp_files,
    stamp_of,
    stamp_paths,
)

BOXES = {"b": np.arange(12.0).reshape(3, 4), "ä": np.arange(8.0).reshape(2, 4) + 0.5}


class Counting:
    """A build function that knows how often it ran."""

    def __init__(self) -> None:
        self.runs = 0

    def __call__(self, builder: IndexBuilder) -> None:
        self.runs += 1
        for name, boxes in builder.progress(list(BOXES.items())):
            builder.add(name, f"place/{name}", boxes, np.arange(len(boxes)) != 1)
        builder.leave_out("too short", "c: no row", 2)


def key(root: Path, stamp: str = "s", **options: object) -> IndexKey:
    return IndexKey("made", root, options, stamp)


def check(index: SequenceIndex) -> None:
    assert len(index) == 2
    assert [index.name(i) for i in range(2)] == ["b", "ä"]
    assert [index.place(i) for i in range(2)] == ["place/b", "place/ä"]
    for i, boxes in enumerate(BOXES.values()):
        rows = index.frames(i)
        assert index.boxes_xywh.dtype == np.float32
        np.testing.assert_array_equal(index.boxes_xywh[rows], boxes)
        np.testing.assert_array_equal(index.visible[rows], np.arange(len(boxes)) != 1)
    assert index.visible_counts.tolist() == [2, 1]
    assert index.left_out == {"too short": 2} and index.notes == ("c: no row",)


def test_second_start_builds_nothing(tmp_path: Path) -> None:
    build = Counting()
    for _ in range(3):
        check(open_index(key(tmp_path), build, tmp_path / "cache"))
    assert build.runs == 1
    assert not list((tmp_path / "cache").rglob(".part*"))


@pytest.mark.parametrize(
    "other",
    [
        lambda root: key(root, "other stamp"),
        lambda root: key(root, split="val"),
        lambda root: key(root / "elsewhere"),
        lambda root: IndexKey("another", root, {}, "s"),
    ],
)
def test_another_key_has_its_own_index(tmp_path: Path, other: Callable[[Path], IndexKey]) -> None:
    build = Counting()
    open_index(key(tmp_path), build, tmp_path / "cache")
    open_index(other(tmp_path), build, tmp_path / "cache")
    assert build.runs == 2


def test_a_new_format_makes_a_new_index(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    build = Counting()
    open_index(key(tmp_path), build, tmp_path / "cache")
    monkeypatch.setattr(index_cache, "FORMAT_VERSION", index_cache.FORMAT_VERSION + 1)
    check(open_index(key(tmp_path), build, tmp_path / "cache"))
    assert build.runs == 2


def test_indexes_of_old_stamps_are_removed_but_stay_usable_where_they_are_mapped(tmp_path: Path) -> None:
    old = open_index(key(tmp_path, "old"), Counting(), tmp_path / "cache")
    open_index(key(tmp_path, other=1), Counting(), tmp_path / "cache")
    new = open_index(key(tmp_path, "new"), Counting(), tmp_path / "cache")
    assert new.folder is not None and old.folder is not None
    assert [p.name for p in new.folder.parent.iterdir()] == [new.folder.name]
    if sys.platform != "win32":  # there they cannot be removed while they are mapped
        assert not old.folder.exists()
    check(old)
    assert len(list((tmp_path / "cache/index").iterdir())) == 2


@pytest.mark.parametrize("file", ["boxes_xywh.npy", "places.npy", "starts.npy", "header.json"])
@pytest.mark.parametrize("damage", ["cut", "gone", "other"])
def test_a_damaged_index_is_built_again(tmp_path: Path, file: str, damage: str) -> None:
    build = Counting()
    folder = open_index(key(tmp_path), build, tmp_path / "cache").folder
    assert folder is not None
    if damage == "cut":
        (folder / file).write_bytes((folder / file).read_bytes()[:-20])
    elif damage == "gone":
        (folder / file).unlink()
    elif file.endswith(".json"):
        (folder / file).write_text('{"format": 0}')
    else:
        np.save(folder / file, np.zeros((9, 4), np.float32))
    check(open_index(key(tmp_path), build, tmp_path / "cache"))
    assert build.runs == 2
    check(open_index(key(tmp_path), build, tmp_path / "cache"))
    assert build.runs == 2


def test_an_index_with_objects_is_never_unpickled(tmp_path: Path) -> None:
    folder = open_index(key(tmp_path), Counting(), tmp_path / "cache").folder
    assert folder is not None
    np.save(folder / "names.npy", np.array([{"a": 1}, {}], dtype=object), allow_pickle=True)
    with pytest.raises(ValueError, match="allow_pickle"):
        load_index(folder)


def test_a_pickled_index_is_small_and_maps_again(tmp_path: Path) -> None:
    def build(builder: IndexBuilder) -> None:
        builder.add("long", "p", np.ones((50_000, 4)), np.ones(50_000, bool))

    index = open_index(key(tmp_path), build, tmp_path / "cache")
    data = pickle.dumps(index)
    assert len(data) < 2000
    copy = pickle.loads(data)
    assert isinstance(copy.boxes_xywh, np.memmap) and copy.boxes_xywh.shape == (50_000, 4)
    np.testing.assert_array_equal(copy.boxes_xywh, index.boxes_xywh)


def test_an_empty_index(tmp_path: Path) -> None:
    for _ in range(2):
        index = open_index(key(tmp_path), lambda builder: None, tmp_path / "cache")
        assert len(index) == 0 and index.boxes_xywh.shape == (0, 4) and index.starts.tolist() == [0]


def test_without_a_place_to_keep_it_the_index_is_in_memory(tmp_path: Path) -> None:
    (tmp_path / "cache").write_text("a file where the folder should be")
    build = Counting()
    with pytest.warns(UserWarning, match=r"cannot be kept in .*cache.*every start will build it"):
        index = open_index(key(tmp_path), build, tmp_path / "cache")
    check(index)
    check(pickle.loads(pickle.dumps(index)))


def test_a_build_that_fails_leaves_nothing(tmp_path: Path) -> None:
    def build(builder: IndexBuilder) -> None:
        Counting()(builder)
        raise RuntimeError("power cut")

    with pytest.raises(RuntimeError, match="power cut"):
        open_index(key(tmp_path), build, tmp_path / "cache")
    assert not (tmp_path / "cache").exists()
    build_well = Counting()
    check(open_index(key(tmp_path), build_well, tmp_path / "cache"))
    assert build_well.runs == 1


def test_a_faster_process_wins(tmp_path: Path) -> None:
    """While this process builds, another one finishes: its index is taken and ours dropped."""
    rival = Counting()

    def build(builder: IndexBuilder) -> None:
        open_index(key(tmp_path), rival, tmp_path / "cache")
        Counting()(builder)

    index = open_index(key(tmp_path), build, tmp_path / "cache")
    check(index)
    assert rival.runs == 1 and index.folder is not None
    assert [p.name for p in index.folder.parent.iterdir()] == [index.folder.name]


def test_stamps_see_names_sizes_and_times(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("1")
    (tmp_path / "b.jpg").write_text("1")

    def stamps() -> tuple[str, str]:
        files = stamp_of(stamp_files([tmp_path, tmp_path / "missing"], ".txt"))
        return files, stamp_of(stamp_paths([tmp_path / "a.txt", tmp_path / "missing.txt"]))

    seen = [stamps()]
    assert stamps() == seen[0]
    (tmp_path / "b.jpg").write_text("not an annotation")
    assert stamps() == seen[0]
    os.utime(tmp_path / "a.txt", ns=(1, 1))
    seen.append(stamps())
    (tmp_path / "a.txt").write_text("12")
    os.utime(tmp_path / "a.txt", ns=(1, 1))
    seen.append(stamps())
    (tmp_path / "a.txt").rename(tmp_path / "c.txt")
    seen.append(stamps())
    assert len({files for files, _ in seen}) == 4 and len({paths for _, paths in seen}) == 4


def test_progress_is_for_terminals_only(
    capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    open_index(key(tmp_path), Counting(), tmp_path / "1")
    assert capfd.readouterr() == ("", "")
    terminal = io.StringIO()
    monkeypatch.setattr(terminal, "isatty", lambda: True)
    monkeypatch.setattr(sys, "stderr", terminal)
    monkeypatch.setenv("TERM", "xterm")
    open_index(key(tmp_path), Counting(), tmp_path / "2", show_progress=False)
    assert terminal.getvalue() == ""
    open_index(key(tmp_path), Counting(), tmp_path / "3")
    assert "indexing made" in terminal.getvalue()


def test_the_cache_may_be_removed_while_it_is_used(tmp_path: Path) -> None:
    build = Counting()
    index = open_index(key(tmp_path), build, tmp_path / "cache")
    shutil.rmtree(tmp_path / "cache", ignore_errors=True)
    check(index)
    check(open_index(key(tmp_path), build, tmp_path / "cache"))
    assert build.runs == 2
