"""Whether the files of a submission are what the server takes: the same for a zip that is about to be written and for
one that anybody wrote."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from ebm_tracker.evaluation.packing.rows import Rows, box_problems, parse_rows, time_problems
from ebm_tracker.evaluation.packing.servers import ExpectedSequence, Server

_OTHER_ENDS = ("_time.txt", "_object_presence_scores.txt", "_failed.txt")


@dataclass
class Findings:
    """What is wrong and what is worth knowing, one sentence each.

    Attributes:
        problems: reasons for the server to refuse the submission or to misread it.
        notes: what was not checked, or is unusual.
        bad: names of the sequences with problems.
        sequences: how many are there and right.
        rows: boxes in those, one repetition counted.
    """

    problems: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    bad: set[str] = field(default_factory=set)
    sequences: int = 0
    rows: int = 0


def sequences_named_by(file_names: Iterable[str]) -> tuple[ExpectedSequence, ...]:
    """A sequence for each file of boxes among these names, for a server whose sequences are not known here."""
    names = sorted(n for n in file_names if n.endswith(".txt") and not n.endswith(_OTHER_ENDS) and n[0] != ".")
    return tuple(ExpectedSequence(name.removesuffix(".txt")) for name in names if "/" not in name)


def check_members(
    server: Server,
    members: Mapping[str, bytes],
    sequences: Sequence[ExpectedSequence],
    *,
    shown: Mapping[str, str] | None = None,
    known_problems: Mapping[str, Sequence[str]] | None = None,
) -> Findings:
    """Checks the files of a submission, by their names in the zip, and lists all problems.

    Args:
        server: whose format it is.
        members: content by name in the zip.
        sequences: those that must be there.
        shown: how messages call a file, where not by its name in the zip.
        known_problems: of sequences, by name, that are known to be wrong: listed in place of a check.
    """
    found = Findings()
    if len(sequences) != server.sequence_count:
        found.problems.append(
            f"there are {len(sequences)} sequences, but {server.title} has {server.sequence_count}"
        )
    taken: set[str] = set()
    alike = 0
    for sequence in sequences:
        names = server.box_members(sequence.name)
        taken |= {*names, server.time_member(sequence.name) or ""}
        reader = _Reader(members, shown or {}, list((known_problems or {}).get(sequence.name, ())))
        frames = None if reader.problems else _check_sequence(server, reader, sequence)
        found.problems += reader.problems
        if reader.problems:
            found.bad.add(sequence.name)
        else:
            found.sequences += 1
            found.rows += frames or 0
        alike += len(names) > 1 and len({members.get(name, name.encode()) for name in names}) == 1
    found.problems += [f"{name} does not belong here" for name in sorted(set(members) - taken)]
    found.notes += _unchecked(sequences)
    if alike and alike == len(sequences):
        found.notes.append(alike_note(server))
    return found


def alike_note(server: Server) -> str:
    """What is said of repetitions that do not differ."""
    count = server.repetitions
    return f"the {count} repetitions are equal everywhere, as only those of a tracker without random parts are"


@dataclass
class _Reader:
    members: Mapping[str, bytes]
    shown: Mapping[str, str]
    problems: list[str]

    def rows(self, name: str, columns: tuple[int, ...]) -> Rows | None:
        if name not in self.members:
            self.problems.append(f"{self.shown.get(name, name)} is missing")
            return None
        rows, problem = parse_rows(self.members[name], columns)
        if problem is not None:
            self.complain(name, problem)
        return rows

    def complain(self, name: str, problem: str) -> None:
        self.problems.append(f"{self.shown.get(name, name)} {problem}")


def _check_sequence(server: Server, reader: _Reader, sequence: ExpectedSequence) -> int | None:
    """The number of rows of the first readable repetition; None without one."""
    frames = sequence.frames
    rows_seen: int | None = None
    for name in server.box_members(sequence.name):
        boxes = reader.rows(name, (4,))
        if boxes is None:
            continue
        if frames is None and rows_seen is not None and len(boxes) != rows_seen:
            reader.complain(name, f"has {len(boxes)} rows, where an earlier repetition has {rows_seen}")
        rows_seen = rows_seen or len(boxes)
        for problem in box_problems(boxes, frames, sequence.init_box_xywh):
            reader.complain(name, problem)
    time_name = server.time_member(sequence.name)
    if time_name is not None:
        times = reader.rows(time_name, (1, server.repetitions))
        if times is not None:
            for problem in time_problems(times, frames or rows_seen):
                reader.complain(time_name, problem)
    return rows_seen


def _unchecked(sequences: Sequence[ExpectedSequence]) -> list[str]:
    unknown = [sequence.name for sequence in sequences if sequence.frames is None]
    if not unknown:
        return []
    if len(unknown) == len(sequences):
        return ["without the data set, rows against frames and first boxes were not checked"]
    return [f"rows against frames and first boxes were not checked for what the data set lacks: {', '.join(unknown)}"]
