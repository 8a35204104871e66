"""Draws a run's loss and held-out IoU over its steps.

    python -m ebm_tracker.train_settings.plot_log runs/lite curve.png

The folder holds ``log.csv`` and, where the run was evaluated, ``evaluation.csv`` (training/run_log.py).
"""

from __future__ import annotations

import argparse
import csv
import math
from collections.abc import Sequence
from pathlib import Path

from ebm_tracker.errors import one_line
from ebm_tracker.train_settings.chart import Chart
from ebm_tracker.training.run_log import EVALUATION, LOG

LOSS, HELD_OUT, IOU, START = (150, 170, 190), (30, 90, 160), (200, 90, 30), (230, 180, 150)
TICKS = 5

Series = list[tuple[float, float]]
"""(step, value) pairs."""


def read_columns(path: Path, *names: str) -> list[Series]:
    """One series for each column of a log; empty ones for a file that is not there.

    Raises ValueError, naming file and column, when the file lacks one or it holds more than finite numbers.
    """
    if not path.is_file():
        return [[] for _ in names]
    with path.open(newline="") as file:
        reader = csv.DictReader(file)
        missing = {"step", *names} - set(reader.fieldnames or ())
        if missing:
            raise ValueError(f"{path.absolute()} has no column {', '.join(sorted(missing))}")
        rows = list(reader)
    try:
        series = [[(float(row["step"]), float(row[name])) for row in rows] for name in names]
    except (TypeError, ValueError):
        raise ValueError(f"{path.absolute()} must hold numbers in {', '.join(names)}") from None
    if not all(math.isfinite(value) for one in series for _, value in one):
        raise ValueError(f"{path.absolute()} must hold finite numbers in {', '.join(names)}")
    return series


def plot(folder: Path, out: Path) -> None:
    """Loss on the left axis, IoU on the right. Raises ValueError when there is no row in ``log.csv``."""
    (loss,) = read_columns(folder / LOG, "loss")
    held_out, iou, start = read_columns(folder / EVALUATION, "loss", "iou", "start_iou")
    if not loss:
        raise ValueError(f"{(folder / LOG).absolute()} holds no row of a training run")
    last = max(step for step, _ in loss + held_out)
    losses = [value for _, value in loss + held_out]
    low, high = min(losses), max(losses)
    high = high if high > low else low + 1
    floor, ceiling = tenths([value for _, value in iou + start])
    chart = Chart((900, 420), (60, 40, 60, 50), font_size=14)
    shares = [tick / (TICKS - 1) for tick in range(TICKS)]
    chart.rows([f"{low + (high - low) * share:.1f}" for share in shares], HELD_OUT)
    chart.columns([f"{last * share:.0f}" for share in shares])

    def line(series: Series, least: float, most: float, color: tuple[int, int, int], width: int) -> None:
        if series:
            chart.line([(step / last, (value - least) / (most - least)) for step, value in series], color, width)

    line(loss, low, high, LOSS, 1)
    line(held_out, low, high, HELD_OUT, 3)
    titles = [("training loss", LOSS)]
    if held_out:
        chart.rows([f"{floor + (ceiling - floor) * share:.3f}" for share in shares], IOU, on_right=True)
        line(start, floor, ceiling, START, 2)
        line(iou, floor, ceiling, IOU, 3)
        titles += [("held-out loss", HELD_OUT), ("held-out IoU after refinement", IOU), ("before", START)]
    chart.titles(titles)
    chart.caption("step")
    chart.save(out)


def tenths(values: Sequence[float]) -> tuple[float, float]:
    """The tenths around the values: (0.58, 0.83) -> (0.5, 0.9)."""
    if not values:
        return 0.0, 1.0
    floor = math.floor(10 * min(values) + 1e-9)
    return floor / 10, max(math.ceil(10 * max(values) - 1e-9), floor + 1) / 10


def main(argv: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, help="of the run")
    parser.add_argument("out", type=Path, help="the picture, .png or another format of Pillow's")
    args = parser.parse_args(argv)
    try:
        plot(args.folder, args.out)
    except (OSError, ValueError) as error:
        parser.exit(2, f"error: {one_line(error)}\n")


if __name__ == "__main__":
    main()
