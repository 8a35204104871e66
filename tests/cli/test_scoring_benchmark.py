"""What `ebm speed --of scoring` measures and prints, not how fast anything is."""

from __future__ import annotations

import importlib.util
import io

import numpy as np
import pytest
from rich.console import Console

from ebm_tracker.cli.scoring_benchmark import (
    ScoringSpeed,
    ScoringTime,
    print_scoring_report,
    random_benchmark,
    time_scoring,
)
from ebm_tracker.evaluation.scoring import FLAVOURS


def text_of(speed: ScoringSpeed) -> str:
    console = Console(file=io.StringIO(), width=120)
    print_scoring_report(console, speed)
    return console.file.getvalue()  # type: ignore[attr-defined]


def test_boxes_are_those_of_uav123() -> None:
    made, predicted = random_benchmark()
    assert len(made.sequences) == len(predicted) == 123
    assert sum(map(len, predicted.values())) == 112_578
    truth = np.concatenate([s.truth_xywh for s in made.sequences if s.truth_xywh is not None])
    assert len(truth) == 112_578 and 0.02 < np.isnan(truth[:, 0]).mean() < 0.04


def test_measures_what_it_says() -> None:
    speed = time_scoring(sequences=3, rounds=1)
    assert speed.sequences == 3
    assert {row.metrics: row.figures for row in speed.ours} == {
        "pytracking": 5, "got10k": 4, "trackingnet": 3, "lasot": 5, "plain": 4,
    }  # fmt: skip
    assert list(FLAVOURS) == [row.metrics for row in speed.ours]
    assert all(row.arrays > 0 and row.files is not None and row.files > 0 for row in speed.ours)
    if importlib.util.find_spec("got10k") is None:
        assert speed.toolkit is None and speed.ratios is None and speed.largest_difference is None
    else:
        assert speed.toolkit is not None and speed.toolkit.metrics.startswith("got10k toolkit ")
        assert speed.largest_difference is not None and speed.largest_difference < 1e-6


def test_report() -> None:
    ours = [ScoringTime("pytracking", 5, 0.05, 0.3), ScoringTime("got10k", 4, 0.04, 0.2)]
    toolkit = ScoringTime("got10k toolkit 0.1.3", 3, 0.1, 1.0)
    speed = ScoringSpeed(123, 112_578, ours, toolkit, 1e-12)
    assert speed.ratios == pytest.approx((2.5, 5))
    text = text_of(speed)
    assert "seconds to score 123 sequences with 112,578 frames" in text
    assert "takes 2.5 times as long as ours in memory and 5.0 times from files" in text
    assert "at most 1e-12 percent points" in text
    alone = text_of(ScoringSpeed(123, 112_578, ours))
    assert "not installed" in alone and "nan" not in alone and "None" not in alone
