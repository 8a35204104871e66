"""Result trees and data sets for both servers, of full width and three frames each."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from ebm_tracker.evaluation.datasets.benchmark import Benchmark
from ebm_tracker.evaluation.sequences import TrackingSequence

GOT10K_NAMES = tuple(f"GOT-10k_Test_{k:06d}" for k in range(1, 181))
VIDEO_NAMES = tuple(f"{k:011x}_{k % 3}" for k in range(511))
BOXES = "10.900,20.000,30.000,40.004\n11.126,20.500,30.000,40.000\n12.000,21.000,30.000,40.000\n"
TIMES = "0.500000\n0.010000\n0.020000\n"


@dataclass
class Frames:
    name: str
    frame_count: int | None
    frames_per_second: float = 10.0
    bad_frames: int = 0

    def __iter__(self) -> Iterator[None]:
        return iter(())


def write_run(folder: Path, names: tuple[str, ...], shift: float = 0.0) -> Path:
    folder.mkdir(parents=True)
    boxes = BOXES.replace("12.000", f"{12 + shift:.3f}")
    for name in names:
        (folder / f"{name}.txt").write_text(boxes)
        (folder / f"{name}_time.txt").write_text(TIMES.replace("0.500", f"0.5{int(shift)}0"))
        (folder / f"{name}_object_presence_scores.txt").write_text("1\n1\n1\n")
    return folder


@pytest.fixture
def got10k_runs(tmp_path: Path) -> Path:
    """The name before _000, _001 and _002."""
    for run in range(3):
        write_run(tmp_path / "ebm" / f"default_{run:03d}", GOT10K_NAMES, run)
    return tmp_path / "ebm" / "default"


@pytest.fixture
def trackingnet_run(tmp_path: Path) -> Path:
    return write_run(tmp_path / "ebm" / "fast", VIDEO_NAMES)


@pytest.fixture
def benchmark_of() -> Callable[..., Benchmark]:
    def build(names: tuple[str, ...], frames: int = 3) -> Benchmark:
        box = np.array([[10.9, 20, 30, 40]])
        sequences = tuple(
            TrackingSequence(name, Frames(name, frames), (10.9, 20.0, 30.0, 40.0), box) for name in names
        )
        return Benchmark("test", "Test", sequences, len(names), 1, "plain")

    return build
