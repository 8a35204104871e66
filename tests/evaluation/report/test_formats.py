"""Markdown, CSV and LaTeX, to the letter."""

from __future__ import annotations

import csv
import io
import math

import pytest

from ebm_tracker.evaluation.report.formats import csv_text, latex, latex_text, left_aligned, markdown, markdown_text
from ebm_tracker.evaluation.report.tables import Column, Figure, Row, Table


@pytest.fixture
def table() -> Table:
    return Table(
        "UAV123 (a|b)",
        (Column("Tracker"), Column("AUC"), Column("Runs", 0), Column("Source")),
        (
            Row(("my_tracker", Figure(67.25, 0.5, best=True), Figure(5), "measured")),
            Row(("ATOM", Figure(65.0), None, "published: paper"), published=True),
        ),
        ("Strict > and 50% rules.",),
    )


def test_markdown(table: Table) -> None:
    assert markdown(table) == (
        "## UAV123 (a\\|b)\n"
        "\n"
        "| Tracker | AUC | Runs | Source |\n"
        "|:--|--:|--:|:--|\n"
        "| my\\_tracker | **67.2 ± 0.5** | 5 | measured |\n"
        "| ATOM | 65.0 | - | published: paper |\n"
        "\n"
        "Strict \\> and 50% rules.\n"
    )


def test_csv_has_a_column_for_spreads_where_there_is_one(table: Table) -> None:
    rows = list(csv.reader(io.StringIO(csv_text(table))))
    assert rows == [
        ["Tracker", "AUC", "AUC std", "Runs", "Source"],
        ["my_tracker", "67.25", "0.5", "5", "measured"],
        ["ATOM", "65", "", "", "published: paper"],
    ]


def test_csv_keeps_signs_of_its_own_in_names() -> None:
    table = Table("t", (Column("Tracker"), Column("AUC")), (Row(('a,"b"', Figure(math.nan))), Row(("c", Figure(0)))))
    assert list(csv.reader(io.StringIO(csv_text(table))))[1:] == [['a,"b"', ""], ["c", "0"]]


def test_latex_is_booktabs_with_published_rows_apart(table: Table) -> None:
    assert latex(table).splitlines() == [
        r"% needs \usepackage{booktabs}",
        "% Strict > and 50% rules.",
        r"\begin{table}",
        r"  \centering",
        r"  \caption{UAV123 (a\textbar{}b)}",
        r"  \begin{tabular}{lrrl}",
        r"    \toprule",
        r"    Tracker & AUC & Runs & Source \\",
        r"    \midrule",
        r"    my\_tracker & \textbf{67.2 $\pm$ 0.5} & 5 & measured \\",
        r"    \midrule",
        r"    ATOM & 65.0 & -- & published: paper \\",
        r"    \bottomrule",
        r"  \end{tabular}",
        r"\end{table}",
    ]


def test_names_cannot_break_out() -> None:
    assert latex_text("a_b & 50% \\x {y} #1 ~^") == (
        r"a\_b \& 50\% \textbackslash{}x \{y\} \#1 \textasciitilde{}\textasciicircum{}"
    )
    assert markdown_text("a|b\n# c <i>") == "a\\|b # c \\<i\\>"


def test_columns_of_text_stand_to_the_left(table: Table) -> None:
    assert left_aligned(table) == [True, False, False, True]
