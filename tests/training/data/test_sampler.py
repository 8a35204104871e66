from __future__ import annotations

import math
from collections import Counter
from typing import Any

import numpy as np
import pytest

from ebm_tracker.training.data.sampler import PairSampler, SamplerSettings
from ebm_tracker.training.data.sequence import DataSetError, FrameReadError

ALL = [True] * 20


def draws(sampler: PairSampler, count: int, seed: int = 0) -> list[tuple[str, int, int]]:
    rng = np.random.default_rng(seed)
    pairs = [sampler.draw(rng) for _ in range(count)]
    return [(pair.video.name, pair.reference_index, pair.test_index) for pair in pairs]


def near(count: int, total: int, share: float) -> bool:
    """Within five standard deviations."""
    return abs(count - total * share) <= 5 * math.sqrt(total * share * (1 - share))


def exact_distribution(visible: list[bool], gap: int) -> dict[tuple[int, int], float]:
    """By enumeration: base uniform among the visible, test uniform among the visible of [base - gap, base + gap)."""
    shown = [i for i, v in enumerate(visible) if v]
    shares: dict[tuple[int, int], float] = {}
    for base in shown:
        within = [i for i in range(base - gap, base + gap) if i in shown]
        for test in within:
            shares[base, test] = 1 / len(shown) / len(within)
    return shares


def test_weights_are_shares_of_the_data_sets_whatever_their_sizes(make_set: Any, make_video: Any) -> None:
    large = make_set("large", [make_video(f"large{i}", ALL) for i in range(7)])
    small = make_set("small", [make_video("small0", ALL)])
    unused = make_set("unused", [make_video("unused0", [True])])  # not eligible, which is no error at weight 0
    total = 6000
    counts = Counter(name for name, *_ in draws(PairSampler([large, unused, small], [1, 0, 3]), total))
    assert near(counts["small0"], total, 0.75)
    assert all(near(counts[f"large{i}"], total, 0.25 / 7) for i in range(7))
    assert sum(counts.values()) == total and counts["unused0"] == 0


def test_frames_follow_the_enumerated_distribution(make_set: Any, make_video: Any) -> None:
    visible = [i not in (0, 4, 5, 6, 13) for i in range(20)]
    sampler = PairSampler([make_set("set", [make_video("v", visible)])], [1], SamplerSettings(max_gap=3))
    total = 60_000
    counts = Counter((base, test) for _, base, test in draws(sampler, total))
    expected = exact_distribution(visible, 3)
    assert sum(expected.values()) == pytest.approx(1)
    assert set(counts) == set(expected)  # the base itself is among them, base + gap is not
    assert all(near(counts[pair], total, share) for pair, share in expected.items())
    assert (10, 7) in expected and (10, 13) not in expected and (10, 10) in expected


def test_gap_is_widened_by_five_until_a_frame_is_found(make_set: Any, make_video: Any) -> None:
    sampler = PairSampler([make_set("set", [make_video("v", [True] * 30)])], [1], SamplerSettings(max_gap=0))
    offsets = Counter(test - base for _, base, test in draws(sampler, 4000) if 5 <= base < 25)
    assert set(offsets) == set(range(-5, 5))


def test_widening_can_take_several_rounds(make_set: Any, make_video: Any) -> None:
    settings = SamplerSettings(max_gap=0, widen_by=1)
    sampler = PairSampler([make_set("set", [make_video("v", ALL)])], [1], settings)
    assert {test - base for _, base, test in draws(sampler, 2000)} == {-1, 0}


@pytest.mark.parametrize(
    ("visible", "eligible"),
    [
        ([True] * 5 + [False] * 15, True),  # 5 of 20: just enough
        ([True] * 4 + [False] * 16, False),
        ([True] * 19, False),
    ],
)
def test_which_videos_are_eligible(visible: list[bool], eligible: bool, make_set: Any, make_video: Any) -> None:
    made = make_set("set", [make_video("sure", ALL), make_video("maybe", visible)])
    sampler = PairSampler([made], [1])
    assert sampler.eligible_counts == {"set": 1 + eligible}
    assert ({name for name, *_ in draws(sampler, 200)} == {"sure", "maybe"}) == eligible


def test_images_show_one_frame_twice_and_skip_the_rule_for_videos(make_set: Any, make_video: Any) -> None:
    images = make_set("coco", [make_video("a", [True]), make_video("gone", [False]), make_video("b", [True])], False)
    sampler = PairSampler([images], [1])
    found = draws(sampler, 100)
    assert {name for name, *_ in found} == {"a", "b"}
    assert all(base == test == 0 for _, base, test in found)


def test_a_set_without_eligible_videos_is_named(make_set: Any, make_video: Any) -> None:
    sets = [make_set("good", [make_video("v", ALL)]), make_set("LaSOT", [make_video("v", [True] * 19)])]
    with pytest.raises(DataSetError, match="LaSOT: none of its 1 sequences.*20 frames, 5 of them visible"):
        PairSampler(sets, [1, 1])
    with pytest.raises(DataSetError, match="coco: none of its 0 sequences"):
        PairSampler([make_set("coco", [], is_video=False)], [1])


def test_a_stale_index_is_a_reading_failure(make_set: Any, make_video: Any) -> None:
    made = make_set("set", [make_video("v", ALL)])
    sampler = PairSampler([made], [1])
    made.videos = [make_video("v", [False] * 20)]
    with pytest.raises(FrameReadError, match="set, v: no visible frame"):
        sampler.draw(np.random.default_rng(0))


def test_a_draw_depends_on_its_generator_alone(make_set: Any, make_video: Any) -> None:
    sampler = PairSampler([make_set("set", [make_video(f"v{i}", [True] * 300) for i in range(9)])], [1])
    first = [draws(sampler, 1, seed) for seed in range(20)]
    assert [draws(sampler, 1, seed) for seed in reversed(range(20))] == first[::-1]
    assert len({tuple(f) for f in first}) > 10


@pytest.mark.parametrize(
    ("weights", "message"),
    [
        ([1.0], "one number per data set .got 1 for 2 sets"),
        ([1.0, -1.0], "that of b must be finite and >= 0 .got -1"),
        ([math.nan, 1.0], "that of a must be finite"),
        ([0.0, 0.0], "at least one must be above 0"),
    ],
)
def test_bad_weights(weights: list[float], message: str, make_set: Any, make_video: Any) -> None:
    sets = [make_set("a", [make_video("v", ALL)]), make_set("b", [make_video("v", ALL)])]
    with pytest.raises(ValueError, match=message):
        PairSampler(sets, weights)


@pytest.mark.parametrize(("field", "value"), [("max_gap", -1), ("widen_by", 0), ("min_frames", 0), ("min_visible", 0)])
def test_bad_settings(field: str, value: int) -> None:
    with pytest.raises(ValueError, match=rf"{field} must be >= {value + 1} \(got {value}\)"):
        SamplerSettings(**{field: value})
