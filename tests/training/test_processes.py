"""One torchrun of two processes over gloo does all of torchrun_checks.py; the tests look at what it left."""

from __future__ import annotations

import importlib.util
import json
import os
import re
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from ebm_tracker.training.checkpoint import load_state
from ebm_tracker.training.processes import Processes, joined_processes

HERE = Path(__file__).parent
_spec = importlib.util.spec_from_file_location("toy_training", HERE / "toy_training.py")
assert _spec is not None and _spec.loader is not None
toy = sys.modules.setdefault("toy_training", importlib.util.module_from_spec(_spec))
if not hasattr(toy, "Run"):
    _spec.loader.exec_module(toy)

CHECKED = replace(toy.SETTINGS, steps=5, batch_size=8, evaluate_every=2, log_every=1)  # as in torchrun_checks.py
TORCHRUN = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
ENVIRONMENT = {**os.environ, "OMP_NUM_THREADS": "1"}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("two")
    command = [*TORCHRUN, str(HERE / "torchrun_checks.py"), str(path)]
    result = subprocess.run(command, capture_output=True, text=True, timeout=120, env=ENVIRONMENT)
    assert result.returncode == 0, result.stderr
    (path / "stdout.txt").write_text(result.stdout)
    return path


@pytest.fixture(scope="module")
def ranks(folder: Path) -> list[dict[str, Any]]:
    return [torch.load(folder / f"rank{rank}.pt", weights_only=True) for rank in range(2)]


