"""``ebm experiment regression``: a table of the user's from file to report, and what it refuses."""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import pytest

from ebm_tracker.adapters.tabular.study import TabularSettings
from ebm_tracker.cli import experiment_regression
from ebm_tracker.errors import EbmError
from ebm_tracker.train_settings import regression


def parse(*words: str) -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    experiment_regression.add_arguments(parser)
    return parser.parse_args(words)


def test_a_csv_file_becomes_a_report(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("matplotlib")
    tiny = TabularSettings(folds=2, decays=(0.0,), hidden=4, epochs=2, samples=8)
    monkeypatch.setattr(regression, "FULL", tiny)
    rng = np.random.default_rng(0)
    lines = [f"{a:.3f},{2 * a + b:.3f}" for a, b in rng.standard_normal((60, 2))]
    path = tmp_path / "houses.csv"
    path.write_text("\n".join(["area,price", *lines]) + "\n")
    out = tmp_path / "out"
    words = ("--csv", str(path), "--target", "price", "--repeats", "1", "--out", str(out))
    assert experiment_regression.run(parse(*words)) == 0
    printed = capsys.readouterr().out
    assert "60 rows of houses.csv: price from area." in printed and "the EBM has" in printed
    written = {found.name for found in out.iterdir()}
    assert written == {"experiment.json", "regression.pdf", "regression.png", "runs", "table.csv", "table.md"}
    table = (out / "table.csv").read_text().splitlines()
    assert [line.split(",")[:2] for line in table[1:]] == [["houses", name] for name in ("EBM", "Gaussian", "Laplace")]
    assert len(list((out / "runs" / "houses").glob("split-*/*/scores.json"))) == 6


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--target", "y"), "need --csv"),
        (("--csv", "a.csv"), "needs --target"),
        (("--csv", "a.csv", "--target", "y", "--sets", "photo"), "exclude each other"),
        (("--sets", "iris"), "diabetes, tumour, photo"),
    ],
)
def test_wrong_flags_are_refused(words: tuple[str, ...], message: str) -> None:
    with pytest.raises((ValueError, EbmError), match=message):
        experiment_regression.run(parse(*words))


def test_settings_of_the_recipe() -> None:
    assert regression.FULL.folds * regression.FULL.repeats == 10 and len(regression.FULL.decays) > 1
    assert regression.SMALL.epochs < regression.FULL.epochs


@pytest.mark.parametrize(
    ("words", "folder"),
    [
        ((), "results/experiment/regression"),
        (("--small",), "results/experiment/regression_small"),
        (("--csv", "in/houses.csv", "--small"), "results/experiment/regression_houses_small"),
    ],
)
def test_results_of_different_tables_lie_apart(words: tuple[str, ...], folder: str) -> None:
    assert experiment_regression._default_out(parse(*words)).as_posix() == folder
