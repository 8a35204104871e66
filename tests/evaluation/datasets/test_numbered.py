"""Numbered images as a stream."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import numpy as np

from ebm_tracker.evaluation.datasets.numbered import ListedFrames, NumberedFrames


def levels(frames: NumberedFrames | ListedFrames) -> list[int | None]:
    return [None if frame is None else int(frame[0, 0, 0]) for frame in frames]


def test_frames_come_in_the_order_of_their_numbers(tree: Any) -> None:
    for number in range(8, 13):
        tree.picture(f"{number}.png", 10 * number)
    frames = NumberedFrames(tree.root, "%d.png", 8, 5)
    assert levels(frames) == [80, 90, 100, 110, 120]
    assert levels(frames) == [80, 90, 100, 110, 120]  # again
    assert (frames.frame_count, frames.bad_frames, frames.name) == (5, 0, "set")
    assert frames.paths[0] == tree.root / "8.png" and len(frames.paths) == 5


def test_missing_and_damaged_images_are_none_and_counted(tree: Any) -> None:
    for number in (1, 2, 5):
        tree.picture(f"{number:04d}.png", 50)
    tree.text("0003.png", b"\x89PNG and no more")
    frames = NumberedFrames(tree.root, "%04d.png", 1, 5)
    assert levels(frames) == [50, 50, None, None, 50]
    assert frames.bad_frames == 2
    tree.picture("0003.png", 60)
    tree.picture("0004.png", 60)
    assert levels(frames) == [50, 50, 60, 60, 50] and frames.bad_frames == 0


def test_nothing_is_looked_up_before_a_frame_is_asked_for() -> None:
    frames = NumberedFrames("/nowhere/at/all", "%06d.jpg", 1, 3_000_000, "uav_x", 30.0)
    assert (frames.frame_count, frames.frames_per_second) == (3_000_000, 30.0)
    assert next(iter(NumberedFrames("/nowhere", "%d.jpg", 1, 2))) is None


def test_pickles_small_and_whole(tree: Any) -> None:
    tree.picture("00000007.png", 70)
    frames = NumberedFrames(tree.root, "%08d.png", 7, 1, "a", 10.0)
    data = pickle.dumps(frames)
    assert len(data) < 1000
    copy = pickle.loads(data)
    assert (copy.name, copy.frames_per_second, copy.frame_count) == ("a", 10.0, 1)
    assert np.array_equal(next(iter(copy)), next(iter(frames)))
    listed = pickle.loads(pickle.dumps(ListedFrames(tree.root, ["00000007.png"], "b")))
    assert levels(listed) == [70] and listed.name == "b"


def test_listed_frames(tree: Any) -> None:
    tree.picture("x.png", 30)
    tree.picture("y.png", 40)
    frames = ListedFrames(tree.root, ["y.png", "gone.png", "x.png"])
    assert levels(frames) == [40, None, 30]
    assert (frames.frame_count, frames.bad_frames, frames.name) == (3, 1, "set")
    assert frames.paths == [Path(tree.root, name) for name in ("y.png", "gone.png", "x.png")]
