"""The official lists of sequences, which lie as CSV files in the folder ``tables``."""

from __future__ import annotations

import csv
from dataclasses import dataclass
from functools import cache
from importlib import resources


@dataclass(frozen=True)
class TableRow:
    """One sequence of a benchmark.

    Attributes:
        name: as in pytracking's result files: "uav_bird1_2".
        folder: of its images, which may be those of several sequences: "bird1".
        first, last: numbers of its first and last image.
        truth: file name of its boxes.
        digits: of the images' names.
        omitted: how many of the first frames are not used.
    """

    name: str
    folder: str
    first: int
    last: int
    truth: str
    digits: int
    omitted: int = 0

    @property
    def range_count(self) -> int:
        """Frames from first to last, those included that are not used."""
        return self.last - self.first + 1

    @property
    def count(self) -> int:
        """Frames that are used."""
        return self.range_count - self.omitted


_DIGITS = {"otb": 4, "nfs": 5, "uav": 6}


@cache
def table_of(name: str) -> tuple[TableRow, ...]:
    """The sequences of "otb", "nfs" or "uav" in the official order."""
    text = resources.files("ebm_tracker.evaluation.datasets").joinpath(f"tables/{name}.csv").read_text("utf-8")
    return tuple(
        TableRow(
            name=row["name"],
            folder=row["folder"],
            first=int(row["first"]),
            last=int(row["last"]),
            truth=row.get("truth") or f"{row['name']}.txt",
            digits=int(row.get("digits") or _DIGITS[name]),
            omitted=int(row.get("omit") or 0),
        )
        for row in csv.DictReader(text.splitlines())
    )
