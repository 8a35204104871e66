"""``ebm density`` on frames in a folder: files, numbers, and mistakes."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from ebm_tracker.cli import main


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    home = tmp_path_factory.mktemp("moving")
    rng = np.random.default_rng(0)
    ground = (90 + 20 * rng.standard_normal((120, 160, 3))).clip(0, 255).astype(np.uint8)
    patch = rng.integers(0, 255, (40, 30, 3))
    for i in range(3):
        frame = ground.copy()
        frame[50:90, 70 + i : 100 + i] = patch
        Image.fromarray(frame).save(home / f"{i:03}.png")
    (home / "groundtruth.txt").write_text("".join(f"{70 + i},50,30,40\n" for i in range(3)))
    return home


def test_picture_and_numbers(folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    command = ["density", "--frames", str(folder), "--frame", "2", "--grid", "24", "--device", "cpu"]
    out, numbers = tmp_path / "a" / "picture.png", tmp_path / "numbers.npz"
    assert main([*command, "--out", str(out), "--numbers", str(numbers)]) == 0
    assert Image.open(out).format == "PNG" and str(out) in capsys.readouterr().out
    with np.load(numbers, allow_pickle=False) as arrays:
        x, y, log_density = (arrays[f"corner_{name}"] for name in ("x", "y", "log_density"))
        cell = (x[1] - x[0]) * (y[1] - y[0])
        assert log_density.shape == (24, 24) and (np.exp(log_density) * cell).sum() == pytest.approx(1)
        box = arrays["box_xywh"]
    summary = tmp_path / "numbers.json"
    assert main([*command, "--out", str(out), "--numbers", str(summary)]) == 0
    (row,) = json.loads(summary.read_text())
    assert row["truth_xywh"] == [72, 50, 30, 40] and row["frame"] == 2
    corner = row["densities"][0]
    assert corner["kind"] == "corner" and corner["box_xywh"] == pytest.approx(box.tolist())
    step = corner["x"][1] - corner["x"][0]
    assert sum(corner["marginal_x"]) * step == pytest.approx(1)


@pytest.mark.parametrize(
    ("flags", "expected"),
    [
        (["--frame", "9"], "from 1 to 2"),
        (["--frame", "1", "--out", "x.jpg"], ".png"),
        (["--frame", "1", "--numbers", "x.csv"], ".npz or .json"),
        (["--frame", "0"], "at least 1"),
        (["--span", "1.5"], "between 0 and 1"),
        (["--grid", "1000"], "from 2 to 512"),
    ],
)
def test_mistakes_are_one_sentence(
    folder: Path, flags: list[str], expected: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["density", "--frames", str(folder), "--device", "cpu", *flags]) == 2
    error = capsys.readouterr().err
    assert expected in error and error.count("\n") == 1 and not list(tmp_path.iterdir())
