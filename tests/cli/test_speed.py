"""`ebm speed` with a stand-in tracker: the figures it derives, not how fast anything is."""

from __future__ import annotations

import json
import subprocess
import sys
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from ebm_tracker.cli import loader_benchmark, main, scoring_benchmark, training_benchmark
from ebm_tracker.cli.benchmark import machine_text, stage_time, write_figures
from ebm_tracker.cli.memory import peak_memory_mb, resident_memory_mb
from ebm_tracker.training.data.decoder_speed import DecoderSpeed


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
        (["--of", "training", "--json", "nowhere/at/all.json"], "--json must name a file in a folder that is there"),
        (["--of", "flying"], "invalid choice: 'flying'"),
        (["--of", "training", "--preset", "default"], "--preset goes with --of tracker (got --of training)"),
        (["--of", "training", "--size", "64x48"], "--size goes with --of tracker or loader (got --of training)"),
        (["--of", "loader", "--device", "cpu"], "--device goes with --of tracker or training or detection (got"),
        (["--of", "scoring", "--frames", "9"], "--frames goes with --of tracker (got --of scoring)"),
        (["--workers", "2"], "--workers goes with --of loader (got --of tracker)"),
    ],
)
def test_errors(tracker: Any, arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["speed", *arguments]) == 2
    assert message in capsys.readouterr().err


def test_defaults_are_those_of_the_tracker(tracker: Any, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["speed", "--frames", "2"]) == 0
    assert tracker.loaded_with == ("default", "auto", 0, 2, True)
    assert "640x480, 2 threads" in capsys.readouterr().out


def test_of_training(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    asked: dict[str, Any] = {}

    def time_training_steps(**arguments: Any) -> list[training_benchmark.StepTime]:
        asked.update(arguments)
        return [training_benchmark.StepTime("float32", step=1.25, backbone=0.45, pairs=16)]

    monkeypatch.setattr(training_benchmark, "time_training_steps", time_training_steps)
    path = tmp_path / "training.json"
    assert main(["speed", "--of", "training", "--device", "cpu", "--json", str(path)]) == 0
    assert asked == {"device": "cpu"}  # all else is the paper's
    report = json.loads(path.read_text())
    (step,) = report["steps"]
    assert (step["precision"], step["device"], step["head_per_pair"]) == ("float32", "cpu", pytest.approx(0.05))
    assert report["threads"] == 2 and report["machine"]["torch"]
    printed = capsys.readouterr().out
    assert "on cpu, 16 pairs x 129 boxes, 2 threads" in printed
    assert "1.250" in printed and "0.450" in printed and "0.050" in printed


def test_of_loader(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    few = partial(loader_benchmark.time_loader, files=24, pairs=48)
    monkeypatch.setattr(loader_benchmark, "time_loader", few)
    path = tmp_path / "loader.json"
    assert main(["speed", "--of", "loader", "--size", "64x48", "--workers", "1", "--json", str(path)]) == 0
    report = json.loads(path.read_text())
    assert (report["size_wh"], report["workers"], report["files"]) == ([64, 48], 1, 24)
    assert report["pairs_per_second"] > 0
    printed = capsys.readouterr().out
    assert "pairs/s with 1 workers" in printed and "JPEG decoders alone" in printed
    assert list(tmp_path.iterdir()) == [path]


def test_of_scoring(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    few = partial(scoring_benchmark.time_scoring, 2, 1)
    monkeypatch.setattr(scoring_benchmark, "time_scoring", few)
    path = tmp_path / "scoring.json"
    assert main(["speed", "--of", "scoring", "--json", str(path)]) == 0
    report = json.loads(path.read_text())
    assert (report["sequences"], report["frames"]) == (2, 3085 + 553)
    assert [row["metrics"] for row in report["ours"]][:2] == ["pytracking", "got10k"]
    printed = capsys.readouterr().out
    assert "seconds to score 2 sequences with 3,638 frames" in printed and str(path.resolve()) in printed


def test_json_of_a_decoder_that_is_not_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    nan = float("nan")
    speed = loader_benchmark.LoaderSpeed(
        100.0, 2, "pillow", (500, 400), 400, 49.0, [DecoderSpeed("jpeg4py", "", False, nan, nan, nan)]
    )
    asked: list[Any] = []
    monkeypatch.setattr(loader_benchmark, "time_loader", lambda *a, **k: asked.append((a, k)) or speed)
    path = tmp_path / "loader.json"
    assert main(["speed", "--of", "loader", "--json", str(path)]) == 0
    assert asked == [(((500, 400),), {"workers": 2})]
    assert json.loads(path.read_text())["decoders"][0]["milliseconds"] is None


def test_help_does_not_import_torch() -> None:
    code = "import sys, ebm_tracker.cli as c; c.main(['speed', '--help']); print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    assert "--of {tracker,training,loader,scoring,detection}" in done.stdout and done.stdout.splitlines()[-1] == "False"


def test_figures_without_a_file_are_not_written(capsys: pytest.CaptureFixture[str]) -> None:
    write_figures(None, {"a": 1})
    assert capsys.readouterr().out == ""


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


def test_several_objects(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "objects.json"
    arguments = ["--objects", "2", "--frames", "2", "--size", "160x120", "--threads", "1", "--device", "cpu"]
    assert main(["speed", *arguments, "--json", str(path)]) == 0
    report = json.loads(path.read_text())
    assert (report["objects"], report["frames"]) == (2, 2)
    assert 0 < report["largest_difference"] < 0.02  # pixels
    assert report["ratio"] > 0 and report["separate_ratio"] > 0  # of times: nothing to promise here
    printed = capsys.readouterr().out
    assert "2 objects at once" in printed and "2 trackers" in printed
