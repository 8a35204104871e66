"""Tables as text: Markdown, CSV and LaTeX."""

from __future__ import annotations

import csv
import io
import re

import numpy as np

from ebm_tracker.evaluation.report.tables import Cell, Column, Figure, Table, cell_text

_LATEX = {
    "\\": r"\textbackslash{}",
    "{": r"\{",
    "}": r"\}",
    "&": r"\&",
    "%": r"\%",
    "$": r"\$",
    "#": r"\#",
    "_": r"\_",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "|": r"\textbar{}",
    "≤": r"$\leq$",
    "≥": r"$\geq$",
    "±": r"$\pm$",
    "×": r"$\times$",
}
_MARKDOWN = re.compile(r"([\\|*_`<>\[\]])")
_CSV_DECIMALS = 4


def markdown(table: Table, level: int = 2) -> str:
    """A heading, the table with its figures to the right, and the notes as a paragraph each; best ones bold."""
    lines = [f"{'#' * level} {markdown_text(table.title)}", ""]
    lines.append(f"| {' | '.join(markdown_text(column.heading) for column in table.columns)} |")
    lines.append(f"|{'|'.join(':--' if left else '--:' for left in left_aligned(table))}|")
    for row in table.rows:
        cells = (_markdown_cell(cell, column) for cell, column in zip(row.cells, table.columns, strict=True))
        lines.append(f"| {' | '.join(cells)} |")
    for note in table.notes:
        lines += ["", markdown_text(note)]
    return "\n".join(lines) + "\n"


def _markdown_cell(cell: Cell, column: Column) -> str:
    text = markdown_text(cell_text(cell, column))
    return f"**{text}**" if isinstance(cell, Figure) and cell.best else text


def markdown_text(text: str) -> str:
    """The text with the signs that Markdown reads made plain, on one line."""
    return _MARKDOWN.sub(r"\\\1", " ".join(text.split()))


def left_aligned(table: Table) -> list[bool]:
    """Which columns hold text: those with some, and no figure in any row."""
    columns = [[row.cells[i] for row in table.rows] for i in range(len(table.columns))]
    return [
        any(isinstance(cell, str) for cell in cells) and not any(isinstance(cell, Figure) for cell in cells)
        for cells in columns
    ]


def csv_text(table: Table) -> str:
    """A header and the rows, figures with four decimals; a column ``X std`` follows X where a spread is known."""
    spread = [any(_has_spread(row.cells[i]) for row in table.rows) for i in range(len(table.columns))]
    header: list[str] = []
    for column, has_spread in zip(table.columns, spread, strict=True):
        header += [column.heading, f"{column.heading} std"] if has_spread else [column.heading]
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(header)
    for row in table.rows:
        fields: list[str] = []
        for cell, has_spread in zip(row.cells, spread, strict=True):
            fields.append(_csv_number(cell.value) if isinstance(cell, Figure) else cell or "")
            if has_spread:
                fields.append(_csv_number(cell.spread) if isinstance(cell, Figure) else "")
        writer.writerow(fields)
    return out.getvalue()


def _has_spread(cell: Cell) -> bool:
    return isinstance(cell, Figure) and cell.spread is not None


def _csv_number(value: float | None) -> str:
    if value is None or not np.isfinite(value):
        return ""
    return f"{value:.{_CSV_DECIMALS}f}".rstrip("0").rstrip(".") or "0"


def latex(table: Table) -> str:
    """A ``table`` in booktabs' style (``\\usepackage{booktabs}``), the title as caption; published rows apart."""
    sides = "".join("l" if left else "r" for left in left_aligned(table))
    lines = [
        "% needs \\usepackage{booktabs}",
        *(f"% {' '.join(note.split())}" for note in table.notes),
        r"\begin{table}",
        r"  \centering",
        rf"  \caption{{{latex_text(table.title)}}}",
        rf"  \begin{{tabular}}{{{sides}}}",
        r"    \toprule",
        f"    {' & '.join(latex_text(column.heading) for column in table.columns)} \\\\",
        r"    \midrule",
    ]
    measured = [row for row in table.rows if not row.published]
    published = [row for row in table.rows if row.published]
    for rows in (measured, published):
        if rows is published and measured and published:
            lines.append(r"    \midrule")
        for row in rows:
            cells = (_latex_cell(cell, column) for cell, column in zip(row.cells, table.columns, strict=True))
            lines.append(f"    {' & '.join(cells)} \\\\")
    lines += [r"    \bottomrule", r"  \end{tabular}", r"\end{table}"]
    return "\n".join(lines) + "\n"


def _latex_cell(cell: Cell, column: Column) -> str:
    text = cell_text(cell, column)
    if text == "-":
        return "--"
    text = latex_text(text)
    return rf"\textbf{{{text}}}" if isinstance(cell, Figure) and cell.best else text


def latex_text(text: str) -> str:
    """The text with every sign that LaTeX reads made plain, on one line."""
    return "".join(_LATEX.get(sign, sign) for sign in " ".join(text.split()))
