"""The tables of a report."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace

import numpy as np

from ebm_tracker.evaluation.datasets.benchmark import Benchmark
from ebm_tracker.evaluation.report.content import (
    TRUNCATED_NOTE,
    Coverage,
    Report,
    Section,
    common_sequences,
    coverage,
)
from ebm_tracker.evaluation.report.provenance import RunFacts, Timing
from ebm_tracker.evaluation.report.tables import Cell, Column, Figure, Row, Table, mark_best
from ebm_tracker.evaluation.scoring import SequenceScores, TrackerScores

WORST = 10


def score_table(report: Report, section: Section) -> Table:
    """Every tracker's figures, the published rows below."""
    figures = section.flavour.figures
    columns = [Column("Tracker"), *map(Column, figures), Column("Runs", 0), Column("Sequences")]
    rows = [_score_row(scores, figures, coverage(scores, report.benchmark)) for scores in section.trackers]
    ranked = mark_best(rows, range(1, 1 + len(figures)))
    published = []
    if section.published:
        columns.append(Column("Source"))
        ranked = tuple(replace(row, cells=(*row.cells, "measured")) for row in ranked)
        for row in section.published:
            values = (_figure(row.figures.get(f)) for f in figures)
            published.append(Row((row.tracker, *values, None, None, f"published: {row.source}"), published=True))
    title = f"{report.benchmark.title} ({section.flavour.title})"
    notes = (*rule_notes(report, section), *_row_notes(section, rows))
    return Table(title, tuple(columns), (*ranked, *published), notes)


def _score_row(scores: TrackerScores, figures: Sequence[str], of: Coverage) -> Row:
    cells: list[Cell] = [scores.name]
    for name in figures:
        runs = [run[name] for run in scores.run_figures if name in run]
        spread = float(np.std(runs, ddof=1)) if len(runs) > 1 else None
        cells.append(Figure(scores.figures.get(name, np.nan), spread))
    sequences = str(of).removesuffix(" sequences")
    return Row((*cells, Figure(scores.runs), sequences), partial=of.partial)


def _figure(value: float | None) -> Cell:
    return None if value is None else Figure(value)


def rule_notes(report: Report, section: Section) -> tuple[str, ...]:
    """The rules of the flavour, which stand under each of its tables."""
    rules = f"Metrics: {section.flavour.title}. {section.flavour.rules} All figures in percent."
    return (rules, TRUNCATED_NOTE) if report.truncated else (rules,)


def _row_notes(section: Section, rows: Sequence[Row]) -> Iterator[str]:
    if any(row.partial for row in rows):
        yield (
            "Rows with fewer sequences than the benchmark has are partial results, over other sequences than whole "
            "rows: they cannot be compared with those, nor with published ones."
        )
    if any(len(scores.run_figures) > 1 for scores in section.trackers):
        yield "Figures behind ± are the standard deviation over runs of the whole benchmark."
    notes = dict.fromkeys(f"{row.tracker} ({row.source}): {row.note}" for row in section.published if row.note)
    if section.published:
        yield "Published rows are numbers of the source they name; nothing of them was computed here."
    if notes:
        yield f"On published rows: {'; '.join(notes)}."


def common_table(report: Report, section: Section) -> Table | None:
    """The same figures over the sequences that all trackers have; None where that says nothing new."""
    names = common_sequences(section)
    if len(section.trackers) < 2 or not names or all(len(s.sequences) == len(names) for s in section.trackers):
        return None
    figures = section.flavour.figures
    rows = []
    for scores in section.trackers:
        values, _ = section.flavour.summarize([scores.sequences[name] for name in names])
        rows.append(Row((scores.name, *(Figure(values[name]) for name in figures))))
    count = f"{len(names)} sequence{'s' if len(names) > 1 else ''}"
    title = f"{report.benchmark.title}, the {count} that all trackers have ({section.flavour.title})"
    columns = (Column("Tracker"), *map(Column, figures))
    return Table(title, columns, mark_best(rows, range(1, 1 + len(figures))), rule_notes(report, section))


def sequence_rows(report: Report, section: Section) -> Table:
    """All figures of all trackers on all sequences, a row for each pair."""
    figures = section.flavour.figures
    columns = (
        Column("Metrics"),
        Column("Tracker"),
        Column("Sequence"),
        Column("Frames", 0),
        Column("Attributes"),
        *map(Column, figures),
    )
    attributes = {sequence.name: " ".join(sequence.attributes) for sequence in report.benchmark.sequences}
    rows = tuple(
        Row(
            (
                section.flavour.name,
                scores.name,
                name,
                Figure(judged.frames),
                attributes.get(name, ""),
                *(Figure(judged.figures[f]) for f in figures),
            )
        )
        for scores in section.trackers
        for name, judged in scores.sequences.items()
    )
    return Table(f"{report.benchmark.title}, by sequence", columns, rows, rule_notes(report, section))


def sequence_table(report: Report, section: Section) -> Table:
    """The main figure of all trackers on all sequences, a row for each sequence."""
    figure = section.main_figure
    columns = (Column("Sequence"), Column("Frames", 0), *(Column(scores.name) for scores in section.trackers))
    rows = []
    for sequence in report.benchmark.sequences:
        judged = [scores.sequences.get(sequence.name) for scores in section.trackers]
        if not any(judged):
            continue
        frames = next(one.frames for one in judged if one is not None)
        rows.append(Row((sequence.name, Figure(frames), *(_main(one, figure) for one in judged))))
    # Each row is a contest of its own.
    rows = [_mark_best_of_row(row, range(2, len(columns))) for row in rows]
    title = f"{report.benchmark.title}, {figure} by sequence ({section.flavour.title})"
    return Table(title, columns, tuple(rows), rule_notes(report, section))


