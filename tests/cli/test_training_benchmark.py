from __future__ import annotations

import io

import pytest
import torch
from rich.console import Console

from ebm_tracker.cli.training_benchmark import StepTime, print_training_report, random_sample, time_training_steps
from ebm_tracker.models import HeadChannels
from ebm_tracker.training.objective import build_objective


def test_both_precisions_are_timed_and_printed() -> None:
    channels = HeadChannels((128, 256), (8, 8), (8, 8), (8, 8))
    times = time_training_steps(pairs=2, runs=1, crop_size=64, channels=channels)
    assert [time.precision for time in times] == ["float32", "bfloat16"]
    assert all(0 < time.backbone < time.step for time in times)
    text = io.StringIO()
    print_training_report(Console(file=text, width=120), times)
    assert "2 pairs x 129 boxes" in text.getvalue() and "bfloat16" in text.getvalue()


def test_shares_per_pair() -> None:
    time = StepTime("float32", step=1.2, backbone=0.4, pairs=16)
    assert (time.head_per_pair, time.step_per_pair) == pytest.approx((0.05, 0.075))


def test_the_batch_is_like_one_of_training() -> None:
    sample = random_sample(build_objective("nll"), 200, 288)
    assert sample.candidates.boxes_xywh.shape == (200, 129, 4)
    truth = sample.pair.test_box
    assert torch.equal(sample.candidates.boxes_xywh[:, 0], truth)
    assert sample.pair.reference_box[0].tolist() == pytest.approx([115.2, 115.2, 57.6, 57.6])
    assert float((truth[:, 2:] / 57.6).log().std()) == pytest.approx(0.5, abs=0.05)
    offset = (truth[:, :2] + truth[:, 2:] / 2 - 144) / 57.6
    assert 2.0 < float(offset.abs().max()) <= 2.25
