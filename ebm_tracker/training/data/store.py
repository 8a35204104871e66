"""Where the files of a data set lie: a directory tree, or zip archives as they were downloaded."""

from __future__ import annotations

import os
import re
import threading
from collections import OrderedDict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from ebm_tracker.training.data.archive import ZipArchive
from ebm_tracker.training.data.sequence import FrameReadError
from ebm_tracker.video import natural_key

MAX_OPEN_ARCHIVES = 128
"""Per process: more than LaSOT has archives, and far below the usual limit of 1,024 open files."""

_MAX_HOMES = 100_000


@dataclass(frozen=True)
class Alternative:
    r"""Another place for the files whose relative path ``pattern`` (a regular expression) matches as a whole.

    Attributes:
        pattern: for example ``(TRAIN_\d+)/frames/([^/]+)/(.+)``.
        path: template with ``\1`` ...: the file, relative to the store's root; or, when ``member`` is given, the
            archive. An archive's name may hold ``*``: all that match are looked through, in natural order.
        member: template of the name within the archive; None: ``path`` is a plain file.
    """

    pattern: str
    path: str
    member: str | None = None


@dataclass(frozen=True)
class _Home:
    """Where a folder's files were found: beginning of their paths, or archive and beginning of the members' names."""

    place: str
    member: str | None

    def place_of(self, name: str) -> tuple[str, str | None]:
        return (self.place + name, None) if self.member is None else (self.place, self.member + name)


class FileStore:
    """Files of a data set by the relative path that its publisher's unpacked layout gives them.

    A path is looked for as a plain file first, then in each alternative whose pattern matches. Archives are opened
    when something is read from them and the ``max_open`` used last stay open. Can be pickled (archives are not sent
    along) and used on both sides of a fork.
    """

    def __init__(
        self, root: str | Path, alternatives: Sequence[Alternative] = (), max_open: int = MAX_OPEN_ARCHIVES
    ) -> None:
        if max_open < 1:
            raise ValueError(f"max_open must be at least 1 (got {max_open})")
        self.root = Path(root)
        self.alternatives = tuple(alternatives)
        self.max_open = max_open
        self._reset()

    def _reset(self) -> None:
        self._archives: OrderedDict[str, ZipArchive] = OrderedDict()
        self._homes: dict[str, _Home] = {}
        self._globbed: dict[str, tuple[str, ...]] = {}
        self._new_lock()

    def _new_lock(self) -> None:
        self._lock = threading.Lock()
        self._pid = os.getpid()

    def __getstate__(self) -> tuple[Path, tuple[Alternative, ...], int]:
        return self.root, self.alternatives, self.max_open

    def __setstate__(self, state: tuple[Path, tuple[Alternative, ...], int]) -> None:
        self.root, self.alternatives, self.max_open = state
        self._reset()

    def read_bytes(self, path: str) -> bytes:
        """The file's bytes.

        Raises FrameReadError: no such file anywhere; or it, or its archive, is damaged; the message names the file,
        for an archive both.
        """
        if path.startswith("/") or ".." in path.split("/"):
            raise FrameReadError(f"a file of {self.root} must lie below it (got {path!r})")
        folder, _, name = path.rpartition("/")
        known = self._homes.get(folder)
        if known is not None:
            data = self._read(*known.place_of(name))
            if data is not None:
                return data
        damage: FrameReadError | None = None
        for place, member in self._places(path):
            try:
                data = self._read(place, member)
            except FrameReadError as error:
                damage = damage or error
                continue
            if data is not None:
                self._remember(folder, name, place, member)
                return data
        if damage is not None:
            raise damage
        raise FrameReadError(f"there is no {path} in {self.root}{self._archive_hint(path)}")

    def _read(self, place: str, member: str | None) -> bytes | None:
        return self._read_plain(place) if member is None else self._read_member(place, member)

    def _remember(self, folder: str, name: str, place: str, member: str | None) -> None:
        ends = place if member is None else member
        if ends.endswith(name) and len(self._homes) < _MAX_HOMES:
            start = ends.removesuffix(name)
            self._homes[folder] = _Home(start, None) if member is None else _Home(place, start)

    def read_text(self, path: str) -> str:
        """The file as text, without a byte-order mark. Raises FrameReadError, also when it is not UTF-8."""
        try:
            return self.read_bytes(path).decode("utf-8-sig")
        except UnicodeDecodeError:
            raise FrameReadError(f"{path} in {self.root} is not a text file") from None

    @property
    def open_archives(self) -> tuple[str, ...]:
        """The archives that are open in this process, the one used last at the end."""
        return tuple(self._archives)

    def _places(self, path: str) -> Iterator[tuple[str, str | None]]:
        yield path, None
        for alternative in self.alternatives:
            match = re.fullmatch(alternative.pattern, path)
            if match is None:
                continue
            place = match.expand(alternative.path)
            if alternative.member is None:
                yield place, None
                continue
            member = match.expand(alternative.member)
            for archive in self.expand(place):
                yield archive, member

    def expand(self, archive: str) -> tuple[str, ...]:
        """The archives that a name with ``*`` stands for, relative to the root, in natural order; looked up once."""
        if "*" not in archive:
            return (archive,)
        if archive not in self._globbed:
            found = (p.relative_to(self.root).as_posix() for p in self.root.glob(archive) if p.is_file())
            self._globbed[archive] = tuple(sorted(found, key=natural_key))
        return self._globbed[archive]

    def _archive_hint(self, path: str) -> str:
        archives = sorted({place for place, member in self._places(path) if member is not None})
        return f" (nor in {', '.join(archives[:3])})" if archives else ""

    def _read_plain(self, path: str) -> bytes | None:
        try:
            with open(self.root / path, "rb") as file:
                return file.read()
        except (FileNotFoundError, NotADirectoryError):
            return None
        except OSError as error:
            raise FrameReadError(f"{self.root / path} cannot be read ({error.strerror})") from error

    def _read_member(self, archive: str, member: str) -> bytes | None:
        if self._pid != os.getpid():
            self._new_lock()  # the parent's may have been held by another of its threads when it forked
        # Held while reading too, so that no other thread closes the archive meanwhile.
        with self._lock:
            opened = self._archive(archive)
            return None if opened is None else opened.read(member)

    def _archive(self, name: str) -> ZipArchive | None:
        opened = self._archives.get(name)
        if opened is None:
            path = self.root / name
            if not path.is_file():
                return None
            opened = self._archives[name] = ZipArchive(path)
            while len(self._archives) > self.max_open:
                self._archives.popitem(last=False)[1].close()
        self._archives.move_to_end(name)
        return opened
