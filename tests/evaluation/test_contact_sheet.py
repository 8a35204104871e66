"""Which frames the sheet shows and how the curve is laid out."""

from __future__ import annotations

import numpy as np
import pytest

from ebm_tracker.drawing import STATUS_COLORS
from ebm_tracker.evaluation.contact_sheet import (
    Snapshots,
    contact_sheet,
    frame_ticks,
    score_curve,
    status_runs,
)
from ebm_tracker.evaluation.runner import Step

FRAME = np.zeros((12, 16, 3), np.uint8)


def kept_indices(frames: int, missing: frozenset[int] = frozenset()) -> list[int]:
    snapshots = Snapshots()
    for index in range(frames):
        frame = None if index in missing else FRAME
        snapshots.add(Step(index, frame, (1, 1, 5, 5), 0.5, "tracked", 0.01))
        assert len(snapshots._kept) <= 32
    return [snapshot.index for snapshot in snapshots.spread()]


@pytest.mark.parametrize("frames", [0, 1, 5, 8])
def test_short_tracks_are_shown_whole(frames: int) -> None:
    assert kept_indices(frames) == list(range(frames))


@pytest.mark.parametrize("frames", [9, 33, 64, 100, 1000, 4097])
def test_long_tracks_are_spread_evenly(frames: int) -> None:
    indices = kept_indices(frames)
    assert len(indices) == 8
    assert (indices[0], indices[-1]) == (0, frames - 1)
    even = (frames - 1) / 7
    assert np.abs(np.array(indices) - even * np.arange(8)).max() <= max(even / 4, 1)


def test_missing_frames_are_passed_over() -> None:
    assert kept_indices(6, frozenset({2, 5})) == [0, 1, 3, 4]


def test_runs() -> None:
    assert status_runs([]) == []
    assert status_runs(["a", "a", "b", "a"]) == [(0, 2, "a"), (2, 3, "b"), (3, 4, "a")]


@pytest.mark.parametrize(("frames", "step"), [(1, 1), (11, 1), (12, 2), (120, 20), (1000, 100), (5000, 500)])
def test_ticks_are_round_and_few(frames: int, step: int) -> None:
    ticks = frame_ticks(frames)
    assert ticks == list(range(0, frames, step))
    assert len(ticks) <= 11


def test_bands_have_the_colours_of_the_statuses() -> None:
    statuses = ["tracked"] * 50 + ["uncertain"] * 25 + ["lost"] * 25
    curve = np.asarray(score_curve([0.9] * 100, statuses, (1000, 200)))
    strip = curve[200 - 44 + 4]  # the solid strip below the bands
    for status, x in (("tracked", 200), ("uncertain", 600), ("lost", 900)):
        inside = 46 + x / 1000 * (1000 - 54)
        np.testing.assert_allclose(strip[round(inside)], STATUS_COLORS[status], atol=3)


def test_one_lost_frame_of_thousands_is_seen() -> None:
    statuses = ["tracked"] * 5000
    statuses[2500] = "lost"
    curve = np.asarray(score_curve([0.9] * 5000, statuses, (1000, 200))).astype(int)
    strip = curve[200 - 44 + 4, 46:990]
    assert (strip[:, 0] - strip[:, 1]).max() > 50


@pytest.mark.parametrize("frames", [0, 1, 3, 20])
def test_sheet_of_any_length(frames: int) -> None:
    snapshots = Snapshots()
    for index in range(frames):
        snapshots.add(Step(index, FRAME, (1, 1, 5, 5), 0.5, "tracked", 0.01))
    sheet = contact_sheet(snapshots.spread(), [0.5] * frames, ["tracked"] * frames, "title", "facts", True)
    assert sheet.width == 1758


def test_not_finite_scores_can_be_drawn() -> None:
    assert score_curve([0.5, float("nan"), 2.0, float("inf")], ["lost"] * 4, (300, 100)).size == (300, 100)
