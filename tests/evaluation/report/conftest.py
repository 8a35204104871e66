"""A tiny benchmark on disk with results of two trackers whose scores are known in closed form."""

from __future__ import annotations

import io
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from ebm_tracker.evaluation.datasets.benchmark import Benchmark
from ebm_tracker.evaluation.report import plots
from ebm_tracker.evaluation.report.content import Report, gather_report
from ebm_tracker.evaluation.result_tree import TrackerResults, boxes_text, find_results
from ebm_tracker.evaluation.sequences import TrackingSequence
from ebm_tracker.video import FrameFolder

FRAMES = 5
TRUTH = (10.0, 10.0, 20.0, 20.0)
HALF = (10.0, 10.0, 20.0, 10.0)  # IoU exactly 0.5: passes 10 of the 21 thresholds, and not 0.5


@dataclass(frozen=True)
class Tiny:
    """``root``: of everything; ``benchmark``: three sequences; ``results``: of a perfect and of a half-good tracker."""

    root: Path
    benchmark: Benchmark
    results: tuple[TrackerResults, ...]

    def report(self, *metrics: str, **options: bool) -> Report:
        return gather_report(self.benchmark, self.results, metrics or ("plain",), **options)


def write_boxes(folder: Path, name: str, box: tuple[float, ...], seconds: float | None = None) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    boxes = np.array([TRUTH] + [box] * (FRAMES - 1))
    (folder / f"{name}.txt").write_text(boxes_text(boxes))
    if seconds is not None:
        (folder / f"{name}_time.txt").write_text("9.0\n" + f"{seconds:.6f}\n" * (FRAMES - 1))


@pytest.fixture
def write_result() -> Callable[..., None]:
    return write_boxes


@pytest.fixture
def quick_plots(monkeypatch: pytest.MonkeyPatch) -> None:
    """Figures are made, but not drawn, which takes most of the time."""
    png = io.BytesIO()
    Image.new("RGB", (8, 6)).save(png, "PNG")
    monkeypatch.setattr(plots, "rendered", lambda figure: plots.Picture(png.getvalue(), b"%PDF"))


@pytest.fixture
def tiny(tmp_path: Path) -> Tiny:
    """``exact`` is perfect on all three; ``half`` has IoU 0.5 on the first two and nothing of the third."""
    sequences = []
    for name, attributes in (("car #1", ("OCC", "SV")), ("dog", ("OCC",)), ("kite", ())):
        folder = tmp_path / "data set" / name
        folder.mkdir(parents=True)
        for i in range(FRAMES):
            picture = np.full((48, 64, 3), 60 + 20 * i, np.uint8)
            picture[10:30, 10:30] = (220, 60, 40)
            Image.fromarray(picture).save(folder / f"{i + 1:04d}.png")
        truth = np.array([TRUTH] * FRAMES)
        sequences.append(TrackingSequence(name, FrameFolder(folder), TRUTH, truth, attributes=attributes))
    benchmark = Benchmark("uav", "Tiny<1>", tuple(sequences), 3, 1, "plain")
    results = tmp_path / "results"
    for sequence in sequences:
        write_boxes(results / "ours" / "exact", sequence.name, TRUTH, 0.02)
    for sequence in sequences[:2]:
        write_boxes(results / "ours" / "half", sequence.name, HALF)
    found = (find_results(results / "ours" / "exact"), find_results(results / "ours" / "half"))
    return Tiny(tmp_path, benchmark, found)
