from __future__ import annotations

import math

import pytest

from ebm_tracker.training.loop_settings import LoopSettings
from ebm_tracker.training.schedule import cosine_factor, step_factor, warm_up


def test_steps_after_a_warm_up() -> None:
    settings = LoopSettings(steps=100, learning_rate=0.5, milestones=(10, 20), decay=0.2, warmup=4)
    rates = {step: settings.learning_rate_at(step) for step in (0, 1, 3, 4, 9, 10, 19, 20, 99)}
    assert rates == pytest.approx({0: 0.1, 1: 0.2, 3: 0.4, 4: 0.5, 9: 0.5, 10: 0.1, 19: 0.1, 20: 0.02, 99: 0.02})
    assert LoopSettings(steps=5, learning_rate=0.5).learning_rate_at(0) == 0.5


def test_schedule_of_the_paper() -> None:
    """PROTOCOL 4.4: epochs 1-15 1e-3, 16-30 2e-4, 31-45 4e-5, 46-50 8e-6, of 1,000 steps each."""
    settings = LoopSettings(steps=50_000, learning_rate=1e-3, milestones=(15_000, 30_000, 45_000), decay=0.2)
    expected = {0: 1e-3, 14_999: 1e-3, 15_000: 2e-4, 29_999: 2e-4, 30_000: 4e-5, 44_999: 4e-5, 45_000: 8e-6}
    assert {step: settings.learning_rate_at(step) for step in expected} == pytest.approx(expected)


def test_cosine_ends_at_its_floor() -> None:
    settings = LoopSettings(steps=13, learning_rate=0.5, schedule="cosine", floor=0.1)
    rates = [settings.learning_rate_at(step) for step in range(13)]
    assert rates[0] == 0.5 and rates[12] == pytest.approx(0.05)
    assert rates[6] == pytest.approx((0.5 + 0.05) / 2)
    assert rates[4] == pytest.approx(0.05 + 0.45 * 0.75)  # a third: (1 + cos 60) / 2 = 3/4
    assert rates == sorted(rates, reverse=True)


def test_cosine_starts_after_the_warm_up() -> None:
    settings = LoopSettings(steps=11, learning_rate=1.0, schedule="cosine", warmup=2)
    rates = [settings.learning_rate_at(step) for step in range(11)]
    assert rates[:3] == pytest.approx([1 / 3, 2 / 3, 1])
    assert rates[4] == pytest.approx((1 + math.cos(math.pi / 4)) / 2)
    assert rates[10] == pytest.approx(0, abs=1e-15)


def test_factors_alone() -> None:
    assert [warm_up(step, 0) for step in (0, 9)] == [1, 1]


def test_a_warm_up_from_a_third() -> None:
    """As maskrcnn-benchmark's: a third of the rate at step 0, all of it from step ``warmup`` on."""
    settings = LoopSettings(steps=100, learning_rate=0.3, warmup=4, warmup_from=1 / 3)
    rates = [settings.learning_rate_at(step) for step in range(6)]
    assert rates == pytest.approx([0.1, 0.15, 0.2, 0.25, 0.3, 0.3])
    assert warm_up(0, 0, 1 / 3) == 1
    with pytest.raises(ValueError, match=r"warmup_from must lie between 0 and 1 \(got 1.5\)"):
        LoopSettings(steps=1, warmup_from=1.5)
    assert step_factor(7, (), 0.1) == 1
    assert step_factor(7, (7, 8), 0.1) == pytest.approx(0.1)
    assert cosine_factor(0, 1, 0.3) == 1  # a run of one step
    assert cosine_factor(50, 11, 0.3) == pytest.approx(0.3)  # beyond the end


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"schedule": "linear"}, "schedule must be one of steps, cosine .got 'linear'"),
        ({"precision": "half"}, "precision must be one of float32, bfloat16, float16 .got 'half'"),
        ({"batch_size": 0}, "batch_size must be at least 1 .got 0"),
        ({"accumulation": 0}, "accumulation must be at least 1"),
        ({"log_every": -1}, "log_every must be at least 0 .got -1"),
        ({"clip_norm": -1.0}, "clip_norm must be at least 0"),
    ],
)
def test_settings_that_make_no_sense_are_refused(change: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        LoopSettings(steps=5, **change)  # type: ignore[arg-type]


def test_what_is_due() -> None:
    settings = LoopSettings(steps=10)
    assert [step for step in range(1, 11) if settings.is_due(4, step)] == [4, 8, 10]
    assert [step for step in range(1, 11) if settings.is_due(0, step)] == [10]


def test_steps_decide_under_a_cosine_only() -> None:
    assert "steps" not in LoopSettings(steps=5).deciding()
    assert LoopSettings(steps=5, schedule="cosine").deciding()["steps"] == 5
    assert "workers" not in LoopSettings(steps=5).deciding()
    assert {"batch_size", "seed", "milestones", "average_decay"} <= LoopSettings(steps=5).deciding().keys()
