"""run_tracker.py with pytracking's flags."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from ebm_tracker.cli import eval_run, main
from ebm_tracker.cli.dataset_mode import SHORT_NAMES, THEIRS_ONLY, DatasetError, ours
from ebm_tracker.cli.track import build_run_tracker_parser, run_tracker_main
from ebm_tracker.evaluation.datasets.registry import DATASET_NAMES, dataset_of

Capture = pytest.CaptureFixture[str]


@pytest.fixture
def home(frames_dir: Path) -> Path:
    """Two sequences of five frames."""
    home = frames_dir.parent / "home"
    home.mkdir()
    shutil.copytree(frames_dir, home / "run")
    frames_dir.rename(home / "walk")
    return home


def command(home: Path, out: Path, *flags: str, tracker: tuple[str, str] = ("identity", "last_box")) -> list[str]:
    return [*tracker, "--dataset_name", "folder", "--path", str(home), "--out", str(out), *flags]


def files(folder: Path) -> set[str]:
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*.txt")}


def parsed(monkeypatch: pytest.MonkeyPatch, *words: str) -> Any:
    """What reaches `ebm eval run`."""
    seen = []

    def run(args: Any) -> int:
        seen.append(args)
        return 7

    monkeypatch.setattr(eval_run, "run", run)
    assert run_tracker_main(list(words)) == 7
    return seen[0]


def fails(capsys: Capture, arguments: list[str], *parts: str) -> None:
    assert run_tracker_main(arguments) == 2
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 1, lines
    assert lines[0].startswith("run_tracker.py: error: ") and all(part in lines[0] for part in parts), lines[0]


def test_is_ebm_eval_run(home: Path, tmp_path: Path) -> None:
    """The same files as the other command leaves, times apart."""
    assert run_tracker_main(command(home, tmp_path / "a")) == 0
    words = ["identity", "last_box", "folder", "--path", str(home), "--out", str(tmp_path / "b"), "--runs", "1"]
    assert main(["eval", "run", *words]) == 0
    names = files(tmp_path / "a")
    assert names == files(tmp_path / "b") and len(names) == 6
    for name in ("identity/last_box/run.txt", "identity/last_box/walk.txt"):
        assert (tmp_path / "a" / name).read_text() == (tmp_path / "b" / name).read_text()
        assert (tmp_path / "a" / name).read_text() == 5 * "10.000,5.000,20.000,16.000\n"


def test_one_sequence_by_name_or_number(home: Path, tmp_path: Path, capsys: Capture) -> None:
    boxes = {"identity/last_box/run.txt", "identity/last_box/walk.txt"}
    for text, name in (("walk", "walk"), ("0", "run"), ("1", "walk")):
        assert run_tracker_main(command(home, tmp_path / text, "--sequence", text)) == 0
        assert files(tmp_path / text) & boxes == {f"identity/last_box/{name}.txt"}
    capsys.readouterr()
    fails(capsys, command(home, tmp_path / "x", "--sequence", "7"), "no sequence '7'", "0 to 1")


def test_a_run_number_names_the_folder_and_moves_the_seed(home: Path, tmp_path: Path) -> None:
    assert run_tracker_main(command(home, tmp_path, "--runid", "3", "--seed", "40")) == 0
    manifest = json.loads((tmp_path / "identity" / "last_box_003" / "ebm_run.json").read_text())
    assert (manifest["parameter"], manifest["seed"]) == ("last_box", 43)
    assert run_tracker_main(command(home, tmp_path, "--runid", "0", "--seed", "40")) == 0
    # These are the runs that several at once would make: nothing is left to do for them.
    words = ["identity", "last_box", "folder", "--path", str(home), "--out", str(tmp_path), "--seed", "40"]
    before = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*.txt")}
    assert main(["eval", "run", *words, "--runs", "4"]) == 0
    assert {p.name for p in (tmp_path / "identity").iterdir()} == {f"last_box_{r:03d}" for r in range(4)}
    assert all(path.stat().st_mtime_ns == stamp for path, stamp in before.items())


def test_where_the_runs_go(home: Path, tmp_path: Path, capsys: Capture) -> None:
    """`--first-run` of `ebm eval run`, on which --runid stands."""
    assert [eval_run.run_suffixes(*case) for case in ((1, None), (1, 0), (1, 3), (5, None), (2, 3))] == [
        "", "_000", "_003", "_000 to _004", "_003 to _004"]  # fmt: skip
    words = ["identity", "last_box", "folder", "--path", str(home), "--out", str(tmp_path / "out")]
    assert main(["eval", "run", *words, "--runs", "2", "--first-run", "3", "--seed", "1"]) == 0
    assert f"results go to {tmp_path / 'out' / 'identity' / 'last_box'}_003 to _004" in capsys.readouterr().out
    seeds = {p.parent.name: json.loads(p.read_text())["seed"] for p in (tmp_path / "out").rglob("ebm_run.json")}
    assert seeds == {"last_box_003": 4, "last_box_004": 5}


def test_threads_are_worker_processes(home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert run_tracker_main(command(home, tmp_path / "out", "--threads", "2")) == 0
    assert len(files(tmp_path / "out")) == 6
    for words, workers in (([], 1), (["--threads", "0"], 1), (["--threads", "1"], 1), (["--threads", "8"], 8)):
        assert parsed(monkeypatch, "ebm", "default", "--dataset_name", "otb", *words).workers == workers


def test_what_reaches_the_other_command(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    args = parsed(monkeypatch, "ebm", "resnet18", "--dataset_name", "uav")
    assert (args.tracker, args.preset, args.dataset) == ("ebm", "resnet18", "uav")
    assert (args.runs, args.first_run, args.sequences, args.seed, args.debug) == (1, None, None, 0, 0)
    assert (args.out, args.path, args.data, args.device) == (Path("results"), None, [], "auto")
    assert (args.format, args.engine, args.threads, args.pytracking) == ("precise", "processes", None, None)
    words = ["--weights", "w", "--backbone_weights", "b", "--device", "cuda:1", "--data", "uav=x", "--debug", "1"]
    args = parsed(monkeypatch, "atom", "default", "--dataset_name", "tn", *words, "--pytracking", str(tmp_path))
    assert (args.weights, args.backbone_weights, args.device) == (Path("w"), Path("b"), "cuda:1")
    assert (args.dataset, args.data, args.debug, args.pytracking) == ("trackingnet", ["uav=x"], 1, tmp_path)


def test_names_of_data_sets() -> None:
    assert {ours(name) for name in ("otb", "nfs", "uav", "lasot", "lasot_train", "trackingnet", "vot")} <= set(
        DATASET_NAMES
    )
    assert [ours(name) for name in ("tn", "gott", "gotv", "got10k_val", "OTB")] == [
        "trackingnet", "got10k_test", "got10k_val", "got10k_val", "otb"]  # fmt: skip
    assert set(SHORT_NAMES.values()) <= set(DATASET_NAMES)
    assert not set(THEIRS_ONLY) & set(DATASET_NAMES)
    assert dataset_of(ours("uav123")).name == "uav"
    for name in THEIRS_ONLY:
        with pytest.raises(DatasetError, match=f"--dataset_name {name} is a data set of pytracking's .* otb, nfs"):
            ours(name)


def test_errors_of_names(capsys: Capture, tmp_path: Path) -> None:
    fails(capsys, ["ebm", "default", "--dataset_name", "got10k_ltrval"], "not read here", "got10k_val")
    fails(capsys, ["identity", "last_box", "--dataset_name", "nonsense"], "otb, nfs, uav", "'nonsense'")
    at = ["--dataset_name", "folder", "--path", str(tmp_path)]
    fails(capsys, ["dimp", "dimp50", *at], "unknown tracker 'dimp'", "--pytracking")
    fails(capsys, ["ebm", "nano", *at], "unknown preset 'nano'")
    fails(capsys, ["identity", "last_box", *at], str(tmp_path))


def test_use_visdom_is_parsed_and_ignored(home: Path, tmp_path: Path, capsys: Capture) -> None:
    def said(*flags: str) -> list[str]:
        assert run_tracker_main(command(home, tmp_path, *flags)) == 0
        return capsys.readouterr().err.splitlines()

    parser = build_run_tracker_parser()
    for text, value in (("False", False), ("0", False), ("no", False), ("True", True), ("1", True)):
        assert parser.parse_args(["--use_visdom", text]).use_visdom is value
    assert said("--use_visdom", "False", "--visdom_port", "8097") == []
    for flags in (("--use_visdom", "True"), ("--visdom_server", "127.0.0.1"), ("--visdom_port", "8097")):
        (line,) = said(*flags)
        assert line.startswith("note: --use_visdom is ignored")
    fails(capsys, ["--use_visdom", "maybe"], "--use_visdom", "True or False", "'maybe'")
    fails(capsys, ["--visdom_port", "x"], "--visdom_port")


def test_flags_of_the_other_mode(capsys: Capture, tmp_path: Path) -> None:
    for flag in (["--sequence", "0"], ["--runid", "1"], ["--path", "x"], ["--data", "a=b"], ["--pytracking", "x"]):
        fails(capsys, ["ebm", "default", *flag], f"{flag[0]} needs --dataset_name")
    for flag in (["--video", "x"], ["--frames", "x"], ["--init", "1,2,3,4"]):
        fails(capsys, ["ebm", "default", "--dataset_name", "otb", *flag], f"{flag[0]} is for one video")
    fails(capsys, ["opencv", "kcf"], "tracker ebm only (got 'opencv')", "opencv csrt|kcf|mil")
    fails(capsys, ["ebm", "default", "--threads", "0"], "--threads must be at least 1", "--dataset_name")
    fails(capsys, ["ebm", "default", "--threads", "1025"], "--threads", "from 0 to 1024")
    fails(capsys, ["ebm", "default", "--threads", "-1"], "--threads", "from 0 to 1024")
    fails(capsys, ["ebm", "default", "--runid", "1000"], "--runid", "from 0 to 999")
    fails(capsys, ["ebm", "default", "--dataset_name", "otb", "--runid", "-1"], "--runid", "from 0 to 999")


def test_exit_code_of_a_failed_sequence(home: Path, tmp_path: Path) -> None:
    (home / "walk" / "img" / "0.png").write_bytes(b"no image")
    assert run_tracker_main(command(home, tmp_path)) == 1
    assert "run.txt" in {path.name for path in (tmp_path / "identity" / "last_box").iterdir()}
    assert (tmp_path / "identity" / "last_box" / "walk_failed.txt").is_file()


def test_help_names_everything(capsys: Capture) -> None:
    assert run_tracker_main(["--help"]) == 0
    text = capsys.readouterr().out
    for flag in ("--dataset_name", "--sequence", "--runid", "--threads", "--use_visdom", "--debug", "--video"):
        assert flag in text
