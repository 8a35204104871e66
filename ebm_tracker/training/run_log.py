"""The record of a run in its folder: ``log.csv``, ``evaluation.csv`` and, where TensorBoard is installed, its files.

A row is written once per step: rows after the step at which a run goes on are dropped and written again.
"""

from __future__ import annotations

import csv
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ebm_tracker.files import write_text_atomic

LOG, EVALUATION, TENSORBOARD = "log.csv", "evaluation.csv", "tensorboard"
COLUMNS = ("loss", "data_s", "step_s")


class RunLog:
    """Means since the last row, appended to the files of ``folder``. ``steps``: where the run starts or goes on.

    Losses are written with nine digits, so that equal rows mean equal float32 losses.
    """

    def __init__(self, folder: Path, steps: int = 0, tensorboard: bool = False) -> None:
        self.folder = folder
        self.pending: list[tuple[float, ...]] = []
        for name in (LOG, EVALUATION):
            _drop_rows_after(folder / name, steps)
        self._writer = _tensorboard_writer(folder / TENSORBOARD, steps) if tensorboard else None

    @property
    def has_tensorboard(self) -> bool:
        """Whether TensorBoard gets the rows too."""
        return self._writer is not None

    def note(self, loss: float, data_s: float, step_s: float) -> None:
        """One step; seconds waited for data and seconds computed."""
        self.pending.append((loss, data_s, step_s))

    def write(self, step: int, rate: float) -> dict[str, float]:
        """Appends the row of the steps noted since the last one; returns it."""
        means = [sum(column) / len(self.pending) for column in zip(*self.pending, strict=True)]
        row = {"step": step, **dict(zip(COLUMNS, means, strict=True)), "rate": rate}
        self.pending.clear()
        self._append(LOG, row, "training")
        return row

    def write_evaluation(self, step: int, values: Mapping[str, float]) -> None:
        """Appends a row of held-out values."""
        self._append(EVALUATION, {"step": step, **values}, "evaluation")

    def close(self) -> None:
        """Writes out what TensorBoard holds back."""
        if self._writer is not None:
            self._writer.close()

    def _append(self, name: str, row: Mapping[str, float], group: str) -> None:
        path = self.folder / name
        fresh = not path.is_file()
        with path.open("a", newline="") as file:
            writer = csv.DictWriter(file, list(row), lineterminator="\n")
            if fresh:
                writer.writeheader()
            writer.writerow({key: f"{value:.9g}" for key, value in row.items()})
        if self._writer is not None:
            for key, value in row.items():
                if key != "step":
                    self._writer.add_scalar(f"{group}/{key}", value, int(row["step"]))


def _drop_rows_after(path: Path, step: int) -> None:
    """Also drops a last line that a killed process wrote in part."""
    if not path.is_file():
        return
    lines = path.read_text().splitlines(keepends=True)
    kept = lines[:1] + [line for line in lines[1:] if line.endswith("\n") and float(line.split(",")[0]) <= step]
    if len(kept) > 1:
        write_text_atomic(path, "".join(kept))
    else:
        path.unlink()


def _tensorboard_writer(folder: Path, steps: int) -> Any:
    """None when it is not installed."""
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError:
        return None
    return SummaryWriter(str(folder), purge_step=steps + 1)
