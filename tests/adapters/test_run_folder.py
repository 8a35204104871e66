from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from ebm_tracker.adapters.regression import EpochDataset
from ebm_tracker.adapters.regression.data import Example
from ebm_tracker.adapters.run_folder import FINAL, train_or_load
from ebm_tracker.errors import WeightsError
from ebm_tracker.training.checkpoint import load_state
from ebm_tracker.training.display import Silence
from ebm_tracker.training.loop import LoopSettings

STEPS = 12
SETTINGS = LoopSettings(
    steps=STEPS, batch_size=5, learning_rate=0.05, workers=0, log_every=4, checkpoint_every=4, tensorboard=False, seed=3
)
FACTS = {"data": {"set": "lines"}, "size": 6}


class Noisy(nn.Module):
    """A network with noise on its input and a part that stays as it is."""

    def __init__(self, seed: int = 0) -> None:
        super().__init__()
        torch.manual_seed(seed)
        self.frozen = nn.Linear(1, 4).requires_grad_(False)
        self.own = nn.Sequential(nn.Linear(1, 6), nn.Tanh(), nn.Linear(6, 1))
        self.calls = 0

    def forward(self, batch: Example) -> Tensor:
        self.calls += 1
        return (self.own(batch.x + 0.1 * torch.randn_like(batch.x)) - batch.y).square().sum(1)


class StopAt(Silence):
    """Ctrl-C after a step."""

    def __init__(self, step: int) -> None:
        self.step = step

    def show(self, steps: int, loss: float, data_s: float, step_s: float) -> None:
        if steps == self.step:
            raise KeyboardInterrupt


def run(step: Noisy, folder: Path, settings: LoopSettings = SETTINGS, **more: Any) -> dict[str, Tensor]:
    x = torch.linspace(-2, 2, 20)[:, None]
    data = EpochDataset(x, x.sin(), 3, settings.seed)
    train_or_load(step, step.own, data, settings, folder, **{"fingerprint": FACTS, "display": Silence(), **more})
    return {name: value.clone() for name, value in step.own.state_dict().items()}


def same(one: Mapping[str, Tensor], other: Mapping[str, Tensor]) -> bool:
    return one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)


def files(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.glob("*.pt"))


def test_training_moves_the_trained_part(tmp_path: Path) -> None:
    step = Noisy()
    first = {name: value.clone() for name, value in step.state_dict().items()}
    found = run(step, tmp_path)
    assert step.calls == STEPS and not step.training
    assert not same(found, {name: first[f"own.{name}"] for name in found})
    assert same(step.frozen.state_dict(), {name: first[f"frozen.{name}"] for name in ("weight", "bias")})


def test_a_finished_run_is_only_loaded(tmp_path: Path) -> None:
    found = run(Noisy(), tmp_path)
    written = (tmp_path / FINAL).stat().st_mtime_ns
    again = Noisy(seed=5).train()
    assert same(run(again, tmp_path), found)
    assert again.calls == 0 and not again.training
    assert (tmp_path / FINAL).stat().st_mtime_ns == written


def test_the_optimizers_state_goes_with_the_last_step(tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt):
        run(Noisy(), tmp_path, display=StopAt(8))
    assert files(tmp_path) == ["last.pt"]
    before = (tmp_path / "last.pt").stat().st_size
    found = run(Noisy(), tmp_path)
    assert files(tmp_path) == [FINAL] and (tmp_path / FINAL).stat().st_size < 0.8 * before
    state = load_state(tmp_path / FINAL)
    assert set(state) == {"module", "average", "steps", "settings"}
    assert same(state["module"], found) and state["steps"] == STEPS and state["average"] is None


@pytest.mark.parametrize("changes", [{}, {"average_decay": 0.9}])
def test_a_stopped_run_ends_as_one_that_never_stopped(tmp_path: Path, changes: dict[str, Any]) -> None:
    settings = replace(SETTINGS, **changes)
    whole = run(Noisy(), tmp_path / "whole", settings)
    steps = []
    for stop in (3, 9):
        step = Noisy(seed=stop)  # where it goes on, the first weights come from the folder
        step = Noisy() if stop == 3 else step
        with pytest.raises(KeyboardInterrupt):
            run(step, tmp_path / "parts", settings, display=StopAt(stop))
        steps.append(step.calls)
    last = Noisy(seed=7)
    assert same(run(last, tmp_path / "parts", settings), whole)
    assert [*steps, last.calls] == [3, 6, 3]


def test_a_run_stopped_at_its_very_end_is_finished_without_a_step(tmp_path: Path) -> None:
    whole = run(Noisy(), tmp_path / "whole")
    with pytest.raises(KeyboardInterrupt):
        run(Noisy(), tmp_path / "parts", display=StopAt(STEPS))
    last = Noisy(seed=7)
    assert same(run(last, tmp_path / "parts"), whole) and last.calls == 0


