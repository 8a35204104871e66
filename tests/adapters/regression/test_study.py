from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from ebm_tracker.adapters.regression import HEADS, FitSettings, RefineSettings
from ebm_tracker.adapters.regression.study import (
    ENERGY,
    Study,
    StudyData,
    StudyResult,
    StudySettings,
    own_predictions,
    start_at_spread,
)
from ebm_tracker.training.loop import Training

FIT = FitSettings(epochs=3, batch_size=10, weight_decay=1e-3)
SETTINGS = StudySettings(
    sigmas=(0.1, 2.0),
    refine=RefineSettings(step=0.5),
    classes=tuple(range(-5, 6)),
    heads=("direct_l2", "gaussian", "softmax_l2"),
    runs=2,
    hidden=8,
    branch=(4, 8),
    joint=(8,),
    samples=16,
    head_fit=FIT,
    energy_fit=FIT,
)


def make_data(dims: int = 1, seed: int = 0) -> StudyData:
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn((60, 3), generator=generator)
    y = x[:, :dims] + 0.1 * torch.randn((60, dims), generator=generator)
    candidates = torch.linspace(-5, 5, 101)[:, None].expand(-1, dims)
    return StudyData(x[:40], y[:40], x[40:], y[40:], 3, {"made": seed, "dims": dims}, candidates)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("study")


@pytest.fixture(scope="module")
def result(folder: Path) -> StudyResult:
    return Study(make_data(), SETTINGS, folder, quiet=True).run()


def test_predictions_are_those_of_the_trained_networks_and_refinement_is_algorithm_s1(
    folder: Path, result: StudyResult
) -> None:
    data = make_data()
    study = Study(data, SETTINGS, folder, quiet=True)
    x = data.test_x
    assert isinstance(x, Tensor)
    mean = study.head(1, "gaussian").model.stacks[0](x).detach()
    np.testing.assert_allclose(result.before["gaussian"][1], mean, atol=1e-4)
    network = study.energy(1).energy
    for row in (0, 7):
        y = mean[row].clone()
        for _ in range(5):
            leaf = y.clone().requires_grad_(True)
            before = network(x[row : row + 1], leaf[None, None])[0, 0]
            (grad,) = torch.autograd.grad(before, leaf)
            y = y + 0.5 * grad
            after = network(x[row : row + 1], y[None, None])[0, 0].detach()
            change = float(after - before.detach())
            if abs(change) < 1e-3 or change < -1e-2:
                break
        assert result.after["gaussian"][1][row] == pytest.approx(y.numpy(), abs=2e-4)
    assert not np.allclose(result.after["gaussian"], result.before["gaussian"], atol=1e-3)


def test_errors_are_means_over_the_test_items(result: StudyResult) -> None:
    by_hand = [
        [sum(abs(p - t) for p, t in zip(run[:, 0], result.truth[:, 0], strict=True)) / 20]
        for run in result.after["softmax_l2"]
    ]
    np.testing.assert_allclose(result.errors("softmax_l2", refined=True), by_hand)
    assert result.heads == ("direct_l2", "gaussian", "softmax_l2")
    assert result.errors_alone("mode").shape == (2, 1)


def test_every_training_begins_with_weights_of_its_own(folder: Path, result: StudyResult) -> None:
    study = Study(make_data(), SETTINGS, folder, quiet=True)
    built = {(run, name): study._build(run, name).model for run in (0, 1) for name in ("direct_l2", "gaussian", ENERGY)}
    firsts = [next(iter(model.parameters())).flatten()[:4].tolist() for model in built.values()]
    assert len({tuple(first) for first in firsts}) == len(firsts)
    again = next(iter(study._build(1, "gaussian").model.parameters())).flatten()[:4].tolist()
    assert again == firsts[4]


def test_a_finished_study_is_only_read(
    folder: Path, result: StudyResult, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Training, "run", lambda self: pytest.fail("trained again"))
    again = Study(make_data(), SETTINGS, folder, quiet=True).run()
    for part in ("before", "after", "alone"):
        for name, values in getattr(result, part).items():
            np.testing.assert_array_equal(getattr(again, part)[name], values)


def test_another_refinement_keeps_the_trainings(
    folder: Path, result: StudyResult, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(Training, "run", lambda self: pytest.fail("trained again"))
    kept = (folder / "run-0" / "result.json").read_bytes()
    still = replace(SETTINGS, refine=RefineSettings(step=0.0))
    try:
        unmoved = Study(make_data(), still, folder, quiet=True).run()
    finally:
        (folder / "run-0" / "result.json").write_bytes(kept)
    np.testing.assert_array_equal(unmoved.after["gaussian"], unmoved.before["gaussian"])
    np.testing.assert_array_equal(unmoved.before["gaussian"], result.before["gaussian"])


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"head_fit": replace(FIT, learning_rate=2e-3)}, "learning_rate"),
        ({"hidden": 9}, "hidden"),
        ({"seed": 1}, "seed"),
    ],
)
def test_other_settings_in_the_same_folder_are_refused(
    folder: Path, result: StudyResult, change: dict[str, object], named: str
) -> None:
    with pytest.raises(ValueError, match=named):
        Study(make_data(), replace(SETTINGS, **change), folder, quiet=True).run()  # type: ignore[arg-type]


