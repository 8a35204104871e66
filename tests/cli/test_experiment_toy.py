"""`ebm experiment toy` from the flags to the files."""

from __future__ import annotations

import argparse
import csv
from pathlib import Path

import pytest

from ebm_tracker.adapters.regression import FitSettings
from ebm_tracker.adapters.toy import ToySettings, ToyStudy
from ebm_tracker.cli import experiment
from ebm_tracker.evaluation.report import plots
from ebm_tracker.train_settings import toy

TINY = ToySettings(runs=2, pairs=32, samples=4, fit=FitSettings(epochs=1, batch_size=16))


@pytest.fixture(autouse=True)
def tiny(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(toy, "SMALL", TINY)


def run(*flags: object) -> int:
    parser = argparse.ArgumentParser()
    experiment.add_arguments(parser)
    args = parser.parse_args(["toy", "--small", *map(str, flags)])
    return experiment.run(args)


def rows_of(folder: Path) -> list[dict[str, str]]:
    return list(csv.DictReader((folder / "table.csv").read_text().splitlines()))


def test_table_holds_the_divergences_of_every_model_and_objective(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(plots, "plots_available", lambda: False)
    assert run("--out", tmp_path, "--sets", "wave") == 0
    values = ToyStudy(TINY, tmp_path / "runs", data_sets=("wave",), quiet=True).run()
    rows = rows_of(tmp_path)
    assert [row["Model"] for row in rows] == ["Gaussian", "EBM", "EBM, KL", "EBM, NCE", "EBM, NCE+"]
    for row, found in zip(rows, values.values(), strict=True):
        assert float(row["All"]) == pytest.approx(found.mean(), abs=1e-4)
        assert float(row["Least"]) == pytest.approx(found.min(), abs=1e-4)
    assert "| 2: one Gaussian | EBM, NCE+ |" in (tmp_path / "table.md").read_text()
    shown = capsys.readouterr().out
    assert "10 trainings of 1 epochs" in shown and "no figure: plots need matplotlib" in shown
    assert "1 of 75 epochs: a look, no result." in (tmp_path / "table.md").read_text()
    assert not (tmp_path / "toy.png").exists()


def test_same_command_goes_on_and_draws(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("matplotlib")
    flags = ("--out", tmp_path, "--models", "gaussian", "nll")
    assert run(*flags, "--sets", "mixture") == 0
    log = tmp_path / "runs" / "mixture" / "nll" / "01" / "log.csv"
    before = log.stat().st_mtime_ns
    assert run(*flags) == 0
    assert log.stat().st_mtime_ns == before
    assert [row["Data set"][0] for row in rows_of(tmp_path)] == ["1", "1", "2", "2"]
    assert (tmp_path / "toy.png").read_bytes().startswith(b"\x89PNG")


def test_flags_reach_the_study(tmp_path: Path) -> None:
    assert run("--out", tmp_path, "--runs", 1, "--network", "repo", "--models", "nll", "--sets", "wave") == 0
    row = rows_of(tmp_path)[0]
    assert row["Trainings"] == "1" and row["Gaussian / this"] == ""
    assert "network repo" in (tmp_path / "table.md").read_text()
    with pytest.raises(ValueError, match="network must be one of"):
        run("--out", tmp_path, "--network", "mlp")
    with pytest.raises(ValueError, match="models must be some of"):
        run("--out", tmp_path, "--models", "ebm")


def test_default_folder_of_the_short_one_is_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert run("--runs", 1, "--models", "gaussian", "--sets", "wave") == 0
    assert (tmp_path / "results" / "experiment" / "toy_small" / "table.md").is_file()
