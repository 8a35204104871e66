"""`ebm default` itself: results depend on seed, sequence and threads, not on what was tracked before."""

from __future__ import annotations

import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from ebm_tracker.evaluation.benchmark import run_benchmark
from ebm_tracker.evaluation.datasets.benchmark import Benchmark
from ebm_tracker.evaluation.sequences import open_frame_folder


@dataclass(frozen=True)
class Ebm:
    tracker: str = "ebm"
    parameter: str = "default"
    fresh_per_sequence: bool = False

    def facts(self) -> Mapping[str, str]:
        return {}

    def build(self, seed: int, device: str | None, threads: int | None) -> Any:
        from ebm_tracker import load

        return load("default", "cpu", seed)


def short(shared_dir: Path, name: str, frames: int) -> Any:
    folder = shared_dir / "sequences" / name
    if not folder.is_dir():
        pytest.skip(f"no reference data: {folder} is not a folder")
    sequence = open_frame_folder(folder)
    sequence.frames.paths = sequence.frames.paths[:frames]
    sequence.frames.frame_count = frames
    return sequence


def test_initialising_again_gives_the_boxes_of_a_new_tracker(
    made: ModuleType, shared_dir: Path, tmp_path: Path
) -> None:
    sequences = (short(shared_dir, "otb_man", 5), short(shared_dir, "otb_crossing", 5))
    benchmark = Benchmark("folder", "Folder", sequences, None, 1, "plain")
    run_benchmark(Ebm(), benchmark, tmp_path / "again", seed=4)
    backwards = replace(benchmark, sequences=sequences[::-1])
    run_benchmark(Ebm(fresh_per_sequence=True), backwards, tmp_path / "new", seed=4)
    files = made.files_of(tmp_path / "new")
    assert len(files) == 4
    assert made.files_of(tmp_path / "again") == files


@pytest.mark.skipif(os.environ.get("EBM_LONG") != "1", reason="takes minutes; set EBM_LONG=1 to run it")
def test_killed_twenty_times_it_ends_with_the_files_of_an_unbroken_run(
    made: ModuleType, shared_dir: Path, tmp_path: Path
) -> None:
    for folder in sorted((shared_dir / "sequences").iterdir()):  # the first 15 frames of each
        images = tmp_path / "data" / folder.name / "img"
        images.mkdir(parents=True)
        for image in sorted((folder / "img").iterdir())[:15]:
            (images / image.name).symlink_to(image)
        rows = (folder / "groundtruth.txt").read_text().splitlines(keepends=True)
        (images.parent / "groundtruth.txt").write_text("".join(rows[:15]))
    words = [sys.executable, "-m", "ebm_tracker.cli", "eval", "run", "ebm", "default", "folder", "--threads", "1"]
    words += ["--path", str(tmp_path / "data"), "--device", "cpu", "--workers", "2"]
    start = time.monotonic()
    assert subprocess.run([*words, "--out", str(tmp_path / "unbroken")]).returncode == 0
    whole = time.monotonic() - start
    whole_files = made.files_of(tmp_path / "unbroken")
    assert len(whole_files) == 12
    rng, kills = random.Random(0), 0
    while kills < 20:
        process = subprocess.Popen([*words, "--out", str(tmp_path / "out")], start_new_session=True)
        try:
            process.wait(rng.uniform(0, 0.8 * whole))
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL) if kills % 2 else process.kill()
            process.wait()
            kills += 1
            continue
        assert made.files_of(tmp_path / "out") == whole_files
        shutil.rmtree(tmp_path / "out")  # done before twenty kills: begin anew
    assert subprocess.run([*words, "--out", str(tmp_path / "out")]).returncode == 0
    assert made.files_of(tmp_path / "out") == whole_files
