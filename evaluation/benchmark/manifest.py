"""``ebm_run.json`` in a run's folder: where its results come from."""

from __future__ import annotations

import contextlib
import importlib.metadata
import json
import os
import platform
import re
import sys
import time
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from ebm_tracker.errors import EbmError
from ebm_tracker.evaluation.benchmark.lock import FileLock
from ebm_tracker.files import write_text_atomic
from ebm_tracker.version import __version__

MANIFEST_NAME = "ebm_run.json"
_FORMAT = 1
_WAIT_S = 10.0
_PACKAGES = ("torch", "torchvision", "numpy", "av", "pillow", "opencv-contrib-python-headless", "opencv-python")


class ManifestError(EbmError):
    """The folder belongs to another tracker or other settings, or its ``ebm_run.json`` is damaged."""


@dataclass(frozen=True)
class Session:
    """How one start of the command worked. Threads and versions may differ between the sessions of a folder.

    ``device``: "cpu", or what the workers had; ``workers_per_device``: how many shared a device, or the CPU; ``alone``:
    False when another process was seen to work in the same folder.
    """

    host: str
    processor: str
    device: str
    threads: int | None
    workers: int
    workers_per_device: int
    versions: Mapping[str, str]
    alone: bool = True


@dataclass(frozen=True)
class Manifest:
    """What all results of a folder share, and the sessions that made them."""

    tracker: str
    parameter: str
    seed: int
    box_format: str
    facts: Mapping[str, str]
    sessions: tuple[Session, ...] = ()

    @property
    def times_valid(self) -> bool:
        """Whether the times tell the tracker's speed: one worker on a device, all along."""
        return all(s.workers_per_device == 1 and s.alone for s in self.sessions)


def read_manifest(folder: Path) -> Manifest | None:
    """The manifest of a folder; None when there is none. Raises ManifestError when it cannot be read."""
    path = folder / MANIFEST_NAME
    try:
        tree = json.loads(path.read_text(encoding="utf-8"))
        sessions = tuple(_session(entry) for entry in tree["sessions"])
        return Manifest(
            tracker=str(tree["tracker"]),
            parameter=str(tree["parameter"]),
            seed=int(tree["seed"]),
            box_format=str(tree["box_format"]),
            facts={str(key): str(value) for key, value in tree["facts"].items()},
            sessions=sessions,
        )
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        raise ManifestError(f"{path} cannot be read ({error.strerror})") from error
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise ManifestError(
            f"{path} is damaged, so that nobody knows what the results beside it are: move the folder away"
        ) from error


def _session(entry: Mapping[str, Any]) -> Session:
    threads = entry["threads"]
    return Session(
        host=str(entry["host"]),
        processor=str(entry["processor"]),
        device=str(entry["device"]),
        threads=None if threads is None else int(threads),
        workers=int(entry["workers"]),
        workers_per_device=int(entry["workers_per_device"]),
        versions={str(key): str(value) for key, value in entry["versions"].items()},
        alone=bool(entry["alone"]),
    )


def check_folder(folder: Path, manifest: Manifest, has_results: bool) -> None:
    """Raises ManifestError when results that come from something else are there. ``has_results``: whether any are."""
    old = read_manifest(folder)
    if old is not None:
        refuse_differences(folder, old, manifest)
    elif has_results:
        raise ManifestError(
            f"{folder} holds results of another program, without {MANIFEST_NAME}: give another --out, or move that "
            "folder away"
        )


def join_folder(folder: Path, manifest: Manifest, session: Session) -> list[str]:
    """Writes the manifest, or adds the session to the one that is there. Returns a sentence for each thing that may
    differ and does.

    Raises ManifestError when the folder's results come from something else, OSError when it cannot be written.
    """
    with _locked(folder):
        old = read_manifest(folder) or manifest
        refuse_differences(folder, old, manifest)
        warnings = _warnings(folder, old, manifest, session)
        _write(folder, replace(old, sessions=_with(old.sessions, session)))
    return warnings


