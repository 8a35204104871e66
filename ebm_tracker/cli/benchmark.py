"""One run of ``ebm speed``: load, time, print."""

from __future__ import annotations

import argparse
import json
import platform
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.table import Table

from ebm_tracker.cli.loading import load_tracker
from ebm_tracker.cli.memory import peak_memory_mb, resident_memory_mb
from ebm_tracker.evaluation.metrics import overlaps
from ebm_tracker.evaluation.runner import Tracker, track_sequence
from ebm_tracker.evaluation.synthetic import MovingTexture
from ebm_tracker.files import write_text_atomic


@dataclass(frozen=True)
class StageTime:
    """Times of one stage, frames after the first.

    Attributes:
        calls: how often it ran.
        ms_per_frame: all its time over all frames.
        ms_median: of its calls.
        ms_p95: 95th percentile of its calls.
    """

    calls: int
    ms_per_frame: float
    ms_median: float
    ms_p95: float


@dataclass(frozen=True)
class RefinementTime:
    """Medians of alternating runs.

    Attributes:
        ms: this package's loop.
        autograd_ms: the same steps on the head's own forward pass, differentiated by autograd.
        ratio: median of autograd / ours, pair by pair.
    """

    ms: float
    autograd_ms: float
    ratio: float


@dataclass(frozen=True)
class SpeedReport:
    """Figures of one measurement; milliseconds, MB of 10^6 bytes.

    Attributes:
        preset, device, threads, size_wh, seed: what was measured.
        machine: processor and versions.
        frames: frames after the first.
        frames_per_second: over all of them.
        frame_ms_median, frame_ms_p95, frame_ms_max: of one frame.
        initialize_ms: the first call, which also warms up the libraries.
        initialize_again_ms: a second call.
        load_ms: making the tracker.
        peak_memory_mb: highest resident memory above that after importing torch; None where the system tells
            none.
        mean_overlap: with the true boxes: a tracker that lost its target may be fast.
        tracked_share: share of frames with the status "tracked".
        stages: by name; empty when the tracker has no profile.
        initialize_stages_ms: by name, of the second initialisation.
        refinement: ten boxes by ten steps alone; None for a tracker without an energy network.
    """

    preset: str
    device: str
    threads: int
    size_wh: tuple[int, int]
    seed: int
    machine: dict[str, str]
    frames: int
    frames_per_second: float
    frame_ms_median: float
    frame_ms_p95: float
    frame_ms_max: float
    initialize_ms: float
    initialize_again_ms: float
    load_ms: float
    peak_memory_mb: float | None
    mean_overlap: float
    tracked_share: float
    stages: dict[str, StageTime]
    initialize_stages_ms: dict[str, float]
    refinement: RefinementTime | None


def run_benchmark(args: argparse.Namespace) -> int:
    """Measures as the arguments of ``ebm speed`` say; returns 0."""
    import torch

    from ebm_tracker.cli.refinement_benchmark import time_refinement
    from ebm_tracker.tracking import Tracker as EbmTracker

    video = MovingTexture(args.size, args.frames + 1, args.seed)
    memory_before = resident_memory_mb()
    start = time.perf_counter()
    tracker = load_tracker(args, profile=True)
    load_ms = 1e3 * (time.perf_counter() - start)
    timings = time_tracker(tracker, video)
    peak = peak_memory_mb()
    report = SpeedReport(
        preset=args.preset,
        device=str(getattr(tracker, "device", args.device)),
        threads=args.threads,
        size_wh=args.size,
        seed=args.seed,
        machine=machine_facts(torch.__version__),
        load_ms=load_ms,
        peak_memory_mb=None if peak is None or memory_before is None else peak - memory_before,
        refinement=time_refinement(tracker) if isinstance(tracker, EbmTracker) else None,
        **timings,
    )
    print_report(Console(highlight=False), report)
    write_figures(args.json, asdict(report))
    return 0


def write_figures(path: Path | None, figures: Mapping[str, Any]) -> None:
    """Writes them as JSON and says where; without a path it does nothing."""
    if path is not None:
        write_text_atomic(path, json.dumps(figures, indent=2, allow_nan=False) + "\n")
        print(f"written to {path.resolve()}")


