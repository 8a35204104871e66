"""What there is to do: a tracker's runs over the sequences of a benchmark."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from ebm_tracker.evaluation.result_tree import run_folder, sequence_files
from ebm_tracker.evaluation.runner import Tracker
from ebm_tracker.evaluation.sequences import TrackingSequence
from ebm_tracker.video import VideoFile


class TrackerFactory(Protocol):
    """Makes trackers of one kind, where they are needed: it is pickled into worker processes.

    It may have three more attributes, all False where they are missing: ``deterministic``, that all runs give the
    same boxes, so that one is enough; ``fresh_per_sequence``, that a second ``initialize`` does not make the tracker
    as good as new, so that one is built for every sequence; ``ignores_device``, that it knows no devices.
    """

    @property
    def tracker(self) -> str:
        """First name in the result tree: ``ebm``."""

    @property
    def parameter(self) -> str:
        """Second name in the result tree: ``default``."""

    def facts(self) -> Mapping[str, str]:
        """Where its boxes come from, by name: hash of the weights and the like. Results of trackers whose facts
        differ are never mixed in a folder; keys that end with "version" may differ."""

    def build(self, seed: int, device: str | None, threads: int | None) -> Tracker:
        """A tracker for this seed, on this device (None: its own choice), after setting the CPU threads (None: as
        they are)."""


def flag(factory: TrackerFactory, name: str) -> bool:
    """One of the optional attributes of a factory."""
    return bool(getattr(factory, name, False))


@dataclass(frozen=True)
class Job:
    """One sequence in one run. ``folder``: of the run's results; ``seed``: of the run."""

    sequence: TrackingSequence
    folder: Path
    seed: int

    @property
    def name(self) -> str:
        """For messages: run folder and sequence, ``default_002/Basketball``."""
        return f"{self.folder.name}/{self.sequence.name}"

    @property
    def frame_count(self) -> int | None:
        """Frames of the sequence, as far as its source says."""
        return self.sequence.frames.frame_count

    def rows_done(self) -> int | None:
        """Rows of the boxes file; None when there is none."""
        return _rows(sequence_files(self.folder, self.sequence.name).boxes)

    def rows_wanted(self) -> int | None:
        """How many rows a whole boxes file has; None when that is not known before the tracking."""
        if isinstance(self.sequence.frames, VideoFile):  # containers often count otherwise than decoders
            return _rows(sequence_files(self.folder, self.sequence.name).times)
        return self.frame_count


def _rows(path: Path) -> int | None:
    try:
        text = path.read_bytes()
    except (FileNotFoundError, NotADirectoryError):
        return None
    return sum(1 for line in text.splitlines() if line.strip())


@dataclass(frozen=True)
class Run:
    """One pass of the tracker over the benchmark: its folder and its seed."""

    folder: Path
    seed: int


def plan_runs(
    factory: TrackerFactory, results: Path, count: int, seed: int, first: int | None = None
) -> tuple[Run, ...]:
    """Run r has the seed ``seed + r``. A single run goes to ``default``, several to ``default_000``, ...; with
    ``first`` any number of them to folders numbered from there."""
    numbers: Sequence[int | None] = (None,)
    if count > 1 or first is not None:
        numbers = range(first or 0, (first or 0) + count)
    return tuple(
        Run(run_folder(results, factory.tracker, factory.parameter, number), seed + (number or 0)) for number in numbers
    )


def plan_jobs(runs: Sequence[Run], sequences: Sequence[TrackingSequence]) -> list[Job]:
    """All jobs, run by run, so that a worker seldom needs a tracker of another seed."""
    return [Job(sequence, run.folder, run.seed) for run in runs for sequence in sequences]
