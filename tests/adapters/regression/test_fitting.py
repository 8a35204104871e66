from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from ebm_tracker.adapters.regression import (
    EnergyStep,
    EpochDataset,
    FitSettings,
    GaussianHead,
    HeadStep,
    RegressionEnergy,
    fit,
    mlp,
    seeded,
)
from ebm_tracker.energy import GaussianMixture
from ebm_tracker.training.display import Silence

COUNT = 40
SETTINGS = FitSettings(epochs=4, batch_size=8, learning_rate=0.01, checkpoint_epochs=1, seed=3)
STEPS = 20


class StopAt(Silence):
    """Ctrl-C after a step."""

    def __init__(self, step: int) -> None:
        self.step, self.shown = step, 0

    def show(self, steps: int, loss: float, data_s: float, step_s: float) -> None:
        self.shown += 1
        if steps == self.step:
            raise KeyboardInterrupt


def problem(seed: int = 0) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    x = 4 * torch.rand(COUNT, 1, generator=generator) - 2
    return x, x.sin() + 0.1 * torch.randn(COUNT, 1, generator=generator)


def energy_step(seed: int = 1) -> EnergyStep:
    with seeded(seed):
        energy = RegressionEnergy(8, 1, branch=(8,), joint=(8,))
        return EnergyStep(mlp((1, 8), last=True), energy, GaussianMixture((0.1, 0.8)), 32)


def run(step: Any, folder: Path, settings: FitSettings = SETTINGS, **more: Any) -> dict[str, Tensor]:
    dataset = EpochDataset(*problem(), settings.epochs, settings.seed)
    fit(step, dataset, settings, folder, **{"display": Silence(), **more})
    return {name: value.clone() for name, value in step.trained.state_dict().items()}


def same(one: Mapping[str, Tensor], other: Mapping[str, Tensor]) -> bool:
    return one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)


@pytest.mark.parametrize("changes", [{}, {"schedule": "cosine"}, {"average_decay": 0.9}, {"weight_decay": 0.1}])
def test_a_stopped_run_ends_with_the_weights_of_one_that_never_stopped(tmp_path: Path, changes: dict[str, Any]) -> None:
    settings = replace(SETTINGS, **changes)
    whole = run(energy_step(), tmp_path / "whole", settings)
    for stop in (3, 11):
        with pytest.raises(KeyboardInterrupt):
            run(energy_step(), tmp_path / "parts", settings, display=StopAt(stop))
    # Other first weights: they come from the folder.
    assert same(run(energy_step(seed=2), tmp_path / "parts", settings), whole)
    files = [(tmp_path / name / "log.csv").read_text().splitlines() for name in ("whole", "parts")]
    losses = [[line.split(",")[:2] for line in lines] for lines in files]
    assert losses[0] == losses[1] and len(losses[0]) == 5


def test_a_finished_run_is_only_loaded(tmp_path: Path) -> None:
    step = energy_step()
    first = run(step, tmp_path)
    assert not step.training
    shown = StopAt(0)
    again = energy_step(seed=2)
    assert same(run(again, tmp_path, display=shown), first) and shown.shown == 0
    assert not again.training
    # The log stays, and the optimizer's state (twice the weights) is gone.
    assert (tmp_path / "log.csv").is_file()
    assert [path.name for path in tmp_path.glob("*.pt")] == ["final.pt"]


def test_training_moves_what_it_should_and_learns(tmp_path: Path) -> None:
    settings = replace(SETTINGS, epochs=60)
    step = energy_step()
    run(step, tmp_path, settings)
    losses = [float(line.split(",")[1]) for line in (tmp_path / "log.csv").read_text().splitlines()[1:]]
    assert len(losses) == 60
    # exp f learns a spread of 0.1 about sin x: far below the loss at the start.
    assert sum(losses[-5:]) / 5 < losses[0] - 1


