"""Pictures out of packages: .deb files and Qt resource files that the tests write byte by byte."""

from __future__ import annotations

import io
import os
import shutil
import struct
import subprocess
import tarfile
import zlib
from pathlib import Path

import pytest

from ebm_tracker.training.data.packages import package_files, resource_files
from ebm_tracker.training.data.sequence import DataSetError

PICTURES = {"usr/share/b.png": b"bee", "usr/share/a.JPG": b"ay", "usr/share/readme.txt": b"no"}


def deb(path: Path, files: dict[str, bytes], compression: str = "xz") -> Path:
    tar = io.BytesIO()
    with tarfile.open(fileobj=tar, mode=f"w:{compression}") as archive:
        for name, data in files.items():
            member = tarfile.TarInfo(f"./{name}")
            member.size = len(data)
            archive.addfile(member, io.BytesIO(data))
        link = tarfile.TarInfo("./usr/share/link.png")
        link.type, link.linkname = tarfile.SYMTYPE, "/etc/passwd"
        archive.addfile(link)
    content = b"!<arch>\n"
    # An odd size, so that the padding byte matters
    members = (("debian-binary", b"2.0"), (f"data.tar.{compression}".rstrip("."), tar.getvalue()))
    for name, data in members:
        content += (
            f"{name:<16}{0:<12}{0:<6}{0:<6}{100644:<8}{len(data):<10}`\n".encode() + data + b"\n" * (len(data) % 2)
        )
    path.write_bytes(content)
    return path


def resource(files: dict[str, tuple[bytes, int]]) -> bytes:
    """A version 3 file: root -> folder "pics" -> the files, given as (stored bytes, flags)."""
    names, name_at = b"", {}
    for name in ("pics", *files):
        name_at[name] = len(names)
        names += struct.pack(">HI", len(name), 0) + name.encode("utf-16-be")
    blocks, nodes = (
        b"",
        struct.pack(">IHIIQ", 0, 2, 1, 1, 0) + struct.pack(">IHIIQ", name_at["pics"], 2, len(files), 2, 0),
    )
    for name, (data, flags) in files.items():
        nodes += struct.pack(">IHHHIQ", name_at[name], flags, 0, 1, len(blocks), 0)
        blocks += struct.pack(">I", len(data)) + data
    header = 24
    places = (header + len(blocks), header, header + len(blocks) + len(nodes))
    return b"qres" + struct.pack(">IIIII", 3, *places, 0) + blocks + nodes + names


def compressed(data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + zlib.compress(data)


@pytest.mark.parametrize("compression", ["xz", "gz", ""])
def test_a_deb_gives_its_pictures_by_name(tmp_path: Path, compression: str) -> None:
    path = deb(tmp_path / "some-pictures_1.0_all.deb", PICTURES, compression)
    for source in (path, tmp_path):
        assert [(f.package, f.path, f.data, f.in_resource) for f in package_files(source)] == [
            ("some-pictures", "usr/share/a.JPG", b"ay", False),
            ("some-pictures", "usr/share/b.png", b"bee", False),
        ]


def test_an_unpacked_package_gives_the_same_without_links(tmp_path: Path) -> None:
    for name, data in PICTURES.items():
        path = tmp_path / "some-pictures" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
    os.symlink(tmp_path / "some-pictures/usr/share/b.png", tmp_path / "some-pictures/usr/share/c.png")
    found = [(f.package, f.path, f.data) for f in package_files(tmp_path)]
    assert found == [
        ("some-pictures", "some-pictures/usr/share/a.JPG", b"ay"),
        ("some-pictures", "some-pictures/usr/share/b.png", b"bee"),
    ]


def test_a_resource_file_in_a_package(tmp_path: Path) -> None:
    game = resource(
        {"z.webp": (b"zed", 0), "a.png": (compressed(b"ay" * 50), 1), "n.txt": (b"no", 0), "s.png": (b"?", 4)}
    )
    path = deb(tmp_path / "game_1_all.deb", {"usr/game.rcc": game})
    found = [(f.path, f.data, f.in_resource) for f in package_files(path)]
    assert found == [("usr/game.rcc/pics/a.png", b"ay" * 50, True), ("usr/game.rcc/pics/z.webp", b"zed", True)]


def test_names_beyond_ascii() -> None:
    assert resource_files(resource({"Äpfel.png": (b"1", 0)})) == [("pics/Äpfel.png", b"1")]


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (b"PK\3\4", "not a Qt resource file"),
        (b"qres", "damaged"),
        (resource({"a.png": (b"x" * 100, 0)})[:40], "damaged"),
        (resource({"a.png": (b"\0\0\0\5no zlib", 1)}), "damaged"),
    ],
)
def test_a_damaged_resource_file_is_named(data: bytes, expected: str) -> None:
    with pytest.raises(DataSetError, match=f"game.rcc is .*{expected}|game.rcc is {expected}"):
        resource_files(data, "game.rcc")


def test_a_tree_with_a_loop_ends() -> None:
    data = bytearray(resource({"a.png": (b"x", 0)}))
    tree = struct.unpack_from(">I", data, 8)[0]
    struct.pack_into(">II", data, tree + 22 + 6, 1, 1)  # the folder "pics" holds itself
    with pytest.raises(DataSetError, match="loop"):
        resource_files(bytes(data), "game.rcc")


@pytest.mark.skipif(not (shutil.which("dpkg-deb") and shutil.which("zstd")), reason="needs dpkg-deb and zstd")
def test_a_deb_packed_with_zstd(tmp_path: Path) -> None:
    (tmp_path / "tree" / "DEBIAN").mkdir(parents=True)
    (tmp_path / "tree/DEBIAN/control").write_text(
        "Package: pictures\nVersion: 1\nArchitecture: all\nMaintainer: A <a@b.c>\nDescription: x\n"
    )
    (tmp_path / "tree/a.png").write_bytes(b"ay")
    path = tmp_path / "pictures_1_all.deb"
    subprocess.run(["dpkg-deb", "-Zzstd", "--build", tmp_path / "tree", path], check=True, capture_output=True)
    assert [(f.package, f.path, f.data) for f in package_files(path)] == [("pictures", "a.png", b"ay")]


def test_zstd_without_dpkg(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    path = tmp_path / "x_1_all.deb"
    header = f"{'data.tar.zst':<16}{0:<12}{0:<6}{0:<6}{100644:<8}{4:<10}`\n".encode()
    path.write_bytes(b"!<arch>\n" + header + b"zstd")
    with pytest.raises(DataSetError, match="needs dpkg-deb"):
        list(package_files(path))


def test_what_is_no_package_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataSetError, match="no package file or folder"):
        list(package_files(tmp_path / "none"))
    path = tmp_path / "x.deb"
    whole = deb(tmp_path / "y.deb", PICTURES).read_bytes()
    for content, expected in (
        (b"<html>", "no ar archive"),
        (b"!<arch>\n", "no data.tar"),
        (b"!<arch>\n" + b"x" * 60, "damaged member header"),
        (whole[:-60], "ends too early"),
        (whole[:200] + b"?" * 100 + whole[300:], "not a whole Debian package"),
    ):
        path.write_bytes(content)
        with pytest.raises(DataSetError, match=expected) as error:
            list(package_files(path))
        assert str(path) in str(error.value)
