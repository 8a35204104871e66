"""Cells and their marks."""

from __future__ import annotations

import math

from ebm_tracker.evaluation.report.tables import Cell, Column, Figure, Row, cell_text, mark_best


def row(*cells: Cell, published: bool = False, partial: bool = False) -> Row:
    return Row(cells, published, partial)


def best(rows: tuple[Row, ...], column: int = 1) -> list[bool]:
    return [isinstance(r.cells[column], Figure) and r.cells[column].best for r in rows]


def test_cells_are_written_with_the_decimals_of_their_column() -> None:
    assert cell_text(Figure(67.249), Column("AUC")) == "67.2"
    assert cell_text(Figure(67.249, 0.26), Column("AUC", 2)) == "67.25 ± 0.26"
    assert cell_text(Figure(1.25), Column("Difference", 2, signed=True)) == "+1.25"
    assert cell_text(Figure(3), Column("Runs", 0)) == "3"
    assert cell_text(Figure(math.nan), Column("AUC")) == cell_text(None, Column("AUC")) == "-"
    assert cell_text("ebm default", Column("Tracker")) == "ebm default"


def test_equal_highest_figures_are_both_best() -> None:
    rows = mark_best([row("a", Figure(5)), row("b", Figure(7)), row("c", Figure(7)), row("d", Figure(math.nan))], [1])
    assert best(rows) == [False, True, True, False]


def test_published_rows_are_no_rivals() -> None:
    assert best(mark_best([row("a", Figure(5)), row("b", Figure(4)), row("p", Figure(9), published=True)], [1])) == [
        True,
        False,
        False,
    ]


def test_a_partial_row_is_no_rival_of_whole_ones() -> None:
    whole = [row("a", Figure(5)), row("b", Figure(4))]
    assert best(mark_best([*whole, row("c", Figure(9), partial=True)], [1])) == [True, False, False]
    partial = [row("a", Figure(5), partial=True), row("b", Figure(9), partial=True)]
    assert best(mark_best(partial, [1])) == [False, True]


def test_one_row_has_no_best() -> None:
    assert best(mark_best([row("a", Figure(5)), row("b", Figure(9), partial=True)], [1])) == [False, False]
