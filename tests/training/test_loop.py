from __future__ import annotations

import csv
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn
from torch.utils.data import Dataset

from ebm_tracker.training.loop import LoopSettings, Training

STEPS, BATCH = 12, 4
SETTINGS = LoopSettings(
    steps=STEPS,
    batch_size=BATCH,
    learning_rate=1e-2,
    milestones=(6,),
    workers=0,
    log_every=5,
    evaluate_every=4,
    checkpoint_every=100,
)


class Numbers(Dataset[Tensor]):
    """Sample i depends on i alone."""

    def __getitem__(self, index: int) -> Tensor:
        return torch.randn(6, generator=torch.Generator().manual_seed(index))


class Run:
    """A model with batch norm, and losses that draw from the loop's generator: all the state there is."""

    def __init__(self, folder: Path, settings: LoopSettings = SETTINGS, fingerprint: str = "a") -> None:
        torch.manual_seed(0)
        self.module = nn.Sequential(nn.Linear(6, 5), nn.BatchNorm1d(5), nn.ReLU(), nn.Linear(5, 1))
        self.calls = 0
        self.disturb: Callable[[int, Tensor], Tensor] = lambda call, loss: loss
        self.evaluations: list[bool] = []
        self.training = Training(
            self.module, self.losses, Numbers(), settings, folder, self.evaluate, fingerprint=fingerprint
        )

    def losses(self, batch: Tensor, generator: torch.Generator) -> Tensor:
        noise = torch.randn(batch.shape, generator=generator)
        loss = (self.module(batch + 0.1 * noise)[:, 0] - batch.sum(1)).square()
        self.calls += 1
        return self.disturb(self.calls, loss)

    def evaluate(self) -> dict[str, float]:
        self.evaluations.append(self.module.training)
        return {"value": float(self.training.step)}


def rows(path: Path) -> list[dict[str, str]]:
    with path.open() as file:
        return list(csv.DictReader(file))


def same_state(one: nn.Module, other: nn.Module) -> bool:
    a, b = one.state_dict(), other.state_dict()
    return all(torch.equal(a[key], b[key]) for key in a)


def stop_at(call: int) -> Callable[[int, Tensor], Tensor]:
    def disturb(current: int, loss: Tensor) -> Tensor:
        if current == call:
            raise KeyboardInterrupt
        return loss

    return disturb


def test_learning_rate_schedule() -> None:
    settings = LoopSettings(steps=100, learning_rate=0.5, milestones=(10, 20), decay=0.2, warmup=4)
    rates = {step: settings.learning_rate_at(step) for step in (0, 1, 3, 4, 9, 10, 19, 20, 99)}
    assert rates == pytest.approx({0: 0.1, 1: 0.2, 3: 0.4, 4: 0.5, 9: 0.5, 10: 0.1, 19: 0.1, 20: 0.02, 99: 0.02})
    assert LoopSettings(steps=5, learning_rate=0.5).learning_rate_at(0) == 0.5


def test_run_trains_logs_evaluates_and_saves(tmp_path: Path) -> None:
    run = Run(tmp_path / "new" / "folder")
    before = {k: v.clone() for k, v in run.module.state_dict().items()}
    assert run.training.run() == STEPS == run.calls
    assert any(not torch.equal(before[k], v) for k, v in run.module.state_dict().items())

    log = rows(tmp_path / "new" / "folder" / "log.csv")
    assert [row["step"] for row in log] == ["5", "10", "12"]
    assert list(log[0]) == ["step", "loss", "data_s", "step_s", "rate"]
    assert [float(row["rate"]) for row in log] == pytest.approx([1e-2, 2e-3, 2e-3])
    assert all(float(row["loss"]) > 0 and float(row["step_s"]) > 0 for row in log)
    evaluation = rows(tmp_path / "new" / "folder" / "evaluation.csv")
    assert [row["step"] for row in evaluation] == ["4", "8", "12"]
    assert [float(row["value"]) for row in evaluation] == [4, 8, 12]
    assert run.evaluations == [False] * 3  # in eval mode
    assert run.module.training
    assert [p.name for p in (tmp_path / "new" / "folder").iterdir() if "part" in p.name] == []


def test_logged_loss_is_the_mean_since_the_last_row(tmp_path: Path) -> None:
    run = Run(tmp_path)
    run.disturb = lambda call, loss: 0 * loss + call
    run.training.run()
    assert [float(row["loss"]) for row in rows(tmp_path / "log.csv")] == [3, 8, 11.5]


def test_rate_reaches_the_optimizer(tmp_path: Path) -> None:
    run = Run(tmp_path, replace(SETTINGS, warmup=1))
    seen: list[float] = []

    def note(call: int, loss: Tensor) -> Tensor:
        seen.append(run.training.optimizer.param_groups[0]["lr"])
        return loss

    run.disturb = note
    run.training.run()
    assert seen == pytest.approx([run.training.settings.learning_rate_at(step) for step in range(STEPS)])
    assert seen[0] == pytest.approx(5e-3)


