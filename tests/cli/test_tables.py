"""A report's table on consoles of several widths."""

from __future__ import annotations

import io

import pytest
from rich.console import Console

from ebm_tracker.cli.tables import print_table
from ebm_tracker.evaluation.report.tables import Column, Figure, Row, Table


@pytest.fixture
def table() -> Table:
    columns = (Column("Tracker"), *(Column(f"Norm. Figure {i}") for i in range(6)))
    row = Row(("[b]ours", *(Figure(60.0 + i, 0.5) for i in range(6))))
    return Table("A title", columns, (row, Row(("ATOM", *[None] * 6), published=True)), ("A note.",))


def printed(table: Table, width: int, terminal: bool) -> str:
    file = io.StringIO()
    console = Console(file=file, width=width, force_terminal=terminal, color_system=None, legacy_windows=False)
    print_table(console, table)
    assert console.width == width
    return file.getvalue()


def test_a_wide_console_shows_all(table: Table) -> None:
    text = printed(table, 120, True)
    assert "[b]ours" in text and "65.0 ± 0.5" in text and "A title" in text and "A note." in text


def test_a_narrow_terminal_loses_spreads_not_figures(table: Table) -> None:
    text = printed(table, 80, True)
    assert "±" not in text and all(f"{60 + i}.0" in text for i in range(6)) and "…" not in text
    assert "[b]ours" in text


def test_a_narrow_log_loses_nothing(table: Table) -> None:
    text = printed(table, 40, False)
    assert "[b]ours" in text and all(f"{60 + i}.0 ± 0.5" in text for i in range(6))
