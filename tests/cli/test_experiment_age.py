from __future__ import annotations

import argparse
import csv
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from ebm_tracker.adapters.age.data import AgeError
from ebm_tracker.adapters.regression import FitSettings
from ebm_tracker.cli import experiment_age
from ebm_tracker.train_settings import age

pytest.importorskip("matplotlib")

FIT = FitSettings(epochs=4, batch_size=8, learning_rate=1e-2)
SMALL = replace(
    age.SMALL,
    views=2,
    study=replace(age.SMALL.study, hidden=16, joint=(16,), samples=16, head_fit=FIT, energy_fit=FIT, runs=2),
)


@pytest.fixture(scope="module")
def faces(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("faces")
    rng = np.random.default_rng(0)
    for number, years in enumerate(rng.integers(1, 100, 40)):
        image = np.clip(rng.normal(2 * years, 30, (200, 200, 3)), 0, 255).astype(np.uint8)
        Image.fromarray(image).save(folder / f"{years}_0_0_{number:04d}.jpg.chip.jpg")
    return folder


def run(*arguments: str | Path) -> int:
    parser = argparse.ArgumentParser()
    experiment_age.add_arguments(parser)
    return experiment_age.run(parser.parse_args([str(argument) for argument in arguments]))


def test_one_command_trains_and_writes_all_and_a_second_one_only_reads(
    faces: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(age, "SMALL", SMALL)
    out = tmp_path / "out"
    assert run("--data", faces, "--small", "--out", out, "--device", "cpu") == 0
    said = capsys.readouterr().out
    assert "40 faces; 20% of them" in said and "32 faces to train on, 8 to test on" in said
    assert {path.name for path in out.iterdir()} == {
        "age.png", "age.pdf", "experiment.json", "faces.png", "faces.pdf", "features", "runs", "table.csv", "table.md",
        "table_2.csv",
    }  # fmt: skip
    text = (out / "table.md").read_text()
    assert "frozen EfficientNet" in text and "Table S1" in text and "of 6 methods" in text
    with (out / "table.csv").open(newline="") as file:
        rows = list(csv.reader(file))
    assert rows[1][0] == "Direct - Huber" and any(row[0].startswith("Cao") for row in rows)
    with Image.open(out / "age.png") as picture:
        assert picture.width > 600 and len(picture.convert("RGB").getcolors(1 << 20) or []) > 20
    written = {path: path.stat().st_mtime_ns for path in out.rglob("*") if path.suffix in (".pt", ".npy", ".json")}
    assert run("--data", faces, "--small", "--out", out, "--device", "cpu") == 0
    assert (out / "table.md").read_text() == text
    assert {path: path.stat().st_mtime_ns for path in written} == written
    with pytest.raises(ValueError, match="seed"):
        run("--data", faces, "--small", "--out", out, "--device", "cpu", "--seed", "7")


def test_limit_takes_a_quarter_as_many_test_faces(faces: Path) -> None:
    train, test, remarks = age.choose_faces(SMALL, age.AgeSource(faces, limit=12))
    assert (len(train), len(test)) == (12, 3) and not set(train.names) & set(test.names)
    assert "12 faces to train on, 3 to test on" in remarks[-1]
    with pytest.raises(ValueError, match="--limit"):
        run("--data", faces, "--small", "--limit", "-1")


def test_the_split_is_needed_at_full_scale(faces: Path, tmp_path: Path) -> None:
    with pytest.raises(AgeError, match="no split file"):
        run("--data", faces, "--out", tmp_path)


def test_drawn_faces_are_chosen_by_age_alone() -> None:
    truth = np.random.default_rng(0).permutation(np.arange(100.0))
    rows = age._spread(truth, 6)
    assert truth[rows].tolist() == [14, 28, 42, 57, 71, 85]
