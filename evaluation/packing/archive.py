"""Zip files: written so that the same content gives the same bytes, and read without trust."""

from __future__ import annotations

import re
import stat
import zipfile
import zlib
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from ebm_tracker.evaluation.packing.servers import PackingError
from ebm_tracker.files import atomic_path

# A real submission has 720 files at most, of up to 100 kB each; what is far above that is not read.
ARCHIVE_LIMIT = 32 << 20
MEMBER_COUNT_LIMIT = 10_000
MEMBER_LIMIT = 8 << 20
TOTAL_LIMIT = 256 << 20
_EARLIEST = (1980, 1, 1, 0, 0, 0)
_LEFTOVERS = re.compile(r"(^|/)(__MACOSX/|\.DS_Store$|\._|Thumbs\.db$|desktop\.ini$)")


def write_archive(path: Path, members: Mapping[str, bytes]) -> None:
    """A zip of these files, sorted, with fixed dates and rights; complete or not there at all."""
    with atomic_path(path) as part, zipfile.ZipFile(part, "w", zipfile.ZIP_DEFLATED, compresslevel=9) as archive:
        for name in sorted(members):
            info = zipfile.ZipInfo(name, _EARLIEST)
            info.compress_type = zipfile.ZIP_DEFLATED
            info.create_system = 3  # Unix wherever it is written
            info.external_attr = (stat.S_IFREG | 0o644) << 16
            archive.writestr(info, members[name])


@dataclass
class ArchiveContent:
    """What a zip holds. ``members``: the files that could be read; ``problems``: one sentence each."""

    members: dict[str, bytes] = field(default_factory=dict)
    problems: list[str] = field(default_factory=list)


def read_archive(path: Path) -> ArchiveContent:
    """Reads all files of a zip into memory; nothing is written, and no more is unpacked than a submission can hold.

    Raises PackingError when it is no whole zip, or far too large.
    """
    content = ArchiveContent()
    with _opened(path) as (archive, infos):
        for name, times in Counter(info.filename for info in infos).items():
            if times > 1:
                content.problems.append(f"{_shown(name)} is there {times} times")
        for info in infos:
            problem = _name_problem(info) or _size_problem(info)
            if problem is None:
                problem = _read_member(archive, info, content)
            if problem is not None:
                content.problems.append(f"{_shown(info.filename)} {problem}")
    return content


def archive_names(path: Path) -> list[str]:
    """The names of the files in a zip. Raises PackingError as ``read_archive`` does."""
    with _opened(path) as (_, infos):
        return [info.filename for info in infos]


@contextmanager
def _opened(path: Path) -> Iterator[tuple[zipfile.ZipFile, list[zipfile.ZipInfo]]]:
    """The zip and its files, folders left out, if it is of a size that can be looked at."""
    try:
        if path.stat().st_size > ARCHIVE_LIMIT:
            raise PackingError(f"{path} has {path.stat().st_size >> 20} MB, far more than any submission")
        with zipfile.ZipFile(path) as archive:
            infos = [info for info in archive.infolist() if not info.is_dir()]
            if len(infos) > MEMBER_COUNT_LIMIT:
                raise PackingError(f"{path} holds {len(infos)} files, far more than any submission")
            if sum(info.file_size for info in infos) > TOTAL_LIMIT:
                raise PackingError(f"{path} would unpack to over {TOTAL_LIMIT >> 20} MB, far more than any submission")
            yield archive, infos
    except OSError as error:
        raise PackingError(f"{path} cannot be read ({error.strerror or error})") from error
    except (zipfile.BadZipFile, ValueError, NotImplementedError) as error:
        reason = " ".join(str(error).split()).rstrip(".")
        raise PackingError(f"{path} is no zip file, or is cut off or damaged ({reason})") from error


def _name_problem(info: zipfile.ZipInfo) -> str | None:
    name = info.orig_filename
    if name.startswith(("/", "\\")) or re.match(r"[A-Za-z]:", name):
        return "has an absolute path"
    if ".." in re.split(r"[/\\]", name):
        return "has a path that leads out of the folder"
    if not name.isascii() or not name.isprintable():
        return "has a name with signs that are not ASCII"
    if "\\" in name:
        return "has a backslash in its name: folders are parted by /"
    if _LEFTOVERS.search(name):
        return "is a left-over of an operating system: leave it out"
    if stat.S_ISLNK(info.external_attr >> 16):
        return "is a symbolic link, not a file"
    return None


def _size_problem(info: zipfile.ZipInfo) -> str | None:
    if info.flag_bits & 1:
        return "is encrypted"
    if info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        return "is compressed by a method that servers may not know"
    if info.file_size > MEMBER_LIMIT:
        return f"would unpack to {info.file_size >> 20} MB, more than any file of a submission"
    return None


def _read_member(archive: zipfile.ZipFile, info: zipfile.ZipInfo, content: ArchiveContent) -> str | None:
    try:
        with archive.open(info) as file:
            data = file.read(MEMBER_LIMIT + 1)  # the size in the directory may be a lie
    except (zipfile.BadZipFile, zlib.error, EOFError, RuntimeError, NotImplementedError, OSError) as error:
        return f"cannot be unpacked ({' '.join(str(error).split()).rstrip('.')})"
    if len(data) > MEMBER_LIMIT:
        return "unpacks to more than any file of a submission"
    content.members[info.filename] = data
    return None


def _shown(name: str) -> str:
    return name if name.isascii() and name.isprintable() else ascii(name)