def _main(judged: SequenceScores | None, figure: str) -> Cell:
    return None if judged is None else Figure(judged.figures[figure])


def _mark_best_of_row(row: Row, columns: Sequence[int]) -> Row:
    """The row with the highest figure of these columns marked, if there are two columns at least."""
    known = {i: cell for i in columns if isinstance(cell := row.cells[i], Figure) and np.isfinite(cell.value)}
    if len(columns) < 2 or not known:
        return row
    best = max(cell.value for cell in known.values())
    marked = {i: replace(cell, best=cell.value == best) for i, cell in known.items()}
    return replace(row, cells=tuple(marked.get(i, cell) for i, cell in enumerate(row.cells)))


def worst_table(report: Report, section: Section, scores: TrackerScores, count: int = WORST) -> Table:
    """The tracker's sequences with the lowest main figure, and the best that another tracker reached on them."""
    figures = section.flavour.figures
    others = [other for other in section.trackers if other.name != scores.name]
    columns = [Column("Sequence"), Column("Frames", 0), *map(Column, figures)]
    if others:
        columns += [Column(f"Best other {figures[0]}"), Column("By")]
    worst = sorted(scores.sequences.values(), key=lambda judged: judged.figures[figures[0]])[:count]
    rows = []
    for judged in worst:
        cells: list[Cell] = [judged.name, Figure(judged.frames), *(Figure(judged.figures[f]) for f in figures)]
        if others:
            cells += _best_other(others, judged.name, figures[0])
        rows.append(Row(tuple(cells)))
    title = f"{scores.name}: worst {len(rows)} of {len(scores.sequences)} sequences ({section.flavour.title})"
    return Table(title, tuple(columns), tuple(rows), rule_notes(report, section))


def _best_other(others: Sequence[TrackerScores], name: str, figure: str) -> tuple[Cell, Cell]:
    known = [(other.sequences[name].figures[figure], other.name) for other in others if name in other.sequences]
    if not known:
        return None, None
    value, tracker = max(known)
    return Figure(value), tracker


def attribute_names(benchmark: Benchmark) -> dict[str, int]:
    """The attributes that the benchmark lists, in the order in which they are met, with the number of sequences."""
    counts: dict[str, int] = {}
    for sequence in benchmark.sequences:
        for attribute in sequence.attributes:
            counts[attribute] = counts.get(attribute, 0) + 1
    return dict(sorted(counts.items()))


def attribute_figures(report: Report, section: Section) -> Mapping[str, Mapping[str, float | None]]:
    """For each attribute each tracker's main figure over the sequences that have it; None without such a sequence."""
    found: dict[str, dict[str, float | None]] = {}
    for attribute in attribute_names(report.benchmark):
        having = {s.name for s in report.benchmark.sequences if attribute in s.attributes}
        found[attribute] = {}
        for scores in section.trackers:
            judged = [one for name, one in scores.sequences.items() if name in having]
            values = section.flavour.summarize(judged)[0] if judged else {}
            found[attribute][scores.name] = values.get(section.main_figure)
    return found


def attribute_table(report: Report, section: Section) -> Table | None:
    """The main figure by attribute; None where the benchmark has none."""
    counts = attribute_names(report.benchmark)
    if not counts:
        return None
    figures = attribute_figures(report, section)
    columns = (Column("Attribute"), Column("Sequences", 0), *(Column(scores.name) for scores in section.trackers))
    partial = [coverage(scores, report.benchmark).partial for scores in section.trackers]
    rivals = [2 + i for i, is_partial in enumerate(partial) if all(partial) or not is_partial]
    rows = []
    for attribute, by_tracker in figures.items():
        cells = (_figure(by_tracker[scores.name]) for scores in section.trackers)
        rows.append(_mark_best_of_row(Row((attribute, Figure(counts[attribute]), *cells)), rivals))
    title = f"{report.benchmark.title}, {section.main_figure} by attribute ({section.flavour.title})"
    notes = rule_notes(report, section)
    if any(partial):
        names = ", ".join(s.name for s, is_partial in zip(section.trackers, partial, strict=True) if is_partial)
        notes = (*notes, f"Figures of {names} are over those of these sequences that have a result.")
    return Table(title, columns, tuple(rows), notes)


def timing_of(runs: Sequence[RunFacts]) -> Timing:
    """How the times of all runs together were taken."""
    for timing in (Timing.SHARED, Timing.UNKNOWN):  # the worse first
        if any(facts.timing is timing for facts in runs):
            return timing
    return Timing.ALONE


def speed_table(report: Report) -> Table | None:
    """Frames per second and how they were taken; None when no results have times."""
    if not any(scores.frames_per_second for scores in report.sections[0].trackers):
        return None
    rows = []
    for scores, facts in zip(report.sections[0].trackers, report.facts, strict=True):
        pace = scores.frames_per_second
        devices = ", ".join(dict.fromkeys(device for run in facts for device in run.devices))
        trust = timing_of(facts).value if pace else "no times beside the results"
        rows.append(Row((scores.name, _figure(pace), trust, devices or None)))
    columns = (Column("Tracker"), Column("Frames/s"), Column("Taken with"), Column("Device"))
    notes = (
        "Median over the frames after the first, from the times beside the results. Trackers that run side by side "
        "slow each other: only times of one worker are the tracker's own.",
    )
    return Table(f"{report.benchmark.title}, speed", columns, tuple(rows), notes)
