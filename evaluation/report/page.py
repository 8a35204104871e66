"""The HTML page: everything in one file, but for the player's boxes and frames, which are loaded on demand."""

from __future__ import annotations

import base64
import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.resources import files
from importlib.util import find_spec
from typing import Any

import numpy as np

from ebm_tracker.errors import EbmError
from ebm_tracker.evaluation.report.content import Report, Section
from ebm_tracker.evaluation.report.formats import left_aligned
from ebm_tracker.evaluation.report.plots import Picture
from ebm_tracker.evaluation.report.scoreboard import (
    attribute_table,
    common_table,
    rule_notes,
    score_table,
    sequence_table,
    speed_table,
    worst_table,
)
from ebm_tracker.evaluation.report.tables import Cell, Column, Figure, Table, cell_text
from ebm_tracker.version import __version__

MISSING = "the HTML page needs jinja2: pip install 'ebm-tracker[eval]'"


class PageError(EbmError):
    """jinja2 is not there."""


def page_available() -> bool:
    """Whether jinja2 is installed."""
    return find_spec("jinja2") is not None


@dataclass(frozen=True)
class PagePlot:
    """A plot on the page. ``stem``: of the files beside it; ``caption``: what it shows, a few words."""

    stem: str
    caption: str
    picture: Picture


@dataclass(frozen=True)
class Playable:
    """A sequence that the player can show. ``number``: what addresses call it; ``script``: URL of its boxes."""

    number: int
    name: str
    script: str


def page_html(
    report: Report,
    plots: Mapping[str, Sequence[PagePlot]],
    playable: Sequence[Playable],
    made: str,
    plots_note: str = "",
) -> str:
    """The page.

    Args:
        report: what was scored.
        plots: by the name of the flavour; empty without matplotlib.
        playable: the sequences of the player.
        made: a sentence on when and how the page was made.
        plots_note: stands in place of the plots where there are none.

    Raises PageError without jinja2.
    """
    if not page_available():
        raise PageError(MISSING)
    import jinja2

    speed = speed_table(report)
    environment = jinja2.Environment(autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True)
    numbers = {entry.name: entry.number for entry in playable}
    colors = {name: style.color for name, style in report.styles.items()}
    shown = _Shown(numbers, colors)
    values: dict[str, Any] = {
        "title": f"{report.benchmark.title}: {_count(len(report.names), 'tracker')}",
        "version": __version__,
        "summary": _summary(report),
        "style": _asset("page.css"),
        "script": f"{_asset('tables.js')}\n{_asset('player.js')}",
        "sections": [_section_values(report, section, plots, shown) for section in report.sections],
        "has_plots": any(plots.values()),
        "plots_left_out": plots_note,
        "has_attributes": attribute_table(report, report.sections[0]) is not None,
        "speed": speed and shown.table(speed),
        "problems": report.problems,
        "sources": [
            {"name": results.name, "folder": str(facts.folder.absolute()), "facts": facts.facts}
            for results, runs in zip(report.results, report.facts, strict=True)
            for facts in runs
        ],
        "several_runs": any(len(results.folders) > 1 for results in report.results),
        "player": _player_values(report, playable),
        "made": made,
    }
    return environment.from_string(_asset("page.html", "templates")).render(values)


def _asset(name: str, folder: str = "assets") -> str:
    return files("ebm_tracker.evaluation.report").joinpath(folder, name).read_text(encoding="utf-8")


def _count(count: int, noun: str) -> str:
    return f"{count} {noun}{'' if count == 1 else 's'}"


def _summary(report: Report) -> str:
    benchmark = report.benchmark
    total = max(benchmark.official_count or 0, len(benchmark.sequences))
    here = len(benchmark.sequences)
    sequences = _count(here, "sequence") if here == total else f"{here} of {total} sequences"
    metrics = " and ".join(section.flavour.title for section in report.sections)
    return f"{', '.join(report.names)} on {sequences} of {benchmark.title}. Metrics: {metrics}."


def _section_values(
    report: Report, section: Section, plots: Mapping[str, Sequence[PagePlot]], shown: _Shown
) -> dict[str, Any]:
    common, attributes = common_table(report, section), attribute_table(report, section)
    return {
        "title": section.flavour.title,
        "rules": " ".join(rule_notes(report, section)),
        "scores": shown.table(score_table(report, section)),
        "common": common and shown.table(common),
        "plots": [_plot_values(plot, section) for plot in plots.get(section.flavour.name, ())],
        "worst": [shown.table(worst_table(report, section, scores)) for scores in section.trackers],
        "sequences": shown.table(sequence_table(report, section)),
        "attributes": attributes and shown.table(attributes),
    }


def _plot_values(plot: PagePlot, section: Section) -> dict[str, Any]:
    width, height = struct.unpack(">II", plot.picture.png[16:24])  # of the PNG's header
    figures = ", ".join(f"{s.name} {s.figures[section.main_figure]:.1f}" for s in section.trackers)
    return {
        "data": f"data:image/png;base64,{base64.b64encode(plot.picture.png).decode('ascii')}",
        "alt": f"{plot.caption} ({section.main_figure}: {figures})",
        "caption": plot.caption,
        "width": width,
        "height": height,
        "png": f"{plot.stem}.png",
        "pdf": f"{plot.stem}.pdf",
    }


@dataclass(frozen=True)
class _Shown:
    """How names appear in tables: sequences lead to the player, trackers have their colour beside them."""

    numbers: Mapping[str, int]
    colors: Mapping[str, str]

    def table(self, table: Table) -> dict[str, Any]:
        """The table as the template wants it."""
        of_trackers = table.columns[0].heading == "Tracker"
        of_sequences = table.columns[0].heading == "Sequence"
        rows = []
        for row in table.rows:
            cells = [self._cell(cell, column) for cell, column in zip(row.cells, table.columns, strict=True)]
            if of_sequences:
                cells[0]["play"] = self.numbers.get(cells[0]["text"])
            if of_trackers and not row.published:
                cells[0]["style"] = self.colors.get(cells[0]["text"])
            rows.append({"cells": cells, "published": row.published, "partial": row.partial})
        return {
            "title": table.title,
            "columns": [column.heading for column in table.columns],
            "left": left_aligned(table),
            "rows": rows,
            "notes": table.notes,
        }

    @staticmethod
    def _cell(cell: Cell, column: Column) -> dict[str, Any]:
        key = "" if cell is None else cell
        if isinstance(cell, Figure):
            key = f"{cell.value:.6g}" if np.isfinite(cell.value) else ""
        best = isinstance(cell, Figure) and cell.best
        return {"text": cell_text(cell, column), "key": key, "best": best, "play": None, "style": None}


def _player_values(report: Report, playable: Sequence[Playable]) -> dict[str, Any] | None:
    if not playable:
        return None
    section = report.sections[0]
    styles = report.styles
    entries = []
    for entry in playable:
        judged = [scores.sequences.get(entry.name) for scores in section.trackers]
        figures = [None if one is None else round(one.figures[section.main_figure], 4) for one in judged]
        entries.append({"id": entry.number, "name": entry.name, "script": entry.script, "scores": figures})
    return {
        "figure": section.main_figure,
        "trackers": [{"name": n, "color": styles[n].color, "dash": styles[n].dash} for n in report.names],
        "sequences": entries,
    }
