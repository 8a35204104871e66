"""The folder of an experiment: one experiment's tables must not replace another one's."""

from __future__ import annotations

import json
from pathlib import Path

from ebm_tracker.errors import EbmError
from ebm_tracker.files import write_text_atomic

NAME = "experiment.json"


def claim(out: Path, experiment: str) -> None:
    """Makes the folder ``out`` and notes in it what it is for ("age", "age small"): once all that was asked for is
    known to be there, so that a mistyped command leaves nothing.

    Raises EbmError as ``check`` does.
    """
    check(out, experiment)
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
