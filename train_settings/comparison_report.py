"""Table and figure of the comparison, from ``tracks.json`` and ``steps.json``."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from ebm_tracker.evaluation.metrics import SUCCESS_THRESHOLDS
from ebm_tracker.files import atomic_path

NAMES = {"atom": "ATOM", "atom_star": "ATOM*", "ebm": "EBM (ours)"}
COLORS = {"atom": (150, 150, 150), "atom_star": (200, 120, 40), "ebm": (30, 90, 170)}

Curves = dict[str, NDArray[np.float64]]
"""Method -> success curves (training seeds, tracker seeds, sequences, thresholds)."""


def success_curves(tracks: Mapping[str, list[float]], thresholds: NDArray[np.float64]) -> Curves:
    """Share of frames above each overlap, by method/training seed/tracker seed/sequence."""
    keys = [key.split("/") for key in tracks]
    axes = [sorted({key[axis] for key in keys}) for axis in (1, 2, 3)]
    curves: Curves = {}
    for method in NAMES:
        table = np.full([len(axis) for axis in axes] + [len(thresholds)], np.nan)
        for key, values in tracks.items():
            parts = key.split("/")
            if parts[0] == method:
                place = tuple(axis.index(part) for axis, part in zip(axes, parts[1:], strict=True))
                table[place] = (np.array(values)[:, None] > thresholds).mean(0)
        curves[method] = table
    return curves


def report(runs: Path, figure: Path | None) -> str:
    """The Markdown table; spread is the standard deviation over the three trainings. Draws the figure if asked to."""
    tracks: dict[str, list[float]] = json.loads((runs / "tracks.json").read_text())
    steps = json.loads((runs / "steps.json").read_text())
    measures = {
        "AUC": success_curves(tracks, SUCCESS_THRESHOLDS),
        "OP50": success_curves(tracks, np.array([0.5])),
        "OP75": success_curves(tracks, np.array([0.75])),
    }
    lines = [
        "| method | step (position) | held-out IoU | AUC | OP50 | OP75 |",
        "|---|---|---|---|---|---|",
    ]
    for method, name in NAMES.items():
        position = steps["best"][method]
        held_out = steps["grid_start_iou_op75"][method][f"{position:g}"]
        cells = []
        for curves in measures.values():
            by_training = curves[method].mean(axis=(1, 2, 3))
            cells.append(f"{by_training.mean():.3f} ± {by_training.std(ddof=1):.3f}")
        lines.append(f"| {name} | {position:g} | {held_out[1]:.3f} | " + " | ".join(cells) + " |")
    sequences = sorted({key.split("/")[3] for key in tracks})
    lines += ["", "| AUC / OP75 | " + " | ".join(sequences) + " |", "|---" * (len(sequences) + 1) + "|"]
    for method, name in NAMES.items():
        auc, op75 = (measures[key][method].mean(axis=(0, 1, 3)) for key in ("AUC", "OP75"))
        cells = [f"{a:.3f} / {b:.3f}" for a, b in zip(auc, op75, strict=True)]
        lines.append(f"| {name} | " + " | ".join(cells) + " |")
    if figure is not None:
        draw_figure(success_curves(tracks, np.linspace(0, 1, 101)), figure)
    return "\n".join(lines)


def draw_figure(curves: Curves, path: Path, size: tuple[int, int] = (900, 520)) -> None:
    """Success curves: the mean as a line, the range over the trainings as a band."""
    left, top, right, bottom = 70, 50, size[0] - 30, size[1] - 60
    canvas = Image.new("RGB", size, "white")
    draw = ImageDraw.Draw(canvas, "RGBA")
    font = ImageFont.load_default(15)

    def at(x: float, y: float) -> tuple[float, float]:
        return left + (right - left) * x, bottom - (bottom - top) * y

    for share in np.linspace(0, 1, 5):
        draw.line([at(0, share), at(1, share)], fill=(225, 225, 225))
        draw.line([at(share, 0), at(share, 1)], fill=(225, 225, 225))
        draw.text((left - 8, at(0, share)[1]), f"{share:.2f}", fill="black", font=font, anchor="rm")
        draw.text((at(share, 0)[0], bottom + 8), f"{share:.2f}", fill="black", font=font, anchor="mt")
    x_text = float(left)
    for method, table in curves.items():
        by_training = table.mean(axis=(1, 2))  # (trainings, thresholds)
        x = np.linspace(0, 1, by_training.shape[1])
        low, high, mean = by_training.min(0), by_training.max(0), by_training.mean(0)
        band = [at(a, b) for a, b in zip(x, low, strict=True)]
        band += [at(a, b) for a, b in zip(x[::-1], high[::-1], strict=True)]
        draw.polygon(band, fill=(*COLORS[method], 60))
        draw.line([at(a, b) for a, b in zip(x, mean, strict=True)], fill=COLORS[method], width=3)
        draw.text((x_text, 18), NAMES[method], fill=COLORS[method], font=font)
        x_text += draw.textlength(NAMES[method], font=font) + 30
    caption = "overlap threshold (up: share of frames above it; band: range over three trainings)"
    draw.text(((left + right) / 2, size[1] - 12), caption, fill="black", font=font, anchor="mb")
    with atomic_path(path) as part:
        canvas.save(part)
