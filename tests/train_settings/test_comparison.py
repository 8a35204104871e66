"""The small comparison of three objectives: two trainings of each, on drawn photos and a made-up video."""

from __future__ import annotations

import json
import math
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from ebm_tracker import load
from ebm_tracker.cli.parser import build_parser, main
from ebm_tracker.errors import EbmError
from ebm_tracker.evaluation.metrics import overlaps
from ebm_tracker.evaluation.sequences import open_frame_folder
from ebm_tracker.evaluation.synthetic import MovingTexture
from ebm_tracker.models import load_network
from ebm_tracker.models.checkpoint import read_provenance
from ebm_tracker.parameters import preset
from ebm_tracker.tracking.config import RefinementSettings
from ebm_tracker.train_settings import comparison, lite
from ebm_tracker.train_settings.comparison_report import COLORS, report, success_curves
from ebm_tracker.train_settings.recipe import change
from ebm_tracker.training.heldout import HeldOutPairs, RefinementGain

TINY = ("steps=2", "batch_size=2", "reference=4,4", "maps=8,8", "hidden=8,8", "samples=8", "held_out_pairs=2")
STEPS = {"atom": (0.5, 4.0, 1.0), "atom_star": (0.5, 4.0, 1.0), "ebm": (1e-4, 1e-2, 0.1)}
FOLDERS = [f"{method}-{seed}" for seed in (0, 1) for method in ("atom", "atom_star", "ebm")]


@pytest.fixture(scope="module", autouse=True)
def _small() -> Iterator[None]:
    """Two trainings, one tracker seed, few step lengths."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(comparison, "SEEDS", (0, 1))
        patch.setattr(comparison, "TRACKER_SEEDS", (0,))
        patch.setattr(comparison, "SETTINGS", TINY)
        patch.setattr(comparison, "POSITION_STEPS", STEPS)
        yield


@pytest.fixture(scope="module")
def runs(photos: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The six networks, trained by the commands, though in this process."""
    folder = tmp_path_factory.mktemp("comparison") / "runs"

    def here(command: list[str], **_: Any) -> subprocess.CompletedProcess[str]:
        assert command[:3] == [sys.executable, "-m", "ebm_tracker.cli"]
        return subprocess.CompletedProcess(command, main([*command[3:], "--workers", "0"]))

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(comparison.subprocess, "run", here)
        comparison.train(photos, None, folder, "cpu", jobs=1)
    return folder


@pytest.fixture(scope="module")
def steps(runs: Path, photos: Path) -> dict[str, Any]:
    return comparison.tune(photos, runs, "cpu", count=3)


