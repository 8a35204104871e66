"""Frames that cannot be read: training goes on without them, counts them, and stops when they are too many."""

from __future__ import annotations

from pathlib import Path

import torch
from torch.utils.data import get_worker_info

from ebm_tracker.errors import one_line
from ebm_tracker.training.data.sequence import DataSetError

FILE_NAME = "skipped_frames.txt"
_SLOTS = 257  # the training process and up to 256 workers


class Faults:
    """Counts over all worker processes of one rank, and a line per skipped pair in ``folder / FILE_NAME``.

    ``limit_share``, ``minimum``: :meth:`check` raises when more than ``minimum`` pairs and more than this share of
    all were skipped: one damaged video should not end a run, a missing disk should. ``folder`` None: no file; it may be
    set until workers start.

    Every process writes to a row of its own in shared memory, so none waits for another. Only PyTorch's own ways
    of starting processes share it; plain pickling makes a copy.
    """

    def __init__(self, folder: Path | None = None, limit_share: float = 0.01, minimum: int = 100) -> None:
        if not 0 <= limit_share <= 1:
            raise ValueError(f"limit_share must be in 0..1 (got {limit_share})")
        if minimum < 0:
            raise ValueError(f"minimum must be >= 0 (got {minimum})")
        self.folder, self.limit_share, self.minimum = folder, limit_share, minimum
        self._counts = torch.zeros((_SLOTS, 2), dtype=torch.int64).share_memory_()  # made, skipped

    @property
    def made(self) -> int:
        """Pairs made since this object was."""
        return int(self._counts[:, 0].sum())

    @property
    def skipped(self) -> int:
        """Pairs skipped since this object was."""
        return int(self._counts[:, 1].sum())

    def count_made(self) -> None:
        """Counts one pair."""
        self._counts[_slot(), 0] += 1

    def count_skipped(self, error: Exception) -> None:
        """Counts one pair and notes the file that it was skipped for."""
        self._counts[_slot(), 1] += 1
        if self.folder is not None:
            with (self.folder / FILE_NAME).open("a", encoding="utf-8", errors="backslashreplace") as file:
                file.write(one_line(error) + "\n")

    def report(self) -> str | None:
        """One sentence for the end of an epoch; None when nothing was skipped."""
        skipped, made = self.skipped, self.made
        if not skipped:
            return None
        where = "" if self.folder is None else f"; they are listed in {(self.folder / FILE_NAME).absolute()}"
        return f"{skipped} of {skipped + made} pairs were skipped for frames that cannot be used{where}"

    def check(self) -> None:
        """Raises DataSetError above the limit."""
        skipped, made = self.skipped, self.made
        if skipped > self.minimum and skipped > self.limit_share * (skipped + made):
            raise DataSetError(
                f"{self.report()}; training goes on below {self.minimum} of them or {100 * self.limit_share:g} %"
            )


def _slot() -> int:
    worker = get_worker_info()
    return 0 if worker is None else 1 + worker.id % (_SLOTS - 1)
