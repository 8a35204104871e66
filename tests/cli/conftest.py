"""A stand-in tracker for the commands: no weights, no network."""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

BoxXYWH = tuple[float, float, float, float]


@dataclass(frozen=True)
class Output:
    box_xywh: BoxXYWH
    score: float
    status: str


class StandInTracker:
    """Moves its box by (2, 1) a frame; raises what `interrupt_at` names at that frame."""

    def __init__(self) -> None:
        self.stage_times: dict[str, list[float]] = {"features": [], "refine": [], "fit": []}
        self.interrupt_at: dict[int, BaseException] = {}
        self.loaded_with: tuple[object, ...] = ()

    def initialize(self, frame: np.ndarray, box_xywh: BoxXYWH, color: str = "rgb") -> None:
        if box_xywh[0] >= frame.shape[1]:
            raise ValueError("box lies outside the image")
        self.box, self.index = box_xywh, 0
        self.stage_times["fit"].append(0.25)
        self.stage_times["features"].append(0.02)

    def track(self, frame: np.ndarray | None, color: str = "rgb") -> Output:
        self.index += 1
        if self.index in self.interrupt_at:
            raise self.interrupt_at[self.index]
        if frame is None:
            return Output(self.box, 0.0, "lost")
        self.stage_times["features"].append(0.02)
        self.stage_times["refine"] += [0.002, 0.004]
        x, y, w, h = self.box
        self.box = (x + 2, y + 1, w, h)
        return Output(self.box, 0.8, "tracked")


@pytest.fixture
def tracker(monkeypatch: pytest.MonkeyPatch) -> StandInTracker:
    """The stand-in, which the commands get instead of a preset's tracker."""
    stand_in = StandInTracker()

    def load(args: argparse.Namespace, profile: bool, keep_details: bool = False) -> StandInTracker:
        stand_in.loaded_with = (args.preset, args.device, args.seed, args.threads, profile)
        return stand_in

    monkeypatch.setattr("ebm_tracker.cli.session.load_tracker", load)
    monkeypatch.setattr("ebm_tracker.cli.benchmark.load_tracker", load)
    return stand_in


@pytest.fixture
def frames_dir(tmp_path: Path) -> Path:
    """Five images of 64x48 with ground truth that the stand-in follows exactly."""
    home = tmp_path / "walk"
    (home / "img").mkdir(parents=True)
    for number in range(5):
        image = np.full((48, 64, 3), 20 * number, np.uint8)
        Image.fromarray(image).save(home / "img" / f"{number}.png")
    rows = [f"{10 + 2 * i},{5 + i},20,16\n" for i in range(5)]
    (home / "groundtruth_rect.txt").write_text("".join(rows))
    return home
