"""Times the making of training pairs from JPEG files, and the JPEG decoders that are installed."""

from __future__ import annotations

import argparse
import math
import tempfile
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from PIL import Image
from rich.console import Console
from rich.table import Table
from torch.utils.data import DataLoader

from ebm_tracker.cli.benchmark import machine_facts, machine_text, write_figures
from ebm_tracker.evaluation.synthetic import MovingTexture
from ebm_tracker.training.data.decode import jpeg_decoder_name
from ebm_tracker.training.data.decoder_speed import DecoderSpeed, measure_decoders
from ebm_tracker.training.data.folder import FolderSet
from ebm_tracker.training.data.frame_pairs import FramePairs
from ebm_tracker.training.data.sampler import PairSampler
from ebm_tracker.training.pairs import PairDataset, PairSource

BATCH_SIZE = 16


@dataclass(frozen=True)
class LoaderSpeed:
    """Pairs of 288-pixel crops, two frames each.

    Attributes:
        pairs_per_second: over all workers, once they run.
        workers: processes.
        decoder: the JPEG decoder that they used.
        size_wh: of the frames, pixels.
        files: different frames.
        kilobytes: mean size of a file, 10^3 bytes.
        decoders: the decoders alone, on 40 of the files, one thread.
    """

    pairs_per_second: float
    workers: int
    decoder: str
    size_wh: tuple[int, int]
    files: int
    kilobytes: float
    decoders: list[DecoderSpeed]


def run_loader_benchmark(args: argparse.Namespace) -> int:
    """``ebm speed --of loader``; returns 0."""
    speed = time_loader(args.size, workers=args.workers)
    machine = machine_facts(torch.__version__)
    console = Console(highlight=False)
    print_loader_report(console, speed)
    console.print(machine_text(machine))
    write_figures(args.json, {"machine": machine, **_without_nan(asdict(speed))})
    return 0


def _without_nan(value: Any) -> Any:
    """NaN as None, which JSON has: decoders that are not there have no figures."""
    if isinstance(value, dict):
        return {key: _without_nan(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_without_nan(item) for item in value]
    return None if isinstance(value, float) and math.isnan(value) else value


def time_loader(
    size_wh: tuple[int, int] = (500, 400), files: int = 400, pairs: int = 1600, workers: int = 2
) -> LoaderSpeed:
    """Writes ``files`` frames of a made-up video to a temporary folder and makes ``pairs`` pairs of them.

    The files stay in the system's cache, so the disk is not measured.
    """
    with tempfile.TemporaryDirectory() as folder:
        paths = write_video(Path(folder), MovingTexture(size_wh, files))
        rate = pairs_per_second(FramePairs(PairSampler([FolderSet(folder)], [1])), pairs, workers)
        kilobytes = sum(path.stat().st_size for path in paths) / 1000 / files
        decoders = measure_decoders(paths[:: max(files // 40, 1)])
    return LoaderSpeed(rate, workers, jpeg_decoder_name(), size_wh, files, kilobytes, decoders)


def pairs_per_second(source: PairSource, pairs: int, workers: int) -> float:
    """The rate of a DataLoader whose batches nobody waits with, from its first batch on."""
    batches = max(pairs // BATCH_SIZE, 2 * workers + 2)
    loader = DataLoader(PairDataset(source, batches * BATCH_SIZE, seed=0), BATCH_SIZE, num_workers=workers)
    arrived = []
    for _ in loader:
        arrived.append(time.perf_counter())
    # When the first batch is there, every other worker is about to finish its own.
    first = max(workers, 1)
    return (batches - first) * BATCH_SIZE / (arrived[-1] - arrived[0])


def write_video(folder: Path, video: MovingTexture, quality: int = 95) -> list[Path]:
    """The video as a sequence that FolderSet reads; returns the paths of its frames."""
    paths = [folder / f"{index:08d}.jpg" for index in range(len(video))]
    for path, frame in zip(paths, video, strict=True):
        Image.fromarray(frame).save(path, quality=quality)
    boxes = [video.box_xywh(index) for index in range(len(video))]
    (folder / "groundtruth.txt").write_text("".join(f"{x:g},{y:g},{w:g},{h:g}\n" for x, y, w, h in boxes))
    return paths


def print_loader_report(console: Console, speed: LoaderSpeed) -> None:
    """The rate as a sentence, the decoders as a table."""
    width, height = speed.size_wh
    console.print(
        f"{speed.pairs_per_second:.0f} pairs/s with {speed.workers} workers and {speed.decoder}, "
        f"from {speed.files} JPEG files of {width}x{height} ({speed.kilobytes:.0f} kB each)",
        soft_wrap=True,
    )
    table = Table(title="JPEG decoders alone, one thread")
    for heading in ("decoder", "version", "ms per image", "images/s", "differs from Pillow by"):
        table.add_column(heading, justify="left" if heading in ("decoder", "version") else "right")
    for row in speed.decoders:
        figures = ("not there", "", "")
        if row.available:
            figures = (f"{row.milliseconds:.2f}", f"{row.images_per_second:.0f}", f"{row.largest_difference:.0f}")
        table.add_row(row.name, row.version, *figures)
    console.print(table)
