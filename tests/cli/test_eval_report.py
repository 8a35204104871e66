"""`ebm eval report` and `ebm eval compare`: what they print, write and return."""

from __future__ import annotations

import csv
import importlib.util
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from ebm_tracker.annotations import read_boxes
from ebm_tracker.cli import evaluate
from ebm_tracker.cli.parser import OneLineParser, run_guarded
from ebm_tracker.evaluation.report import page, plots
from ebm_tracker.evaluation.result_tree import boxes_text

Run = Callable[..., tuple[int, str, str]]
TRUTH = np.array([(10.0, 10, 20, 20)] * 5)
HALF = np.array([(10.0, 10, 20, 20)] + [(10.0, 10, 20, 10)] * 4)


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> Run:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    monkeypatch.setenv("EBM_SETTINGS", "")
    monkeypatch.setenv("COLUMNS", "120")
    monkeypatch.chdir(tmp_path)

    def called(*arguments: object) -> tuple[int, str, str]:
        parser = OneLineParser(prog="ebm eval")
        evaluate.add_arguments(parser)
        parser.set_defaults(run=evaluate.run)
        code = run_guarded(parser, [str(a) for a in arguments])
        done = capsys.readouterr()
        return code, done.out, done.err

    return called


@pytest.fixture
def no_drawing(monkeypatch: pytest.MonkeyPatch) -> None:
    """As if neither matplotlib nor jinja2 were installed, which is also quicker."""
    monkeypatch.setattr(plots, "find_spec", lambda name: None)
    monkeypatch.setattr(page, "find_spec", lambda name: None)


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """Three sequences; results of ``t/good`` for all, of ``t/half`` for two, in pysot's names with commas."""
    for name in ("ant", "bee", "cat"):
        folder = tmp_path / "data" / name
        folder.mkdir(parents=True)
        for i in range(5):
            Image.new("RGB", (64, 48)).save(folder / f"{i:04d}.png")
        (folder / "groundtruth.txt").write_text(boxes_text(TRUTH))
    for tracker, boxes, names in (("good", TRUTH, ("ant", "bee", "cat")), ("half", HALF, ("ant", "bee"))):
        folder = tmp_path / "results" / "t" / tracker
        folder.mkdir(parents=True)
        for name in names:
            (folder / f"{name}.txt").write_text(boxes_text(boxes))
    return tmp_path / "data"


@pytest.mark.usefixtures("no_drawing")
def test_the_report_is_printed_and_written(run: Run, data: Path, tmp_path: Path) -> None:
    code, out, err = run("report", "folder", "results/t/good", "results/t/half", "--path", data)
    assert (code, err) == (0, "")
    lines = [line.split() for line in out.splitlines()]
    assert ["t", "good", "95.2", "100.0", "100.0", "100.0", "1", "3"] in lines
    assert ["t", "half", "47.6", "0.0", "0.0", "100.0", "1", "2", "of", "3"] in lines
    assert "Folder (plain rules)" in out and "Metrics: plain rules." in out
    assert "1 problem:" in out and "has no result of 1 of 3 sequences: cat" in out
    assert out.count("pip install 'ebm-tracker[eval]'") == 2
    assert (tmp_path / "reports" / "folder" / "scores.csv").is_file()
    assert out.rstrip().endswith(str(Path("reports", "folder", "report.md")))


@pytest.mark.usefixtures("no_drawing")
def test_flags_name_trackers_rules_sequences_and_the_folder(run: Run, data: Path, tmp_path: Path) -> None:
    arguments = ("results/t/good", "results/t/half", "--names", "A [b]", "B", "--metrics", "plain", "pytracking")
    code, out, _ = run("report", "folder", *arguments, "--sequences", "bee", "--data", f"folder={data}", "--out", "x y")
    assert code == 0
    for flavour in ("plain", "pytracking"):
        with (tmp_path / "x y" / f"sequences_{flavour}.csv").open() as file:
            rows = [(row["Metrics"], row["Tracker"], row["Sequence"]) for row in csv.DictReader(file)]
        assert rows == [(flavour, "A [b]", "bee"), (flavour, "B", "bee")]
    assert "A [b]" in out and "Folder (pytracking toolkit)" in out


