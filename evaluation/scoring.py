"""Scores of a tracker on a benchmark: its result files, judged by the rules of one toolkit."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from ebm_tracker.annotations import Boxes
from ebm_tracker.errors import EbmError
from ebm_tracker.evaluation.datasets.benchmark import Benchmark
from ebm_tracker.evaluation.flavours.base import Curves, Flavour, ScoringError, SequenceScores, Values
from ebm_tracker.evaluation.flavours.lookup import FLAVOURS, flavour
from ebm_tracker.evaluation.flavours.one_pass import mean_curves
from ebm_tracker.evaluation.result_tree import TrackerResults, read_result, result_paths_of
from ebm_tracker.evaluation.sequences import TrackingSequence

__all__ = [
    "FLAVOURS",
    "Curves",
    "Flavour",
    "ScoringError",
    "SequenceScores",
    "TrackerScores",
    "average_runs",
    "flavour",
    "score_tracker",
]

NAMED_AT_MOST = 5
"""How many sequences without a result a sentence names."""


@dataclass(frozen=True)
class TrackerScores:
    """A tracker on a benchmark.

    Attributes:
        name: for tables and legends.
        figures: percent 0..100, by the names in the flavour's ``figures``; averaged over runs.
        curves: the same, averaged over runs and sequences.
        sequences: by name, in the benchmark's order, averaged over the runs that have a usable result.
        runs: how many runs there are.
        run_figures: the figures of each run alone, over the sequences it has.
        missing: names of the sequences that no run has a usable result of, in the benchmark's order. Where the
            flavour takes zeros for them they are in ``sequences`` too.
        problems: what is missing or odd, one sentence each.
        frames_per_second: 1 / median of the time of a frame, over all runs' frames after the first; None where
            no times are stored.
        sequence_count: how many sequences the benchmark has.
        pools_frames: whether figures weigh every frame the same (GOT-10k), not every sequence.
    """

    name: str
    figures: Mapping[str, float]
    curves: Curves
    sequences: Mapping[str, SequenceScores]
    runs: int
    run_figures: tuple[Mapping[str, float], ...]
    missing: tuple[str, ...]
    problems: tuple[str, ...]
    frames_per_second: float | None
    sequence_count: int
    pools_frames: bool = False


def score_tracker(
    results: TrackerResults, benchmark: Benchmark, flavour: Flavour, *, truncate: bool = False
) -> TrackerScores:
    """Reads and judges all runs of a tracker, whatever is wrong with single files.

    Each sequence's curves are averaged over runs first, then over sequences. A folder of results may hold several
    repetitions of a sequence (the got10k toolkit's layout): the first of every sequence makes one run, and so on.

    Args:
        truncate: cut boxes towards zero to integers first, as pytracking writes them; to compare with its raw results.

    Raises:
        ScoringError: the benchmark's true boxes are secret, or no sequence has a usable result.
    """
    if benchmark.truth_is_secret:
        raise ScoringError(
            f"the true boxes of {benchmark.title} are not known beyond the first frame: only its server can score it"
        )
    reading = _Reading(flavour, truncate)
    for folder in results.folders:
        reading.read_folder(folder, benchmark.sequences)
    by_sequence: dict[str, SequenceScores] = {}
    for sequence in benchmark.sequences:
        of_runs = [run[sequence.name] for run in reading.runs.values() if sequence.name in run]
        if of_runs:
            by_sequence[sequence.name] = average_runs(of_runs)
    if not reading.used:
        reason = _shortened(reading.problems, "; ") or "no folder"
        raise ScoringError(f"{results.name} has no usable result of {benchmark.title} ({reason})")
    figures, curves = flavour.summarize(list(by_sequence.values()))
    return TrackerScores(
        name=results.name,
        figures=figures,
        curves=curves,
        sequences=by_sequence,
        runs=len(reading.runs),
        run_figures=tuple(flavour.summarize(list(run.values()))[0] for run in reading.runs.values()),
        missing=tuple(s.name for s in benchmark.sequences if s.name not in reading.used),
        problems=tuple(reading.problems),
        frames_per_second=_median_rate(reading.seconds),
        sequence_count=len(benchmark.sequences),
        pools_frames=flavour.pools_frames,
    )


@dataclass
class _Reading:
    """What is read so far. ``runs``: by folder and number of the repetition, scores by sequence; ``used``: sequences
    with a usable result in some run; ``seconds``: frames after the first of all results."""

    flavour: Flavour
    truncate: bool
    runs: dict[tuple[Path, int], dict[str, SequenceScores]] = field(default_factory=lambda: defaultdict(dict))
    used: set[str] = field(default_factory=set)
    problems: list[str] = field(default_factory=list)
    seconds: list[Values] = field(default_factory=list)

    def read_folder(self, folder: Path, sequences: Sequence[TrackingSequence]) -> None:
        absent = []
        for sequence in sequences:
            paths = result_paths_of(folder, sequence)
            scores = [self._judged_file(path, sequence) for path in paths]
            if not paths:
                absent.append(sequence.name)
            if self.flavour.missing_is_zeros and all(score is None for score in scores):
                scores = [self._judged_zeros(sequence)]
            for number, score in enumerate(scores):
                if score is not None:
                    self.runs[folder, number][sequence.name] = score
        if absent:
            counted = ", which count as boxes of zeros" if self.flavour.missing_is_zeros else ""
            self.problems.append(
                f"{folder} has no result of {len(absent)} of {len(sequences)} sequences{counted}: "
                f"{_shortened(absent, ', ')}"
            )

    def _judged_file(self, path: Path, sequence: TrackingSequence) -> SequenceScores | None:
        try:
            result = read_result(path, sequence.init_box_xywh)
        except EbmError as error:
            self.problems.append(str(error))
            return None
        if result.seconds is not None:
            self.seconds.append(result.seconds[1:])
        if result.times_problem:
            self.problems.append(result.times_problem)
        try:
            score = self.flavour.judge(self._cut(result.boxes_xywh), sequence)
        except ScoringError as error:
            self.problems.append(f"{path}: {error}")
            return None
        self.used.add(sequence.name)
        self.problems += [f"{path}: {note}" for note in score.notes]
        return score

    def _judged_zeros(self, sequence: TrackingSequence) -> SequenceScores | None:
        frames = 0 if sequence.truth_xywh is None else len(sequence.truth_xywh)
        try:
            return self.flavour.judge(np.zeros((max(frames, 1), 4)), sequence)
        except ScoringError:  # only where the truth is at fault, which judging a result has said, or will
            return None

    def _cut(self, boxes_xywh: Boxes) -> Boxes:
        return np.trunc(boxes_xywh) if self.truncate else boxes_xywh


def average_runs(scores: Sequence[SequenceScores]) -> SequenceScores:
    """One sequence's scores, averaged over runs; overlaps over the runs that judge the frame."""
    if len(scores) == 1:
        return scores[0]
    overlaps = np.stack([score.overlaps for score in scores])
    judged = ~np.isnan(overlaps)
    total = np.where(judged, overlaps, 0).sum(axis=0)
    count = judged.sum(axis=0)
    return SequenceScores(
        name=scores[0].name,
        figures={name: float(np.mean([s.figures[name] for s in scores])) for name in scores[0].figures},
        curves=mean_curves([score.curves for score in scores]),
        frames=max(score.frames for score in scores),
        overlaps=np.divide(total, count, out=np.full(len(total), np.nan), where=count > 0),
        notes=tuple(dict.fromkeys(note for score in scores for note in score.notes)),
    )


RESOLUTION_S = 2e-6
"""Files hold microseconds: a shorter time, such as that of the tracker which answers its first box, is rounding."""


def _median_rate(seconds: Iterable[Values]) -> float | None:
    times = np.concatenate([np.empty(0), *seconds])
    median = float(np.median(times[times > 0])) if (times > 0).any() else 0.0
    return 1 / median if median > RESOLUTION_S else None


def _shortened(items: Sequence[str], separator: str) -> str:
    more = len(items) - NAMED_AT_MOST
    return separator.join(items[:NAMED_AT_MOST]) + (f"{separator}and {more} more" if more > 0 else "")
