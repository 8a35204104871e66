"""Draws a run's loss and held-out IoU over its steps.

    python -m ebm_tracker.train_settings.plot_log runs/lite curve.png
"""

from __future__ import annotations

import argparse
import csv
from pathlib import Path

from PIL import Image, ImageDraw, ImageFont

from ebm_tracker.files import atomic_path

SIZE = (900, 420)
MARGIN = (60, 40, 60, 50)  # left, top, right, bottom
LOSS, HELD_OUT, IOU = (150, 170, 190), (30, 90, 160), (200, 90, 30)

Series = list[tuple[float, float]]


def read_columns(path: Path, *names: str) -> list[Series]:
    """(step, value) pairs of each column of a log."""
    with path.open(newline="") as file:
        rows = list(csv.DictReader(file))
    return [[(float(row["step"]), float(row[name])) for row in rows] for name in names]


def plot(folder: Path, out: Path) -> None:
    """Loss on the left axis, IoU on the right."""
    (loss,) = read_columns(folder / "log.csv", "loss")
    nll, iou = read_columns(folder / "evaluation.csv", "nll", "iou")
    canvas = Image.new("RGB", SIZE, "white")
    draw = ImageDraw.Draw(canvas)
    font = ImageFont.load_default(14)
    last = max(step for step, _ in loss)
    low = min(value for _, value in loss + nll)
    high = max(value for _, value in loss)
    left, top, right, bottom = MARGIN[0], MARGIN[1], SIZE[0] - MARGIN[2], SIZE[1] - MARGIN[3]

    def line(series: Series, floor: float, ceiling: float, color: tuple[int, int, int], width: int) -> None:
        points = [
            (left + (right - left) * s / last, bottom - (bottom - top) * (v - floor) / (ceiling - floor))
            for s, v in series
        ]
        draw.line(points, fill=color, width=width)

    for share in (0.0, 0.25, 0.5, 0.75, 1.0):
        y = bottom - (bottom - top) * share
        draw.line([(left, y), (right, y)], fill=(225, 225, 225))
        draw.text((left - 8, y), f"{low + (high - low) * share:.1f}", fill=HELD_OUT, font=font, anchor="rm")
        draw.text((right + 8, y), f"{0.5 + 0.4 * share:.2f}", fill=IOU, font=font, anchor="lm")
        x = left + (right - left) * share
        draw.text((x, bottom + 8), f"{last * share:.0f}", fill="black", font=font, anchor="mt")
    line(loss, low, high, LOSS, 1)
    line(nll, low, high, HELD_OUT, 3)
    line(iou, 0.5, 0.9, IOU, 3)
    titles = (("training loss", LOSS), ("held-out loss", HELD_OUT), ("held-out IoU after refinement", IOU))
    x = float(left)
    for text, color in titles:
        draw.text((x, 12), text, fill=color, font=font)
        x += draw.textlength(text, font=font) + 30
    draw.text(((left + right) / 2, SIZE[1] - 8), "step", fill="black", font=font, anchor="mb")
    with atomic_path(out) as part:
        canvas.save(part)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("out", type=Path)
    args = parser.parse_args()
    plot(args.folder, args.out)


if __name__ == "__main__":
    main()
