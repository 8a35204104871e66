"""From a tracker's result files to the zip that a server takes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from ebm_tracker.annotations import Boxes
from ebm_tracker.evaluation.datasets.benchmark import Benchmark
from ebm_tracker.evaluation.packing.archive import write_archive
from ebm_tracker.evaluation.packing.check import Findings, alike_note, check_members, sequences_named_by
from ebm_tracker.evaluation.packing.servers import ExpectedSequence, PackingError, Server, expected_sequences
from ebm_tracker.evaluation.result_tree import (
    ResultError,
    SequenceResult,
    TrackerResults,
    box_files_of,
    read_result,
)


@dataclass(frozen=True)
class Submission:
    """What goes into a zip: ``members``, content by name in it; ``findings``: no problems means that it is ready."""

    server: Server
    members: dict[str, bytes]
    findings: Findings


def prepare_submission(
    server: Server,
    results: TrackerResults,
    benchmark: Benchmark | None = None,
    *,
    deterministic: bool = False,
    partial: bool = False,
) -> Submission:
    """Reads and checks everything; writes nothing.

    Args:
        server: from ``server_of``.
        results: the run, or the runs, of one tracker.
        benchmark: the server's data set, for lengths and first boxes; None: these are not checked.
        deterministic: where the server wants repetitions, a single run stands for all of them.
        partial: sequences with problems are left out, where the server scores what is missing as zeros.

    Raises PackingError when there are more runs than the server takes, or ``partial`` is asked for a server that
    needs all.
    """
    if partial and not server.missing_is_zeros:
        raise PackingError(f"{server.title} takes whole submissions only, so there is no partial one")
    folders, notes = _folders_of(server, results)
    sequences = expected_sequences(server, benchmark)
    if sequences is None:
        sequences = sequences_named_by(path.name for path in folders[0].glob("*.txt"))
    single = len(folders) < server.repetitions and not any(
        len(_files_of(folders[0], sequence)) > 1 for sequence in sequences
    )
    gathered = _Gathered(server, folders, fill=single)
    for sequence in sequences:
        gathered.add(sequence)
    findings = check_members(
        server, gathered.members, sequences, shown=gathered.shown, known_problems=gathered.problems
    )
    if single and not (deterministic and len(folders) == 1):
        findings.notes[:] = [note for note in findings.notes if note != alike_note(server)]  # they are one run
        findings.problems.insert(0, _too_few_runs(server, folders))
    members = gathered.members
    if partial:
        members, findings = _without_the_bad(server, members, sequences, findings)
    findings.notes[:0] = notes
    return Submission(server, members, findings)


def write_submission(submission: Submission, path: Path) -> None:
    """Writes the zip, whole or not at all. Raises PackingError when there are problems."""
    problems = submission.findings.problems
    if problems:
        raise PackingError(f"{path} is not written, there are {len(problems)} problems: {problems[0]}")
    write_archive(path, submission.members)


def _folders_of(server: Server, results: TrackerResults) -> tuple[tuple[Path, ...], list[str]]:
    folders = results.folders
    if server.repetitions == 1 and len(folders) > 1:
        raise PackingError(
            f"{server.title} takes one run and there are {len(folders)}: name one of them, such as {folders[0]}"
        )
    if len(folders) <= server.repetitions:
        return folders, []
    used = folders[: server.repetitions]
    names = f"{used[0].name} to {used[-1].name}"
    return used, [f"there are {len(folders)} runs, of which the first {len(used)} are packed, {names}"]


def _too_few_runs(server: Server, folders: tuple[Path, ...]) -> str:
    have = str(folders[0]) if len(folders) == 1 else f"{folders[0]} to {folders[-1].name}"
    hint = ", or give --deterministic if the tracker has no random parts" if len(folders) == 1 else ""
    count = "1 run" if len(folders) == 1 else f"{len(folders)} runs"
    return f"{server.title} wants {server.repetitions} runs of each sequence and {have} is {count}: run it again{hint}"


def _files_of(folder: Path, sequence: ExpectedSequence) -> list[Path]:
    return box_files_of(folder, (sequence.name, *sequence.aliases))


@dataclass
class _Gathered:
    """The files of a submission as they are put together from those of the runs. ``fill``: where there are too few
    runs, the last stands for the missing ones."""

    server: Server
    folders: tuple[Path, ...]
    fill: bool
    members: dict[str, bytes] = field(default_factory=dict)
    shown: dict[str, str] = field(default_factory=dict)
    problems: dict[str, list[str]] = field(default_factory=dict)

    def add(self, sequence: ExpectedSequence) -> None:
        problems: list[str] = []
        results = self._read(sequence, problems)
        times = None
        if not problems and self.server.time_member(sequence.name) is not None:
            times = _times_text(results, problems)
        if problems:
            self.problems[sequence.name] = problems
            return
        for name, result in zip(self.server.box_members(sequence.name), results, strict=True):
            self.members[name] = _boxes_text(result.boxes_xywh, self.server.decimals)
            self.shown[name] = str(result.path)
        time_name = self.server.time_member(sequence.name)
        if time_name is not None and times is not None:
            self.members[time_name] = times

    def _read(self, sequence: ExpectedSequence, problems: list[str]) -> list[SequenceResult]:
        """As many results as the server wants, or problems."""
        results: list[SequenceResult] = []
        wanted = self.server.repetitions
        for folder in self.folders:
            paths = _files_of(folder, sequence)
            if not paths:
                problems.append(f"{folder / sequence.name}.txt is missing")
            for path in paths[: wanted - len(results)]:
                try:
                    results.append(read_result(path, sequence.init_box_xywh))
                except ResultError as error:
                    problems.append(str(error))
        if not problems and len(results) < wanted and not self.fill:
            problems.append(f"{sequence.name}: {len(results)} of {wanted} repetitions in {self.folders[0]}")
        return results + results[-1:] * (wanted - len(results))


def _boxes_text(boxes_xywh: Boxes, decimals: int) -> bytes:
    rows = (",".join(f"{value:.{decimals}f}" for value in row) for row in boxes_xywh.tolist())
    return "".join(f"{row}\n" for row in rows).encode("ascii")


def _times_text(results: Sequence[SequenceResult], problems: list[str]) -> bytes | None:
    """One row for each frame, one column for each repetition; None, with a problem, where times are missing."""
    columns = []
    for result in results:
        if result.seconds is not None:
            columns.append(result.seconds)
            continue
        text = result.times_problem or f"{result.path} has no times beside it, which the server wants"
        if text not in problems:  # the repetitions of a deterministic tracker are one file
            problems.append(text)
    if problems:
        return None
    if len({len(column) for column in columns}) > 1:
        lengths = ", ".join(str(len(column)) for column in columns)
        problems.append(f"{results[0].path} and its repetitions have times of different length ({lengths})")
        return None
    rows = np.stack(columns, axis=1).tolist()
    return "".join(",".join(f"{value:.8f}" for value in row) + "\n" for row in rows).encode("ascii")


def _without_the_bad(
    server: Server, members: dict[str, bytes], sequences: Sequence[ExpectedSequence], findings: Findings
) -> tuple[dict[str, bytes], Findings]:
    """What is left without the wrong sequences; their problems become notes."""
    good = [sequence for sequence in sequences if sequence.name not in findings.bad]
    kept = {name: members[name] for sequence in good for name in server.box_members(sequence.name)}
    left = Findings(sequences=findings.sequences, rows=findings.rows)
    left.notes = [f"left out: {problem}" for problem in findings.problems] + findings.notes
    missing = server.sequence_count - len(good)
    if missing:
        left.notes.append(f"{missing} of {server.sequence_count} sequences are not in it and will be scored as zeros")
    if not good:
        left.problems = [*findings.problems, "there is no sequence left to pack"]
    return kept, left
