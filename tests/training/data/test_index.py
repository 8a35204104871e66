"""What readers fill."""

from __future__ import annotations

import numpy as np
import pytest

from ebm_tracker.training.data.index import MAX_NOTES, IndexBuilder


def test_notes_are_limited_and_counts_are_not() -> None:
    builder = IndexBuilder("made", show_progress=False)
    for i in range(300):
        builder.leave_out("small", f"box {i}")
    index = builder.finish()
    assert index.left_out == {"small": 300} and len(index.notes) == MAX_NOTES


def test_rows_belong_to_their_sequences() -> None:
    builder = IndexBuilder("made", show_progress=False)
    lengths = [3, 1, 4]
    for i, length in enumerate(lengths):
        builder.add(f"v{i}", f"p/v{i}", np.full((length, 4), i + 0.5), np.arange(length) > 0)
    index = builder.finish()
    assert [index.frames(i) for i in range(3)] == [slice(0, 3), slice(3, 4), slice(4, 8)]
    assert index.boxes_xywh[:, 0].tolist() == [0.5] * 3 + [1.5] + [2.5] * 4
    assert index.visible_counts.tolist() == [2, 0, 3]
    assert (index.name(2), index.place(2)) == ("v2", "p/v2")


def test_rows_and_flags_must_be_as_many() -> None:
    with pytest.raises(AssertionError):
        IndexBuilder("made", show_progress=False).add("v", "p", np.ones((3, 4)), np.ones(2, bool))
