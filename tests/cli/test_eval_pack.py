"""`ebm eval pack`: exit codes and what is said."""

from __future__ import annotations

import zipfile
from pathlib import Path

import pytest

from ebm_tracker.cli import main

NAMES = [f"video{k:03d}" for k in range(511)]


@pytest.fixture
def results(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "no-settings"))
    for name in ("EBM_SETTINGS", "EBM_DATA_TRACKINGNET", "EBM_DATA_GOT10K"):
        monkeypatch.delenv(name, raising=False)
    folder = tmp_path / "results" / "ebm" / "default"
    folder.mkdir(parents=True)
    for name in NAMES:
        (folder / f"{name}.txt").write_text("1,2,3,4\n5,6,7,8\n")
    return folder


def make_data(root: Path, frames: int) -> Path:
    (root / "TEST" / "anno").mkdir(parents=True)
    for name in NAMES:
        (root / "TEST" / "anno" / f"{name}.txt").write_text("1.00,2.00,3.00,4.00\n")
        (root / "TEST" / "frames" / name).mkdir(parents=True)
        for k in range(frames):
            (root / "TEST" / "frames" / name / f"{k}.jpg").touch()
    return root


def test_pack_and_verify(results: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["eval", "pack", "trackingnet", str(results)]) == 0
    said = capsys.readouterr()
    path = results.with_name("default_trackingnet.zip")
    assert said.out == f"{path}: 511 files for TrackingNet, 511 sequences, 1022 frames\n"
    assert said.err == "note: without the data set, rows against frames and first boxes were not checked\n"
    assert len(zipfile.ZipFile(path).namelist()) == 511
    assert main(["eval", "pack", "--verify", str(path)]) == 0
    said = capsys.readouterr()
    assert said.out == f"{path}: a whole submission for TrackingNet, 511 sequences, 1022 frames\n"


def test_lengths_come_from_the_data_set(
    results: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    data = make_data(tmp_path / "data", 2)
    for flags in (["--path", str(data)], ["--data", f"trackingnet={data}"]):
        assert main(["eval", "pack", "trackingnet", str(results), "--out", str(tmp_path / "a.zip"), *flags]) == 0
        assert capsys.readouterr().err == ""
    monkeypatch.setenv("EBM_DATA_TRACKINGNET", str(data))
    (data / "TEST" / "frames" / "video007" / "2.jpg").touch()
    assert main(["eval", "pack", "--verify", str(tmp_path / "a.zip")]) == 1
    assert capsys.readouterr().err == (
        "video007.txt has 2 rows for 3 frames\n"
        f"{tmp_path / 'a.zip'} is not a whole submission for TrackingNet: 1 problem\n"
    )


def test_problems_are_all_listed_and_nothing_is_written(
    results: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (results / "video001.txt").write_text("1,2,3,4\nnan,nan,nan,nan\n")
    (results / "video002.txt").write_text("1,2,3\n")
    assert main(["eval", "pack", "trackingnet", str(results)]) == 1
    said = capsys.readouterr()
    assert said.out == ""
    assert said.err.splitlines()[1:] == [
        f"{results / 'video001.txt'} has row 2 with a NaN or an infinite number",
        f"{results / 'video002.txt'}, line 1: needs 4 numbers x,y,w,h or 8 of a polygon (got 3)",
        f"{results} cannot be packed for TrackingNet, nothing was written: 2 problems",
    ]
    assert not results.with_name("default_trackingnet.zip").exists()
    assert main(["eval", "pack", "trackingnet", str(results), "--partial"]) == 0
    said = capsys.readouterr()
    assert "2 of 511 sequences are not in it and will be scored as zeros" in said.err
    assert said.out.endswith("509 files for TrackingNet, 509 sequences, 1018 frames\n")


def test_a_path_of_the_settings_may_be_of_the_training_part(
    results: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "data" / "TRAIN_0").mkdir(parents=True)
    monkeypatch.setenv("EBM_DATA_TRACKINGNET", str(tmp_path / "data"))
    assert main(["eval", "pack", "trackingnet", str(results)]) == 0
    assert "(EBM_DATA_TRACKINGNET names it)" in capsys.readouterr().err
    assert main(["eval", "pack", "trackingnet", str(results), "--path", str(tmp_path / "data")]) == 2


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "give the server (trackingnet or got10k) and the results, or --verify ZIP"),
        (["got10k"], "give the server"),
        (["trackingnet", "nowhere"], "there are no results nowhere"),
        (["--verify", "nowhere.zip"], "nowhere.zip cannot be read (No such file or directory)"),
        (["--verify", "nowhere.zip", "--partial"], "--verify takes the zip"),
        (["uav", "results"], "invalid choice: 'uav'"),
    ],
)
def test_mistakes(
    results: Path, arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["eval", "pack", *arguments]) == 2
    said = capsys.readouterr()
    assert message in said.err and said.err.count("\n") == 1
