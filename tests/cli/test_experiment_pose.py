"""`ebm experiment pose`: rendering a file, reading it as BIWI, and the small experiment in miniature."""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path

import pytest

from ebm_tracker.adapters.pose.data import open_biwi, read_pose_file
from ebm_tracker.adapters.regression import FitSettings
from ebm_tracker.cli import experiment_pose
from ebm_tracker.train_settings import pose


def parse(*arguments: str) -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    experiment_pose.add_arguments(parser)
    return parser.parse_args(arguments)


def test_render_writes_a_file_that_the_reader_takes(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for name, count, seed in (("train", 3, "0"), ("test", 2, "1")):
        path = tmp_path / f"BIWI_{name}.npz"
        assert experiment_pose.run(parse("--render", str(count), "--seed", seed, "--out", str(path))) == 0
    assert "3 rendered heads" in capsys.readouterr().out
    train, test, _ = open_biwi(tmp_path)
    assert (len(train), len(test)) == (3, 2)
    kept = read_pose_file(tmp_path / "BIWI_train.npz")
    experiment_pose.run(parse("--render", "3", "--seed", "5", "--out", str(tmp_path / "BIWI_train.npz")))
    assert (read_pose_file(tmp_path / "BIWI_train.npz").poses != kept.poses).all()


def test_render_needs_an_npz_name(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="npz"):
        experiment_pose.run(parse("--render", "1", "--out", str(tmp_path / "heads")))


@pytest.mark.parametrize(
    "arguments", [(), ("--small", "--data", "x"), ("--small", "--render", "3"), ("--small", "--runs", "0")]
)
def test_flags_that_do_not_go_together(arguments: tuple[str, ...]) -> None:
    with pytest.raises(SystemExit):
        parse(*arguments)


def test_flags_change_the_recipe() -> None:
    recipe = experiment_pose.changed_recipe(parse("--data", "x", "--runs", "2", "--seed", "7"))
    assert (recipe.study.runs, recipe.study.seed) == (2, 7)
    assert recipe == replace(pose.FULL, study=recipe.study)
    cut = experiment_pose.changed_recipe(parse("--data", "x", "--backbone", "resnet18_layer3", "--freeze"))
    assert (cut.backbone, cut.grid, cut.freeze) == ("resnet18_layer3", pose.SMALL.grid, True)
    assert not experiment_pose.changed_recipe(parse("--small", "--no-freeze")).freeze
    with pytest.raises(ValueError, match="--limit"):
        experiment_pose.changed_recipe(parse("--small", "--limit", "-1"))


def test_small_experiment_in_miniature(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("matplotlib")
    fit = FitSettings(epochs=1, batch_size=8, weight_decay=1e-3)
    study = replace(pose.SMALL.study, hidden=8, joint=(8,), samples=8, runs=2, head_fit=fit, energy_fit=fit)
    small = replace(pose.SMALL, study=study, rendered=(16, 8), views=1, grid=1, limits=(30.0, 30.0, 30.0))
    monkeypatch.setattr(pose, "SMALL", small)
    arguments = parse("--small", "--out", str(tmp_path))
    assert experiment_pose.run(arguments) == 0
    names = {path.name for path in tmp_path.iterdir() if path.is_file()}
    assert names == {"experiment.json", "table.md", "table.csv", "table_2.csv", "table_3.csv", "pose.png"}
    text = (tmp_path / "table.md").read_text()
    assert "RENDERED" in text and "Softmax (CE, L2, Var) + refinement" in text and "highest value of f" in text
    ours, apart = text.split("Published figures")
    assert "2.78 ± 0.09" not in ours and "2.78 ± 0.09" in apart  # the paper's, in a table of their own
    # The same command again trains nothing: what was trained is only loaded.
    monkeypatch.setattr("ebm_tracker.training.loop.Training.run", lambda self: pytest.fail("trained again"))
    assert experiment_pose.run(arguments) == 0
    assert (tmp_path / "table.md").read_text() == text
    capsys.readouterr()
