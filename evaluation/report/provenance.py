"""Where results come from: what the manifest beside them says."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from pathlib import Path

from ebm_tracker.evaluation.benchmark.manifest import Manifest, ManifestError, read_manifest


class Timing(Enum):
    """How the times beside results were taken."""

    ALONE = "one worker"
    SHARED = "several workers side by side: slower than alone"
    UNKNOWN = "not known how many workers"


@dataclass(frozen=True)
class RunFacts:
    """Of one folder of results.

    Attributes:
        folder: the folder.
        timing: how its times were taken.
        devices: names of what they were taken on; empty where nobody wrote it down.
        facts: what the manifest says, name and text, in its order; empty without one.
        problem: one sentence on a manifest that cannot be read; else None.
    """

    folder: Path
    timing: Timing = Timing.UNKNOWN
    devices: tuple[str, ...] = ()
    facts: tuple[tuple[str, str], ...] = ()
    problem: str | None = None


def read_run_facts(folder: Path) -> RunFacts:
    """What the manifest in the folder says; a damaged one is a problem but none for the scores."""
    try:
        manifest = read_manifest(folder)
    except ManifestError as error:
        return RunFacts(folder, problem=str(error))
    if manifest is None or not manifest.sessions:
        return RunFacts(folder)
    # The name of the CPU says more than "cpu".
    devices = dict.fromkeys(s.processor if s.device == "cpu" else s.device for s in manifest.sessions)
    timing = Timing.ALONE if manifest.times_valid else Timing.SHARED
    return RunFacts(folder, timing, tuple(devices), tuple(_facts(manifest)))


def _facts(manifest: Manifest) -> list[tuple[str, str]]:
    found = [
        ("tracker", f"{manifest.tracker} {manifest.parameter}"),
        ("seed", str(manifest.seed)),
        ("boxes written as", manifest.box_format),
        *manifest.facts.items(),
    ]
    for number, session in enumerate(manifest.sessions, start=1):
        name = f"session {number}" if len(manifest.sessions) > 1 else "session"
        threads = "threads as the libraries choose" if session.threads is None else f"{session.threads} threads"
        alone = "" if session.alone else ", another process in the same folder"
        workers = f"{session.workers} worker{'s' if session.workers != 1 else ''}"
        found.append((name, f"{session.device} ({session.processor}), {workers}, {threads}{alone}, on {session.host}"))
        found.append((f"{name}, versions", ", ".join(f"{key} {value}" for key, value in session.versions.items())))
    return found