def time_tracker(tracker: Tracker, video: MovingTexture) -> dict[str, Any]:
    """The figures of SpeedReport that come from running the tracker over the video."""
    sequence = video.sequence()
    start = time.perf_counter()
    tracker.initialize(video.frame(0), sequence.init_box_xywh)
    initialize_ms = 1e3 * (time.perf_counter() - start)
    times_0 = stage_counts(tracker)
    times_1 = times_0
    seconds, statuses, boxes = [], [], []
    for step in track_sequence(tracker, sequence):
        if step.index == 0:
            times_1 = stage_counts(tracker)
        seconds.append(step.seconds)
        statuses.append(step.status)
        boxes.append(step.box_xywh)
    frame_ms = 1e3 * np.array(seconds[1:])
    stage_times: Mapping[str, Sequence[float]] = getattr(tracker, "stage_times", None) or {}
    during = {name: list(times)[times_1.get(name, 0) :] for name, times in stage_times.items()}
    starting = {
        name: list(times)[times_0.get(name, 0) : times_1.get(name, 0)] for name, times in stage_times.items()
    }
    truth = sequence.truth_xywh
    assert truth is not None
    return {
        "frames": len(frame_ms),
        "frames_per_second": float(1e3 / frame_ms.mean()),
        "frame_ms_median": float(np.median(frame_ms)),
        "frame_ms_p95": float(np.percentile(frame_ms, 95)),
        "frame_ms_max": float(frame_ms.max()),
        "initialize_ms": initialize_ms,
        "initialize_again_ms": 1e3 * seconds[0],
        "mean_overlap": float(overlaps(np.array(boxes[1:]), truth[1:]).mean()),
        "tracked_share": statuses[1:].count("tracked") / len(frame_ms),
        "stages": {name: stage_time(times, len(frame_ms)) for name, times in during.items() if times},
        "initialize_stages_ms": {name: 1e3 * sum(times) for name, times in starting.items() if times},
    }


def stage_counts(tracker: Tracker) -> dict[str, int]:
    """How many times of each stage the tracker has noted so far."""
    return {name: len(times) for name, times in (getattr(tracker, "stage_times", None) or {}).items()}


def stage_time(seconds: Sequence[float], frames: int) -> StageTime:
    """Sums up the calls of one stage."""
    ms = 1e3 * np.asarray(seconds, dtype=np.float64)
    return StageTime(len(ms), float(ms.sum() / frames), float(np.median(ms)), float(np.percentile(ms, 95)))


def machine_facts(torch_version: str) -> dict[str, str]:
    """Processor, system and versions."""
    processor = platform.processor() or platform.machine()
    try:
        with open("/proc/cpuinfo", encoding="utf-8") as lines:
            names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    except OSError:
        names = []
    return {
        "processor": names[0] if names else processor,
        "system": platform.system(),
        "python": platform.python_version(),
        "torch": torch_version,
    }


def machine_text(facts: Mapping[str, str]) -> str:
    """``machine_facts`` on one line, the versions with what they are of."""
    return "{processor}, {system}, Python {python}, torch {torch}".format_map(facts)


def print_report(console: Console, report: SpeedReport) -> None:
    """The figures as two tables."""
    stages = Table(title="milliseconds per stage, frames after the first")
    for heading in ("stage", "per frame", "share", "calls", "median of a call", "95% below"):
        stages.add_column(heading, justify="left" if heading == "stage" else "right")
    frame_ms = 1e3 / report.frames_per_second
    for name, times in sorted(report.stages.items(), key=lambda item: -item[1].ms_per_frame):
        share = f"{times.ms_per_frame / frame_ms:.0%}"
        stages.add_row(
            name,
            f"{times.ms_per_frame:.2f}",
            share,
            str(times.calls),
            f"{times.ms_median:.2f}",
            f"{times.ms_p95:.2f}",
        )
    stages.add_section()
    stages.add_row(
        "frame",
        f"{frame_ms:.2f}",
        "100%",
        str(report.frames),
        f"{report.frame_ms_median:.2f}",
        f"{report.frame_ms_p95:.2f}",
    )
    console.print(stages)
    width, height = report.size_wh
    facts = Table(
        title=f"{report.preset} on {report.device}, {width}x{height}, {report.threads} threads",
        show_header=False,
    )
    facts.add_row("frames per second, mean", f"{report.frames_per_second:.1f}")
    facts.add_row("slowest frame", f"{report.frame_ms_max:.1f} ms")
    facts.add_row(
        "initialise, first / again", f"{report.initialize_ms:.0f} / {report.initialize_again_ms:.0f} ms"
    )
    facts.add_row("load", f"{report.load_ms:.0f} ms")
    peak = report.peak_memory_mb
    facts.add_row("peak memory above import", "not known here" if peak is None else f"{peak:.0f} MB")
    facts.add_row(
        "mean overlap, tracked", f"{report.mean_overlap:.2f}, {report.tracked_share:.0%} of the frames"
    )
    if (alone := report.refinement) is not None:
        facts.add_row("refinement, 10 boxes x 10 steps", f"{alone.ms:.1f} ms")
        facts.add_row("the same by plain autograd", f"{alone.autograd_ms:.1f} ms, ratio {alone.ratio:.1f}")
    facts.add_row("machine", machine_text(report.machine))
    console.print(facts)
