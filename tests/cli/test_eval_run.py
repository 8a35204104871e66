"""`ebm eval run` from the command line to the exit code."""

from __future__ import annotations

import argparse
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ebm_tracker.cli import eval_run, main
from ebm_tracker.evaluation.benchmark import read_manifest
from ebm_tracker.evaluation.datasets.benchmark import Benchmark
from ebm_tracker.evaluation.datasets.numbered import ListedFrames
from ebm_tracker.evaluation.sequences import TrackingSequence


@dataclass(frozen=True)
class StandInFactory:
    """`stand_in`: the tracker that it gives; `asked`: gets what it was built with."""

    stand_in: Any
    asked: list[tuple[int, str | None, int | None]]
    tracker: str = "ebm"
    parameter: str = "default"
    deterministic: bool = False
    ignores_device: bool = False

    def facts(self) -> Mapping[str, str]:
        return {"weights": "aa11"}

    def build(self, seed: int, device: str | None, threads: int | None) -> Any:
        self.asked.append((seed, device, threads))
        return self.stand_in


@pytest.fixture
def factory(tracker: Any, monkeypatch: pytest.MonkeyPatch) -> StandInFactory:
    """What the command gets, whatever tracker it is asked for."""
    made = StandInFactory(tracker, [])
    monkeypatch.setattr(eval_run, "tracker_factory", lambda name, parameter, args: made)
    return made


@pytest.fixture
def home(frames_dir: Path) -> Path:
    """Two sequences of five frames, in a folder."""
    home = frames_dir.parent / "home"
    home.mkdir()
    shutil.copytree(frames_dir, home / "run")
    frames_dir.rename(home / "walk")
    return home


def run(home: Path, out: Path, *flags: str) -> int:
    words = ["eval", "run", "ebm", "default", "folder", "--path", str(home), "--out", str(out), "--device", "cpu"]
    return main([*words, *flags])


