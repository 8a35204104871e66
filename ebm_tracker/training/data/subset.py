"""Some of the sequences of a data set."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from ebm_tracker.training.data.sequence import AnnotatedVideo, SequenceSet


class SubsetOf:
    """The sequences of ``whole`` with these numbers, in this order; a SequenceSet too."""

    def __init__(self, whole: SequenceSet, numbers: Sequence[int], name: str) -> None:
        self.whole, self.name = whole, name
        self.is_video = whole.is_video
        self.left_out: Mapping[str, int] = whole.left_out
        self.numbers = np.asarray(numbers, np.int64)

    def __len__(self) -> int:
        return len(self.numbers)

    def __getitem__(self, index: int) -> AnnotatedVideo:
        return self.whole[int(self.numbers[index])]

    def visible_counts(self) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Frames and visible frames of the chosen sequences."""
        frames, visible = self.whole.visible_counts()
        return frames[self.numbers], visible[self.numbers]


def every_nth(whole: SequenceSet, step: int) -> tuple[SubsetOf, SubsetOf]:
    """(all but every ``step``-th sequence, those), for training and for scoring: the same split every time."""
    held_out = np.arange(len(whole)) % step == step - 1
    return (
        SubsetOf(whole, np.flatnonzero(~held_out).tolist(), whole.name),
        SubsetOf(whole, np.flatnonzero(held_out).tolist(), f"{whole.name} (held out)"),
    )
