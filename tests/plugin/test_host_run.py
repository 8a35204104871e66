"""The stand-in host as users start the real one: scripts, worker processes, result files."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest
import torch

from ebm_tracker.build import load
from ebm_tracker.plugin.params import preset_parameters
from tests.plugin.conftest import BOX, CHANGES, square_frames

pytestmark = pytest.mark.slow


def own_boxes(seed: int) -> list[list[int]]:
    frames = square_frames(4)
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        tracker = load("default", "cpu", seed, config=preset_parameters("default", **CHANGES).config)
        tracker.initialize(frames[0], BOX)
        boxes = [BOX, *(tracker.track(frame).box_xywh for frame in frames[1:])]
    finally:
        torch.set_num_threads(threads)
    return np.array(boxes).astype(int).tolist()


@pytest.mark.parametrize(("threads", "run_id", "seed"), [(0, None, 4), (2, 3, 7)])
def test_result_files(
    checkout: Path, quiet_environment: Mapping[str, str], threads: int, run_id: int | None, seed: int
) -> None:
    command = [sys.executable, "run_tracker.py", "ebm", "cheap", "--sequence", "Square", "--threads", str(threads)]
    command += [] if run_id is None else ["--runid", str(run_id)]
    folder = checkout / "pytracking"
    done = subprocess.run(command, cwd=folder, env=quiet_environment, capture_output=True, text=True)
    assert done.returncode == 0 and done.stdout.endswith("Done\n"), done.stdout + done.stderr
    results = folder / "tracking_results" / "ebm" / ("cheap" if run_id is None else f"cheap_{run_id:03d}")
    assert np.loadtxt(results / "Square.txt", dtype=int).tolist() == own_boxes(seed)
    times = np.loadtxt(results / "Square_time.txt")
    scores = np.loadtxt(results / "Square_object_presence_scores.txt")
    assert times.shape == scores.shape == (4,) and (times > 0).all() and scores[0] == 1


def test_a_slip_in_a_preset_is_one_line(checkout: Path, quiet_environment: Mapping[str, str]) -> None:
    """The host prints what went wrong and goes on, so the sentence is all that a user sees."""
    preset = checkout / "pytracking" / "parameter" / "ebm" / "slip.py"
    preset.write_text((preset.parent / "cheap.py").read_text().replace("seed=4", "sead=4"))
    command = [sys.executable, "run_tracker.py", "ebm", "slip", "--sequence", "Square"]
    done = subprocess.run(
        command, cwd=checkout / "pytracking", env=quiet_environment, capture_output=True, text=True
    )
    assert "preset 'default' has no key 'sead'; did you mean 'seed'?\nDone\n" in done.stdout
    assert not (checkout / "pytracking" / "tracking_results" / "ebm" / "slip").exists()
