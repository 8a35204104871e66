"""Two trackers on the same sequences: which is better, and how sure that is."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from ebm_tracker.errors import EbmError
from ebm_tracker.evaluation.bootstrap import Difference, bootstrap_difference
from ebm_tracker.evaluation.report.content import Report, Section, common_sequences, coverage
from ebm_tracker.evaluation.report.formats import csv_text
from ebm_tracker.evaluation.report.plots import MISSING as PLOTS_MISSING
from ebm_tracker.evaluation.report.plots import difference_plot, plots_available
from ebm_tracker.evaluation.report.scoreboard import rule_notes
from ebm_tracker.evaluation.report.tables import Cell, Column, Figure, Row, Table
from ebm_tracker.evaluation.report.writer import Written
from ebm_tracker.files import write_text_atomic


class ComparisonError(EbmError):
    """The two have no sequence in common, or are not two."""


@dataclass(frozen=True)
class Comparison:
    """Tracker ``b`` against tracker ``a`` by one flavour.

    Attributes:
        report: of exactly the two.
        section: of the report, which is compared.
        names: of the sequences that both have.
        differences: b minus a, one for each figure of the flavour, the main one first.
    """

    report: Report
    section: Section
    names: tuple[str, ...]
    differences: tuple[Difference, ...]

    @property
    def a(self) -> str:
        """Name of the first tracker."""
        return self.section.trackers[0].name

    @property
    def b(self) -> str:
        """Name of the second."""
        return self.section.trackers[1].name


def compare(report: Report, section: Section, resamples: int = 10_000, seed: int = 0) -> Comparison:
    """Compares the two trackers of the section on the sequences that both have.

    Raises ComparisonError when there is no such sequence or a tracker has no usable result.
    """
    if len(section.trackers) != 2:
        raise ComparisonError("; ".join(report.left_out) or "two trackers are compared")
    names = common_sequences(section)
    a, b = section.trackers
    if not names:
        raise ComparisonError(f"{a.name} and {b.name} have no sequence of {report.benchmark.title} in common")
    found = (bootstrap_difference(a, b, figure, resamples, seed) for figure in section.flavour.figures)
    return Comparison(report, section, names, tuple(found))


def verdict(comparison: Comparison) -> str:
    """One sentence on the main figure: which tracker is better and by how much, or that nobody can tell."""
    difference, count = comparison.differences[0], len(comparison.names)
    on = f"on {count} sequence{'' if count == 1 else 's'}"
    interval = f"95 % interval [{difference.low:+.1f}, {difference.high:+.1f}]"
    if difference.low <= 0 <= difference.high:
        return (
            f"{comparison.a} and {comparison.b} cannot be told apart {on}: the second has "
            f"{difference.mean:+.1f} {difference.figure} points, {interval}"
        )
    sign = 1 if difference.mean > 0 else -1
    better = comparison.b if sign > 0 else comparison.a
    other = comparison.a if sign > 0 else comparison.b
    low, high = sorted((sign * difference.low, sign * difference.high))
    return (
        f"{better} is better than {other} by {sign * difference.mean:.1f} {difference.figure} points, "
        f"95 % interval [{low:.1f}, {high:.1f}], {on}"
    )


def remarks(comparison: Comparison) -> tuple[str, ...]:
    """What to keep in mind about the verdict, a sentence each."""
    found = []
    count = len(comparison.names)
    for scores in comparison.section.trackers:
        covered = coverage(scores, comparison.report.benchmark)
        if covered.scored > count:
            found.append(f"{scores.name} has {covered.scored} sequences, of which {count} are compared.")
    found.append(
        "The interval says how far the mean may lie for other sequences of this kind; chance within a tracker is in "
        "it only as far as runs were averaged."
    )
    return tuple(found)


def summary_table(comparison: Comparison) -> Table:
    """A row for each figure: both trackers on the common sequences, the difference and its interval."""
    a, b = comparison.section.trackers
    summarize = comparison.section.flavour.summarize
    values_a, _ = summarize([a.sequences[name] for name in comparison.names])
    values_b, _ = summarize([b.sequences[name] for name in comparison.names])
    columns = (
        Column("Figure"),
        Column(a.name),
        Column(b.name),
        Column("Difference", 2, signed=True),
        Column("95 % low", 2, signed=True),
        Column("95 % high", 2, signed=True),
        Column("Ahead %", 0),
    )
    rows = tuple(
        Row(
            (
                d.figure,
                Figure(values_a[d.figure]),
                Figure(values_b[d.figure]),
                Figure(d.mean),
                Figure(d.low),
                Figure(d.high),
                Figure(100 * d.share_positive),
            )
        )
        for d in comparison.differences
    )
    title = f"{b.name} minus {a.name}, {comparison.report.benchmark.title} ({comparison.section.flavour.title})"
    ahead = f"Ahead: share of the bootstrap's resamples in which {b.name} has the higher mean."
    return Table(title, columns, rows, (*rule_notes(comparison.report, comparison.section), ahead))


def difference_table(comparison: Comparison) -> Table:
    """The main figure of both on every sequence, the largest loss first."""
    a, b = comparison.section.trackers
    main = comparison.differences[0]
    columns = (
        Column("Sequence"),
        Column("Frames", 0),
        Column(a.name),
        Column(b.name),
        Column("Difference", 1, signed=True),
    )
    rows = []
    for name in sorted(main.per_sequence, key=lambda name: main.per_sequence[name]):
        of_a, of_b = a.sequences[name], b.sequences[name]
        cells: Sequence[Cell] = (
            name,
            Figure(of_a.frames),
            Figure(of_a.figures[main.figure]),
            Figure(of_b.figures[main.figure]),
            Figure(main.per_sequence[name]),
        )
        rows.append(Row(tuple(cells)))
    title = f"{main.figure} by sequence, {comparison.report.benchmark.title} ({comparison.section.flavour.title})"
    return Table(title, columns, tuple(rows))


def write_comparison(comparison: Comparison, out: Path, suffix: str = "") -> Written:
    """Writes differences.csv, comparison.csv, and a picture differences.png and .pdf where matplotlib is there.

    ``suffix``: to the names of files, which keeps several flavours apart.
    """
    out.mkdir(parents=True, exist_ok=True)
    tables = {f"differences{suffix}.csv": difference_table, f"comparison{suffix}.csv": summary_table}
    for name, make in tables.items():
        write_text_atomic(out / name, csv_text(make(comparison)))
    written = [out / name for name in tables]
    if not plots_available():
        return Written(tuple(written), (f"no picture: {PLOTS_MISSING}",))
    main = comparison.differences[0]
    picture = difference_plot(
        f"{comparison.b} minus {comparison.a}, {comparison.report.benchmark.title}",
        f"{main.figure} [points], {comparison.section.flavour.title}",
        main.per_sequence,
        main.mean,
        (main.low, main.high),
    )
    return Written((*written, *picture.write(out / f"differences{suffix}")))
