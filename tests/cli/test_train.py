"""`ebm train` from end to end, on what `ebm data miniature` draws and with networks that are next to nothing."""

from __future__ import annotations

import csv
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from ebm_tracker.cli.parser import main
from ebm_tracker.models import load_network
from ebm_tracker.models.checkpoint import read_provenance, sha256_of
from ebm_tracker.train_settings import lite

TINY = ("reference=4,4", "maps=8,8", "hidden=8,8", "samples=8", "held_out_pairs=2")
SHORT = (*TINY, "batch_size=2", "warmup=0", "steps=2")

Run = Callable[..., tuple[int, str, str]]


@pytest.fixture(autouse=True)
def _nothing_of_the_users(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """No settings file, no data paths, and a working folder to look at afterwards."""
    for name in [name for name in os.environ if name.startswith("EBM_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str]) -> Run:
    def called(*arguments: object) -> tuple[int, str, str]:
        code = main(["train", *map(str, arguments), "--device", "cpu"])
        done = capsys.readouterr()
        return code, done.out, done.err

    return called


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("drawn") / "photos"
    assert main(["data", "miniature", "--out", str(folder)]) == 0
    return folder


def weights(path: Path) -> dict[str, torch.Tensor]:
    return load_network(path).state_dict()


def equal(first: dict[str, torch.Tensor], second: dict[str, torch.Tensor]) -> bool:
    return first.keys() == second.keys() and all(torch.equal(first[key], second[key]) for key in first)


def losses(folder: Path) -> list[tuple[str, str]]:
    with (folder / "log.csv").open(newline="") as file:
        return [(row["step"], row["loss"]) for row in csv.DictReader(file)]


# A run that ends -----------------------------------------------------------------------------------------------------


def test_a_run_ends_with_0_and_a_network(run: Run, photos: Path, tmp_path: Path) -> None:
    out = tmp_path / "new" / "run"
    code, stdout, err = run("lite", "--data", f"photos={photos}", "--out", out, "--set", *SHORT, "seed=3")
    network = out / "network.safetensors"
    assert (code, err) == (0, "")
    assert stdout.splitlines()[0] == f"run folder {out}: starts at step 0 of 2"
    assert f"\n{network}\nSHA-256 {sha256_of(network)}\nheld-out " in stdout
    recipe = read_provenance(network)["recipe"]
    assert (recipe["name"], recipe["steps"], recipe["seed"], recipe["maps"]) == ("lite", 2, 3, [8, 8])
    assert load_network(network).head.channels.hidden == (8, 8)
    assert sorted(path.name for path in out.iterdir() if path.is_file()) == [
        "best.pt",
        "evaluation.csv",
        "last.pt",
        "log.csv",
        "network.safetensors",
    ]


def test_a_folder_is_used_again_with_resume_only(run: Run, photos: Path, tmp_path: Path) -> None:
    arguments = ("lite", "--data", f"photos={photos}", "--out", tmp_path / "run", "--workers", 0, "--set", *SHORT)
    assert run(*arguments)[0] == 0
    first = weights(tmp_path / "run" / "network.safetensors")
    code, _, err = run(*arguments)
    assert code == 2 and err.count("\n") == 1
    assert "already holds a run" in err and "--resume goes on with it, or choose another folder" in err
    code, _, err = run(*arguments, "seed=1", "--resume")
    assert code == 2 and "loop.seed 0 (now 1)" in err
    code, stdout, _ = run(*arguments, "--resume")
    assert code == 0 and "goes on from step 2 of 2" in stdout
    assert equal(first, weights(tmp_path / "run" / "network.safetensors"))


def test_settings_and_paths_may_be_given_one_by_one(run: Run, photos: Path, tmp_path: Path) -> None:
    sets = [part for change in SHORT for part in ("--set", change)]
    assert main(["data", "bank", "--data", f"photos={photos}", "--out", str(tmp_path / "bank"), "--pairs", "4"]) == 0
    data = ("--data", f"photos={photos}", "--data", f"bank={tmp_path / 'bank'}")
    assert run("lite", *data, *sets, "--out", tmp_path / "run", "--workers", 0)[0] == 0
    provenance = read_provenance(tmp_path / "run" / "network.safetensors")
    assert (provenance["recipe"]["steps"], provenance["recipe"]["maps"]) == (2, [8, 8])
    assert provenance["data"]["bank"] == {"pairs": 4, "seed": 0}


def test_without_out_the_run_goes_to_the_workspace(
    run: Run, photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    arguments = ("lite", "--data", f"photos={photos}", "--workers", 0, "--set", *SHORT)
    assert run(*arguments)[0] == 0
    assert (tmp_path / "here" / "runs" / "lite" / "network.safetensors").is_file()
    monkeypatch.setenv("EBM_RUNS_WORKSPACE", str(tmp_path / "space"))
    assert run(*arguments)[0] == 0
    assert (tmp_path / "space" / "lite" / "network.safetensors").is_file()


def test_a_run_may_start_from_a_network(run: Run, photos: Path, tmp_path: Path) -> None:
    arguments = ("lite", "--data", f"photos={photos}", "--workers", 0, "--set", *SHORT)
    assert run(*arguments, "--out", tmp_path / "a")[0] == 0
    start = tmp_path / "a" / "network.safetensors"
    assert run(*arguments, "learning_rate=0", "--out", tmp_path / "b", "--initial", start)[0] == 0
    assert read_provenance(tmp_path / "b" / "network.safetensors")["initial"] == sha256_of(start)
    files = (start, tmp_path / "b" / "network.safetensors")
    before, after = (dict(load_network(file).head.named_parameters()) for file in files)
    assert all(torch.equal(value, after[key]) for key, value in before.items())
    code, _, err = run(*arguments, "--out", tmp_path / "c", "--initial", "default")
    assert code == 2 and "default.safetensors has a head of HeadChannels" in err  # the shipped head is no tiny one


def test_show_lists_the_fields_and_needs_nothing(run: Run, tmp_path: Path) -> None:
    code, out, err = run("lite", "--show")
    assert (code, err) == (0, "")
    shown = dict(line.split(" = ", 1) for line in out.splitlines())
    assert shown == {key: repr(getattr(lite.RECIPE, key)) for key in shown}
    assert {"objective", "steps", "sigmas", "ship_backbone", "seed"} <= shown.keys()
    out = run("folder", "--show", "--set", "steps=7", "sigmas=0.1", "--set", "objective=kl")[1]
    assert {"steps = 7", "sigmas = (0.1,)", "objective = 'kl'", "min_frames = 20"} <= set(out.splitlines())
    assert list((tmp_path / "here").iterdir()) == []


# What the user can put right -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (("litte",), "there is no recipe 'litte'; known: lite, ebm_tracking, atom, atom_star, folder"),
        (("lite", "--set", "step=7"), "--set step=7: unknown key; known: objective, samples, sigmas"),
        (("lite", "--set", "steps=x", "--show"), "--set steps=x: steps takes a whole number (got 'x')"),
        (("lite", "--workers", "-1"), "--workers must be at least 0 (got -1)"),
        (("lite",), "no path for data.photos (photos with objects"),
        (("lite",), "give --data photos=PATH, set EBM_DATA_PHOTOS, or write photos under [data] in "),
        (("folder",), "no path for data.folder"),
        (("atom",), "no path for data.trackingnet"),
        (("lite", "--data", "photo=x"), "--data takes NAME=PATH, NAME one of trackingnet, lasot"),
        (("lite", "--data", "photos=none"), "holds neither ecssd/ nor coco128/, nor images/ and masks/"),
        ((), "RECIPE"),
    ],
)
def test_errors_are_one_sentence(run: Run, tmp_path: Path, arguments: tuple[str, ...], expected: str) -> None:
    code, out, err = run(*arguments)
    assert (code, out) == (2, "") and err.count("\n") == 1 and expected in err
    assert list((tmp_path / "here").iterdir()) == []


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ("objective=mse", "objective must be one of nll, "),
        ("batch_norm=off", "batch_norm must be one of eval, train (got 'off')"),
        ("schedule=flat", "schedule must be one of steps, cosine (got 'flat')"),
        ("held_out_pairs=0", "at least one pair"),
        ("batch_norm=train", "backbone 'efficientnet_lite0' needs a weights file"),
        ("backbone=vgg", "unknown backbone 'vgg'"),
        ("accumulate=2 batch_size=5", "batch_size must be a multiple of accumulation"),
    ],
)
def test_values_that_make_no_run_are_one_sentence(run: Run, photos: Path, change: str, expected: str) -> None:
    code, out, err = run("lite", "--data", f"photos={photos}", "--set", *SHORT, *change.split())
    assert (code, out) == (2, "") and err.count("\n") == 1 and expected in err