@pytest.fixture(scope="module")
def sequences(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One sequence of five frames, without a true box in the fourth, and a file that is none."""
    root = tmp_path_factory.mktemp("sequences")
    video = MovingTexture((96, 72), 5, seed=1)
    (root / "walk" / "img").mkdir(parents=True)
    for index, frame in enumerate(video):
        Image.fromarray(frame).save(root / "walk" / "img" / f"{index:04}.png")
    rows = [",".join(str(value) for value in video.box_xywh(index)) for index in range(5)]
    rows[3] = "nan,nan,nan,nan"
    (root / "walk" / "groundtruth_rect.txt").write_text("\n".join(rows) + "\n")
    (root / "README.txt").write_text("one sequence")
    return root


# Training ------------------------------------------------------------------------------------------------------------


def test_nine_commands_that_differ_in_objective_and_seed() -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(comparison, "SEEDS", (0, 1, 2))
        patch.setattr(comparison, "SETTINGS", ("steps=2000", "batch_size=32"))
        commands = comparison.training_commands(Path("p"), Path("b"), Path("r"), "cuda")
    found = {}
    for command in commands:
        args = build_parser().parse_args(command[3:])
        assert (args.recipe, args.resume, args.device, args.data) == ("lite", True, "cuda", ["photos=p", "bank=b"])
        recipe = change(lite.RECIPE, args.set)
        found[str(args.out)] = (recipe.objective, recipe.seed)
        assert replace(recipe, objective="nll", seed=0) == replace(lite.RECIPE, steps=2000, batch_size=32)
    names = {"atom": "iou_mse_atom", "atom_star": "iou_mse", "ebm": "nll"}
    assert found == {f"r/{method}-{seed}": (names[method], seed) for method in names for seed in (0, 1, 2)}


def test_without_a_bank_the_pairs_are_made() -> None:
    command = comparison.training_commands(Path("p"), None, Path("r"), "cpu")[0]
    assert build_parser().parse_args(command[3:]).data == ["photos=p"]


def test_training_writes_one_network_per_method_and_seed(runs: Path) -> None:
    assert sorted(path.name for path in runs.iterdir() if path.is_dir()) == sorted(FOLDERS)
    for name in FOLDERS:
        method, _, seed = name.partition("-")
        recipe = read_provenance(runs / name / "network.safetensors")["recipe"]
        assert (recipe["objective"], recipe["seed"]) == (comparison.METHODS[method], int(seed))


class Commands:
    """Stands in for the trainings; ``failing`` names the folder of one that fails."""

    def __init__(self, failing: str = "") -> None:
        self.failing, self.begun = failing, list[str]()

    def run(self, command: list[str], stdout: Any, **_: Any) -> subprocess.CompletedProcess[str]:
        folder = Path(command[command.index("--out") + 1])
        self.begun.append(folder.name)
        stdout.write(f"output of {folder.name}")
        time.sleep(0.05)
        return subprocess.CompletedProcess(command, 3 if folder.name == self.failing else 0)


def test_what_is_trained_is_not_trained_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("atom-0", "ebm-1"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "network.safetensors").touch()
    (tmp_path / "ebm-0").mkdir()  # begun, not finished
    commands = Commands()
    monkeypatch.setattr(comparison.subprocess, "run", commands.run)
    comparison.train(tmp_path, None, tmp_path, "cpu", jobs=2)
    assert sorted(commands.begun) == ["atom-1", "atom_star-0", "atom_star-1", "ebm-0"]
    assert (tmp_path / "ebm-0.txt").read_text() == "output of ebm-0"


def test_a_training_that_fails_names_its_log_and_ends_the_rest(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    commands = Commands(failing="atom-0")
    monkeypatch.setattr(comparison.subprocess, "run", commands.run)
    with pytest.raises(EbmError, match=r"training atom-0 ended with code 3; see .*atom-0.txt"):
        comparison.train(tmp_path, None, tmp_path / "runs", "cpu", jobs=1)
    assert commands.begun[0] == "atom-0" and len(commands.begun) <= 3  # of 6: one or two had begun meanwhile


# Step lengths --------------------------------------------------------------------------------------------------------


def test_tuning_scores_each_step_length_on_pairs_of_its_own(steps: dict[str, Any], runs: Path, photos: Path) -> None:
    held_out = lite.held_out_pairs(lite.read_photos(photos)[1], 3, seed=2)
    pairs = HeldOutPairs(held_out)
    assert steps["pairs"] == 3 and list(steps["grid_start_iou_op75"]) == ["atom", "atom_star", "ebm"]
    for method, grid in steps["grid_start_iou_op75"].items():
        assert list(grid) == [f"{position:g}" for position in STEPS[method]]
        for position in STEPS[method]:
            networks = [load_network(runs / f"{method}-{seed}" / "network.safetensors") for seed in (0, 1)]
            gains = [pairs.refinement(network, (position, 5 * position)) for network in networks]
            expected = np.mean([(gain.start_iou, gain.iou, gain.op75) for gain in gains], axis=0)
            assert grid[f"{position:g}"] == pytest.approx(expected, abs=1e-5)
        ious = {position: grid[f"{position:g}"][1] for position in STEPS[method]}
        assert len(set(ious.values())) == 3
        assert steps["best"][method] == max(ious, key=lambda position: ious[position])
    assert json.loads((runs / "steps.json").read_text()) == steps


def test_the_best_step_has_the_highest_iou_over_the_trainings(
    runs: Path, photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not the highest share above 0.75, nor the best of one network."""
    ious = {0: (0.2, 0.5, 0.9), 1: (0.7, 0.6, 0.0)}

    class Scored(HeldOutPairs):
        calls = 0

        def encode(self, network: Any) -> list[Any]:
            return []

        def refinement(self, network: Any, step_length: tuple[float, float], *_: Any, **__: Any) -> RefinementGain:
            run, place = divmod(Scored.calls, 3)
            Scored.calls += 1
            method = list(STEPS)[run % 3]
            assert step_length == (STEPS[method][place], 5 * STEPS[method][place])
            return RefinementGain(0.1, ious[run // 3][place], 1.0 - ious[run // 3][place])

    monkeypatch.setattr(comparison, "HeldOutPairs", Scored)
    for name in FOLDERS:
        (tmp_path / name).symlink_to(runs / name)
    result = comparison.tune(photos, tmp_path, "cpu", count=1)
    assert result["best"] == {"atom": 4.0, "atom_star": 4.0, "ebm": 1e-2}
    assert result["grid_start_iou_op75"]["ebm"]["0.01"] == pytest.approx([0.1, 0.55, 0.45])


# Tracking ------------------------------------------------------------------------------------------------------------


@pytest.fixture
def two_threads() -> Iterator[None]:
    """A track takes one thread; in a process of its own it is welcome to it."""
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


@pytest.fixture
def threads_as_workers(monkeypatch: pytest.MonkeyPatch) -> None:
    """Starting a process takes seconds."""
    monkeypatch.setattr(comparison, "ProcessPoolExecutor", lambda jobs, mp_context: ThreadPoolExecutor(jobs))


@pytest.fixture
def tuned(tmp_path: Path) -> Path:
    best = {"atom": 0.1, "atom_star": 0.2, "ebm": 0.3}
    (tmp_path / "steps.json").write_text(json.dumps({"best": best}))
    return tmp_path


def wait_for(condition: Callable[[], bool]) -> None:
    end = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.01)


def keys(sequence: str = "walk") -> list[str]:
    return [f"{method}/{seed}/0/{sequence}" for seed in (0, 1) for method in comparison.METHODS]


@pytest.mark.usefixtures("two_threads")
def test_tracking_goes_on_where_it_stopped(runs: Path, steps: dict[str, Any], sequences: Path) -> None:
    """In real processes: two of six are left to do, and their overlaps are those of the method's own step length."""
    left = ["atom/1/0/walk", "ebm/0/0/walk"]
    known = {key: [0.125, 0.25, 0.5] for key in keys() if key not in left}
    (runs / "tracks.json").write_text(json.dumps(known))
    comparison.track_all(sequences, runs, jobs=1)
    tracks = json.loads((runs / "tracks.json").read_text())
    assert sorted(tracks) == sorted(keys()) and {key: tracks[key] for key in known} == known
    torch.set_num_threads(1)
    for key in left:
        method, seed, *_ = key.split("/")
        position = steps["best"][method]
        config = replace(preset("default"), refinement=RefinementSettings(step_length=(position, 5 * position)))
        file = runs / f"{method}-{seed}" / "network.safetensors"
        tracker = load(config=config, weights=file, device="cpu", seed=0)
        video, truth = MovingTexture((96, 72), 5, seed=1), open_frame_folder(sequences / "walk").truth_xywh
        assert truth is not None
        tracker.initialize(video.frame(0), video.box_xywh(0))
        boxes = np.array([tracker.track(video.frame(index)).box_xywh for index in range(1, 5)])
        present = [0, 1, 3]  # the fourth frame has no true box
        assert tracks[key] == pytest.approx(overlaps(boxes[present], truth[1:][present]), abs=1e-3)


@pytest.mark.usefixtures("threads_as_workers")
def test_nothing_is_tracked_twice(tuned: Path, sequences: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    begun: list[str] = []
    path = tuned / "tracks.json"

    def fake(folder: Path, position: float, sequence: Path, seed: int, key: str) -> tuple[str, list[float]]:
        begun.append(key)
        method, training_seed, tracker_seed, name = key.split("/")
        assert (folder, seed) == (tuned / f"{method}-{training_seed}", int(tracker_seed))
        assert (position, sequence) == ({"atom": 0.1, "atom_star": 0.2, "ebm": 0.3}[method], sequences / name)
        if len(begun) == 3:
            wait_for(lambda: path.is_file() and len(json.loads(path.read_text())) == 2)  # kept after each one
            raise EbmError("a frame is gone")
        time.sleep(0.05)
        return key, [0.5]

    monkeypatch.setattr(comparison, "_track", fake)
    with pytest.raises(EbmError, match="a frame is gone"):
        comparison.track_all(sequences, tuned, jobs=1)
    failed = begun[2]
    done = set(json.loads(path.read_text()))
    assert done == set(begun[:2]) and len(begun) <= 4  # and nothing new began after the error
    begun.clear()
    begun += ["", "", "", ""]  # none fails any more
    comparison.track_all(sequences, tuned, jobs=2)
    assert sorted(begun[4:]) == sorted(set(keys()) - done) and failed in begun
    assert json.loads(path.read_text()) == {key: [0.5] for key in keys()}
    begun.clear()
    comparison.track_all(sequences, tuned, jobs=1)
    assert begun == []


# Report --------------------------------------------------------------------------------------------------------------

FOUR = [0.81, 0.61, 0.41, 0.21]  # above 17, 13, 9 and 5 of the 21 thresholds: AUC 11/21, OP50 1/2, OP75 1/4


@pytest.fixture
def reported(tmp_path: Path) -> Path:
    """Two trainings, two tracker seeds, sequences "a" and "b" of different lengths."""
    tracks = {
        # Training 0: AUC (11 + 11 + 20 + 0) / 84 = 1/2, OP50 1/2, OP75 3/8
        "ebm/0/0/a": FOUR,
        "ebm/0/1/a": FOUR,
        "ebm/0/0/b": [1.0],
        "ebm/0/1/b": [0.0],
        # Training 1: AUC 13/21, OP50 1, OP75 0
        **{f"ebm/1/{seed}/{name}": [0.61] * 3 for seed in (0, 1) for name in "ab"},
    }
    for training in (0, 1):
        for seed in (0, 1):
            tracks |= {f"atom/{training}/{seed}/{name}": [0.31] for name in "ab"}
            tracks |= {f"atom_star/{training}/{seed}/{name}": [0.56] for name in "ab"}
    (tmp_path / "tracks.json").write_text(json.dumps(tracks))
    best = {"atom": 0.01, "atom_star": 0.02, "ebm": 4e-4}
    grid = {
        "atom": {"0.01": [0.5, 0.6114, 0.1], "0.02": [0.5, 0.6, 0.1]},
        "atom_star": {"0.01": [0.5, 0.6, 0.1], "0.02": [0.5, 0.6226, 0.1]},
        "ebm": {"0.0004": [0.5, 0.7, 0.1]},
    }
    (tmp_path / "steps.json").write_text(json.dumps({"best": best, "grid_start_iou_op75": grid}))
    return tmp_path


def cells(line: str) -> list[str]:
    return [cell.strip() for cell in line.strip("|").split("|")]


def test_report_has_mean_and_spread_over_the_trainings(reported: Path) -> None:
    lines = report(reported, None).splitlines()
    root = math.sqrt(2)  # of two values the standard deviation is their distance over this
    auc = f"{(1 / 2 + 13 / 21) / 2:.3f} ± {(13 / 21 - 1 / 2) / root:.3f}"
    assert auc == "0.560 ± 0.084"
    assert cells(lines[0]) == ["method", "step (position)", "held-out IoU", "AUC", "OP50", "OP75"]
    assert cells(lines[2]) == ["ATOM", "0.01", "0.611", f"{7 / 21:.3f} ± 0.000", "0.000 ± 0.000", "0.000 ± 0.000"]
    assert cells(lines[3]) == ["ATOM*", "0.02", "0.623", f"{12 / 21:.3f} ± 0.000", "1.000 ± 0.000", "0.000 ± 0.000"]
    op75 = f"{3 / 16:.3f} ± {3 / 8 / root:.3f}"
    assert cells(lines[4]) == ["EBM (ours)", "0.0004", "0.700", auc, f"0.750 ± {1 / 2 / root:.3f}", op75]
    assert lines[5] == "" and cells(lines[6]) == ["AUC / OP75", "a", "b"]
    a = f"{(11 / 21 + 13 / 21) / 2:.3f} / {(1 / 4 + 0) / 2:.3f}"
    b = f"{(10 / 21 + 13 / 21) / 2:.3f} / {(1 / 2 + 0) / 2:.3f}"
    assert cells(lines[10]) == ["EBM (ours)", a, b] and len(lines) == 11


def test_a_report_of_a_part_of_the_tracks_is_refused(reported: Path) -> None:
    tracks = json.loads((reported / "tracks.json").read_text())
    del tracks["ebm/1/1/b"]
    (reported / "tracks.json").write_text(json.dumps(tracks))
    with pytest.raises(EbmError, match="lacks 1 of 8 tracks of ebm"):
        report(reported, None)


def test_success_curves_by_hand() -> None:
    tracks = {f"{method}/{s}/0/x": [0.2 + 0.3 * s, 0.9] for method in comparison.METHODS for s in (0, 1)}
    curves = success_curves(tracks, np.array([0.1, 0.3, 0.6, 0.95]))
    assert list(curves) == ["atom", "atom_star", "ebm"]
    for table in curves.values():
        assert table.tolist() == [[[[1.0, 0.5, 0.5, 0.0]]], [[[1.0, 1.0, 0.5, 0.0]]]]


def test_the_figure_shows_each_methods_curve(reported: Path, tmp_path: Path) -> None:
    tracks = {
        f"{method}/{training}/0/x": [value]
        for method, value in (("atom", 0.305), ("atom_star", 0.555), ("ebm", 0.805))
        for training in (0, 1)
    }
    (reported / "tracks.json").write_text(json.dumps(tracks))
    path = tmp_path / "figure.png"
    report(reported, path)
    image = Image.open(path)
    assert image.format == "PNG" and image.size == (900, 520)

    def color(overlap: float, share: float) -> tuple[int, int, int]:
        found = image.getpixel((round(70 + 800 * overlap), round(460 - 410 * share)))
        assert isinstance(found, tuple)
        return found[0], found[1], found[2]

    # Each curve falls from 1 to 0 at its overlap.
    assert color(0.7, 1) == color(0.805, 0.6) == COLORS["ebm"]
    assert color(0.555, 0.6) == color(0.7, 0) == COLORS["atom_star"]
    assert color(0.305, 0.6) == color(0.4, 0) == COLORS["atom"]
    assert color(0.45, 0.6) == (255, 255, 255)


# Command line --------------------------------------------------------------------------------------------------------


@pytest.fixture
def command(monkeypatch: pytest.MonkeyPatch) -> Callable[..., int]:
    def run(*arguments: object) -> int:
        monkeypatch.setattr("sys.argv", ["comparison", *map(str, arguments)])
        try:
            comparison.main()
        except SystemExit as stop:
            return int(stop.code or 0)
        return 0

    return run


def test_report_is_printed(
    command: Callable[..., int], reported: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert command("report", "--runs", reported, "--figure", tmp_path / "f.png") == 0
    assert capsys.readouterr().out == report(reported, None) + "\n" and (tmp_path / "f.png").is_file()


def test_what_is_missing_is_one_sentence(
    command: Callable[..., int], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for arguments in (("report",), ("track", "--sequences", tmp_path)):
        assert command(*arguments, "--runs", tmp_path) == 2
        err = capsys.readouterr().err
        assert err.startswith("error: ") and err.count("\n") == 1 and str(tmp_path) in err


def test_an_interrupted_verb_ends_with_130(
    command: Callable[..., int], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(comparison, "track_all", interrupted)
    assert command("track", "--runs", tmp_path, "--sequences", tmp_path) == 130
    assert "the same command goes on" in capsys.readouterr().err
