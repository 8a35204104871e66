"""The bootstrap where its answer is known: equal differences, two sequences, many normal ones."""

from __future__ import annotations

import math

import numpy as np
import pytest

from ebm_tracker.evaluation.bootstrap import _student, bootstrap_difference
from ebm_tracker.evaluation.scoring import Curves, ScoringError, SequenceScores, TrackerScores

STRETCH_OF_TWO = math.sqrt(2) * 12.7062 / 1.95996


def tracker(
    values: dict[str, float], frames: dict[str, int] | None = None, missing: tuple[str, ...] = ()
) -> TrackerScores:
    curves = Curves(np.zeros(21))
    lengths = frames or {}
    sequences = {
        name: SequenceScores(name, {"AUC": value}, curves, lengths.get(name, 10), np.zeros(10))
        for name, value in values.items()
    }
    weights = [s.frames if frames else 1 for s in sequences.values()]
    mean = float(np.average(list(values.values()), weights=weights))
    return TrackerScores(
        "t", {"AUC": mean}, curves, sequences, 1, ({"AUC": mean},), missing, (), None, len(values), bool(frames)
    )


def named(values: object) -> dict[str, float]:
    return {f"s{number}": float(value) for number, value in enumerate(np.asarray(values).tolist())}


def test_equal_differences_leave_no_doubt() -> None:
    a = named([10, 20, 30, 40])
    found = bootstrap_difference(tracker(a), tracker({name: value + 2 for name, value in a.items()}), "AUC")
    assert (found.mean, found.low, found.high) == pytest.approx((2, 2, 2))
    assert found.share_positive == 1
    assert found.per_sequence == pytest.approx(dict.fromkeys(a, 2.0))


def test_the_same_tracker_is_a_tie() -> None:
    rng = np.random.default_rng(0)
    a = tracker(named(rng.uniform(0, 100, 30)))
    found = bootstrap_difference(a, a, "AUC")
    assert (found.mean, found.low, found.high, found.share_positive) == (0, 0, 0, 0.5)


def test_two_sequences() -> None:
    # The drawn means are -1, 1 and 3, in 1, 2 and 1 of 4 draws.
    found = bootstrap_difference(tracker(named([50, 50])), tracker(named([49, 53])), "AUC")
    assert found.mean == pytest.approx(1)
    assert found.low == pytest.approx(1 - 2 * STRETCH_OF_TWO, abs=1e-3)
    assert found.high == pytest.approx(1 + 2 * STRETCH_OF_TWO, abs=1e-3)
    assert found.share_positive == pytest.approx(0.75, abs=0.02)


def test_one_sequence_says_nothing() -> None:
    found = bootstrap_difference(tracker(named([50])), tracker(named([60])), "AUC")
    assert (found.mean, found.low, found.high) == (10, -100, 100)


def test_the_interval_ends_where_figures_do() -> None:
    found = bootstrap_difference(tracker(named([0, 90])), tracker(named([90, 0])), "AUC")
    assert (found.mean, found.low, found.high) == (0, -100, 100)


def test_many_normal_differences() -> None:
    n = 400
    rng = np.random.default_rng(1)
    a = rng.uniform(30, 70, n)
    b = a + rng.normal(0.5, 3, n)
    found = bootstrap_difference(tracker(named(a)), tracker(named(b)), "AUC", seed=3)
    spread = (b - a).std(ddof=1) / math.sqrt(n)
    assert found.mean == pytest.approx((b - a).mean())
    assert found.low == pytest.approx(found.mean - 1.966 * spread, abs=0.05 * spread)
    assert found.high == pytest.approx(found.mean + 1.966 * spread, abs=0.05 * spread)
    tail = 0.5 * math.erfc(found.mean / spread / math.sqrt(2))
    assert found.share_positive == pytest.approx(1 - tail, abs=0.01)


def test_paired_and_turned_round() -> None:
    # The sequences differ far more than the trackers do on each.
    rng = np.random.default_rng(2)
    a = rng.uniform(0, 90, 40)
    b = a + rng.normal(1, 0.5, 40)
    found = bootstrap_difference(tracker(named(a)), tracker(named(b)), "AUC")
    assert 0.7 < found.low < found.mean < found.high < 1.3 and found.share_positive == 1
    back = bootstrap_difference(tracker(named(b)), tracker(named(a)), "AUC")
    assert (back.mean, back.low, back.high) == pytest.approx((-found.mean, -found.high, -found.low))
    assert back.share_positive == 0


def test_seed() -> None:
    rng = np.random.default_rng(4)
    a, b = (tracker(named(rng.uniform(0, 100, 12))) for _ in range(2))
    first, again, other = (bootstrap_difference(a, b, "AUC", 500, seed) for seed in (1, 1, 2))
    assert first == again and first.low != other.low


def test_drawing_in_parts_gives_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(5)
    a, b = (tracker(named(rng.uniform(0, 100, 12))) for _ in range(2))
    whole = bootstrap_difference(a, b, "AUC", 1001)
    monkeypatch.setattr("ebm_tracker.evaluation.bootstrap._NUMBERS_AT_ONCE", 1200)
    assert bootstrap_difference(a, b, "AUC", 1001) == whole


def test_frames_weigh_the_same_where_the_figure_pools_them() -> None:
    frames = {"s0": 30, "s1": 10}
    a, b = tracker(named([10, 10]), frames), tracker(named([14, 18]), frames)
    found = bootstrap_difference(a, b, "AUC")
    assert found.mean == pytest.approx(5) == pytest.approx(b.figures["AUC"] - a.figures["AUC"])
    assert found.low == pytest.approx(5 - STRETCH_OF_TWO, abs=1e-3)
    assert found.high == pytest.approx(5 + 3 * STRETCH_OF_TWO, abs=1e-3)


def test_only_what_both_have() -> None:
    a = tracker({"x": 10, "y": 20, "only_a": 30, "lost": 0}, missing=("lost",))
    b = tracker({"only_b": 1, "y": 21, "x": 12, "lost": 5})
    found = bootstrap_difference(a, b, "AUC")
    assert found.per_sequence == {"x": 2, "y": 1} and list(found.per_sequence) == ["x", "y"]
    with pytest.raises(ScoringError, match="no sequence in common"):
        bootstrap_difference(a, tracker({"z": 1}), "AUC")


def test_bad_arguments() -> None:
    a = tracker(named([1, 2]))
    with pytest.raises(ValueError, match="figure must be one of AUC"):
        bootstrap_difference(a, a, "EAO")
    with pytest.raises(ValueError, match="resamples must be at least 1"):
        bootstrap_difference(a, a, "AUC", 0)


@pytest.mark.parametrize(
    ("degrees", "expected"), [(1, 12.7062), (10, 2.2281), (11, 2.2010), (20, 2.0860), (60, 2.0003), (1000, 1.9623)]
)
def test_students_distribution(degrees: int, expected: float) -> None:
    assert _student(degrees) == pytest.approx(expected, abs=2e-4)