def test_a_device_that_is_not_there(photos: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["train", "lite", "--data", f"photos={photos}", "--device", "gpu"]) == 2
    assert "device must be 'auto' or a torch device" in capsys.readouterr().err


def test_a_loss_that_explodes_is_one_sentence(run: Run, photos: Path, tmp_path: Path) -> None:
    changes = (*SHORT, "learning_rate=1e30", "schedule=steps", "precision=float32")
    arguments = ("lite", "--data", f"photos={photos}", "--out", tmp_path / "run", "--workers", 0, "--set", *changes)
    code, _, err = run(*arguments)
    assert code == 2 and err.count("\n") == 1
    assert "training stopped: the loss became" in err and "at step 1, samples 2, 3 (listed in" in err
    assert not (tmp_path / "run" / "network.safetensors").exists()
    assert "Traceback" in run(*arguments, "--resume", "--debug", 1)[2]


# Ctrl-C --------------------------------------------------------------------------------------------------------------


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has other signals")
def test_ctrl_c_saves_and_resume_ends_with_the_same_weights(run: Run, photos: Path, tmp_path: Path) -> None:
    """In a process group of its own, as a terminal sends it: to the run and its data worker."""
    changes = (*TINY, "steps=24", "batch_size=2", "warmup=2", "average=0.9", "log_every=1", "checkpoint_every=0")
    common = ("lite", "--data", f"photos={photos}", "--set", *changes)
    broken = tmp_path / "broken"
    command = [sys.executable, "-m", "ebm_tracker.cli", "train", *common, "--out", str(broken), "--device", "cpu"]
    # Equal numbers of threads: sums of floats depend on it.
    environment = {**os.environ, "OMP_NUM_THREADS": str(torch.get_num_threads())}
    process = subprocess.Popen(
        command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True
    )
    try:
        log, end = broken / "log.csv", time.monotonic() + 120
        while not (log.is_file() and log.read_text().count("\n") > 2):  # the header and two steps
            assert process.poll() is None and time.monotonic() < end, process.communicate()
            time.sleep(0.01)
        os.killpg(process.pid, signal.SIGINT)
        out, err = process.communicate(timeout=120)
    finally:
        if process.poll() is None:
            process.kill()
            process.communicate()
    assert (process.returncode, err) == (130, "interrupted\n"), out + err
    done = len(losses(broken))
    assert 2 <= done < 24 and f"{done} of 24 steps are done; run folder {broken}" in out
    assert not (broken / "network.safetensors").exists() and (broken / "last.pt").is_file()
    code, out, _ = run(*common, "--out", broken, "--resume")
    assert code == 0 and f"goes on from step {done} of 24" in out
    assert run(*common, "--out", tmp_path / "whole")[0] == 0
    assert losses(broken) == losses(tmp_path / "whole") and len(losses(broken)) == 24
    assert equal(*(weights(folder / "network.safetensors") for folder in (broken, tmp_path / "whole")))
    assert (broken / "evaluation.csv").read_text() == (tmp_path / "whole" / "evaluation.csv").read_text()
