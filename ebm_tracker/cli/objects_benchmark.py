"""One run of ``ebm speed --objects N``: N objects at once, beside one object and beside N trackers."""

from __future__ import annotations

import argparse
import math
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from functools import partial
from typing import TypeVar

import numpy as np
import torch
from rich.console import Console
from rich.table import Table

from ebm_tracker.boxes import BoxXYWH
from ebm_tracker.build import load
from ebm_tracker.cli.benchmark import machine_facts, machine_text, write_figures
from ebm_tracker.evaluation.synthetic import MovingTexture
from ebm_tracker.frames import RgbFrame
from ebm_tracker.tracking import MultiTracker, Tracker, TrackOutput

Result = TypeVar("Result")


@dataclass(frozen=True)
class ObjectsReport:
    """Medians over frames, milliseconds; the three take turns on every frame.

    Attributes:
        one_ms, several_ms, separate_ms: one object, all at once, and a tracker of its own for each.
        ratio, separate_ratio: of the latter two to the first, medians over frames of the ratios.
        largest_difference: pixels, of any box number between the latter two.
    """

    preset: str
    device: str
    threads: int
    objects: int
    frames: int
    machine: dict[str, str]
    one_ms: float
    several_ms: float
    separate_ms: float
    ratio: float
    separate_ratio: float
    largest_difference: float


def run_objects_benchmark(args: argparse.Namespace) -> int:
    """Measures as the arguments of ``ebm speed`` say; returns 0."""
    if args.threads is not None:
        torch.set_num_threads(args.threads)
    one = load(
        args.preset, args.device, args.seed, weights=args.weights, backbone_weights=args.backbone_weights
    )
    video = MovingTexture(args.size, args.frames + 1, args.seed)
    boxes = object_boxes(video, args.objects)
    several = MultiTracker(one.network, one.config, device=one.device, seed=args.seed)
    separate = {key: Tracker(one.network, one.config, device=one.device, seed=args.seed) for key in boxes}
    first = video.frame(0)
    one.initialize(first, boxes[1])
    several.initialize(first, boxes)
    for key, tracker in separate.items():
        tracker.initialize(first, boxes[key])
    seconds, difference = [], 0.0
    for index in range(1, len(video)):
        frame = video.frame(index)
        alone, _ = _timed(partial(one.track, frame))
        together, found = _timed(partial(several.track, frame))
        apart, own = _timed(partial(_all_tracked, separate, frame))
        seconds.append((alone, together, apart))
        difference = max(
            difference, *(np.abs(np.subtract(found[key].box_xywh, own[key].box_xywh)).max() for key in boxes)
        )
    times = 1e3 * np.array(seconds)
    one_ms, several_ms, separate_ms = np.median(times, axis=0).tolist()
    _, ratio, separate_ratio = np.median(times / times[:, :1], axis=0).tolist()
    report = ObjectsReport(
        args.preset, str(one.device), args.threads, args.objects, len(times), machine_facts(torch.__version__),
        one_ms, several_ms, separate_ms, ratio, separate_ratio, float(difference),
    )  # fmt: skip
    print_report(Console(highlight=False), report)
    write_figures(args.json, asdict(report))
    return 0


def object_boxes(video: MovingTexture, count: int) -> dict[int, BoxXYWH]:
    """Boxes by id from 1: the video's moving object, then pieces of its background on a grid."""
    width, height = video.size_wh
    columns = math.ceil(math.sqrt(count))
    w, h = width / columns, height / columns
    boxes: dict[int, BoxXYWH] = {1: video.box_xywh(0)}
    for number in range(1, count):
        row, column = divmod(number, columns)
        boxes[number + 1] = (w * (column + 0.3), h * (row + 0.3), 0.4 * w, 0.4 * h)
    return boxes


def _all_tracked(trackers: dict[int, Tracker], frame: RgbFrame) -> dict[int, TrackOutput]:
    return {key: tracker.track(frame) for key, tracker in trackers.items()}


def _timed(call: Callable[[], Result]) -> tuple[float, Result]:
    start = time.perf_counter()
    result = call()
    return time.perf_counter() - start, result


def print_report(console: Console, report: ObjectsReport) -> None:
    """The figures as a table."""
    table = Table(title=f"{report.preset} on {report.device}, {report.threads} threads, {report.frames} frames")
    for heading in ("per frame", "ms", "ratio"):
        table.add_column(heading, justify="left" if heading == "per frame" else "right")
    table.add_row("1 object", f"{report.one_ms:.1f}", "1.00")
    table.add_row(f"{report.objects} objects at once", f"{report.several_ms:.1f}", f"{report.ratio:.2f}")
    table.add_row(f"{report.objects} trackers", f"{report.separate_ms:.1f}", f"{report.separate_ratio:.2f}")
    console.print(table)
    console.print(f"boxes of the two differ by at most {report.largest_difference:.1e} pixels")
    console.print(machine_text(report.machine))
