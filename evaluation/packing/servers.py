"""What the evaluation servers of TrackingNet and GOT-10k take."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from ebm_tracker.errors import EbmError
from ebm_tracker.evaluation.datasets.benchmark import Benchmark
from ebm_tracker.evaluation.datasets.registry import dataset_of
from ebm_tracker.evaluation.sequences import BoxXYWH


class PackingError(EbmError):
    """There is no such server, or a submission cannot be written or read; the message says which and why."""


@dataclass(frozen=True)
class Server:
    """One server's format.

    Attributes:
        name: as commands take it, "trackingnet" or "got10k".
        dataset: name of the data set (``evaluation.datasets.registry``) that it judges.
        title: for people.
        sequence_count: how many sequences a submission holds.
        repetitions: files of boxes for each sequence; with more than one, the files of a sequence lie in a folder of
            its name, with a file of times beside them.
        decimals: of the boxes' numbers when we write them.
        missing_is_zeros: a missing file is no reason for the server to refuse the rest.
    """

    name: str
    dataset: str
    title: str
    sequence_count: int
    repetitions: int
    decimals: int
    missing_is_zeros: bool

    def box_members(self, sequence: str) -> tuple[str, ...]:
        """Names in the zip of the sequence's files of boxes."""
        if self.repetitions == 1:
            return (f"{sequence}.txt",)
        return tuple(f"{sequence}/{sequence}_{k:03d}.txt" for k in range(1, self.repetitions + 1))

    def time_member(self, sequence: str) -> str | None:
        """Name in the zip of the sequence's file of times; None where there is none."""
        return None if self.repetitions == 1 else f"{sequence}/{sequence}_time.txt"


@dataclass(frozen=True)
class ExpectedSequence:
    """A sequence that a submission must hold. ``frames`` and ``init_box_xywh`` (pixels) are None when the data set is
    not at hand."""

    name: str
    aliases: tuple[str, ...] = ()
    frames: int | None = None
    init_box_xywh: BoxXYWH | None = None


SERVER_NAMES = ("trackingnet", "got10k")


def server_of(name: str) -> Server:
    """The server of that name. Raises PackingError, listing the known ones."""
    if name == "trackingnet":
        return Server(name, "trackingnet", "TrackingNet", _count_of("trackingnet"), 1, 2, True)
    if name == "got10k":
        return Server(name, "got10k_test", "GOT-10k", _count_of("got10k_test"), 3, 4, False)
    raise PackingError(f"the servers are {' and '.join(SERVER_NAMES)} (got {name!r})")


def _count_of(dataset: str) -> int:
    count: int | None = dataset_of(dataset).official_count
    assert count is not None
    return count


def expected_sequences(server: Server, benchmark: Benchmark | None) -> tuple[ExpectedSequence, ...] | None:
    """All sequences by name, with lengths and first boxes as far as the data set is at hand.

    None when the names are not known either: TrackingNet's are those of its files.
    """
    known = {} if benchmark is None else {s.name: s for s in benchmark.sequences}
    names: Iterable[str] = known
    if server.name == "got10k":
        names = [f"GOT-10k_Test_{k:06d}" for k in range(1, server.sequence_count + 1)]
    elif len(known) != server.sequence_count:
        return None
    return tuple(
        ExpectedSequence(name, known[name].aliases, known[name].frames.frame_count, known[name].init_box_xywh)
        if name in known
        else ExpectedSequence(name)
        for name in names
    )
