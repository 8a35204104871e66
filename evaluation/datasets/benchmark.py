"""A benchmark as found on disk."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace

from ebm_tracker.errors import EbmError
from ebm_tracker.evaluation.sequences import TrackingSequence


class BenchmarkError(EbmError):
    """A benchmark's folder is not there, holds none of its sequences, or a name is not known."""


@dataclass(frozen=True)
class Benchmark:
    """Sequences to track and to score.

    Attributes:
        name: as commands take it: "uav".
        title: as papers print it: "UAV123".
        sequences: those that are there and whole, in the official order.
        official_count: how many there should be; None where anything goes (folder, vot).
        runs: how many runs of a tracker with random parts the field averages.
        metrics: name of the flavour of scores that the field cites for it (``evaluation.scoring``).
        problems: what is missing or short, one sentence each, the sequence named; those sequences are left out.
        notes: what is odd about sequences that are used, such as rows of truth without frames.
    """

    name: str
    title: str
    sequences: tuple[TrackingSequence, ...]
    official_count: int | None
    runs: int
    metrics: str
    problems: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()

    @property
    def truth_is_secret(self) -> bool:
        """Whether only a server can score it: of no sequence more than the first box is known."""
        return all(s.truth_xywh is None or len(s.truth_xywh) <= 1 for s in self.sequences)

    def only(self, names: Iterable[str]) -> Benchmark:
        """The part with these sequences, by name, alias or number from 0 in the official order, in that order.

        Raises BenchmarkError for a name that is not there.
        """
        by_name = {s.name.lower(): s for s in reversed(self.sequences)}
        for s in self.sequences:
            for alias in s.aliases:
                by_name.setdefault(alias.lower(), s)
        chosen: dict[str, TrackingSequence] = {}
        for name in names:
            sequence = by_name.get(name.lower())
            if sequence is None and name.isdecimal() and int(name) < len(self.sequences):
                sequence = self.sequences[int(name)]
            if sequence is None:
                raise BenchmarkError(
                    f"{self.title} has no sequence {name!r} (0 to {len(self.sequences) - 1}, or a name such as "
                    f"{self.sequences[0].name if self.sequences else 'none: it is empty'})"
                )
            chosen[sequence.name] = sequence
        return replace(self, sequences=tuple(s for s in self.sequences if s.name in chosen))
