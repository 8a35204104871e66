"""The files of a report."""

from __future__ import annotations

import datetime
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from ebm_tracker.errors import EbmError
from ebm_tracker.evaluation.report.content import Report, Section
from ebm_tracker.evaluation.report.curves import section_plots
from ebm_tracker.evaluation.report.formats import csv_text, latex, markdown, markdown_text
from ebm_tracker.evaluation.report.page import MISSING as PAGE_MISSING
from ebm_tracker.evaluation.report.page import PagePlot, Playable, page_available, page_html
from ebm_tracker.evaluation.report.player import FrameUse, write_player_sequence
from ebm_tracker.evaluation.report.plots import MISSING as PLOTS_MISSING
from ebm_tracker.evaluation.report.plots import plots_available
from ebm_tracker.evaluation.report.scoreboard import (
    attribute_table,
    common_table,
    score_table,
    sequence_rows,
    sequence_table,
    speed_table,
    worst_table,
)
from ebm_tracker.evaluation.report.tables import Cell, Column, Row, Table
from ebm_tracker.files import write_text_atomic
from ebm_tracker.version import __version__

PAGE = "index.html"


class WriteError(EbmError):
    """The folder of the report cannot be used."""


@dataclass(frozen=True)
class Written:
    """What ``write_report`` did. ``files``: those a reader opens; ``left_out``: a sentence for each thing that could
    not be made, with how to get it."""

    files: tuple[Path, ...]
    left_out: tuple[str, ...] = ()


def write_report(
    report: Report,
    out: Path,
    frames: FrameUse = FrameUse.LINK,
    *,
    now: datetime.datetime | None = None,
    on_progress: Callable[[str], None] | None = None,
) -> Written:
    """Writes all files into the folder, which is made if need be; older ones of the same names are replaced.

    Tables come first, then plots, then the page with its player: what an interruption leaves is whole.

    Args:
        report: what was scored.
        out: the folder.
        frames: what the player shows below the boxes.
        now: what the page calls the time of its making; None: the clock's.
        on_progress: told what is being done, a few words.

    Raises WriteError when the folder cannot be made.
    """
    tell = on_progress or (lambda text: None)
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise WriteError(f"the report cannot be written to {out} ({error.strerror})") from error
    tell("tables")
    written = list(_write_tables(report, out))
    plots: dict[str, list[PagePlot]] = {}
    left_out = []
    if plots_available():
        for section in report.sections:
            tell(f"plots, {section.flavour.name} metrics")
            plots[section.flavour.name] = drawn = list(section_plots(report, section, _suffix(report, section)))
            written += [path for plot in drawn for path in plot.picture.write(out / plot.stem)]
    else:
        left_out.append(f"no plots: {PLOTS_MISSING}")
    if page_available():
        playable = list(_write_player(report, out, frames, tell))
        made = now or datetime.datetime.now().astimezone()
        sentence = f"Made by ebm-tracker {__version__} on {made:%Y-%m-%d at %H:%M}."
        write_text_atomic(out / PAGE, page_html(report, plots, playable, sentence, "".join(left_out)))
        written.append(out / PAGE)
    else:
        left_out.append(f"no page: {PAGE_MISSING}")
    return Written(tuple(written), tuple(left_out))


def _suffix(report: Report, section: Section) -> str:
    """Keeps the files of several flavours apart."""
    return f"_{section.flavour.name}" if len(report.sections) > 1 else ""


def _write_tables(report: Report, out: Path) -> Iterator[Path]:
    def write(name: str, text: str) -> Path:
        write_text_atomic(out / name, text)
        return out / name

    yield write("report.md", report_markdown(report))
    for section in report.sections:
        suffix = _suffix(report, section)
        scores = score_table(report, section)
        yield write(f"scores{suffix}.csv", csv_text(_with_metrics(scores, section)))
        yield write(f"scores{suffix}.tex", latex(scores))
        yield write(f"sequences{suffix}.csv", csv_text(sequence_rows(report, section)))
        yield write(f"sequences{suffix}.md", sequences_markdown(report, section))
        attributes = attribute_table(report, section)
        if attributes is not None:
            yield write(f"attributes{suffix}.csv", csv_text(_with_metrics(attributes, section)))
    speed = speed_table(report)
    if speed is not None:
        yield write("speed.csv", csv_text(speed))


def _with_metrics(table: Table, section: Section) -> Table:
    """The table with the flavour in its first column: a CSV file has no place for notes."""
    first: Cell = section.flavour.name
    rows = tuple(Row((first, *row.cells), row.published, row.partial) for row in table.rows)
    return Table(table.title, (Column("Metrics"), *table.columns), rows, table.notes)


def report_markdown(report: Report) -> str:
    """Scores, attributes, speed, the worst sequences and all problems."""
    parts = [f"# {markdown_text(report.benchmark.title)}\n"]
    for section in report.sections:
        tables = (score_table(report, section), common_table(report, section), attribute_table(report, section))
        parts += [markdown(table) for table in tables if table is not None]
    speed = speed_table(report)
    if speed is not None:
        parts.append(markdown(speed))
    for section in report.sections:
        parts += [markdown(worst_table(report, section, scores)) for scores in section.trackers if scores.sequences]
    parts.append(_problems_markdown(report.problems))
    return "\n".join(parts)


def _problems_markdown(problems: Iterable[str]) -> str:
    lines = [f"- {markdown_text(problem)}" for problem in problems] or ["None."]
    return "\n".join(["## Problems", "", *lines]) + "\n"


def sequences_markdown(report: Report, section: Section) -> str:
    """The main figure on every sequence, and each tracker's worst."""
    worst = [markdown(worst_table(report, section, scores)) for scores in section.trackers if scores.sequences]
    title = f"# {markdown_text(report.benchmark.title)}, sequences\n"
    return "\n".join([title, *worst, markdown(sequence_table(report, section))])


def _write_player(report: Report, out: Path, frames: FrameUse, tell: Callable[[str], None]) -> Iterator[Playable]:
    scored = {name for section in report.sections for scores in section.trackers for name in scores.sequences}
    playable = [sequence for sequence in report.benchmark.sequences if sequence.name in scored]
    for number, sequence in enumerate(playable):
        at = f"player {number + 1}/{len(playable)}: {sequence.name}"
        tell(at)
        on_frame = _teller(tell, at)
        script = write_player_sequence(sequence, report.results, out, number, frames, on_frame)
        yield Playable(number, sequence.name, script)


def _teller(tell: Callable[[str], None], at: str) -> Callable[[int], None]:
    return lambda done: tell(f"{at}, frame {done}")
