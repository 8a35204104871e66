from __future__ import annotations

import csv
import importlib.util
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from ebm_tracker.training.checkpoint import load_state, load_trained
from ebm_tracker.training.display import Silence
from ebm_tracker.training.loop import LoopSettings, Training

SCRIPT = Path(__file__).with_name("toy_training.py")
_spec = importlib.util.spec_from_file_location("toy_training", SCRIPT)
assert _spec is not None and _spec.loader is not None
toy = sys.modules.setdefault("toy_training", importlib.util.module_from_spec(_spec))
if not hasattr(toy, "Run"):
    _spec.loader.exec_module(toy)

SETTINGS, STEPS, BATCH = toy.SETTINGS, toy.STEPS, toy.BATCH
Run, ToyStep, Numbers, Toy = toy.Run, toy.ToyStep, toy.Numbers, toy.Toy


def rows(path: Path) -> list[dict[str, str]]:
    with path.open() as file:
        return list(csv.DictReader(file))


def curve(folder: Path) -> list[tuple[str, ...]]:
    """What does not depend on the clock."""
    return [(row["step"], row["loss"], row["rate"]) for row in rows(folder / "log.csv")]


def same(one: Any, other: Any) -> bool:
    """Bit for bit, in nested dicts and lists."""
    if isinstance(one, Tensor):
        return torch.equal(one, other)
    if isinstance(one, dict):
        return one.keys() == other.keys() and all(same(one[key], other[key]) for key in one)
    if isinstance(one, list | tuple):
        return len(one) == len(other) and all(same(a, b) for a, b in zip(one, other, strict=True))
    return bool(one == other)


def same_runs(one: Path, other: Path) -> bool:
    """Weights, averages, optimiser, position, curves."""
    states = [load_state(folder / "last.pt") for folder in (one, other)]
    for state in states:
        del state["seconds"]
    texts = [(folder / "evaluation.csv").read_text() for folder in (one, other)]
    return same(*states) and curve(one) == curve(other) and texts[0] == texts[1]


def interrupt_at(call: int) -> Callable[[int, Any, Tensor], Tensor]:
    """A second Ctrl-C, or any error, after the running means have moved."""

    def disturb(current: int, batch: Any, losses: Tensor) -> Tensor:
        if current == call:
            raise KeyboardInterrupt
        return losses

    return disturb


def signal_at(call: int, number: signal.Signals) -> Callable[[int, Any, Tensor], Tensor]:
    def disturb(current: int, batch: Any, losses: Tensor) -> Tensor:
        if current == call:
            signal.raise_signal(number)
        return losses

    return disturb


# A whole run ---------------------------------------------------------------------------------------------------------


def test_run_trains_logs_evaluates_and_saves(tmp_path: Path) -> None:
    folder = tmp_path / "new" / "folder"
    run = Run(folder)
    before = {name: value.clone() for name, value in run.step.state_dict().items()}
    assert run.training.run() == STEPS == run.step.calls
    changed = {name for name, value in run.step.state_dict().items() if not torch.equal(before[name], value)}
    assert changed == {name for name in before if name.startswith("head.")}
    log = rows(folder / "log.csv")
    assert [row["step"] for row in log] == ["5", "10", "12"]
    assert list(log[0]) == ["step", "loss", "data_s", "step_s", "rate"]
    assert [float(row["rate"]) for row in log] == pytest.approx([1e-2, 2e-3, 2e-3])
    assert all(float(row["loss"]) > 0 and float(row["step_s"]) > 0 for row in log)
    evaluation = rows(folder / "evaluation.csv")
    assert [(row["step"], float(row["value"])) for row in evaluation] == [("4", 4), ("8", 8), ("12", 12)]
    assert run.evaluations == [False] * 3  # in eval mode
    assert run.step.training and run.step.head[1].training
    assert sorted(path.name for path in folder.iterdir()) == ["evaluation.csv", "last.pt", "log.csv"]


def test_steps_are_those_of_adam(tmp_path: Path) -> None:
    """The same run by hand: torch's Adam on the mean losses, with the rates of the schedule."""
    run = Run(tmp_path, replace(SETTINGS, warmup=2), plain=True)
    run.training.run()
    step = ToyStep(plain=True)
    optimizer = torch.optim.Adam(step.head.parameters())
    for number in range(STEPS):
        values = torch.stack([Numbers(torch.float64)[number * BATCH + i].inner.values for i in range(BATCH)])
        optimizer.param_groups[0]["lr"] = 1e-2 * min(1, (number + 1) / 3) * (0.2 if number >= 6 else 1)
        optimizer.zero_grad()
        (step.head(step.frozen(values))[:, 0] - values.sum(1)).square().mean().backward()
        optimizer.step()
    assert same(run.step.state_dict(), step.state_dict())


