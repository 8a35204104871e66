"""`ebm speed` with a stand-in tracker: the figures it derives, not how fast anything is."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from ebm_tracker.cli import main
from ebm_tracker.cli.benchmark import machine_text, stage_time
from ebm_tracker.cli.memory import peak_memory_mb, resident_memory_mb


def test_table_and_json(tracker: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "speed.json"
    arguments = [
        "--size",
        "64x48",
        "--frames",
        "10",
        "--threads",
        "1",
        "--device",
        "cpu",
        "--json",
        str(path),
    ]
    assert main(["speed", *arguments]) == 0
    assert tracker.loaded_with == ("default", "cpu", 0, 1, True)
    report = json.loads(path.read_text())
    assert (report["frames"], report["size_wh"], report["threads"]) == (10, [64, 48], 1)
    # The stages of the two initialisations are not counted among the frames'.
    assert report["stages"]["features"] == {
        "calls": 10,
        "ms_per_frame": pytest.approx(20),
        "ms_median": pytest.approx(20),
        "ms_p95": pytest.approx(20),
    }
    assert report["stages"]["refine"]["calls"] == 20
    assert report["stages"]["refine"]["ms_per_frame"] == pytest.approx(6)
    assert "fit" not in report["stages"]
    assert report["initialize_stages_ms"] == {"features": pytest.approx(20), "fit": pytest.approx(250)}
    assert report["frames_per_second"] > 0 and report["frame_ms_max"] >= report["frame_ms_median"] > 0
    assert report["initialize_ms"] > 0 and report["initialize_again_ms"] > 0
    assert 0 < report["mean_overlap"] < 1 and report["tracked_share"] == 1
    printed = capsys.readouterr().out
    assert "refine" in printed and "frames per second" in printed and str(path.resolve()) in printed


def test_tracker_without_profile(tracker: Any) -> None:
    del tracker.stage_times
    tracker.initialize = lambda frame, box_xywh, color="rgb": tracker.__dict__.update(box=box_xywh, index=0)
    tracker.track = lambda frame, color="rgb": type(
        "Output", (), dict(box_xywh=tracker.box, score=1, status="tracked")
    )
    assert main(["speed", "--size", "64x48", "--frames", "2"]) == 0


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--size", "64"], "WIDTHxHEIGHT"),
        (["--size", "8x8"], "sides of 32 to 8192"),
        (["--frames", "0"], "at least 1"),
        (["--json", "nowhere/at/all.json"], "--json must name a file in a folder that is there"),
    ],
)
def test_errors(tracker: Any, arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["speed", *arguments]) == 2
    assert message in capsys.readouterr().err


def test_stage_time() -> None:
    time = stage_time([0.001, 0.002, 0.009], 2)
    assert (time.calls, time.ms_per_frame, time.ms_median) == (3, pytest.approx(6), pytest.approx(2))
    assert time.ms_p95 == pytest.approx(8.3)


def test_versions_are_named() -> None:
    facts = {"processor": "Some CPU", "system": "Linux", "python": "3.11.7", "torch": "2.14.1"}
    assert machine_text(facts) == "Some CPU, Linux, Python 3.11.7, torch 2.14.1"


def test_memory_is_told_in_mb() -> None:
    now, peak = resident_memory_mb(), peak_memory_mb()
    assert now is None or 5 < now < 1e6
    assert peak is None or (now is not None and peak >= 0.9 * now)
