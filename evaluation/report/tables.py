"""Tables of a report, before any format."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

import numpy as np


@dataclass(frozen=True)
class Figure:
    """A number of a table.

    Attributes:
        value: in the unit of its column; NaN where nothing could be computed.
        spread: standard deviation over several runs; None for one run.
        best: the highest of its column (lowest where less is better), among rows that may be compared.
    """

    value: float
    spread: float | None = None
    best: bool = False


Cell = str | Figure | None
"""Text, a figure, or nothing known."""


@dataclass(frozen=True)
class Column:
    """Attributes: ``heading``; ``decimals`` of its figures; ``signed``: figures are written with their sign."""

    heading: str
    decimals: int = 1
    signed: bool = False


@dataclass(frozen=True)
class Row:
    """One line. ``published``: taken from a paper, not measured here. ``partial``: not all sequences are in it."""

    cells: tuple[Cell, ...]
    published: bool = False
    partial: bool = False


@dataclass(frozen=True)
class Table:
    """Rows under headings.

    Attributes:
        title: above it.
        columns: as many as every row has cells.
        rows: in order.
        notes: sentences below it: the rules of the figures first.
    """

    title: str
    columns: tuple[Column, ...]
    rows: tuple[Row, ...]
    notes: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        for row in self.rows:
            assert len(row.cells) == len(self.columns), (self.title, row)


def figure_text(figure: Figure, column: Column) -> str:
    """``67.2``, ``67.2 ± 0.3``; ``-`` for a NaN."""
    if not np.isfinite(figure.value):
        return "-"
    sign = "+" if column.signed else ""
    text = f"{figure.value:{sign}.{column.decimals}f}"
    return text if figure.spread is None else f"{text} ± {figure.spread:.{column.decimals}f}"


def cell_text(cell: Cell, column: Column) -> str:
    """A cell as people read it; ``-`` for nothing."""
    if cell is None:
        return "-"
    return cell if isinstance(cell, str) else figure_text(cell, column)


def mark_best(rows: Iterable[Row], columns: Sequence[int], *, lowest: bool = False) -> tuple[Row, ...]:
    """The rows, with the highest (or ``lowest``) figure of each of these columns marked, equal ones alike.

    Published rows are left out, and partial ones where a row is whole: their figures are not of the same sequences.
    A single row has no best.
    """
    rows = tuple(rows)
    rivals = [row for row in rows if not row.published and not row.partial]
    rivals = rivals or [row for row in rows if not row.published]
    if len(rivals) < 2:
        return rows
    best: dict[int, float] = {}
    for i in columns:
        values = [cell.value for row in rivals if isinstance(cell := row.cells[i], Figure) and np.isfinite(cell.value)]
        if values:
            best[i] = min(values) if lowest else max(values)
    return tuple(_marked(row, best) if any(row is rival for rival in rivals) else row for row in rows)


def _marked(row: Row, best: dict[int, float]) -> Row:
    cells = list(row.cells)
    for i, value in best.items():
        cell = cells[i]
        if isinstance(cell, Figure) and cell.value == value:
            cells[i] = replace(cell, best=True)
    return replace(row, cells=tuple(cells))