@pytest.fixture(scope="module")
def alone(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """The same run in one process."""
    run = toy.Run(tmp_path_factory.mktemp("alone"), CHECKED, plain=True)
    run.training.run()
    return run


def assert_close(one: list[Tensor], other: list[Tensor]) -> None:
    torch.testing.assert_close(one, other, rtol=1e-11, atol=1e-14)


def test_gradient_is_that_of_one_process_with_the_doubled_batch(ranks: list[dict[str, Any]], tmp_path: Path) -> None:
    single = toy.Run(tmp_path, replace(CHECKED, steps=1), plain=True)
    single.training.run()
    # By hand, without the loop: the mean loss of samples 0 to 7.
    step = toy.ToyStep(plain=True)
    samples = [toy.Numbers(torch.float64)[i] for i in range(8)]
    batch = toy.Toy(toy.Inner(torch.stack([s.inner.values for s in samples])), torch.arange(8))
    by_hand = torch.autograd.grad(step(batch).mean(), list(step.head.parameters()))
    assert_close(single.gradients(), list(by_hand))
    for rank in ranks:
        assert_close(rank["one_step"]["gradients"], list(by_hand))


@pytest.mark.parametrize("check", ["doubled", "accumulated"])
def test_run_ends_as_in_one_process(ranks: list[dict[str, Any]], alone: Any, folder: Path, check: str) -> None:
    """Two processes, with one part of four samples or two of two each."""
    for rank in ranks:
        assert rank[check]["error"] == "" and rank[check]["steps"] == 5
        assert_close(rank[check]["weights"], list(alone.step.head.parameters()))
        assert_close(rank[check]["gradients"], alone.gradients())
    losses = [
        [line.split(",")[:2] for line in (path / "log.csv").read_text().splitlines()]
        for path in (folder / check, alone.training.folder)
    ]
    assert losses[0] == losses[1]  # the mean over both processes


def test_first_process_evaluates_and_prints(ranks: list[dict[str, Any]], folder: Path) -> None:
    assert [rank["doubled"]["evaluations"] for rank in ranks] == [3, 0]
    lines = (folder / "stdout.txt").read_text().splitlines()
    assert sum(line.startswith(f"run folder {folder / 'doubled'}:") for line in lines) == 1
    assert sum(line.endswith(f"run folder {folder / 'doubled'}") for line in lines) == 1


def test_loss_that_is_not_finite_in_one_stops_both(ranks: list[dict[str, Any]], folder: Path) -> None:
    path = folder / "not_finite" / "non_finite.json"
    for rank in ranks:
        expected = f"FloatingPointError: the loss became nan at step 2, samples 21, 22 (listed in {path})"
        assert rank["not_finite"]["error"] == expected
        assert rank["not_finite"]["steps"] == 2
    samples = [{"number": 21, "loss": "nan"}, {"number": 22, "loss": "nan"}]
    assert json.loads(path.read_text()) == {"step": 2, "samples": samples}


def test_signal_to_one_stops_both_and_both_go_on(ranks: list[dict[str, Any]], alone: Any) -> None:
    for rank in ranks:
        assert rank["stopped"]["error"].startswith("KeyboardInterrupt")
        assert rank["stopped"]["steps"] == 3
        assert rank["resumed"]["error"] == "" and rank["resumed"]["steps"] == 5
        for got, expected in zip(rank["resumed"]["weights"], rank["doubled"]["weights"], strict=True):
            assert torch.equal(got, expected)


@pytest.mark.parametrize(
    ("check", "message"),
    [
        ("refused", "loop.learning_rate 0.01 \\(now 0.5\\)"),
        ("evaluation_fails", "OSError: no such pairs"),
        ("faults", "OSError: too many faults"),
    ],
)
def test_error_of_one_ends_both(ranks: list[dict[str, Any]], check: str, message: str) -> None:
    for rank in ranks:
        assert re.search(message, rank[check]["error"])


def test_methods_agree(ranks: list[dict[str, Any]]) -> None:
    for number, rank in enumerate(ranks):
        one, two, three = rank["agreement"]["sum"]
        assert (one, two) == (2, 1) and three != three
        assert [tuple(item) for item in rank["agreement"]["gather"]] == [(0, "x"), (1, "x")]
        assert rank["agreement"]["first"] == "made by 0"
        assert rank["agreement"]["is_first"] is (number == 0)


def test_ctrl_c_to_torchrun_saves_and_stops_all(tmp_path: Path) -> None:
    settings = {"steps": 2000, "workers": 1, "log_every": 1}
    command = [*TORCHRUN, str(HERE / "toy_training.py"), str(tmp_path / "run"), json.dumps(settings), "--slow", "0.02"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=ENVIRONMENT)
    try:
        wait_for(tmp_path / "run" / "log.csv", process)
        process.send_signal(signal.SIGINT)
        stdout, _ = process.communicate(timeout=60)
    finally:
        process.kill()
    assert process.returncode not in (0, -signal.SIGKILL)
    steps = load_state(tmp_path / "run" / "last.pt")["steps"]
    assert 0 < steps < 2000
    assert f"{steps} of 2000 steps are done" in stdout


def wait_for(path: Path, process: subprocess.Popen[str]) -> None:
    end = time.monotonic() + 60
    while not path.is_file():
        assert process.poll() is None and time.monotonic() < end, "the run did not start"
        time.sleep(0.05)


# Without torchrun ----------------------------------------------------------------------------------------------------


def test_environment_of_torchrun_is_read() -> None:
    assert Processes.from_environment({}) == Processes(0, 1, 0)
    environment = {"RANK": "5", "WORLD_SIZE": "8", "LOCAL_RANK": "1"}
    processes = Processes.from_environment(environment)
    assert processes == Processes(rank=5, count=8, local_rank=1)
    assert processes.device(torch.device("cuda")) == torch.device("cuda", 1)
    assert processes.device(torch.device("cpu")) == torch.device("cpu")
    assert Processes().device(torch.device("cuda")) == torch.device("cuda")


@pytest.mark.parametrize("environment", [{"RANK": "0"}, {"RANK": "0", "WORLD_SIZE": "two", "LOCAL_RANK": "0"}])
def test_half_an_environment_is_refused(environment: dict[str, str]) -> None:
    with pytest.raises(ValueError, match="RANK, WORLD_SIZE, LOCAL_RANK to whole numbers .got RANK=0"):
        Processes.from_environment(environment)


def test_one_process_joins_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("RANK", "WORLD_SIZE", "LOCAL_RANK"):
        monkeypatch.delenv(name, raising=False)
    with joined_processes(torch.device("cpu")) as processes:
        assert processes == Processes()
        assert not torch.distributed.is_initialized()
        assert processes.sum([1.5, True], torch.device("cpu")) == [1.5, 1]
        assert processes.gather("a") == ["a"]
        module = torch.nn.Linear(1, 1)
        assert processes.wrap(module, torch.device("cpu")) is module
