"""The folder of an experiment: one experiment's tables must not replace another one's."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from ebm_tracker.errors import EbmError
from ebm_tracker.evaluation.benchmark.lock import FileLock
from ebm_tracker.files import write_text_atomic

NAME = "experiment.json"


def claim(out: Path, experiment: str) -> None:
    """Makes the folder ``out`` and notes in it what it is for ("age", "age small"): once all that was asked for is
    known to be there, so that a mistyped command leaves nothing.

    Raises EbmError as ``check`` does.
    """
    check(out, experiment)
    if not (out / NAME).is_file():
        out.mkdir(parents=True, exist_ok=True)
        write_text_atomic(out / NAME, json.dumps({"experiment": experiment}) + "\n")


def check(out: Path, experiment: str) -> None:
    """Raises EbmError when ``out`` is no folder, or another experiment's."""
    if out.exists() and not out.is_dir():
        raise EbmError(f"--out must name a folder (got the file {out.absolute()})")
    path = out / NAME
    if path.is_file():
        try:
            kept = str(json.loads(path.read_text(encoding="utf-8"))["experiment"])
        except (ValueError, KeyError, TypeError) as error:
            raise EbmError(f"{path.absolute()} is damaged ({error}); remove it or choose another --out") from error
        if kept != experiment:
            raise EbmError(f"{out.absolute()} holds the experiment {kept}, not {experiment}: choose another --out")


@contextmanager
def at_work(out: Path, is_first: bool = True) -> Iterator[None]:
    """A block in which no other process may work in ``out``, which is made and, when nothing came of it, removed.

    ``is_first``: of several processes of one run only the first one keeps the others out. Raises EbmError when one is
    there already, or ``out`` is no folder.
    """
    if not is_first:
        yield
        return
    if out.exists() and not out.is_dir():
        raise EbmError(f"--out must name a folder (got the file {out.absolute()})")
    out.mkdir(parents=True, exist_ok=True)
    lock = FileLock(out / "lock")
    if not lock.acquire():
        raise EbmError(f"another process is at work in {out.absolute()}: wait for it, or choose another --out")
    try:
        yield
    finally:
        lock.release()
        if not any(out.iterdir()):
            out.rmdir()