def mark_shared(folder: Path, session: Session) -> None:
    """Notes that another process worked in the folder at the same time, so that the times are not the tracker's."""
    with _locked(folder):
        manifest = read_manifest(folder)
        if manifest is not None:
            _write(folder, replace(manifest, sessions=_with(manifest.sessions, replace(session, alone=False))))


def refuse_differences(folder: Path, old: Manifest, new: Manifest) -> None:
    """Raises ManifestError, naming what differs, unless the results of both may lie in one folder."""
    before, now = _identity(old), _identity(new)
    keys = [key for key in {**before, **now} if before.get(key) != now.get(key)]
    if keys:
        was = ", ".join(f"{key} {before.get(key, 'unknown')}" for key in keys)
        has = ", ".join(f"{key} {now.get(key, 'unknown')}" for key in keys)
        raise ManifestError(
            f"{folder} holds results of {was}, but this run has {has}: give another --out, or move that folder away"
        )


def _identity(manifest: Manifest) -> dict[str, str]:
    facts = {key: value for key, value in manifest.facts.items() if not key.endswith("version")}
    return {
        "tracker": manifest.tracker,
        "preset": manifest.parameter,
        "seed": str(manifest.seed),
        "format": manifest.box_format,
        **facts,
    }


def _warnings(folder: Path, old: Manifest, new: Manifest, session: Session) -> list[str]:
    found = []
    if old.sessions and session.threads not in {s.threads for s in old.sessions}:
        threads = ", ".join(sorted({str(s.threads) for s in old.sessions}))
        found.append(f"{folder} was begun with {threads} CPU threads, now {session.threads}: rounding may differ")
    if old.sessions and session.device not in {s.device for s in old.sessions}:
        devices = ", ".join(sorted({s.device for s in old.sessions}))
        found.append(f"{folder} was begun on {devices}, now {session.device}: rounding may differ")
    versions = {**(old.sessions[-1].versions if old.sessions else {}), **_version_facts(old)}
    now = {**session.versions, **_version_facts(new)}
    changed = [f"{key} {versions[key]} -> {now.get(key, 'none')}" for key in versions if versions[key] != now.get(key)]
    if changed:
        found.append(f"{folder} was begun with other versions: {', '.join(changed)}")
    return found


def _version_facts(manifest: Manifest) -> dict[str, str]:
    return {key: value for key, value in manifest.facts.items() if key.endswith("version")}


def _with(sessions: tuple[Session, ...], session: Session) -> tuple[Session, ...]:
    return sessions if session in sessions else (*sessions, session)


def _write(folder: Path, manifest: Manifest) -> None:
    tree = {"format": _FORMAT, **asdict(manifest), "times_valid": manifest.times_valid}
    write_text_atomic(folder / MANIFEST_NAME, json.dumps(tree, indent=1) + "\n")


@contextlib.contextmanager
def _locked(folder: Path) -> Iterator[None]:
    lock = FileLock(folder / f".{MANIFEST_NAME}.lock")
    end = time.monotonic() + _WAIT_S
    while not lock.acquire():
        if time.monotonic() > end:
            raise ManifestError(f"{folder / MANIFEST_NAME} has been locked by another process for {_WAIT_S:.0f} s")
        time.sleep(0.02)
    try:
        yield
    finally:
        lock.release()


def describe_session(device: str, threads: int | None, workers: int, workers_per_device: int) -> Session:
    """A session on this machine."""
    return Session(platform.node(), _processor(), device, threads, workers, workers_per_device, installed_versions())


def installed_versions() -> dict[str, str]:
    """Versions of Python, this package and what may change its numbers, without importing them."""
    versions = {"python": platform.python_version(), "ebm-tracker": __version__}
    for name in _PACKAGES:
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):
            versions[name] = importlib.metadata.version(name)
    return versions


def _processor() -> str:
    """The CPU's name, as well as the system tells it."""
    if sys.platform == "linux":
        with contextlib.suppress(OSError):
            match = re.search(r"^model name\s*:\s*(.+)$", Path("/proc/cpuinfo").read_text(errors="replace"), re.M)
            if match:
                return f"{match[1].strip()} x{os.cpu_count()}"
    return platform.processor() or platform.machine()
