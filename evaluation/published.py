"""Figures that others have published, to print beside ours. The table is ``published.csv``."""

from __future__ import annotations

import csv
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.resources import files

_WORDS = ("source", "dataset", "metrics", "tracker", "note")


@dataclass(frozen=True)
class PublishedRow:
    """Figures of one tracker on one data set.

    Attributes:
        source: where they are printed.
        dataset: our name of the data set: "uav".
        metrics: name of the flavour they follow; "vot" for that toolkit's, which is none of ours.
        tracker: as it is called there.
        figures: percent, by the flavour's names; "EAO" of VOT in 0..1, as it is always printed.
        note: what to know about them; may be empty.
    """

    source: str
    dataset: str
    metrics: str
    tracker: str
    figures: Mapping[str, float]
    note: str = ""


def published_rows(dataset: str) -> tuple[PublishedRow, ...]:
    """Those of the data set, in the order of the table; none for a data set that is not in it."""
    text = files("ebm_tracker.evaluation").joinpath("published.csv").read_text(encoding="utf-8")
    rows = csv.DictReader(text.splitlines())
    return tuple(_row(fields) for fields in rows if fields["dataset"] == dataset)


def _row(fields: dict[str, str]) -> PublishedRow:
    figures = {name: float(value) for name, value in fields.items() if name not in _WORDS and value}
    return PublishedRow(**{name: fields[name] for name in _WORDS}, figures=figures)