def test_logged_loss_is_the_mean_since_the_last_row(tmp_path: Path) -> None:
    run = Run(tmp_path)
    run.step.disturb = lambda call, batch, losses: 0 * losses + call
    run.training.run()
    assert [float(row["loss"]) for row in rows(tmp_path / "log.csv")] == [3, 8, 11.5]


@pytest.mark.parametrize("workers", [0, 2])
def test_batches_come_in_order_without_repetition(tmp_path: Path, workers: int) -> None:
    numbers: list[int] = []

    def disturb(call: int, batch: Any, losses: Tensor) -> Tensor:
        numbers.extend(batch.number.tolist())
        return losses

    run = Run(tmp_path, replace(SETTINGS, workers=workers))
    run.step.disturb = disturb
    run.training.run()
    assert numbers == list(range(STEPS * BATCH))


def test_run_shows_where_and_how_it_goes(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    Run(tmp_path).training.run()
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == f"run folder {tmp_path}: starts at step 0 of 12"
    assert lines[1] == "held-out at step 4: value 4"
    assert all(word in lines[2] for word in ("step 5 of 12", "loss ", "data ", "step ", "left "))
    assert lines[-1] == f"12 of 12 steps are done; run folder {tmp_path}"


def test_accumulation_gives_the_gradient_of_the_whole_batch(tmp_path: Path) -> None:
    whole = Run(tmp_path / "whole", plain=True)
    parts = Run(tmp_path / "parts", replace(SETTINGS, accumulation=2), plain=True)
    whole.training.run()
    parts.training.run()
    assert (whole.step.calls, parts.step.calls) == (STEPS, 2 * STEPS)
    torch.testing.assert_close(parts.gradients(), whole.gradients(), rtol=1e-11, atol=1e-14)
    torch.testing.assert_close(parts.step.state_dict(), whole.step.state_dict(), rtol=1e-11, atol=1e-14)
    assert curve(tmp_path / "parts") == curve(tmp_path / "whole")


def test_gradient_is_clipped(tmp_path: Path) -> None:
    settings = replace(SETTINGS, steps=1)
    free = Run(tmp_path / "free", settings, plain=True)
    clipped = Run(tmp_path / "clipped", replace(settings, clip_norm=0.25), plain=True)
    for run in (free, clipped):
        run.training.run()
    norm = torch.cat([gradient.flatten() for gradient in free.gradients()]).norm()
    assert norm > 0.25
    expected = [gradient * 0.25 / norm for gradient in free.gradients()]
    torch.testing.assert_close(clipped.gradients(), expected, rtol=1e-5, atol=0)


def test_loss_scaling_changes_no_step_and_leaves_out_overflows(tmp_path: Path) -> None:
    """A power of two costs no bit; the overflow of step 3 halves the scale and moves nothing."""
    plain = Run(tmp_path / "plain")
    scaled = Run(tmp_path / "scaled", replace(SETTINGS, precision="float16"))
    for run in (plain, scaled):
        run.training.run()
    assert scaled.training.scaler.is_enabled() and not plain.training.scaler.is_enabled()
    assert same(plain.step.state_dict(), scaled.step.state_dict())

    weights: list[Tensor] = []

    def disturb(call: int, batch: Any, losses: Tensor) -> Tensor:
        weights.append(run.step.head[0].weight.detach().clone())
        return losses * (1e36 if call == 3 else 1)

    run = Run(tmp_path / "overflow", replace(SETTINGS, precision="float16"))
    run.step.disturb = disturb
    run.training.run()
    assert torch.equal(weights[2], weights[3])
    assert not torch.equal(weights[3], weights[4])
    assert load_state(tmp_path / "overflow" / "last.pt")["scaler"]["scale"] == 2.0**15
    again = Run(tmp_path / "overflow", replace(SETTINGS, precision="float16"), resume=True)
    assert again.training.scaler.get_scale() == 2.0**15


def test_average_is_evaluated_and_saved(tmp_path: Path) -> None:
    """a_n = d a_(n-1) + (1 - d) w_n, computed here from the weights before every step."""
    decay = 0.7
    seen: dict[int, Tensor] = {}
    weights: list[Tensor] = []

    def evaluate() -> dict[str, float]:
        seen[run.training.steps] = run.step.head[0].weight.detach().clone()
        return {"value": 1.0}

    def disturb(call: int, batch: Any, losses: Tensor) -> Tensor:
        weights.append(run.step.head[0].weight.detach().clone())
        return losses

    run = Run(tmp_path, replace(SETTINGS, average_decay=decay), evaluate=evaluate)
    run.step.disturb = disturb
    run.training.run()
    weights.append(run.step.head[0].weight.detach().clone())
    average = weights[0]
    for step, weight in enumerate(weights[1:], start=1):
        average = decay * average + (1 - decay) * weight
        if step in seen:
            torch.testing.assert_close(seen[step], average)
    assert sorted(seen) == [4, 8, 12]
    head = ToyStep().head
    assert load_trained(tmp_path / "last.pt", head) == STEPS
    torch.testing.assert_close(head[0].weight, average)
    with run.training.averaged():
        assert torch.equal(run.step.head[0].weight, head[0].weight)
    assert torch.equal(run.step.head[0].weight, weights[-1])


def test_best_checkpoint_is_that_of_the_best_value(tmp_path: Path) -> None:
    values = {4: 0.3, 8: 0.7, 12: 0.5}
    weights: dict[int, Tensor] = {}

    def evaluate() -> dict[str, float]:
        weights[run.training.steps] = run.step.head[0].weight.detach().clone()
        return {"iou": values[run.training.steps], "nll": 0.0}

    settings = replace(SETTINGS, best="iou")
    run = Run(tmp_path, settings, evaluate=evaluate)
    run.training.run()
    head = ToyStep().head
    assert load_trained(tmp_path / "best.pt", head) == 8
    assert torch.equal(head[0].weight, weights[8])

    values[16] = 0.6  # a run that goes on knows what it has to beat
    run = Run(tmp_path, replace(settings, steps=16), evaluate=evaluate, resume=True)
    assert run.training.best == 0.7
    run.training.run()
    assert load_trained(tmp_path / "best.pt", head) == 8


def test_name_of_the_best_value_must_exist(tmp_path: Path) -> None:
    run = Run(tmp_path, replace(SETTINGS, best="iou"))
    with pytest.raises(ValueError, match="best must be a value of the evaluation: value .got 'iou'"):
        run.training.run()
    with pytest.raises(ValueError, match="best='iou' needs an evaluation"):
        Run(tmp_path / "other", replace(SETTINGS, best="iou"), evaluate=None)


class Limit:
    def __init__(self) -> None:
        self.reports = iter([None, "2 of 16 failed", "2 of 16 failed", "3 of 32 failed", "3 of 32 failed"])
        self.checks = 0

    def report(self) -> str | None:
        return next(self.reports)

    def check(self) -> None:
        self.checks += 1
        if self.checks == 4:
            raise OSError("more than 3 faults")


def test_faults_are_reported_and_checked(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Checked with every row of the log, reported every epoch and once only."""
    dataset = Numbers()
    dataset.faults = Limit()
    settings = replace(SETTINGS, steps=20, log_every=3, epoch_steps=2)
    with pytest.raises(OSError, match="more than 3 faults"):
        Run(tmp_path, settings, dataset=dataset).training.run()
    assert load_state(tmp_path / "last.pt")["steps"] == 12
    lines = capsys.readouterr().out.splitlines()
    assert lines.count("2 of 16 failed") == 1
    assert lines.count("3 of 32 failed") == 1


def test_settings_that_do_not_fit_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="sync_batch_norm needs CUDA"):
        Run(tmp_path, replace(SETTINGS, sync_batch_norm=True))
    with pytest.raises(ValueError, match="multiple of accumulation x processes = 3 x 1 .got 4"):
        Run(tmp_path, replace(SETTINGS, accumulation=3))
    with pytest.raises(ValueError, match="steps x batch_size = 12 x 4 samples .got 47"):
        Run(tmp_path, dataset=list(range(47)))
    step = ToyStep()
    with pytest.raises(ValueError, match="trained must have a parameter that requires a gradient"):
        Training(step, Numbers(), SETTINGS, tmp_path, trained=step.frozen)
    assert list(tmp_path.iterdir()) == []


# Stopping and going on -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize("stop", [1, 5, 8])
def test_signal_ends_the_run_after_its_step(tmp_path: Path, stop: int, number: signal.Signals) -> None:
    Run(tmp_path / "whole").training.run()
    first = Run(tmp_path / "broken")
    first.step.disturb = signal_at(stop, number)
    with pytest.raises(KeyboardInterrupt):
        first.training.run()
    assert first.step.calls == stop == load_state(tmp_path / "broken" / "last.pt")["steps"]
    second = Run(tmp_path / "broken", resume=True)
    assert second.training.steps == stop
    assert second.training.run() == STEPS
    assert same_runs(tmp_path / "whole", tmp_path / "broken")


@pytest.mark.parametrize("stop", [1, 5, 8])
def test_error_in_a_step_puts_back_what_it_moved(tmp_path: Path, stop: int) -> None:
    Run(tmp_path / "whole").training.run()
    first = Run(tmp_path / "broken")
    first.step.disturb = interrupt_at(stop)
    with pytest.raises(KeyboardInterrupt):
        first.training.run()
    second = Run(tmp_path / "broken", resume=True)
    assert second.training.steps == stop - 1
    assert second.training.run() == STEPS
    assert second.step.calls == STEPS - stop + 1
    assert same_runs(tmp_path / "whole", tmp_path / "broken")


def test_error_while_the_weights_move_is_not_saved(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    settings = replace(SETTINGS, checkpoint_every=2)
    Run(tmp_path / "whole", settings).training.run()
    first = Run(tmp_path / "broken", settings)
    original = first.training.optimizer.step

    def step() -> None:
        original()
        if first.step.calls == 4:
            raise MemoryError

    monkeypatch.setattr(first.training.optimizer, "step", step)
    with pytest.raises(MemoryError):
        first.training.run()
    assert load_state(tmp_path / "broken" / "last.pt")["steps"] == 2
    Run(tmp_path / "broken", settings, resume=True).training.run()
    assert same_runs(tmp_path / "whole", tmp_path / "broken")


def test_evaluation_that_was_broken_off_is_done_first(tmp_path: Path) -> None:
    def evaluate() -> dict[str, float]:
        if run.training.steps == 8:
            raise KeyboardInterrupt
        return {"value": float(run.training.steps)}

    run = Run(tmp_path / "broken", evaluate=evaluate)
    with pytest.raises(KeyboardInterrupt):
        run.training.run()
    assert run.step.training  # not left in eval mode
    Run(tmp_path / "broken", resume=True).training.run()
    Run(tmp_path / "whole").training.run()
    assert same_runs(tmp_path / "whole", tmp_path / "broken")


def run_script(folder: Path, settings: dict[str, Any], *arguments: str) -> subprocess.Popen[str]:
    command = [sys.executable, str(SCRIPT), str(folder), json.dumps(settings), *arguments]
    pipe = subprocess.PIPE
    return subprocess.Popen(command, stdout=pipe, stderr=pipe, text=True, start_new_session=True)


def test_killed_run_ends_like_an_unbroken_one(tmp_path: Path) -> None:
    """SIGKILL in the middle of step 9: step 6 was saved, with the losses of steps 5 and 6, and row 8 was written."""
    changes = {"workers": 2, "accumulation": 2, "log_every": 4, "checkpoint_every": 6, "average_decay": 0.9}
    settings = replace(SETTINGS, **changes)
    process = run_script(tmp_path / "killed", changes, "--kill_at", "18")
    _, stderr = process.communicate(timeout=60)
    assert process.returncode == -signal.SIGKILL, stderr
    assert load_state(tmp_path / "killed" / "last.pt")["steps"] == 6
    assert [row["step"] for row in rows(tmp_path / "killed" / "log.csv")] == ["4", "8"]

    second = Run(tmp_path / "killed", settings, resume=True)
    assert [row["step"] for row in rows(tmp_path / "killed" / "log.csv")] == ["4"]
    assert second.training.run() == STEPS
    assert second.step.calls == 2 * 6
    Run(tmp_path / "whole", settings).training.run()
    assert same_runs(tmp_path / "whole", tmp_path / "killed")


def test_ctrl_c_of_the_whole_group_saves_and_stops(tmp_path: Path) -> None:
    """As a terminal does it: the data workers get it too, and say nothing."""
    changes = {"steps": 300, "workers": 2, "log_every": 1}
    process = run_script(tmp_path / "broken", changes, "--slow", "0.02")
    try:
        end = time.monotonic() + 60
        while not (tmp_path / "broken" / "log.csv").is_file():
            assert process.poll() is None and time.monotonic() < end, "the run did not start"
            time.sleep(0.02)
        os.killpg(process.pid, signal.SIGINT)
        _, stderr = process.communicate(timeout=60)
    finally:
        process.kill()
    assert (process.returncode, stderr) == (130, "")
    steps = load_state(tmp_path / "broken" / "last.pt")["steps"]
    assert 0 < steps < 300
    settings = replace(SETTINGS, **{**changes, "steps": 300, "workers": 0})
    assert Run(tmp_path / "broken", settings, resume=True).training.run() == 300
    Run(tmp_path / "whole", settings).training.run()
    assert same_runs(tmp_path / "whole", tmp_path / "broken")


def test_error_of_a_data_worker_ends_the_program(tmp_path: Path) -> None:
    """With its message, the steps before it saved, and no worker that keeps the program from leaving."""
    process = run_script(tmp_path / "run", {"workers": 2}, "--bad", "23")
    _, stderr = process.communicate(timeout=60)
    assert process.returncode == 1
    assert stderr.rstrip().endswith("OSError: sample 23 cannot be read")
    assert load_state(tmp_path / "run" / "last.pt")["steps"] == 5


def test_shorter_run_goes_on_to_more_steps(tmp_path: Path) -> None:
    Run(tmp_path / "whole").training.run()
    Run(tmp_path / "parts", replace(SETTINGS, steps=7)).training.run()
    second = Run(tmp_path / "parts", resume=True)
    assert second.training.steps == 7
    second.training.run()
    states = [load_state(tmp_path / name / "last.pt") for name in ("whole", "parts")]
    assert same(states[0]["module"], states[1]["module"])


def test_finished_run_does_nothing(tmp_path: Path) -> None:
    Run(tmp_path).training.run()
    before = (tmp_path / "last.pt").stat().st_mtime_ns
    again = Run(tmp_path, resume=True)
    assert again.training.run() == STEPS
    assert again.step.calls == 0 and again.evaluations == []
    assert (tmp_path / "last.pt").stat().st_mtime_ns == before


def test_random_numbers_of_a_step_follow_from_its_number(tmp_path: Path) -> None:
    """Whatever the evaluation or the program around it draws."""

    def evaluate() -> dict[str, float]:
        return {"value": float(torch.rand(7).sum())}

    Run(tmp_path / "quiet", evaluate=None).training.run()
    torch.manual_seed(5)
    Run(tmp_path / "loud", evaluate=evaluate).training.run()
    assert curve(tmp_path / "quiet") == curve(tmp_path / "loud")
    Run(tmp_path / "other", replace(SETTINGS, seed=1), evaluate=None).training.run()
    assert curve(tmp_path / "quiet") != curve(tmp_path / "other")


# Folders -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("left", ["last.pt", "log.csv", "best.pt"])
def test_folder_that_holds_a_run_is_refused_without_resume(tmp_path: Path, left: str) -> None:
    (tmp_path / left).write_text("x")
    with pytest.raises(ValueError, match=rf"already holds a run \({left}\): --resume goes on .*another folder"):
        Run(tmp_path)
    assert (tmp_path / left).read_text() == "x"


def test_resume_without_a_checkpoint_starts_anew(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A run that was killed before its first checkpoint; the command of a job that may be started again."""
    (tmp_path / "log.csv").write_text("step,loss,data_s,step_s,rate\n5,1,1,1,1\n")
    (tmp_path / ".last.77.part.pt").write_text("half")
    assert Run(tmp_path, resume=True).training.run() == STEPS
    assert f"run folder {tmp_path}: starts at step 0 of 12" in capsys.readouterr().out
    assert [row["step"] for row in rows(tmp_path / "log.csv")] == ["5", "10", "12"]
    assert not (tmp_path / ".last.77.part.pt").exists()


def test_folder_of_other_settings_is_refused(tmp_path: Path) -> None:
    recipe: dict[str, Any] = {"backbone": "resnet18", "pairs": {"gray": 0.05}}
    Run(tmp_path, fingerprint=recipe).training.run()
    before = (tmp_path / "last.pt").read_bytes()
    with pytest.raises(ValueError, match=r"other settings: pairs.gray 0.05 \(now 0.1\); give those") as error:
        Run(tmp_path, fingerprint={**recipe, "pairs": {"gray": 0.1}}, resume=True)
    assert str(tmp_path / "last.pt") in str(error.value)
    with pytest.raises(ValueError, match=r"other settings: loop.batch_size 4 \(now 8\), loop.seed 0 \(now 3\);"):
        Run(tmp_path, replace(SETTINGS, batch_size=8, seed=3), fingerprint=recipe, resume=True)
    assert (tmp_path / "last.pt").read_bytes() == before
    free = replace(SETTINGS, workers=1, log_every=1, evaluate_every=1, checkpoint_every=1, steps=13)
    assert Run(tmp_path, free, fingerprint=recipe, resume=True).training.run() == 13


# What is not finite --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_loss_that_is_not_finite_names_its_samples(tmp_path: Path, value: float) -> None:
    run = Run(tmp_path)

    def disturb(call: int, batch: Any, losses: Tensor) -> Tensor:
        return losses * torch.tensor([value if number in (13, 15) else 1.0 for number in batch.number.tolist()])

    run.step.disturb = disturb
    with pytest.raises(FloatingPointError, match=f"the loss became {value} at step 3, samples 13, 15 ") as error:
        run.training.run()
    path = tmp_path / "non_finite.json"
    assert str(path) in str(error.value)
    samples = [{"number": number, "loss": str(value)} for number in (13, 15)]
    assert json.loads(path.read_text()) == {"step": 3, "samples": samples}
    assert all(bool(tensor.isfinite().all()) for tensor in run.step.state_dict().values())
    assert Run(tmp_path, resume=True).training.steps == 3


def test_gradient_that_is_not_finite_stops_before_the_weights_move(tmp_path: Path) -> None:
    run = Run(tmp_path)
    run.step.disturb = lambda call, batch, losses: (losses * 0).sqrt() if call == 4 else losses
    with pytest.raises(FloatingPointError, match="gradient became nan at step 3 with a finite loss, samples 12 to 15"):
        run.training.run()
    assert all(bool(tensor.isfinite().all()) for tensor in run.step.state_dict().values())
    assert Run(tmp_path, resume=True).training.steps == 3


# On a GPU ------------------------------------------------------------------------------------------------------------


class Half(nn.Module):
    """Runs autocast itself, as the steps of the recipes do."""

    def __init__(self) -> None:
        super().__init__()
        self.inner = ToyStep()

    def forward(self, batch: Any) -> Tensor:
        with torch.autocast("cuda", torch.float16):
            losses: Tensor = self.inner(batch)
        return losses.float()


@pytest.mark.gpu
def test_float16_run_on_a_gpu_goes_on(tmp_path: Path) -> None:
    def run(name: str, steps: int, resume: bool = False) -> float:
        step = Half()
        settings = LoopSettings(steps=steps, batch_size=BATCH, precision="float16", workers=1, tensorboard=False)
        device = torch.device("cuda")
        training = Training(
            step, Numbers(), settings, tmp_path / name, trained=step.inner.head, device=device, resume=resume
        )
        training.run()
        assert next(step.parameters()).device.type == "cuda"
        return float(training.scaler.get_scale())

    assert run("whole", 40) > 0
    run("parts", 15)
    run("parts", 40, resume=True)
    whole, parts = (load_state(tmp_path / name / "last.pt") for name in ("whole", "parts"))
    assert whole["scaler"] == parts["scaler"]
    torch.testing.assert_close(whole["module"], parts["module"], rtol=1e-3, atol=1e-4)


def test_a_display_that_is_given_is_told_everything(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    class Notes(Silence):
        def __init__(self) -> None:
            self.steps: list[int] = []
            self.said: list[str] = []

        def show(self, steps: int, loss: float, data_s: float, step_s: float) -> None:
            self.steps.append(steps)

        def say(self, text: str) -> None:
            self.said.append(text)

    notes = Notes()
    Run(tmp_path, display=notes).training.run()
    assert notes.steps == list(range(1, STEPS + 1))
    assert "starts at step 0" in notes.said[0] and f"{STEPS} of {STEPS} steps are done" in notes.said[-1]
    assert capsys.readouterr().out == ""


def test_a_stopped_run_with_sgd_goes_on_equally(tmp_path: Path) -> None:
    settings = replace(
        SETTINGS, optimizer="sgd", weight_decay=0.01, bias_rate=2.0, bias_decay=False, learning_rate=1e-3
    )
    whole = Run(tmp_path / "whole", settings)
    whole.training.run()
    Run(tmp_path / "parts", replace(settings, steps=STEPS // 2)).training.run()
    rest = Run(tmp_path / "parts", settings, resume=True)
    rest.training.run()
    for name, tensor in whole.step.state_dict().items():
        assert torch.equal(tensor, rest.step.state_dict()[name]), name
    assert not torch.equal(whole.step.head[0].weight, ToyStep().head[0].weight)
