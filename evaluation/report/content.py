"""What a report is made of: scores of several trackers by one or more flavours of metrics."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from ebm_tracker.errors import EbmError
from ebm_tracker.evaluation.datasets.benchmark import Benchmark
from ebm_tracker.evaluation.published import PublishedRow, published_rows
from ebm_tracker.evaluation.report.provenance import RunFacts, read_run_facts
from ebm_tracker.evaluation.report.styles import Style, styles_of
from ebm_tracker.evaluation.result_tree import TrackerResults
from ebm_tracker.evaluation.scoring import Flavour, ScoringError, TrackerScores, flavour, score_tracker

TRUNCATED_NOTE = (
    "Boxes were cut towards zero to integers before scoring, as pytracking's own result files are (--truncate)."
)


class ReportError(EbmError):
    """There is nothing that a report could be made of; the message says why."""


@dataclass(frozen=True)
class Section:
    """All trackers judged by one flavour. ``published``: rows of papers that cite the same flavour."""

    flavour: Flavour
    trackers: tuple[TrackerScores, ...]
    published: tuple[PublishedRow, ...] = ()

    @property
    def main_figure(self) -> str:
        """The figure that ranks."""
        return self.flavour.figures[0]


@dataclass(frozen=True)
class Report:
    """Scores and where they come from.

    Attributes:
        benchmark: as found on disk, or the part of it that was asked for.
        results: of each tracker, in the order of every table and legend.
        facts: for each tracker what its runs say of themselves, one entry for each folder.
        sections: one for each flavour, at least one.
        truncated: whether boxes were cut to integers first.
        left_out: a sentence for each tracker that has no usable result and is in no table.
    """

    benchmark: Benchmark
    results: tuple[TrackerResults, ...]
    facts: tuple[tuple[RunFacts, ...], ...]
    sections: tuple[Section, ...]
    truncated: bool = False
    left_out: tuple[str, ...] = ()

    @property
    def names(self) -> tuple[str, ...]:
        """Of the trackers."""
        return tuple(results.name for results in self.results)

    @property
    def styles(self) -> dict[str, Style]:
        """How each tracker is drawn."""
        return styles_of(self.names)

    @property
    def problems(self) -> tuple[str, ...]:
        """Everything that is missing or was not usable, one sentence each, each once."""
        found = dict.fromkeys((*self.left_out, *self.benchmark.problems, *self.benchmark.notes))
        for section in self.sections:
            for scores in section.trackers:
                for problem in scores.problems:
                    # Which tracker is meant is not always in the path.
                    found[problem if scores.name in problem else f"{scores.name}: {problem}"] = None
        found.update((facts.problem, None) for runs in self.facts for facts in runs if facts.problem)
        return tuple(found)


@dataclass(frozen=True)
class Coverage:
    """How many sequences a tracker has results for. ``total``: of the benchmark as published, if that is known."""

    scored: int
    total: int

    @property
    def partial(self) -> bool:
        """Whether some are missing."""
        return self.scored < self.total

    def __str__(self) -> str:
        return f"{self.scored} of {self.total} sequences" if self.partial else f"{self.total} sequences"


def coverage(scores: TrackerScores, benchmark: Benchmark) -> Coverage:
    """Of the sequences on disk those without a missing result, against the official number."""
    missing = set(scores.missing)
    scored = sum(sequence.name not in missing for sequence in benchmark.sequences)
    return Coverage(scored, max(benchmark.official_count or 0, len(benchmark.sequences)))


def common_sequences(section: Section) -> tuple[str, ...]:
    """Names of the sequences that every tracker has results for, in the benchmark's order."""
    first, *others = section.trackers
    names = (name for name in first.sequences if name not in first.missing)
    return tuple(n for n in names if all(n in other.sequences and n not in other.missing for other in others))


def gather_report(
    benchmark: Benchmark,
    results: Sequence[TrackerResults],
    metrics: Sequence[str] = (),
    *,
    truncate: bool = False,
    published: bool = True,
    on_progress: Callable[[str], None] | None = None,
) -> Report:
    """Scores every tracker by every flavour.

    Args:
        benchmark: what was tracked.
        results: of one or more trackers, their names different.
        metrics: names of flavours; none: the one that the field cites for this benchmark.
        truncate: cut boxes to integers first, to compare with pytracking's own raw results.
        published: put the published figures of the same flavour beside.
        on_progress: told what is being done, a few words.

    Raises:
        ReportError: equal names, or not one tracker has a usable result.
        EbmError: from the flavours: an unknown name, or true boxes that are kept secret.
    """
    repeated = [name for name, count in Counter(r.name for r in results).items() if count > 1]
    if repeated:
        raise ReportError(f"two trackers have the name {repeated[0]!r}: tell them apart by --names")
    if benchmark.truth_is_secret:
        raise ReportError(
            f"the true boxes of {benchmark.title} are kept secret, only its server can score it: see `ebm eval pack`"
        )
    flavours = [flavour(name, benchmark.name) for name in dict.fromkeys(metrics or (benchmark.metrics,))]
    scored: dict[TrackerResults, list[TrackerScores]] = {}
    left_out = []
    for found in results:
        try:
            for judge in flavours:
                if on_progress is not None:
                    on_progress(f"scoring {found.name}, {judge.name} metrics")
                scored.setdefault(found, []).append(score_tracker(found, benchmark, judge, truncate=truncate))
        except ScoringError as error:
            scored.pop(found, None)
            left_out.append(str(error))
    if not scored:
        raise ReportError("; ".join(left_out))
    rows = published_rows(benchmark.name) if published else ()
    return Report(
        benchmark,
        tuple(scored),
        tuple(tuple(read_run_facts(folder) for folder in found.folders) for found in scored),
        tuple(
            Section(judge, tuple(of_tracker), tuple(row for row in rows if row.metrics == judge.name))
            for judge, of_tracker in zip(flavours, zip(*scored.values(), strict=True), strict=True)
        ),
        truncate,
        tuple(left_out),
    )
