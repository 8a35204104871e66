"""`ebm speed --of detection` on maps of a size for tests; no timing is asserted."""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import pytest
import torch

from ebm_tracker.cli import detection_benchmark, speed


def test_it_measures_prints_and_writes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for name, value in (("SIZE_HW", (64, 96)), ("CHANNELS", 4), ("HIDDEN", 8), ("COUNTS", (2, 5)), ("REPEATS", 1)):
        monkeypatch.setattr(detection_benchmark, name, value)
    monkeypatch.setattr(detection_benchmark.measure, "__defaults__", (1,))
    parser = argparse.ArgumentParser()
    speed.add_arguments(parser)
    path, threads = tmp_path / "speed.json", torch.get_num_threads()
    try:
        arguments = ["--of", "detection", "--device", "cpu", "--threads", "1", "--json", str(path)]
        assert speed.run(parser.parse_args(arguments)) == 0
    finally:
        torch.set_num_threads(threads)
    report = json.loads(path.read_text())
    assert report["boxes"] == [2, 5] and report["threads"] == 1
    assert all(value > 0 for name in ("seconds", "autograd_seconds", "ratios") for value in report[name])
    printed = capsys.readouterr().out
    assert "ms per box" in printed and "96 x 64" in printed


def test_boxes_lie_within_the_image() -> None:
    boxes, labels = detection_benchmark._boxes(200, torch.device("cpu"))
    assert float(boxes.min()) >= 0 and (boxes.amax(0)[2:] <= torch.tensor([1088.0, 800.0])).all()
    assert (boxes[:, 2:] > boxes[:, :2]).all() and 1 <= int(labels.min()) <= int(labels.max()) <= 90
