from __future__ import annotations

import csv
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from ebm_tracker.training.run_log import RunLog


def rows(path: Path) -> list[dict[str, str]]:
    with path.open() as file:
        return list(csv.DictReader(file))


def test_row_is_the_mean_since_the_last(tmp_path: Path) -> None:
    log = RunLog(tmp_path)
    log.note(1.0, 0.5, 2.0)
    log.note(2.0, 1.5, 4.0)
    assert log.write(2, 1e-3) == {"step": 2, "loss": 1.5, "data_s": 1.0, "step_s": 3.0, "rate": 1e-3}
    log.note(1 / 3, 0.0, 0.0)
    log.write(3, 1e-4)
    assert (tmp_path / "log.csv").read_text() == (
        "step,loss,data_s,step_s,rate\n2,1.5,1,3,0.001\n3,0.333333333,0,0,0.0001\n"
    )


def test_rows_after_the_step_are_dropped(tmp_path: Path) -> None:
    """And a last line that a killed process wrote in part."""
    log = RunLog(tmp_path)
    for step in (2, 4, 6):
        log.note(step, 0, 0)
        log.write(step, 0.1)
        log.write_evaluation(step, {"iou": step / 10})
    with (tmp_path / "log.csv").open("a") as file:
        file.write("8,0.1")
    RunLog(tmp_path, 5)
    assert [row["step"] for row in rows(tmp_path / "log.csv")] == ["2", "4"]
    assert [row["iou"] for row in rows(tmp_path / "evaluation.csv")] == ["0.2", "0.4"]
    with (tmp_path / "log.csv").open("a") as file:
        file.write("4")  # of 45,...
    RunLog(tmp_path, 100)
    assert [row["step"] for row in rows(tmp_path / "log.csv")] == ["2", "4"]


def test_new_run_begins_with_no_rows(tmp_path: Path) -> None:
    log = RunLog(tmp_path)
    log.note(1, 0, 0)
    log.write(1, 0.1)
    log = RunLog(tmp_path)
    log.write_evaluation(1, {"iou": 0.5})
    assert not (tmp_path / "log.csv").exists()
    assert rows(tmp_path / "evaluation.csv") == [{"step": "1", "iou": "0.5"}]


def test_tensorboard_gets_the_same_numbers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[Any] = []

    class SummaryWriter:
        def __init__(self, folder: str, purge_step: int) -> None:
            calls.append((folder, purge_step))

        def add_scalar(self, name: str, value: float, step: int) -> None:
            calls.append((name, value, step))

        def close(self) -> None:
            calls.append("closed")

    module = ModuleType("torch.utils.tensorboard")
    module.SummaryWriter = SummaryWriter  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", module)
    log = RunLog(tmp_path, 6, tensorboard=True)
    assert log.has_tensorboard
    log.note(1.5, 0.25, 0.5)
    log.write(8, 0.1)
    log.write_evaluation(8, {"iou": 0.75})
    log.close()
    assert calls == [
        (str(tmp_path / "tensorboard"), 7),
        ("training/loss", 1.5, 8),
        ("training/data_s", 0.25, 8),
        ("training/step_s", 0.5, 8),
        ("training/rate", 0.1, 8),
        ("evaluation/iou", 0.75, 8),
        "closed",
    ]


def test_without_tensorboard_there_are_csv_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", None)  # as if it were not installed
    log = RunLog(tmp_path, tensorboard=True)
    assert not log.has_tensorboard
    log.note(1, 0, 0)
    log.write(1, 0.1)
    log.close()
    assert [path.name for path in tmp_path.iterdir()] == ["log.csv"]
