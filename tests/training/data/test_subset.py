from __future__ import annotations

from typing import Any

from ebm_tracker.training.data.subset import SubsetOf, every_nth


def test_a_subset_is_a_set_of_its_own(make_set: Any, make_video: Any) -> None:
    whole = make_set("all", [make_video(f"v{i}", [True] * i + [False]) for i in range(5)])
    part = SubsetOf(whole, [3, 1], "part")
    assert (part.name, len(part), part.is_video, part.left_out) == ("part", 2, True, {})
    assert [part[i].name for i in range(2)] == ["v3", "v1"]
    frames, visible = part.visible_counts()
    assert frames.tolist() == [4, 2] and visible.tolist() == [3, 1]


def test_every_nth_splits_without_remainder(make_set: Any, make_video: Any) -> None:
    whole = make_set("all", [make_video(f"v{i}", [True]) for i in range(7)])
    training, held_out = every_nth(whole, 3)
    assert [training[i].name for i in range(len(training))] == ["v0", "v1", "v3", "v4", "v6"]
    assert [held_out[i].name for i in range(len(held_out))] == ["v2", "v5"]
    assert (training.name, held_out.name) == ("all", "all (held out)")
