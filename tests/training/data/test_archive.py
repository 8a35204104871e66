"""Zip archives read at random, whole and damaged."""

from __future__ import annotations

import multiprocessing
import struct
import zipfile
from pathlib import Path

import numpy as np
import pytest

from ebm_tracker.training.data.archive import ZipArchive, member_names
from ebm_tracker.training.data.sequence import FrameReadError


def contents(count: int = 300) -> dict[str, bytes]:
    rng = np.random.default_rng(0)
    return {f"airplane-1/img/{i:08d}.jpg": rng.bytes(int(rng.integers(1, 500))) + bytes(50) for i in range(count)}


def write_zip(path: Path, members: dict[str, bytes], method: int = zipfile.ZIP_STORED) -> None:
    with zipfile.ZipFile(path, "w", method) as archive:
        archive.mkdir("airplane-1") if hasattr(archive, "mkdir") else archive.writestr("airplane-1/", b"")
        for name, data in members.items():
            archive.writestr(name, data)


@pytest.mark.parametrize("method", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
def test_every_member_is_read_as_zipfile_reads_it(tmp_path: Path, method: int) -> None:
    members = {**contents(), "übung/ä.jpg": b"umlauts", "empty.jpg": b""}
    write_zip(tmp_path / "a.zip", members, method)
    archive = ZipArchive(tmp_path / "a.zip")
    assert len(archive) == len(members)
    assert {name: archive.read(name) for name in reversed(members)} == members
    assert "airplane-1/img/00000003.jpg" in archive
    assert "airplane-1/img/3.jpg" not in archive and archive.read("airplane-1/img/3.jpg") is None
    assert "airplane-1/" not in archive  # a folder
    assert member_names(tmp_path / "a.zip") == list(members)


def test_bytes_before_the_archive_are_fine(tmp_path: Path) -> None:
    write_zip(tmp_path / "a.zip", {"1.jpg": b"one", "2.jpg": b"two"})
    (tmp_path / "a.zip").write_bytes(b"#!self-extracting" + (tmp_path / "a.zip").read_bytes())
    assert ZipArchive(tmp_path / "a.zip").read("2.jpg") == b"two"


def test_of_equal_names_the_last_counts(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        archive.writestr("1.jpg", b"old")
        with pytest.warns(UserWarning, match="Duplicate name"):
            archive.writestr("1.jpg", b"new")
    assert ZipArchive(tmp_path / "a.zip").read("1.jpg") == b"new"


def test_an_archive_that_is_cut_off_or_missing_is_named(tmp_path: Path) -> None:
    path = tmp_path / "cut.zip"
    write_zip(path, contents())
    path.write_bytes(path.read_bytes()[:-2000])
    for broken in (path, tmp_path / "missing.zip"):
        with pytest.raises(FrameReadError, match=f"archive .*{broken.name} cannot be read"):
            ZipArchive(broken)
        with pytest.raises(FrameReadError, match=f"archive .*{broken.name} cannot be read"):
            member_names(broken)


def flip(path: Path, place: int) -> None:
    data = bytearray(path.read_bytes())
    data[place] ^= 0x55
    path.write_bytes(bytes(data))


@pytest.mark.parametrize(
    ("method", "reason"), [(zipfile.ZIP_STORED, "bad CRC"), (zipfile.ZIP_DEFLATED, "invalid|bad CRC|incomplete")]
)
def test_a_flipped_byte_is_found_and_both_names_are_given(tmp_path: Path, method: int, reason: str) -> None:
    path = tmp_path / "flipped.zip"
    write_zip(path, {"1.jpg": b"a" * 40, "2.jpg": bytes(range(200)), "3.jpg": b"c" * 40}, method)
    with zipfile.ZipFile(path) as archive:
        info = archive.getinfo("2.jpg")
    flip(path, info.header_offset + 30 + len("2.jpg") + info.compress_size // 2)
    opened = ZipArchive(path)
    with pytest.raises(FrameReadError, match=rf"2\.jpg in archive .*flipped\.zip cannot be read \(.*({reason})"):
        opened.read("2.jpg")
    assert opened.read("1.jpg") == b"a" * 40 and opened.read("3.jpg") == b"c" * 40


@pytest.mark.parametrize(("place", "reason"), [(0, "no member begins"), (30, "cut off or its directory is wrong")])
def test_a_directory_that_does_not_fit_the_members_is_found(tmp_path: Path, place: int, reason: str) -> None:
    path = tmp_path / "wrong.zip"
    write_zip(path, {"1.jpg": b"one", "2.jpg": b"two"})
    with zipfile.ZipFile(path) as archive:
        flip(path, archive.getinfo("2.jpg").header_offset + place)
    with pytest.raises(FrameReadError, match=reason):
        ZipArchive(path).read("2.jpg")


def test_a_packed_member_of_the_wrong_length_is_found(tmp_path: Path) -> None:
    """Its data would reach beyond the end of the file."""
    path = tmp_path / "a.zip"
    write_zip(path, {"1.jpg": b"x" * 300})
    data = bytearray(path.read_bytes())
    directory = data.rindex(b"PK\1\2")
    data[directory + 20 : directory + 24] = struct.pack("<L", 100_000)  # compressed size in the directory
    path.write_bytes(bytes(data))
    with pytest.raises(FrameReadError, match="cut off"):
        ZipArchive(path).read("1.jpg")


def test_encrypted_and_exotic_members_are_refused_by_name(tmp_path: Path) -> None:
    path = tmp_path / "odd.zip"
    write_zip(path, {"1.jpg": b"x" * 300}, zipfile.ZIP_BZIP2)
    with pytest.raises(FrameReadError, match=r"1\.jpg in archive .*odd\.zip .*not supported"):
        ZipArchive(path).read("1.jpg")
    write_zip(path, {"1.jpg": b"x" * 300})
    data = bytearray(path.read_bytes())
    for start, place in ((b"PK\3\4", 6), (b"PK\1\2", 8)):
        data[data.rindex(start) + place] |= 1
    path.write_bytes(bytes(data))
    with pytest.raises(FrameReadError, match="encrypted"):
        ZipArchive(path).read("1.jpg")


@pytest.mark.skipif("fork" not in multiprocessing.get_all_start_methods(), reason="this platform cannot fork")
def test_forked_processes_read_without_disturbing_each_other(tmp_path: Path) -> None:
    """With one handle for all, the common position makes nearly every process read wrong bytes."""
    members = contents()
    write_zip(tmp_path / "a.zip", members)
    archive = ZipArchive(tmp_path / "a.zip")
    context = multiprocessing.get_context("fork")
    good = context.Value("i", 0)

    def work() -> None:
        names = list(members)
        rng = np.random.default_rng(1)
        wrong = 0
        for i in rng.integers(0, len(names), 3000):
            try:
                wrong += archive.read(names[i]) != members[names[i]]
            except FrameReadError:
                wrong += 1
        with good.get_lock():
            good.value += wrong == 0

    processes = [context.Process(target=work) for _ in range(3)]
    for process in processes:
        process.start()
    for process in processes:
        process.join(60)
    assert good.value == 3
    assert archive.read("airplane-1/img/00000000.jpg") == members["airplane-1/img/00000000.jpg"]
