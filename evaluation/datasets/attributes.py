"""Which difficulties a sequence shows, where a benchmark's download says so.

The orders of the columns are those of the benchmarks' own documents:

- UAV123: the table header of its DatasetAnnotation.pdf. It is not alphabetical; "full occlusion" in it agrees with
  the sequences that have rows of NaN.
- LaSOT: ``run_tracker_performance_evaluation.m`` of its evaluation toolkit, whose folder ``annos/att`` holds the
  files; the data themselves come without.
- OTB: ``perfPlot.m`` of its benchmark code, whose folder ``anno/att`` holds the files. Its newer Python code writes
  ``attrs.txt`` with the short names themselves into each sequence's folder.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

from ebm_tracker.annotations import split_numbers
from ebm_tracker.evaluation.datasets.reading import Reading

UAV_ORDER = ("SV", "ARC", "LR", "FM", "FOC", "POC", "OV", "BC", "IV", "VC", "CM", "SOB")
LASOT_ORDER = ("IV", "POC", "DEF", "MB", "CM", "ROT", "BC", "VC", "SV", "FOC", "FM", "OV", "LR", "ARC")
OTB_ORDER = ("IV", "OPR", "SV", "OCC", "DEF", "MB", "FM", "IPR", "OV", "BC", "LR")


def read_flags(reading: Reading, name: str, path: Path, order: Sequence[str]) -> tuple[str, ...]:
    """The short names whose flag in the file is not 0; empty when there is no such file, or, with a sentence, when
    it holds something else than one flag per name."""
    if path.name not in reading.names(path.parent):
        return ()
    try:
        flags = split_numbers(path.read_text(encoding="utf-8-sig"))
    except (OSError, ValueError):
        flags = []
    if len(flags) != len(order):
        reading.note(f"{name}: {path} must hold {len(order)} flags; it is used without its attributes")
        return ()
    return tuple(attribute for attribute, flag in zip(order, flags, strict=True) if flag)


def read_names(reading: Reading, name: str, path: Path, known: Sequence[str]) -> tuple[str, ...]:
    """The known short names in the file, which holds a line such as "IV, SV"; empty when there is no such file, or,
    with a sentence, when it holds something else."""
    if path.name not in reading.names(path.parent):
        return ()
    try:
        found = re.split(r"[,;\s]+", path.read_text(encoding="utf-8-sig").strip(" \t\r\n,;").upper())
    except (OSError, ValueError):
        found = ["?"]
    if not set(found) <= {*known, ""}:
        reading.note(f"{name}: {path} must hold names of {', '.join(known)}; it is used without them")
        return ()
    return tuple(attribute for attribute in known if attribute in found)
