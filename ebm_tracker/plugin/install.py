"""Writing the plugin's files into a checkout of pytracking, and taking exactly them away."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from ebm_tracker.errors import one_line
from ebm_tracker.files import write_text_atomic
from ebm_tracker.plugin.stubs import (
    FOLDERS,
    PluginError,
    Stub,
    check_checkout,
    installed_stubs,
    is_ours,
    stub_version,
    stubs,
)
from ebm_tracker.version import __version__


@dataclass(frozen=True)
class Change:
    """One file: ``verb`` ("wrote", "updated", "kept", "removed", "left alone"), its path in the checkout, and a word on
    why, which may be empty."""

    verb: str
    path: Path
    why: str = ""

    def __str__(self) -> str:
        return f"{self.verb} {self.path}" + (f" ({self.why})" if self.why else "")


def install(directory: Path, training: bool = False) -> list[Change]:
    """Writes the plugin's files; a second call changes nothing, files of another version are updated.

    Raises PluginError, before anything is written, for a directory that is no checkout and where a file or folder
    named ``ebm`` is not this plugin's; and for a checkout that cannot be written to, which is left as it was.
    """
    checkout = check_checkout(directory, training)
    # Training files that are there stay up to date without --ltr.
    present = dict(installed_stubs(checkout))
    wanted = stubs(training or any(path.parts[0] == "ltr" for path in present))
    _refuse_foreign(checkout, (stub.path for stub in wanted))
    changes: list[Change] = []
    before: dict[Path, str | None] = {}
    try:
        for stub in wanted:
            changes.append(_write(checkout, stub, present.get(stub.path), before))
        for path in present.keys() - {stub.path for stub in wanted}:
            before[checkout / path] = (checkout / path).read_text(encoding="utf-8")
            _delete(checkout / path)
            changes.append(Change("removed", path, f"of version {present[path]}, not in {__version__}"))
    except OSError as error:
        _undo(before)
        raise PluginError(f"the checkout cannot be written to: {one_line(error)}") from error
    return changes


def _write(checkout: Path, stub: Stub, version: str | None, before: dict[Path, str | None]) -> Change:
    path = checkout / stub.path
    old = path.read_text(encoding="utf-8") if version is not None else None
    if old == stub.text:
        return Change("kept", stub.path)
    if not path.parent.is_dir():
        path.parent.mkdir()
    before[path] = old
    write_text_atomic(path, stub.text)
    if version is None:
        return Change("wrote", stub.path)
    return Change("updated", stub.path, f"was of version {version}" if version != __version__ else "had been changed")


def remove(directory: Path) -> list[Change]:
    """Takes the plugin's files away, of any version, with their compiled ones and the folders that are then empty.

    Raises PluginError, before anything is removed, where a file named as one of the plugin's is not its own, and for a
    checkout that cannot be written to.
    """
    checkout = check_checkout(directory)
    present = dict(installed_stubs(checkout))
    _refuse_foreign(checkout, (stub.path for stub in stubs(training=True)))
    changes: list[Change] = []
    before: dict[Path, str | None] = {}
    try:
        for path in present:
            before[checkout / path] = (checkout / path).read_text(encoding="utf-8")
            _delete(checkout / path)
            changes.append(Change("removed", path))
        for folder in FOLDERS:
            changes += _close(checkout, folder)
    except OSError as error:
        _undo(before)
        raise PluginError(f"the checkout cannot be written to: {one_line(error)}") from error
    return changes


def _refuse_foreign(checkout: Path, paths: Iterable[Path]) -> None:
    """Raises PluginError where something not of this plugin has one of its names."""
    for path in paths:
        folder, file = checkout / path.parent, checkout / path
        if folder.is_symlink() or (folder.exists() and not folder.is_dir()):
            raise PluginError(f"{folder} is not this plugin's and is left alone; move it away first")
        if (file.exists() or file.is_symlink()) and stub_version(file) is None:
            raise PluginError(f"{file} is not this plugin's and is left alone; move it away first")
        if not is_ours(folder):
            raise PluginError(f"{folder} is not this plugin's and is left alone; move it away first")


def _delete(path: Path) -> None:
    """The file and what Python compiled of it."""
    path.unlink()
    for compiled in (path.parent / "__pycache__").glob(f"{path.stem}.*.pyc"):
        compiled.unlink()


def _close(checkout: Path, folder: Path) -> list[Change]:
    """Removes the folder if nothing is left in it but an empty __pycache__; else says what is left."""
    whole, cache = checkout / folder, checkout / folder / "__pycache__"
    if not whole.is_dir():
        return []
    if cache.is_dir() and not any(cache.iterdir()):
        cache.rmdir()
    left = sorted(path for path in whole.iterdir() if path != cache)
    if left or cache.is_dir():
        return [Change("left alone", path.relative_to(checkout), "not this plugin's") for path in left or [cache]]
    whole.rmdir()
    return [Change("removed", folder)]


def _undo(before: dict[Path, str | None]) -> None:
    """Puts the files back as they were, as far as the disk still lets us."""
    for path, text in reversed(before.items()):
        try:
            if text is not None:
                write_text_atomic(path, text)
            elif path.exists():
                _delete(path)
            if not any(path.parent.iterdir()):
                path.parent.rmdir()
        except OSError:
            continue  # the first error is the one that is told