def test_another_run_in_the_folder_is_refused(tmp_path: Path) -> None:
    run(energy_step(), tmp_path / "done", fingerprint={"sigmas": (0.1, 0.8)})
    with pytest.raises(KeyboardInterrupt):
        run(energy_step(), tmp_path / "begun", fingerprint={"sigmas": (0.1, 0.8)}, display=StopAt(12))
    for folder in (tmp_path / "done", tmp_path / "begun"):
        with pytest.raises(ValueError, match=r"sigmas \(0.1, 0.8\) \(now \(0.1, 2.0\)\)"):
            run(energy_step(), folder, fingerprint={"sigmas": (0.1, 2.0)})
        for name, value in (("epochs", 8), ("learning_rate", 0.1), ("held_epochs", 1)):
            with pytest.raises(ValueError, match=f"{name} {getattr(SETTINGS, name)}.*choose another folder"):
                run(energy_step(), folder, replace(SETTINGS, **{name: value}), fingerprint={"sigmas": (0.1, 0.8)})
        # What does not touch the result may change.
        run(energy_step(), folder, replace(SETTINGS, checkpoint_epochs=2), fingerprint={"sigmas": (0.1, 0.8)})


def test_the_average_is_what_a_run_gives(tmp_path: Path) -> None:
    plain = run(energy_step(), tmp_path / "plain")
    frozen = run(energy_step(), tmp_path / "frozen", replace(SETTINGS, average_decay=0.999999))
    first = energy_step().trained.state_dict()
    assert all(torch.allclose(frozen[name], first[name], atol=1e-4) for name in first)
    assert not torch.allclose(plain["model.joint.0.weight"], first["model.joint.0.weight"], atol=1e-2)


def test_the_best_epoch_is_what_a_run_gives_on_demand(tmp_path: Path) -> None:
    step, seen = energy_step(), []

    def evaluate() -> dict[str, float]:
        assert not step.training
        seen.append({name: value.clone() for name, value in step.trained.state_dict().items()})
        return {"score": float(-abs(len(seen) - 2))}  # the second epoch

    found = run(step, tmp_path, evaluate=evaluate, best="score")
    assert len(seen) == 4 and same(found, seen[1])
    assert same(run(energy_step(2), tmp_path, evaluate=evaluate, best="score"), found) and len(seen) == 4


def test_a_fixed_extractor_stays_out_of_the_file(tmp_path: Path) -> None:
    extractor = mlp((1, 8)).requires_grad_(False)
    weights = run(HeadStep(extractor, GaussianHead(8, 1, 8)), tmp_path)
    assert all(name.startswith("stacks.") for name in weights)


def test_a_held_extractor_waits(tmp_path: Path) -> None:
    def head_step() -> HeadStep:
        with seeded(0):
            return HeadStep(mlp((1, 8)), GaussianHead(8, 1, 8))

    first = head_step().extractor.state_dict()
    held = head_step()
    run(held, tmp_path / "held", replace(SETTINGS, held_epochs=4))
    assert same(held.extractor.state_dict(), first)
    run(held, tmp_path / "half", replace(SETTINGS, held_epochs=2))
    assert not same(held.extractor.state_dict(), first)


def test_seeded_blocks_leave_the_generator_alone() -> None:
    torch.manual_seed(5)
    expected = torch.rand(2)
    torch.manual_seed(5)
    with seeded(1):
        one = nn.Linear(3, 3).weight
    with seeded(1):
        other = nn.Linear(3, 3).weight
    assert torch.equal(one, other) and torch.equal(torch.rand(2), expected)


def test_settings_of_the_paper_and_their_loop() -> None:
    loop = FitSettings(weight_decay=1e-3).loop(11_503)
    assert (loop.steps, loop.batch_size, loop.learning_rate, loop.weight_decay) == (75 * 11_503 // 32, 32, 1e-3, 1e-3)
    assert loop.optimizer == "adam" and loop.learning_rate_at(loop.steps - 1) == 1e-3


def test_arguments_are_checked(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="batch_size must be at most epochs x examples = 75 x 0"):
        FitSettings().loop(0)
    with pytest.raises(ValueError, match="schedule must be 'constant' or 'cosine'"):
        FitSettings(schedule="linear").loop(10)
    dataset = EpochDataset(*problem(), 5, 3)
    with pytest.raises(ValueError, match=r"same epochs and seed \(got 5 and 3, 4 and 3\)"):
        fit(energy_step(), dataset, SETTINGS, tmp_path)
