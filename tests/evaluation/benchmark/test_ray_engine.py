"""A local Ray cluster of two workers."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

from ebm_tracker.evaluation.benchmark.ray_engine import RayEngine, RayError

HERE = Path(__file__).resolve().parent
needs_ray = pytest.mark.skipif(importlib.util.find_spec("ray") is None, reason="needs ray (the extra `ray`)")


def run(out: Path, *flags: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PYTHONPATH": str(HERE)}  # the cluster's workers import made_benchmark
    words = [sys.executable, str(HERE / "run_made.py"), str(out), *flags]
    return subprocess.run(words, capture_output=True, text=True, env=environment, timeout=120)


@needs_ray
@pytest.mark.slow
def test_a_worker_killed_in_the_middle_loses_nothing(made: ModuleType, tmp_path: Path) -> None:
    trap = f"kill_once {tmp_path / 'sprung'}"
    log = tmp_path / "log"
    flags = ("--engine", "ray", "--workers", "2", "--pause", "0.005", "--trap", trap, "--log", str(log))
    done = run(tmp_path / "cluster", *flags)
    assert done.returncode == 0, done.stdout + done.stderr
    assert (tmp_path / "sprung").exists()
    assert "its worker on the cluster died; it is tried again at the end" in done.stdout
    assert "done 10, skipped 0, failed 0, left 0" in done.stdout
    pids = {line.split()[-1] for line in log.read_text().splitlines()}
    assert len(pids) >= 3  # two, and one in place of the killed one
    assert run(tmp_path / "one").returncode == 0
    assert made.files_of(tmp_path / "cluster") == made.files_of(tmp_path / "one")
    assert not list((tmp_path / "cluster").rglob(".*"))


def test_without_ray_the_extra_is_named(made: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(RayError, match=r"pip install 'ebm-tracker\[ray\]'"):
        RayEngine(made.Wandering())


@needs_ray
def test_a_cluster_that_is_not_there_is_named(tmp_path: Path) -> None:
    script = (
        "from made_benchmark import Wandering\n"
        "from ebm_tracker.evaluation.benchmark.ray_engine import RayEngine, RayError\n"
        "try:\n    RayEngine(Wandering(), address='auto')\n"
        "except RayError as error:\n    print('said:', error)\n"
    )
    environment = {**os.environ, "PYTHONPATH": str(HERE), "RAY_TMPDIR": str(tmp_path)}
    environment.pop("RAY_ADDRESS", None)
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, env=environment, timeout=120
    )
    assert "said: the Ray cluster auto cannot be used" in done.stdout, done.stdout + done.stderr
