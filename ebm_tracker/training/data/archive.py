"""A zip archive as a place to read single files from, at random, by any number of processes."""

from __future__ import annotations

import hashlib
import os
import struct
import zipfile
import zlib
from pathlib import Path
from typing import BinaryIO

import numpy as np

from ebm_tracker.training.data.sequence import FrameReadError

_LOCAL_HEADER = struct.Struct("<4s5H3L2H")
_STORED, _DEFLATED = zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED
_ENCRYPTED, _UTF8_NAME = 0x1, 0x800
# What zipfile raises for damaged directories, beside its own error.
_DIRECTORY_ERRORS = (OSError, EOFError, ValueError, NotImplementedError, struct.error, zipfile.BadZipFile)


class ZipArchive:
    """The members of a zip file by name.

    `zipfile` keeps some 600 bytes of objects per member: 2 GB in every data worker for LaSOT's 3.5 million images.
    Here a member is 29 bytes in arrays, found by a 64-bit hash of its name and checked against the name that stands
    before its data. The directory itself is read by `zipfile`.

    A forked process shares the arrays and opens the file anew at its first read, because parent and child would move
    one common position. Not safe under threads by itself: FileStore locks.

    Raises FrameReadError from the constructor, when there is no such file or it is no whole zip archive.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        self._file: BinaryIO | None = None
        try:
            with zipfile.ZipFile(self.path) as archive:
                members = [info for info in archive.infolist() if not info.is_dir()]
        except _DIRECTORY_ERRORS as error:
            raise FrameReadError(f"archive {self.path} cannot be read ({error})") from error
        keys = np.array([_key(info.filename) for info in members], dtype=np.uint64)
        order = np.argsort(keys, kind="stable")  # of equal names the last one counts, as in zipfile
        self._keys = keys[order]
        self._offsets = np.array([info.header_offset for info in members], dtype=np.int64)[order]
        self._sizes = np.array([info.compress_size for info in members], dtype=np.int64)[order]
        self._checksums = np.array([info.CRC for info in members], dtype=np.uint32)[order]
        self._methods = np.array(
            [255 if info.flag_bits & _ENCRYPTED else info.compress_type for info in members], dtype=np.uint8
        )[order]
        self._open()

    def _open(self) -> None:
        self.close()
        self._pid = os.getpid()
        try:
            self._file = open(self.path, "rb")
        except OSError as error:
            raise FrameReadError(f"archive {self.path} cannot be read ({error.strerror})") from error

    def __len__(self) -> int:
        return len(self._keys)

    def __contains__(self, member: str) -> bool:
        return self._find(member) is not None

    def _find(self, member: str) -> int | None:
        key = np.uint64(_key(member))
        place = int(np.searchsorted(self._keys, key, side="right")) - 1
        return place if place >= 0 and self._keys[place] == key else None

    def read(self, member: str) -> bytes | None:
        """The member's bytes, checked against their checksum; None when the archive has no such member.

        Raises FrameReadError, naming archive and member, when it is damaged, encrypted, or packed in another way
        than stored or deflated.
        """
        place = self._find(member)
        if place is None:
            return None
        method = int(self._methods[place])
        if method not in (_STORED, _DEFLATED):
            raise self._error(member, "it is encrypted or packed by a method that is not supported")
        data = self._packed(member, int(self._offsets[place]), int(self._sizes[place]))
        if method == _DEFLATED:
            try:
                data = zlib.decompress(data, -zlib.MAX_WBITS)
            except zlib.error as error:
                raise self._error(member, str(error)) from error
        if zlib.crc32(data) != int(self._checksums[place]):
            raise self._error(member, "bad CRC: the checksum does not fit the data")
        return data

    def _packed(self, member: str, offset: int, size: int) -> bytes:
        if self._pid != os.getpid():
            self._open()
        assert self._file is not None
        try:
            self._file.seek(offset)
            header = self._file.read(_LOCAL_HEADER.size)
            if len(header) < _LOCAL_HEADER.size or header[:4] != b"PK\3\4":
                raise self._error(member, "no member begins where the directory says")
            fields = _LOCAL_HEADER.unpack(header)
            flags, name_size, extra_size = fields[2], fields[9], fields[10]
            name = self._file.read(name_size).decode("utf-8" if flags & _UTF8_NAME else "cp437", "replace")
            self._file.seek(extra_size, os.SEEK_CUR)
            data = self._file.read(size)
        except OSError as error:
            raise self._error(member, str(error.strerror)) from error
        if name.replace("\\", "/") != member or len(data) < size:
            raise self._error(member, "the archive is cut off or its directory is wrong")
        return data

    def _error(self, member: str, reason: str) -> FrameReadError:
        return FrameReadError(f"{member} in archive {self.path} cannot be read ({reason})")

    def close(self) -> None:
        """Gives the file handle back; the archive cannot be read afterwards."""
        if self._file is not None:
            self._file.close()

    def __del__(self) -> None:
        self.close()


def member_names(path: str | Path) -> list[str]:
    """All file names in a zip archive, in its order. Raises FrameReadError."""
    try:
        with zipfile.ZipFile(path) as archive:
            return [info.filename for info in archive.infolist() if not info.is_dir()]
    except _DIRECTORY_ERRORS as error:
        raise FrameReadError(f"archive {path} cannot be read ({error})") from error


def _key(member: str) -> int:
    return int.from_bytes(hashlib.blake2b(member.encode("utf-8", "surrogatepass"), digest_size=8).digest(), "little")
