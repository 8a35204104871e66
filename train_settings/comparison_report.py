"""Table and figure of the comparison, from ``tracks.json`` and ``steps.json``."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ebm_tracker.errors import EbmError
from ebm_tracker.evaluation.metrics import SUCCESS_THRESHOLDS
from ebm_tracker.train_settings.chart import Chart

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
        if np.isnan(table).any():
            missing = int(np.isnan(table[..., 0]).sum())
            raise EbmError(f"tracks.json lacks {missing} of {table[..., 0].size} tracks of {method}; run `track` again")
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
    chart = Chart(size, (70, 50, 30, 60))
    ticks = [f"{share:.2f}" for share in np.linspace(0, 1, 5)]
    chart.rows(ticks)
    chart.columns(ticks)
    for method, table in curves.items():
        by_training = table.mean(axis=(1, 2))  # (trainings, thresholds)
        x = np.linspace(0, 1, by_training.shape[1])
        heights = (by_training.min(0), by_training.max(0), by_training.mean(0))
        low, high, mean = (list(zip(x.tolist(), y.tolist(), strict=True)) for y in heights)
        chart.band(low, high, COLORS[method])
        chart.line(mean, COLORS[method], width=3)
    chart.titles([(NAMES[method], COLORS[method]) for method in curves])
    chart.caption("overlap threshold (up: share of frames above it; band: range over three trainings)")
    chart.save(path)
