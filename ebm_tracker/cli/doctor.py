"""Print one page about this installation, to paste into a bug report; exits with 1 when something is broken.

Versions, devices, codecs and decoders, networks with their hashes, data paths, and a short self-test. Nothing is
downloaded or changed. The page holds paths of yours: --hide-paths leaves them out.
"""

from __future__ import annotations

import argparse
import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from enum import Enum
from pathlib import Path


class Level(Enum):
    """How a finding is marked on the page."""

    FACT = " "
    GOOD = "ok"
    WARNING = "warn"
    BROKEN = "FAIL"


@dataclass(frozen=True)
class Finding:
    """One line of the page."""

    level: Level
    text: str


Check = Callable[[], Iterable[Finding]]
_ABSOLUTE = re.compile(r"(?<![\w.:/~>])(?:[A-Za-z]:\\|\\\\|~?/)[^\s'\",;)]+")
HIDDEN = "(hidden)"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The flags."""
    parser.add_argument("--hide-paths", action="store_true", help="leave folders and file names of yours out")
    parser.add_argument(
        "--self-test",
        action=argparse.BooleanOptionalAction,
        default=True,
        help="track six drawn frames with the default network, a second (default: on)",
    )
    parser.add_argument("--device", default="auto", help="of the self-test: auto, cpu, cuda, mps (default: auto)")
    parser.add_argument("--debug", type=int, default=0, metavar="LEVEL", help="1: tracebacks of errors")


def run(args: argparse.Namespace) -> int:
    """Prints the page; 1 when a line of it says FAIL, else 0."""
    from ebm_tracker.cli import doctor_files, doctor_machine
    from ebm_tracker.version import __version__

    sections: dict[str, Check] = {
        "System": doctor_machine.system,
        "Packages": doctor_machine.packages,
        "Devices": doctor_machine.devices,
        "Video and images": doctor_machine.codecs,
        "Networks": doctor_files.networks,
        "Data paths": doctor_files.data_paths,
        "Environment": doctor_machine.environment,
    }
    if args.self_test:
        sections["Self-test"] = lambda: doctor_files.self_test(args.device)
    counts = dict.fromkeys(Level, 0)
    known = doctor_files.personal_paths() if args.hide_paths else ()
    print(f"ebm-tracker {__version__}: ebm doctor")
    for title, check in sections.items():
        print(f"\n{title}")
        for finding in _guarded(check):
            counts[finding.level] += 1
            text = hide(finding.text, known) if args.hide_paths else finding.text
            print(f"  {finding.level.value:4}  {text}", flush=True)
    print(f"\n{counts[Level.BROKEN]} broken, {counts[Level.WARNING]} warnings")
    return 1 if counts[Level.BROKEN] else 0


def _guarded(check: Check) -> Iterable[Finding]:
    """The findings; a check that fails is one, and does not take the rest of the page with it."""
    try:
        yield from check()
    except Exception as error:  # a broken installation may raise anything, and the page is for those
        yield Finding(Level.BROKEN, f"{type(error).__name__}: {' '.join(str(error).split())[:300]}")


def hide(text: str, known: Sequence[Path]) -> str:
    """The text without the known paths and without anything else that looks like an absolute path."""
    for path in sorted({str(path) for path in known}, key=len, reverse=True):
        if len(path) > 1:
            text = re.sub(re.escape(path) + r"(?:[\\/][^\s'\",;)]*)?", HIDDEN, text)
    return _ABSOLUTE.sub(HIDDEN, text)
