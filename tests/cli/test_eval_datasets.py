"""`ebm eval datasets`: what it prints and returns."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from ebm_tracker.cli import eval_datasets
from ebm_tracker.cli.parser import OneLineParser, run_guarded
from ebm_tracker.evaluation.datasets.registry import DATASET_NAMES

Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> Run:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    monkeypatch.setenv("EBM_SETTINGS", "")
    monkeypatch.setenv("COLUMNS", "200")
    for name in ("OTB", "NFS", "UAV", "LASOT", "TRACKINGNET", "GOT10K", "VOT", "FOLDER"):
        monkeypatch.delenv(f"EBM_DATA_{name}", raising=False)

    def called(*arguments: object) -> tuple[int, str, str]:
        parser = OneLineParser(prog="ebm eval datasets")
        eval_datasets.add_arguments(parser)
        parser.set_defaults(run=eval_datasets.run)
        code = run_guarded(parser, [str(a) for a in arguments])
        done = capsys.readouterr()
        return code, done.out, done.err

    return called


@pytest.fixture
def mine(tmp_path: Path) -> Path:
    for name in ("a", "b"):
        home = tmp_path / "mine [1]" / name
        home.mkdir(parents=True)
        for i in range(3):
            (home / f"{i}.png").touch()
        (home / "groundtruth.txt").write_text("1,2,9,9\n" * 3)
    return tmp_path / "mine [1]"


def test_the_table_names_all_and_where_they_are_looked_for(run: Run, mine: Path, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    code, out, err = run("--data", f"folder={mine}", f"uav={tmp_path / 'empty'}")
    assert (code, err) == (0, "")
    for name in DATASET_NAMES:
        assert f" {name} " in out
    assert f"{mine} (--data)" in out and "not set (EBM_DATA_OTB)" in out
    assert "0 of 123" in out and f"uav: {tmp_path / 'empty'} holds no sequence of UAV123" in out


def test_a_sound_one(run: Run, mine: Path) -> None:
    assert run("folder", "--path", mine) == (0, "Folder: 2 sequences, 6 frames\nnothing is missing or short\n", "")


def test_problems_are_listed_and_the_exit_code_says_so(run: Run, mine: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (mine / "b/groundtruth.txt").write_text("1,2,9,9\n" * 5)
    (mine / "a/groundtruth.txt").write_text("x\n")
    monkeypatch.setenv("EBM_DATA_FOLDER", str(mine))
    code, out, err = run("folder")
    assert (code, err) == (1, "")
    assert f"  a: {mine}/a/groundtruth.txt, line 1: not only numbers (got 'x')\n" in out
    assert f"  b: {mine}/b/groundtruth.txt has 5 boxes for 3 frames; the first 3 of both are used\n" in out
    assert out.endswith("1 sequences or files left out, 1 used but odd\n")
    code, out, _ = run()
    assert code == 0 and f"{mine} (EBM_DATA_FOLDER)" in out and "the first of 2; `ebm eval datasets folder`" in out


def test_what_the_user_can_put_right(run: Run, mine: Path) -> None:
    for arguments, message in (
        (("uva",), "dataset must be one of otb"),
        (("uav",), "no path for data.uav (UAV123: "),
        (("uav",), "give --path DIR or --data uav=DIR, set EBM_DATA_UAV"),
        (("uav", "--path", mine), "holds no sequence of UAV123"),
        (("--path", mine), "--path needs the NAME"),
        (("--dry-tree", "uav"), "--dry-tree needs --out"),
        (("--dry-tree", "otb", "--out", mine / "new"), "a dry tree can be one of folder, uav"),
        (("--dry-tree", "uav", "--out", mine), "must be a new or empty folder"),
        (("--out", mine), "--out is for --dry-tree"),
    ):
        code, out, err = run(*arguments)
        assert (code, out) == (2, "") and message in err and err.count("\n") == 1


def test_a_dry_tree_is_sound(run: Run, tmp_path: Path) -> None:
    code, out, err = run("--dry-tree", "got10k_test", "--out", tmp_path / "got")
    assert (code, err) == (0, "") and out.endswith(f"images in {tmp_path / 'got'}\n")
    code, out, err = run("got10k_test", "--data", f"got10k={tmp_path / 'got'}")
    assert (code, err) == (0, "")
    assert out.startswith("GOT-10k test: 180 of 180 sequences, ") and "a server scores the results" in out