def test_other_data_in_the_same_folder_are_refused(folder: Path, result: StudyResult) -> None:
    with pytest.raises(ValueError, match="made"):
        Study(make_data(seed=1), SETTINGS, folder, quiet=True).run()


def test_a_study_that_was_stopped_ends_as_one_that_was_not(
    result: StudyResult, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    study = Study(make_data(), SETTINGS, tmp_path, quiet=True)
    whole, count = Training.run, []

    def stops_at_the_third(self: Training) -> int:
        count.append(self)
        if len(count) == 3:
            raise KeyboardInterrupt
        return whole(self)

    monkeypatch.setattr(Training, "run", stops_at_the_third)
    with pytest.raises(KeyboardInterrupt):
        study.run()
    assert not (tmp_path / "run-0" / "result.json").exists()
    monkeypatch.setattr(Training, "run", whole)
    again = study.run()
    np.testing.assert_array_equal(again.after["gaussian"], result.after["gaussian"])


def test_a_result_that_is_asked_for_first_trains(result: StudyResult, tmp_path: Path) -> None:
    again = Study(make_data(), replace(SETTINGS, runs=1), tmp_path, quiet=True).result()
    np.testing.assert_array_equal(again.after["gaussian"][0], result.after["gaussian"][0])


def test_three_targets(tmp_path: Path) -> None:
    settings = replace(SETTINGS, runs=1, heads=("laplace", "softmax_l2"))
    result = Study(make_data(3), settings, tmp_path, quiet=True).run()
    assert result.truth.shape == (20, 3) and result.after["laplace"].shape == (1, 20, 3)
    assert result.errors("laplace").shape == (1, 3)
    assert json.loads((tmp_path / "run-0" / "result.json").read_text())["settings"]["refine"]["step"] == 0.5


def test_own_predictions_are_mode_and_mean() -> None:
    candidates = torch.linspace(0, 10, 2001)[:, None]
    features = torch.tensor([[2.0], [3.0]])

    def energy(x: Tensor, y: Tensor) -> Tensor:  # 0.25 N(x, 0.1^2) + 0.75 N(x + 4, 0.5^2)
        low = np.log(0.25 / 0.1) - 0.5 * ((y[..., 0] - x) / 0.1).square()
        high = np.log(0.75 / 0.5) - 0.5 * ((y[..., 0] - x - 4) / 0.5).square()
        return torch.logaddexp(low, high)

    mode, mean = own_predictions(energy, features, candidates)
    np.testing.assert_allclose(mode, [[2.0], [3.0]], atol=0.006)
    np.testing.assert_allclose(mean, [[5.0], [6.0]], atol=1e-3)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"heads": ("gauss",)}, "heads must be some of direct_huber"),
        ({"heads": ()}, "got none"),
        ({"runs": 0}, "runs must be at least 1"),
        ({"classes": ()}, "classes must be given"),
    ],
)
def test_settings_that_cannot_be_are_refused(change: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        replace(SETTINGS, **change)  # type: ignore[arg-type]


@pytest.mark.parametrize("name", ["direct_l2", "gaussian", "laplace"])
@pytest.mark.parametrize("dims", [1, 3])
def test_a_centred_head_starts_at_the_best_constant_density(name: str, dims: int) -> None:
    torch.manual_seed(0)
    y = torch.randn((4000, dims)) * torch.tensor((20.0, 5.0, 0.5))[:dims] + torch.tensor((50.0, -3.0, 0.0))[:dims]
    head = HEADS[name](4, dims, 8, ())
    start_at_spread(head, y)
    for stack in head.stacks:
        stack[-1].weight.data.zero_()  # what x adds
    features = torch.zeros(len(y), 4)

    def loss() -> float:
        return float(head.loss(head(features), y).detach().mean())

    best = loss()
    for stack in head.stacks:
        for change in (0.05, -0.05):
            stack[-1].bias.data += change
            assert loss() > best - 2e-3
            stack[-1].bias.data -= change
    if name == "gaussian":
        expected = torch.distributions.Normal(y.mean(0), y.std(0)).log_prob(y).sum(1).mean()
        assert float(head.log_density(head(features), y).mean()) == pytest.approx(float(expected), abs=1e-3)


def test_only_a_centred_study_starts_so(tmp_path: Path) -> None:
    for centred in (False, True):
        study = Study(make_data(), replace(SETTINGS, centred=centred), tmp_path, quiet=True)
        bias = float(study._build(0, "direct_l2").model.stacks[0][-1].bias[0])
        assert (bias == pytest.approx(float(make_data().train_y.mean()))) is centred
