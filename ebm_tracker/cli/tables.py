"""A report's table on the console."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, Literal

from rich import box
from rich.console import Console
from rich.measure import Measurement
from rich.table import Table as RichTable
from rich.text import Text

from ebm_tracker.evaluation.report.formats import left_aligned
from ebm_tracker.evaluation.report.tables import Figure, Table, cell_text

_SLACK = 2  # rich measures tables without edges so much too narrow


def print_table(console: Console, table: Table) -> None:
    """Prints the table with its notes below; best figures bold, published rows dim."""
    console.print(Text(table.title, style="bold"))
    shown = _rich_table(table)
    wide = Measurement.get(console, console.options.update(max_width=1000), shown).maximum + _SLACK
    width = console.width
    if wide > width and console.is_terminal:
        shown = _rich_table(_without_spreads(table))  # the files have them
    elif wide > width:
        console.width = wide  # a log has no edge that would be worth breaking names for
    console.print(shown)
    console.width = width
    for note in table.notes:
        console.print(Text(note, style="dim"))
    console.print()


def _rich_table(table: Table) -> RichTable:
    left = left_aligned(table)
    shown = RichTable(box=box.SIMPLE_HEAD, show_edge=False, collapse_padding=True, pad_edge=False)
    for column, is_left in zip(table.columns, left, strict=True):
        # Long headings would make narrow figures wide.
        long = not is_left and len(column.heading) > 10
        heading = column.heading.replace(" ", "\n") if long else column.heading
        justify: Literal["left", "right"] = "left" if is_left else "right"
        shown.add_column(Text(heading), justify=justify, overflow="fold", no_wrap=not is_left)
    for row in table.rows:
        cells = [
            Text(cell_text(cell, column), style="bold" if isinstance(cell, Figure) and cell.best else "")
            for cell, column in zip(row.cells, table.columns, strict=True)
        ]
        shown.add_row(*cells, style="dim" if row.published else "")
    return shown


def _without_spreads(table: Table) -> Table:
    rows = (
        replace(row, cells=tuple(replace(c, spread=None) if isinstance(c, Figure) else c for c in row.cells))
        for row in table.rows
    )
    return replace(table, rows=tuple(rows))


def say(console: Console, text: str) -> None:
    """Prints text as it is: paths are not wrapped, and their brackets not taken for markup."""
    options: dict[str, Any] = {"markup": False, "soft_wrap": True}
    console.print(text, **options)
