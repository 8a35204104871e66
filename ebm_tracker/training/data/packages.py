"""Image files inside Debian packages, folders of unpacked packages and Qt resource files.

Nothing is unpacked to disk and nothing is run: a ``.deb`` is an ``ar`` archive with a tar archive in it, and a
``.rcc`` (Qt's binary resource file, in which games ship their pictures) holds a tree of names and data blocks.
"""

from __future__ import annotations

import io
import lzma
import shutil
import struct
import subprocess
import tarfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, NamedTuple

from ebm_tracker.training.data.sequence import DataSetError

PICTURE_ENDINGS = frozenset({".jpg", ".jpeg", ".png", ".webp"})
RESOURCE_ENDING = ".rcc"
# A file above this is no picture; it also bounds what a damaged archive can make us allocate.
_MAX_BYTES = 256 << 20
_COMPRESSED, _IS_FOLDER, _ZSTD = 1, 2, 4


class PackageFile(NamedTuple):
    """One picture. ``path``: inside the package; ``in_resource``: it came out of a Qt resource file."""

    package: str
    path: str
    data: bytes
    in_resource: bool = False


def package_files(source: Path) -> Iterator[PackageFile]:
    """Every picture below ``source``, in the order of the names: a ``.deb`` file, or a folder of such or of
    unpacked packages. Raises DataSetError, naming the file, when it is not there or damaged."""
    if source.is_file():
        yield from _of_file(source, source.name, source.parent.name)
        return
    if not source.is_dir():
        raise DataSetError(f"there is no package file or folder {source}")
    # Links would give one picture under many names; in a .deb they are no files either.
    for path in sorted(p for p in source.rglob("*") if p.is_file() and not p.is_symlink()):
        relative = path.relative_to(source)
        package = relative.parts[0] if len(relative.parts) > 1 else source.resolve().name
        yield from _of_file(path, relative.as_posix(), package)


def _of_file(path: Path, name: str, package: str) -> Iterator[PackageFile]:
    ending = path.suffix.lower()
    if ending == ".deb":
        for member, data in deb_members(path):
            yield from _pictures(path.name.split("_")[0], member, data)
    elif ending in PICTURE_ENDINGS or ending == RESOURCE_ENDING:
        yield from _pictures(package, name, path.read_bytes())


def _pictures(package: str, name: str, data: bytes) -> Iterator[PackageFile]:
    if not name.lower().endswith(RESOURCE_ENDING):
        yield PackageFile(package, name, data)
        return
    for path, content in resource_files(data, name):
        if Path(path).suffix.lower() in PICTURE_ENDINGS:
            yield PackageFile(package, f"{name}/{path}", content, in_resource=True)


def deb_members(path: Path) -> Iterator[tuple[str, bytes]]:
    """(name, content) of the pictures and resource files in a ``.deb``, in the archive's order sorted by name."""
    try:
        with _data_tar(path) as stream, tarfile.open(fileobj=stream, mode="r|*") as archive:
            found = [
                (member.name.removeprefix("./"), archive.extractfile(member).read())  # type: ignore[union-attr]
                for member in archive
                if member.isfile() and member.size <= _MAX_BYTES and _wanted(member.name)
            ]
    except (tarfile.TarError, lzma.LZMAError, EOFError, OSError, zlib.error) as error:
        raise DataSetError(f"{path} is not a whole Debian package ({error})") from error
    yield from sorted(found)


def _wanted(name: str) -> bool:
    ending = Path(name).suffix.lower()
    return ending in PICTURE_ENDINGS or ending == RESOURCE_ENDING


@contextmanager
def _data_tar(path: Path) -> Iterator[IO[bytes]]:
    """The package's ``data.tar.*``: an ``ar`` member, 60 bytes of header (name 16, ..., size 10) before each."""
    with path.open("rb") as file:
        if file.read(8) != b"!<arch>\n":
            raise DataSetError(f"{path} is not a Debian package (no ar archive)")
        while len(header := file.read(60)) == 60:
            name = header[:16].decode("ascii", "replace").strip().rstrip("/")
            try:
                size = int(header[48:58])
            except ValueError:
                raise DataSetError(f"{path} is not a whole Debian package (damaged member header)") from None
            if name.startswith("data.tar"):
                data = file.read(size) if size >= 0 else b""
                if len(data) != size:
                    raise DataSetError(f"{path} is not a whole Debian package (it ends too early)")
                yield io.BytesIO(_zstd_tar(path) if name.endswith(".zst") else data)
                return
            file.seek(max(size, 0) + size % 2, io.SEEK_CUR)
    raise DataSetError(f"{path} is not a whole Debian package (no data.tar)")


def _zstd_tar(path: Path) -> bytes:
    # Python reads zstd from 3.14 on only; Ubuntu packs with it.
    program = shutil.which("dpkg-deb")
    if program is None:
        raise DataSetError(f"{path} is packed with zstd, which needs dpkg-deb: unpack it and name the folder")
    done = subprocess.run([program, "--fsys-tarfile", str(path)], check=False, capture_output=True)
    if done.returncode:
        raise DataSetError(f"{path} is not a whole Debian package ({done.stderr.decode(errors='replace').strip()})")
    return done.stdout


def resource_files(data: bytes, source: str = "resource file") -> list[tuple[str, bytes]]:
    """(path, content) of the files in a Qt resource file (``rcc --binary``), sorted by path; entries packed with
    zstd are left out.

    The layout, big-endian: "qres", version, offsets of tree, data and names; a tree node holds the offset of its
    name, flags, and either the number and place of its children or (after country and language) the offset of
    its data. Raises DataSetError, naming ``source``, when it is damaged.
    """
    if data[:4] != b"qres":
        raise DataSetError(f"{source} is not a Qt resource file")
    try:
        version, tree, blocks, names = struct.unpack_from(">4I", data, 4)
        node_size = 14 if version < 2 else 22  # from 2 on, each with the time of its last change
        found: list[tuple[str, bytes]] = []
        nodes, seen = [(0, "")], 0
        while nodes:
            index, folder = nodes.pop()
            seen += 1
            if seen > len(data) // node_size:
                raise DataSetError(f"{source} is damaged (its tree has a loop)")
            at = tree + index * node_size
            name_at, flags, first, second = struct.unpack_from(">IHII", data, at)
            path = f"{folder}/{_name(data, names + name_at)}".lstrip("/") if index else ""
            if flags & _IS_FOLDER:
                nodes += [(second + i, path) for i in range(min(first, len(data)))]
            elif not flags & _ZSTD:
                found.append((path, _block(data, blocks + second, flags)))
    except (struct.error, zlib.error, UnicodeDecodeError) as error:
        raise DataSetError(f"{source} is damaged ({error})") from error
    return sorted(found)


def _name(data: bytes, at: int) -> str:
    (length,) = struct.unpack_from(">H", data, at)  # then a hash of 4 bytes
    return data[at + 6 : at + 6 + 2 * length].decode("utf-16-be")


def _block(data: bytes, at: int, flags: int) -> bytes:
    (length,) = struct.unpack_from(">I", data, at)
    content = data[at + 4 : at + 4 + length]
    # qCompress: four bytes of the unpacked size, then a zlib stream
    return zlib.decompressobj().decompress(content[4:], _MAX_BYTES) if flags & _COMPRESSED else content