@pytest.mark.parametrize("workers", [0, 2])
def test_batches_come_in_order_without_repetition(tmp_path: Path, workers: int) -> None:
    batches: list[Tensor] = []
    module = nn.Linear(6, 1)

    def losses(batch: Tensor, generator: torch.Generator) -> Tensor:
        batches.append(batch)
        return module(batch)[:, 0]

    Training(module, losses, Numbers(), replace(SETTINGS, workers=workers), tmp_path).run()
    expected = torch.stack([Numbers()[i] for i in range(STEPS * BATCH)])
    assert torch.equal(torch.cat(batches), expected)


# Stopping and going on -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("stop", [1, 5, 8])
def test_interrupted_run_goes_on_as_if_nothing_had_been(tmp_path: Path, stop: int) -> None:
    """Ctrl-C in the middle of a step, after boxes were drawn and running means moved: the step is done again."""
    whole = Run(tmp_path / "whole")
    whole.training.run()

    first = Run(tmp_path / "broken")
    first.disturb = stop_at(stop)
    with pytest.raises(KeyboardInterrupt):
        first.training.run()
    assert (tmp_path / "broken" / "last.pt").is_file()

    second = Run(tmp_path / "broken")
    assert second.training.step == stop - 1
    assert second.training.run() == STEPS
    assert second.calls == STEPS - stop + 1
    assert same_state(whole.module, second.module)
    assert [row["step"] for row in rows(tmp_path / "broken" / "evaluation.csv")] == ["4", "8", "12"]
    steps = [row["step"] for row in rows(tmp_path / "broken" / "log.csv")]
    assert steps == ["5", "10", "12"]


def test_shorter_run_goes_on_to_more_steps(tmp_path: Path) -> None:
    whole = Run(tmp_path / "whole")
    whole.training.run()
    Run(tmp_path / "parts", replace(SETTINGS, steps=7)).training.run()
    second = Run(tmp_path / "parts")
    assert second.training.step == 7
    second.training.run()
    assert same_state(whole.module, second.module)


def test_kill_loses_only_what_came_after_the_last_checkpoint(tmp_path: Path) -> None:
    """A process that dies saves nothing: rows logged after the checkpoint are dropped and written again."""
    settings = replace(SETTINGS, checkpoint_every=3, log_every=1)
    whole = Run(tmp_path / "whole", settings)
    whole.training.run()
    first = Run(tmp_path / "killed", settings)
    first.disturb = stop_at(9)
    save = first.training.save
    first.training.save = lambda: save() if first.calls == first.training.step else None  # type: ignore[method-assign]
    with pytest.raises(KeyboardInterrupt):
        first.training.run()
    assert [row["step"] for row in rows(tmp_path / "killed" / "log.csv")][-1] == "8"
    second = Run(tmp_path / "killed", settings)
    assert second.training.step == 6
    assert [row["step"] for row in rows(tmp_path / "killed" / "log.csv")][-1] == "6"
    second.training.run()
    assert same_state(whole.module, second.module)
    assert [row["step"] for row in rows(tmp_path / "killed" / "log.csv")] == [str(n + 1) for n in range(STEPS)]


def test_finished_run_does_nothing(tmp_path: Path) -> None:
    Run(tmp_path).training.run()
    again = Run(tmp_path)
    assert again.training.run() == STEPS
    assert again.calls == 0


def test_folder_of_another_run_is_refused(tmp_path: Path) -> None:
    Run(tmp_path, fingerprint="lr=1").training.run()
    before = (tmp_path / "last.pt").read_bytes()
    with pytest.raises(ValueError, match="other settings.*lr=1, now lr=2.*another folder") as error:
        Run(tmp_path, fingerprint="lr=2")
    assert str(tmp_path / "last.pt") in str(error.value)
    assert (tmp_path / "last.pt").read_bytes() == before


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_loss_that_is_not_finite_stops_the_run(tmp_path: Path, value: float) -> None:
    run = Run(tmp_path)
    run.disturb = lambda call, loss: loss * value if call == 4 else loss
    with pytest.raises(FloatingPointError, match=f"{value} at step 3"):
        run.training.run()
    assert all(bool(v.isfinite().all()) for v in run.module.state_dict().values())
    assert Run(tmp_path).training.step == 3


def test_checkpoint_holds_plain_tensors(tmp_path: Path) -> None:
    Run(tmp_path).training.run()
    state = torch.load(tmp_path / "last.pt", weights_only=True)
    assert {"module", "optimizer", "generator", "step", "fingerprint"} <= state.keys()
    assert state["step"] == STEPS