@pytest.mark.usefixtures("no_drawing")
def test_truncation_changes_the_scores_and_is_said(run: Run, data: Path, tmp_path: Path) -> None:
    for name in ("ant", "bee", "cat"):
        (tmp_path / "results/t/good" / f"{name}.txt").write_text(boxes_text(TRUTH + 0.9))
    _, exact, _ = run("report", "folder", "results/t/good", "--path", data)
    _, cut, _ = run("report", "folder", "results/t/good", "--path", data, "--truncate")
    assert "--truncate" in cut and "--truncate" not in exact
    assert "95.2" in cut and "95.2" not in exact


def test_everything_is_made_with_all_installed(run: Run, data: Path, tmp_path: Path) -> None:
    pytest.importorskip("matplotlib", reason="plots need matplotlib")
    pytest.importorskip("jinja2", reason="the page needs jinja2")
    code, out, _ = run("report", "folder", "results/t/good", "--path", data, "--frames", "none")
    assert code == 0
    folder = tmp_path / "reports" / "folder"
    assert {"success.png", "success.pdf", "index.html"} <= {path.name for path in folder.iterdir()}
    assert out.rstrip().endswith(str(Path("reports", "folder", "index.html")))


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("report", "folder", "results/t/none"), "there are no results results/t/none"),
        (("report", "folder", "results/t/good", "--names", "a", "b"), "--names needs a name for each of the 1 RESULTS"),
        (("report", "folder", "results/t/good", "results/t/good"), "two trackers have the name 't good'"),
        (("report", "folder", "results/t/good", "--metrics", "best"), "there are no metrics 'best'"),
        (("report", "folder", "results/t/good", "--sequences", "dog"), "no sequence 'dog'"),
        (("report", "folders", "results/t/good"), "dataset must be one of"),
        (("compare", "folder", "results/t/good", "results/t/none"), "there are no results results/t/none"),
        (("compare", "folder", "results/t/good", "results/t"), "results t has no usable result"),
    ],
)
def test_mistakes_are_one_sentence(run: Run, data: Path, arguments: tuple[str, ...], said: str) -> None:
    code, out, err = run(*arguments, "--path", data)
    assert code == 2 and said in err.replace("\\", "/") and err.count("\n") == 1
    assert "Traceback" not in err


@pytest.mark.usefixtures("no_drawing")
def test_compare_prints_a_verdict(run: Run, data: Path, tmp_path: Path) -> None:
    flags = ("--path", data, "--resamples", 100, "--out", "out")
    code, out, err = run("compare", "folder", "results/t/half", "results/t/good", *flags)
    assert (code, err) == (0, "")
    assert "t good is better than t half by 47.6 AUC points, 95 % interval [47.6, 47.6], on 2 sequences.\n" in out
    assert ["ant", "4", "47.6", "95.2", "+47.6"] in [line.split() for line in out.splitlines()]
    assert "cat" in out.split("problem: ")[1]
    assert (tmp_path / "out" / "differences.csv").is_file() and "no picture" in out


@pytest.mark.usefixtures("no_drawing")
def test_the_scores_of_real_sequences_are_the_reference_tools(run: Run, shared_dir: Path, tmp_path: Path) -> None:
    """Boxes that drift off the truth, against shared/tools/score_boxes.py."""
    spec = importlib.util.spec_from_file_location("score_boxes", shared_dir / "tools" / "score_boxes.py")
    assert spec is not None and spec.loader is not None
    tool: Any = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(tool)
    generator = np.random.default_rng(5)
    folder = tmp_path / "results" / "t" / "drift"
    folder.mkdir(parents=True)
    for home in sorted(path for path in (shared_dir / "sequences").iterdir() if path.is_dir()):
        truth = read_boxes(home / "groundtruth.txt")
        boxes = np.nan_to_num(truth) + np.cumsum(generator.normal(0, 1.2, truth.shape), axis=0)
        boxes[:, 2:] = np.maximum(boxes[:, 2:], 3)
        (folder / f"{home.name}.txt").write_text(boxes_text(boxes))
    code, _, _ = run("report", "folder", folder, "--path", shared_dir / "sequences")
    assert code == 0
    with (tmp_path / "reports" / "folder" / "sequences.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 6
    for row in rows:
        boxes = read_boxes(folder / f"{row['Sequence']}.txt")
        truth = tool.read_gt(shared_dir / "sequences" / row["Sequence"] / "groundtruth.txt")
        expected = [100 * tool.scores(boxes, truth)[name] for name in ("auc", "op50", "op75", "p20")]
        assert [float(row[name]) for name in ("AUC", "OP50", "OP75", "Precision")] == pytest.approx(expected, abs=1e-4)
