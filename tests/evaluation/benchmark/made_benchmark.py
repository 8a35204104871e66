"""Trackers and a benchmark for these tests, in a module that worker processes and scripts can import.

The corner of a sequence's first picture says what befalls its tracker: the number stands for a trap of the factory.
"""

from __future__ import annotations

import os
import random
import signal
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from ebm_tracker.evaluation.datasets.benchmark import Benchmark
from ebm_tracker.evaluation.sequences import TrackingSequence

BoxXYWH = tuple[float, float, float, float]


@dataclass
class Pictures:
    """Small random pictures. ``trap``: number in the corner; ``gaps``: indices that cannot be decoded."""

    name: str
    frame_count: int
    trap: int = 0
    gaps: tuple[int, ...] = ()
    frames_per_second: float = 25.0
    bad_frames: int = 0

    def __iter__(self) -> Iterator[np.ndarray | None]:
        self.bad_frames = 0
        rng = np.random.default_rng(sum(self.name.encode()))
        for index in range(self.frame_count):
            frame = rng.integers(0, 255, (24, 32, 3), np.uint8)
            frame[0, 0] = self.trap
            self.bad_frames += index in self.gaps
            yield None if index in self.gaps else frame


@dataclass(frozen=True)
class Output:
    box_xywh: BoxXYWH
    score: float
    status: str = "tracked"


class WanderingTracker:
    """Its boxes depend on seed, frames, its own and the shared generators: whatever leaks from one sequence into the
    next changes them."""

    def __init__(self, seed: int, pause_s: float, traps: Mapping[int, str]) -> None:
        self.seed, self.pause_s, self.traps = seed, pause_s, traps

    def initialize(self, frame: np.ndarray, box_xywh: BoxXYWH, color: str = "rgb") -> None:
        self.trap = self.traps.get(int(frame[0, 0, 0]), "")
        self.rng = np.random.default_rng(self.seed)
        self.box = np.array(box_xywh)
        self.frames = 0

    def track(self, frame: np.ndarray | None, color: str = "rgb") -> Output:
        self.frames += 1
        time.sleep(self.pause_s)
        if self.frames == 3 and self.trap:
            spring(self.trap)
        if self.trap == "nan":
            return Output((float("nan"),) * 4, 0.0)
        if frame is None:
            return Output(tuple(self.box.tolist()), 0.0, "lost")
        self.box += self.rng.normal(0, 1, 4) + np.random.normal(0, 1) + random.random() + frame.mean() / 255
        return Output(tuple(self.box.tolist()), float(frame.mean() / 255))


def spring(trap: str) -> None:
    """``kill``, ``kill_once FILE``, ``memory``, ``memory_once FILE``, ``raise``, ``exit``, ``hang``."""
    kind, _, file = trap.partition(" ")
    if file:
        if Path(file).exists():
            return
        Path(file).touch()
    if kind.startswith("kill"):
        os.kill(os.getpid(), signal.SIGKILL)
    if kind.startswith("memory"):
        raise MemoryError("CUDA out of memory")
    if kind == "raise":
        raise ZeroDivisionError("the tracker lost its head")
    if kind == "exit":
        raise SystemExit(3)
    if kind == "hang":
        time.sleep(600)


@dataclass(frozen=True)
class Wandering:
    """A factory. ``build_trap``: as for ``spring``, when the tracker is made; ``log``: gets a line per tracker."""

    tracker: str = "made"
    parameter: str = "wandering"
    pause_s: float = 0.0
    weights: str = "aa11"
    traps: Mapping[int, str] = field(default_factory=dict)
    build_trap: str = ""
    log: Path | None = None
    deterministic: bool = False
    fresh_per_sequence: bool = False

    def facts(self) -> Mapping[str, str]:
        return {"weights": self.weights, "made version": "1"}

    def build(self, seed: int, device: str | None, threads: int | None) -> WanderingTracker:
        if self.log is not None:
            with self.log.open("a") as lines:
                lines.write(f"{seed} {device} {threads} {os.environ.get('OMP_NUM_THREADS')} {os.getpid()}\n")
        if self.build_trap:
            spring(self.build_trap)
        return WanderingTracker(seed, self.pause_s, self.traps)


def made_benchmark(lengths: Mapping[str, int], traps: Mapping[str, int] | None = None, runs: int = 2) -> Benchmark:
    """Sequences by name with so many frames. ``traps``: number of the trap by name."""
    traps = traps or {}
    sequences = tuple(
        TrackingSequence(name, Pictures(name, count, traps.get(name, 0)), (4.0, 5.0, 8.0, 9.0))
        for name, count in lengths.items()
    )
    return Benchmark("made", "Made", sequences, len(sequences), runs, "plain")


def files_of(folder: Path, times: bool = False) -> dict[str, bytes]:
    """The result files below a folder, which must be equal for equal runs; without times and manifests."""
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path.name != "ebm_run.json" and (times or not path.name.endswith("_time.txt"))
    }