def test_it_tracks_says_where_and_what_comes_next(
    factory: StandInFactory, home: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    assert run(home, out, "--threads", "1") == 0
    folder = out / "ebm" / "default"
    assert (folder / "walk.txt").read_text().splitlines()[1] == "12.000,6.000,20.000,16.000"
    assert (folder / "run_object_presence_scores.txt").read_text().splitlines() == ["1.000000"] + ["0.800000"] * 4
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "ebm default on Folder: 2 sequences, 1 worker on cpu, 1 thread"
    assert lines[1] == f"results go to {folder}"
    assert lines[-3:] == [
        "2 sequences tracked",
        f"  {folder}",
        f"next: ebm eval report folder {folder} --path {home}",
    ]
    assert factory.asked == [(0, "cpu", 1)]


def test_runs_are_numbered_and_seeded(
    factory: StandInFactory, home: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(home, tmp_path, "--runs", "2", "--seed", "5", "--threads", "1") == 0
    assert f"results go to {tmp_path / 'ebm' / 'default'}_000 to _001" in capsys.readouterr().out
    assert factory.asked == [(5, "cpu", 1), (6, "cpu", 1)]
    manifest = read_manifest(tmp_path / "ebm" / "default_001")
    assert manifest is not None and (manifest.seed, manifest.facts) == (6, {"weights": "aa11"})


def test_started_again_it_skips_and_retries(
    factory: StandInFactory, home: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    factory.stand_in.interrupt_at = {3: RuntimeError("no luck")}
    assert run(home, tmp_path) == 1
    out = capsys.readouterr().out
    assert "default/run: failed: RuntimeError: no luck" in out and "0 sequences tracked, 2 failed" in out
    assert "walk_failed.txt" in {path.name for path in (tmp_path / "ebm" / "default").iterdir()}
    factory.stand_in.interrupt_at = {}
    assert run(home, tmp_path, "--sequences", "walk") == 0
    assert run(home, tmp_path) == 0
    assert "1 sequence tracked, 1 done before" in capsys.readouterr().out


def test_the_format_of_pytracking(factory: StandInFactory, home: Path, tmp_path: Path) -> None:
    assert run(home, tmp_path, "--format", "pytracking") == 0
    assert (tmp_path / "ebm" / "default" / "walk.txt").read_text().splitlines()[1] == "12\t6\t20\t16"
    assert run(home, tmp_path) == 2  # not both in one folder


def test_an_interrupt_says_how_to_go_on(
    factory: StandInFactory, home: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    import os
    import signal

    track = factory.stand_in.track

    def interrupting(frame: Any, color: str = "rgb") -> Any:
        os.kill(os.getpid(), signal.SIGINT)
        return track(frame, color)

    monkeypatch.setattr(factory.stand_in, "track", interrupting)
    assert run(home, tmp_path) == 130
    out = capsys.readouterr().out
    assert "0 sequences tracked, 2 not done" in out and "the same command goes on" in out
    assert [p.name for p in (tmp_path / "ebm" / "default").iterdir()] == ["ebm_run.json"]


def test_an_incomplete_benchmark_is_tracked_and_said(
    factory: StandInFactory, home: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from ebm_tracker.evaluation.datasets import registry

    open_benchmark = registry.open_benchmark

    def short(name: str, root: Path, sets: tuple[int, ...]) -> Benchmark:
        found = open_benchmark(name, root, sets=sets)
        problems = tuple(f"sequence {number} is not there" for number in range(12))
        return Benchmark("folder", "Folder", found.sequences, 14, 1, "plain", problems)

    monkeypatch.setattr(registry, "open_benchmark", short)
    assert run(home, tmp_path) == 1
    out = capsys.readouterr().out
    assert "Folder is not complete" in out and "sequence 9 is not there" in out and "and 2 more" in out
    assert "2 sequences tracked" in out
    assert run(home, tmp_path, "--sequences", "walk") == 0  # what was asked for is there


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        (["--sequences", "nowhere"], "has no sequence 'nowhere'"),
        (["--workers", "0"], "at least 1"),
        (["--threads", "0"], "at least 1"),
        (["--runs", "x"], "whole number"),
        (["--format", "csv"], "invalid choice"),
    ],
)
def test_mistakes_end_with_one_line(
    factory: StandInFactory,
    home: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    flags: list[str],
    words: str,
) -> None:
    out = tmp_path / "out"
    assert run(home, out, *flags) == 2
    error = capsys.readouterr().err
    assert words in error and len(error.splitlines()) == 1
    assert not out.exists()


def crew(factory: Any, **given: Any) -> eval_run.Crew:
    args = argparse.Namespace(**{"device": "cpu", "workers": None, "threads": None, **given})
    return eval_run.local_crew(args, factory)


def test_cores_are_divided_among_the_workers(factory: StandInFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(eval_run, "usable_cores", lambda: 8)
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    assert crew(factory) == eval_run.Crew(1, 8, ("cpu",))
    assert crew(factory, workers=3) == eval_run.Crew(3, 2, ("cpu",))
    assert crew(factory, workers=20) == eval_run.Crew(20, 1, ("cpu",))
    assert crew(factory, workers=3, threads=5) == eval_run.Crew(3, 5, ("cpu",))
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    assert crew(factory, workers=2) == eval_run.Crew(2, 1, ("cpu",))
    assert crew(factory, workers=2, threads=3) == eval_run.Crew(2, 3, ("cpu",))


def test_there_is_a_worker_for_every_gpu(factory: StandInFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    import torch

    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 3)
    monkeypatch.setattr(eval_run, "usable_cores", lambda: 12)
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    devices = ("cuda:0", "cuda:1", "cuda:2")
    assert crew(factory, device="auto") == eval_run.Crew(3, 4, devices)
    assert crew(factory, device="auto", workers=1) == eval_run.Crew(1, 12, devices)
    assert crew(factory, device="cuda:1") == eval_run.Crew(1, 12, ("cuda:1",))
    assert crew(factory, device="cpu") == eval_run.Crew(1, 12, ("cpu",))
    plain = StandInFactory(None, [], ignores_device=True)
    assert crew(plain, device="auto") == eval_run.Crew(1, 12, (None,))


@pytest.mark.parametrize(
    ("name", "truth", "expected"),
    [
        ("uav", 5, "report uav '/r s/ebm/default' --data 'uav=/d/my sets' --sets 3 11 --sequences a b"),
        ("trackingnet", 1, "pack trackingnet '/r s/ebm/default' --data 'uav=/d/my sets'"),
        ("got10k_test", 1, "pack got10k '/r s/ebm/default' --data 'uav=/d/my sets' --deterministic"),
        ("folder", 1, "report folder '/r s/ebm/default' --data 'uav=/d/my sets' --sets 3 11 --sequences a b"),
    ],
)
def test_the_next_command_keeps_what_was_given(name: str, truth: int, expected: str) -> None:
    sequence = TrackingSequence("a", ListedFrames(Path("a"), ["1.jpg"] * 5), (1, 2, 3, 4), np.full((truth, 4), 9.0))
    benchmark = Benchmark(name, "A title", (sequence,), None, 3 if name == "got10k_test" else 1, "plain")
    args = argparse.Namespace(dataset=name, path=None, data=["uav=/d/my sets"], sets=[3, 11], sequences=["a", "b"])
    assert eval_run.next_command(args, Path("/r s/ebm/default"), benchmark, True) == f"ebm eval {expected}"
