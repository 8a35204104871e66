"""Keeps the index of a data set in the user's cache: built once, mapped by every later start and every worker."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import tempfile
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ebm_tracker.training.data.cache import default_cache_dir
from ebm_tracker.training.data.index import ARRAYS, IndexBuilder, SequenceIndex, map_arrays

FORMAT_VERSION = 1
"""To be raised with any change of what readers put into an index."""

# What reading an index raises that is missing, cut off, or of another format.
_DAMAGE = (OSError, ValueError, EOFError, KeyError, TypeError)


@dataclass(frozen=True)
class IndexKey:
    """What an index is of. Two keys that differ never share an index.

    Attributes:
        kind: the reader's name.
        root: the data set's folder.
        options: what the reader was asked for, JSON values.
        stamp: digest of the state of the annotation files (``stamp_files``); a new one makes a new index.
    """

    kind: str
    root: Path
    options: Mapping[str, Any]
    stamp: str

    @property
    def folder(self) -> str:
        """Name of the folder of this key's indexes, whatever the stamp."""
        text = json.dumps([str(self.root.absolute()), dict(self.options)], sort_keys=True)
        return f"{self.kind}-{_digest([text])[:16]}"

    @property
    def version(self) -> str:
        return _digest([str(FORMAT_VERSION), self.stamp])[:16]


def _digest(lines: Iterable[str]) -> str:
    digest = hashlib.blake2b(digest_size=16)
    for line in lines:
        digest.update(line.encode("utf-8", "surrogateescape") + b"\n")
    return digest.hexdigest()


def stamp_files(folders: Iterable[str | Path], ending: str = "") -> Iterator[str]:
    """A line "path size mtime" for each file of the folders, not of those below, whose name has that ending.

    By name within a folder. A missing folder gives a line too.
    """
    for folder in folders:
        try:
            with os.scandir(folder) as entries:
                stats = [(e.name, e.stat()) for e in entries if e.name.endswith(ending)]
        except OSError as error:
            yield f"{folder} {error.errno}"
            continue
        for name, stat in sorted(stats, key=lambda item: item[0]):
            yield f"{folder}/{name} {stat.st_size} {stat.st_mtime_ns}"


def stamp_paths(paths: Iterable[str | Path]) -> Iterator[str]:
    """A line "path size mtime" for each path, also for one that is missing."""
    for path in paths:
        try:
            stat = os.stat(path)
        except OSError as error:
            yield f"{path} {error.errno}"
        else:
            yield f"{path} {stat.st_size} {stat.st_mtime_ns}"


def stamp_of(lines: Iterable[str]) -> str:
    """The digest of such lines."""
    return _digest(lines)


def open_index(
    key: IndexKey,
    build: Callable[[IndexBuilder], None],
    cache_dir: str | Path | None = None,
    show_progress: bool = True,
) -> SequenceIndex:
    """The key's index from the cache; built by ``build`` and put there when it is missing, old or damaged.

    Processes that start at the same time may each build it; none ever sees half of one. Where the cache cannot be
    written, the index stays in memory, with a warning.

    Args:
        cache_dir: None: ``default_cache_dir()``. Indexes of other stamps of the same key are removed from it.
    """
    home = (default_cache_dir() if cache_dir is None else Path(cache_dir)) / "index" / key.folder
    try:
        return load_index(home / key.version)
    except _DAMAGE:
        pass  # not there, not whole, or of another format: build it
    builder = IndexBuilder(key.kind, show_progress)
    build(builder)
    index = builder.finish()
    try:
        return _save(index, key, home)
    except _DAMAGE as error:
        warnings.warn(
            f"the index of {key.root} cannot be kept in {home} ({error}), so every start will build it",
            stacklevel=2,
        )
        return index


def load_index(folder: Path) -> SequenceIndex:
    """Raises OSError, ValueError, EOFError or KeyError when it is not there or not whole."""
    header = json.loads((folder / "header.json").read_text(encoding="utf-8"))
    if header["format"] != FORMAT_VERSION:
        raise ValueError(f"format {header['format']} is not {FORMAT_VERSION}")
    arrays = map_arrays(folder)
    return SequenceIndex(**arrays, left_out=header["left_out"], notes=tuple(header["notes"]), folder=folder)


def _put(part: Path, final: Path) -> None:
    """Gives ``part`` the name ``final``, unless a faster process has put a whole index there."""
    if final.exists():
        try:
            load_index(final)
            return
        except _DAMAGE:
            os.rename(final, part.with_name(f"{part.name}-damaged"))
            shutil.rmtree(part.with_name(f"{part.name}-damaged"), ignore_errors=True)
    try:
        os.rename(part, final)
    except OSError:
        load_index(final)  # put there just now; ours is dropped


def _save(index: SequenceIndex, key: IndexKey, home: Path) -> SequenceIndex:
    home.mkdir(parents=True, exist_ok=True)
    part = Path(tempfile.mkdtemp(prefix=".part-", dir=home))
    try:
        for name in ARRAYS:
            np.save(part / f"{name}.npy", getattr(index, name), allow_pickle=False)
        header = {
            "format": FORMAT_VERSION,
            "kind": key.kind,
            "root": str(key.root.absolute()),
            "options": dict(key.options),
            "left_out": index.left_out,
            "notes": index.notes,
        }
        (part / "header.json").write_text(json.dumps(header, indent=1), encoding="utf-8")
        final = home / key.version
        _put(part, final)
    finally:
        shutil.rmtree(part, ignore_errors=True)
    for old in home.iterdir():
        if old.name != key.version and not old.name.startswith(".part-"):
            shutil.rmtree(old, ignore_errors=True)
    return load_index(final)