def test_the_average_is_what_a_run_gives(tmp_path: Path) -> None:
    plain = run(Noisy(), tmp_path / "plain")
    frozen = run(Noisy(), tmp_path / "frozen", replace(SETTINGS, average_decay=0.999999))
    first = Noisy().own.state_dict()
    assert all(torch.allclose(frozen[name], first[name], atol=1e-4) for name in first)
    assert not torch.allclose(plain["0.weight"], first["0.weight"], atol=1e-2)
    assert same(load_state(tmp_path / "frozen" / FINAL)["module"], frozen)


def test_the_best_weights_are_what_a_run_gives_on_demand(tmp_path: Path) -> None:
    step, seen = Noisy(), list[dict[str, Tensor]]()

    def evaluate() -> dict[str, float]:
        seen.append({name: value.clone() for name, value in step.own.state_dict().items()})
        return {"score": float(-abs(len(seen) - 2))}  # the second is the best

    settings = replace(SETTINGS, evaluate_every=4, best="score")
    found = run(step, tmp_path, settings, evaluate=evaluate)
    assert len(seen) == 3 and same(found, seen[1]) and not same(found, seen[2])
    assert files(tmp_path) == [FINAL]
    assert same(run(Noisy(seed=2), tmp_path, settings, evaluate=evaluate), found) and len(seen) == 3


@pytest.mark.parametrize("stop", [6, None])
def test_another_run_in_the_folder_is_refused(tmp_path: Path, stop: int | None) -> None:
    if stop is None:
        run(Noisy(), tmp_path)
    else:
        with pytest.raises(KeyboardInterrupt):
            run(Noisy(), tmp_path, display=StopAt(stop))
    before = {name: (tmp_path / name).read_bytes() for name in files(tmp_path)}
    other = {"data": {"set": "curves"}, "size": 6}
    with pytest.raises(ValueError, match=r"settings: data.set 'lines' \(now 'curves'\); give those or choose another"):
        run(Noisy(), tmp_path, fingerprint=other)
    with pytest.raises(ValueError, match=r"loop.learning_rate 0.05 \(now 0.1\)"):
        run(Noisy(), tmp_path, replace(SETTINGS, learning_rate=0.1))
    assert {name: (tmp_path / name).read_bytes() for name in files(tmp_path)} == before
    run(Noisy(), tmp_path, replace(SETTINGS, checkpoint_every=2))  # does not touch the result


@pytest.mark.parametrize("best", ["", "score"])
def test_a_finished_run_of_another_length_is_refused(tmp_path: Path, best: str) -> None:
    settings = replace(SETTINGS, evaluate_every=4, best=best)
    seen: list[int] = []

    def evaluate() -> dict[str, float]:
        seen.append(0)
        return {"score": -float(len(seen))}  # the first is the best

    run(Noisy(), tmp_path, settings, evaluate=evaluate)
    for steps in (4, 8, 11):
        with pytest.raises(ValueError, match=rf"loop.steps 12 \(now {steps}\)"):
            run(Noisy(), tmp_path, replace(settings, steps=steps), evaluate=evaluate)
    run(Noisy(), tmp_path, settings, evaluate=evaluate)


def test_a_begun_run_may_become_longer_but_not_shorter_than_it_is(tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt):
        run(Noisy(), tmp_path / "parts", replace(SETTINGS, steps=8), display=StopAt(6))
    with pytest.raises(ValueError, match=r"parts has made 6 steps; steps must be as many or more \(got 5\)"):
        run(Noisy(), tmp_path / "parts", replace(SETTINGS, steps=5))
    assert same(run(Noisy(), tmp_path / "parts"), run(Noisy(), tmp_path / "whole"))


def test_a_damaged_file_is_no_finished_run(tmp_path: Path) -> None:
    run(Noisy(), tmp_path)
    content = (tmp_path / FINAL).read_bytes()
    (tmp_path / FINAL).write_bytes(content[: len(content) // 2])
    with pytest.raises(WeightsError, match="final.pt is no readable checkpoint"):
        run(Noisy(), tmp_path)


@pytest.mark.parametrize("change", [{"module": {"other": torch.zeros(2)}}, {"average": {"other": 5}}, {"settings": []}])
def test_a_file_of_other_content_is_one_sentence(tmp_path: Path, change: dict[str, Any]) -> None:
    run(Noisy(), tmp_path)
    state = torch.load(tmp_path / FINAL, weights_only=True)
    torch.save(state | change, tmp_path / FINAL)
    with pytest.raises(WeightsError, match=r"final.pt (holds other weights than are trained here|is not a checkpoint)"):
        run(Noisy(), tmp_path)
