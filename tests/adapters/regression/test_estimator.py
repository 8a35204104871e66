from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from ebm_tracker.adapters.regression import EnergyRegressor, FitSettings, GridDensity, HeadRegressor, SampledDensity
from ebm_tracker.errors import WeightsError

QUICK = FitSettings(epochs=2, learning_rate=3e-3)
LONGER = FitSettings(epochs=30, learning_rate=5e-3, schedule="cosine")


def line(count: int = 400, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """y = 100 + 20 x0 + noise of 5, in units far from standard ones; a column of x says nothing."""
    generator = np.random.default_rng(seed)
    x = np.stack((generator.normal(7, 2, count), generator.normal(0, 1e-3, count)), 1)
    return x, 100 + 20 * (x[:, 0] - 7) + generator.normal(0, 5, count)


def forked(count: int = 400, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Two answers to every x: about +10 and -10."""
    generator = np.random.default_rng(seed)
    x = generator.normal(0, 1, (count, 1))
    return x, generator.choice([-10.0, 10.0], count) + generator.normal(0, 0.5, count)


@pytest.fixture(scope="module")
def energy() -> EnergyRegressor:
    return EnergyRegressor.fit(*line(), settings=LONGER, samples=64, hidden=32)


@pytest.fixture(scope="module")
def gaussian() -> HeadRegressor:
    return HeadRegressor.fit(*line(), settings=replace(LONGER, epochs=60), hidden=32)


def test_a_line_is_learned_in_the_units_of_y(energy: EnergyRegressor, gaussian: HeadRegressor) -> None:
    x, y = line(seed=1)
    best = 0.5 * math.log(2 * math.pi * 25) + 0.5  # the entropy of the noise
    for model in (energy, gaussian):
        assert model.predict(x).shape == (400,)
        assert float(np.sqrt(np.mean((model.predict(x) - y) ** 2))) < 6
        assert best - 0.1 < float(-model.log_prob(x, y).mean()) < best + 0.25
        interval = model.interval(x, 0.9)
        assert interval.shape == (400, 2)
        assert 0.8 < float(np.mean((interval[:, 0] <= y) & (y <= interval[:, 1]))) < 0.97
        inside = model.cdf(x, interval[:, 1]) - model.cdf(x, interval[:, 0])
        np.testing.assert_allclose(inside, 0.9, atol=2e-3)


def test_densities_integrate_to_one_per_unit_of_y(energy: EnergyRegressor, gaussian: HeadRegressor) -> None:
    x = line()[0][:1]
    values = np.linspace(-100, 300, 801)
    for model in (energy, gaussian):
        log_prob = model.log_prob(np.repeat(x, 801, 0), values)
        np.testing.assert_allclose(np.trapezoid(np.exp(log_prob), values), 1, atol=2e-3)


def test_points_of_a_density(energy: EnergyRegressor) -> None:
    x = line()[0][:5]
    density = energy.density(x)
    assert isinstance(density, GridDensity)
    for point in ("mean", "median", "mode"):
        np.testing.assert_allclose(energy.predict(x, point), getattr(density, point).numpy())
    shortest = energy.interval(x, 0.9, "shortest")
    assert bool((np.diff(shortest) <= np.diff(energy.interval(x, 0.9)) + 1e-3).all())


def test_blocks_of_rows_give_what_all_rows_give(energy: EnergyRegressor, monkeypatch: pytest.MonkeyPatch) -> None:
    x, y = line(20, seed=3)
    whole = energy.predict(x), energy.log_prob(x, y), energy.interval(x), energy.cdf(x, y)
    monkeypatch.setattr("ebm_tracker.adapters.regression.estimator.BLOCK", 7)
    parts = energy.predict(x), energy.log_prob(x, y), energy.interval(x), energy.cdf(x, y)
    for one, other in zip(whole, parts, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-4)


def test_predictions_of_another_model_climb_the_density(energy: EnergyRegressor) -> None:
    x, _ = line(100, seed=4)
    start = energy.predict(x, "mode") + np.random.default_rng(0).choice([-5.0, 5.0], 100)
    refined = energy.refine(x, start, steps=50)
    assert refined.shape == (100,)
    before, after = energy.log_prob(x, start), energy.log_prob(x, refined)
    assert bool((after >= before - 1e-3).all()) and after.mean() > before.mean() + 0.3
    assert np.abs(refined - energy.predict(x, "mode")).mean() < 2.5
    np.testing.assert_allclose(energy.refine(x, start, steps=0), start, rtol=1e-5)


def test_two_answers_are_two_peaks() -> None:
    x, y = forked()
    model = EnergyRegressor.fit(x, y, settings=LONGER, samples=128, hidden=32)
    (pieces,) = model.density([[0.0]]).region(0.8)
    assert len(pieces) == 2 and pieces[0][0] < -10 < pieces[0][1] < pieces[1][0] < 10 < pieces[1][1]
    head = HeadRegressor.fit(x, y, settings=replace(LONGER, epochs=60), hidden=32)
    new_x, new_y = forked(seed=1)
    assert model.log_prob(new_x, new_y).mean() > head.log_prob(new_x, new_y).mean() + 1


def test_several_targets() -> None:
    x, y = line()
    both = np.stack((y, -0.01 * y + np.random.default_rng(1).normal(0, 0.1, len(y))), 1)
    model = EnergyRegressor.fit(x, both, settings=LONGER, samples=128, hidden=32)
    density = model.density(x[:50])
    assert isinstance(density, SampledDensity) and float(density.effective.median()) > 50
    x, both = x[:60], both[:60]
    predicted = model.predict(x)
    assert predicted.shape == (60, 2) and model.interval(x, 0.9).shape == (60, 2, 2)
    errors = np.sqrt(np.mean((predicted - both) ** 2, 0))
    assert errors[0] < 10 and errors[1] < 0.2
    assert model.log_prob(x, both).shape == (60,) and model.cdf(x, both).shape == (60, 2)
    head = HeadRegressor.fit(*line(), head="laplace", settings=QUICK, hidden=8)
    assert head.predict(x).shape == (60,) and head.interval(x, 0.9).shape == (60, 2)
    head = HeadRegressor.fit(x, both, head="laplace", settings=QUICK, hidden=8)
    assert head.predict(x).shape == (60, 2) and head.interval(x, 0.9).shape == (60, 2, 2)
    true = np.stack((100 + 20 * (x[:, 0] - 7), -1 - 0.2 * (x[:, 0] - 7)), 1)
    best = 0.5 * math.log(2 * math.pi * 25) + 0.5  # the entropy of y, to which the second one's noise adds
    assert model.log_prob(x, true).mean() > -best - 0.5 * math.log(2 * math.pi * 0.1**2) - 1
    with pytest.raises(ValueError, match=r"point must be one of mean, median \(got 'mode'\)"):
        model.predict(x, "mode")
    with pytest.raises(ValueError, match="kind must be 'central' for several targets"):
        model.interval(x, 0.9, "shortest")


@pytest.mark.parametrize("head", ["gaussian", "laplace", "l2", "huber"])
def test_units_change_nothing_but_units(head: str) -> None:
    """The same problem in other units: equal predictions, and log p lower by the logarithm of the factor."""
    x, y = line(100)
    one, other = (
        HeadRegressor.fit(3 * x - 1, targets, head=head, settings=QUICK, hidden=8) for targets in (y, 1000 * y - 5e4)
    )
    np.testing.assert_allclose(1000 * one.predict(3 * x - 1) - 5e4, other.predict(3 * x - 1), rtol=1e-3, atol=20)
    if head in ("gaussian", "laplace"):
        expected = one.log_prob(3 * x - 1, y) - math.log(1000)
        np.testing.assert_allclose(other.log_prob(3 * x - 1, 1000 * y - 5e4), expected, atol=5e-3)
    else:
        with pytest.raises(ValueError, match=f"head must be gaussian or laplace for a density \\(got {head}\\)"):
            one.log_prob(x, y)


def test_sigmas_are_in_the_units_of_y() -> None:
    x, y = line(100)
    spread = float(np.std(y))
    default = EnergyRegressor.fit(x, y, settings=QUICK, samples=8, hidden=8)
    stated = EnergyRegressor.fit(x, y, sigmas=(0.1 * spread, spread), settings=QUICK, samples=8, hidden=8)
    np.testing.assert_allclose(default.predict(x), stated.predict(x), rtol=1e-3)


def test_forms_of_x_and_y_give_the_same() -> None:
    x, y = line(60)
    models = [
        HeadRegressor.fit(a, b, settings=QUICK, hidden=8)
        for a, b in ((x, y), (x.tolist(), y.tolist()), (torch.from_numpy(x), torch.from_numpy(y)), (x, y[:, None]))
    ]
    for model in models[1:3]:
        np.testing.assert_array_equal(model.predict(x), models[0].predict(x))
    np.testing.assert_array_equal(models[3].predict(x), models[0].predict(x)[:, None])


class Picture(nn.Module):
    """Features of small images; keeps count of its calls."""

    def __init__(self, learns: bool) -> None:
        super().__init__()
        self.layers = nn.Sequential(nn.Conv2d(1, 3, 3), nn.Flatten())
        self.requires_grad_(learns)
        self.calls = 0

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        self.calls += 1
        return self.layers(x)


@pytest.mark.parametrize("learns", [True, False])
def test_an_extractor_of_ones_own(learns: bool, tmp_path: Path) -> None:
    images = np.random.default_rng(0).normal(size=(60, 1, 5, 5))
    y = images.mean((1, 2, 3))
    extractor = Picture(learns)
    before = {name: value.clone() for name, value in extractor.state_dict().items()}
    model = EnergyRegressor.fit(images, y, extractor=extractor, settings=QUICK, samples=8, hidden=8)
    assert extractor.calls <= 1  # a fixed one computes once; of one that learns a copy is trained
    assert all(torch.equal(value, before[name]) for name, value in extractor.state_dict().items())
    assert model.predict(images).shape == (60,)
    model.save(tmp_path / "model.pt")
    again = EnergyRegressor.load(tmp_path / "model.pt", extractor=extractor)
    np.testing.assert_array_equal(again.predict(images), model.predict(images))
    with pytest.raises(ValueError, match="was trained with one of the user's"):
        EnergyRegressor.load(tmp_path / "model.pt")


def test_images_without_an_extractor_are_refused() -> None:
    with pytest.raises(ValueError, match=r"images and the like need an extractor \(got \(6, 1, 5, 5\)\)"):
        EnergyRegressor.fit(np.zeros((6, 1, 5, 5)), np.zeros(6))
    with pytest.raises(ValueError, match="extractor must give features \\(B, F\\)"):
        HeadRegressor.fit(np.zeros((6, 1, 5, 5)), np.zeros(6), extractor=nn.Conv2d(1, 2, 3), settings=QUICK)


def test_a_saved_regressor_is_the_same_one(tmp_path: Path, energy: EnergyRegressor, gaussian: HeadRegressor) -> None:
    x, y = line(20, seed=2)
    for model in (energy, gaussian):
        path = tmp_path / f"{type(model).__name__}.pt"
        model.save(path)
        again: Any = type(model).load(path)
        np.testing.assert_array_equal(again.predict(x), model.predict(x))
        np.testing.assert_array_equal(again.log_prob(x, y), model.log_prob(x, y))
    with pytest.raises(WeightsError, match="must hold a EnergyRegressor \\(got HeadRegressor\\)"):
        EnergyRegressor.load(tmp_path / "HeadRegressor.pt")
    (tmp_path / "text.pt").write_text("no weights")
    with pytest.raises(WeightsError, match=r"text.pt is no readable checkpoint"):
        HeadRegressor.load(tmp_path / "text.pt")


def test_a_folder_keeps_the_training(tmp_path: Path) -> None:
    x, y = line(60)
    first = HeadRegressor.fit(x, y, settings=QUICK, hidden=8, folder=tmp_path)
    again = HeadRegressor.fit(x, y, settings=QUICK, hidden=8, folder=tmp_path)
    np.testing.assert_array_equal(again.predict(x), first.predict(x))
    with pytest.raises(ValueError, match="other settings: data"):
        HeadRegressor.fit(x, 2 * y + x[:, 0], settings=QUICK, hidden=8, folder=tmp_path)
    with pytest.raises(ValueError, match="network.hidden 8 \\(now 9\\)"):
        HeadRegressor.fit(x, y, settings=QUICK, hidden=9, folder=tmp_path)


def test_equal_seeds_give_equal_models() -> None:
    x, y = line(60)
    settings = (QUICK, QUICK, replace(QUICK, seed=1))
    one, same, other = (EnergyRegressor.fit(x, y, settings=s, samples=8, hidden=8).predict(x) for s in settings)
    assert np.array_equal(one, same) and not np.array_equal(one, other)


def test_held_out_rows_guard_a_small_table_against_close_fits() -> None:
    """Pure noise: what fits it best is what was there before it was learned."""
    generator = np.random.default_rng(0)
    x, y = generator.normal(size=(60, 8)), generator.normal(size=60)
    new_x, new_y = generator.normal(size=(500, 8)), generator.normal(size=500)
    settings = replace(LONGER, epochs=60)
    guarded, close = (HeadRegressor.fit(x, y, settings=settings, held_out=share) for share in (0.2, 0.0))
    assert guarded.log_prob(new_x, new_y).mean() > close.log_prob(new_x, new_y).mean() + 1


@pytest.mark.parametrize(
    ("x", "y", "text"),
    [
        (np.zeros((5, 2)), np.zeros(4), r"y must be \(5,\) or \(5, D\), one row for each of x \(got \(4, 1\)\)"),
        (np.zeros((5, 2)), np.zeros((5, 1, 1)), r"y must be \(5,\) or \(5, D\)"),
        (np.full((5, 2), np.nan), np.zeros(5), r"x must be finite \(5 rows are not, the first is row 0\)"),
        (np.zeros((3, 2)), np.array([0, np.inf, 0]), r"y must be finite \(row 1 is not\)"),
        ([["a", "b"]], [1.0], "x must be an array of numbers"),
        (np.zeros((0, 2)), np.zeros(0), r"x must have at least one row \(got shape \(0, 2\)\)"),
        (np.zeros(5), np.zeros(5), r"x must be \(N, F\)"),
    ],
)
def test_data_that_make_no_problem_are_refused(x: Any, y: Any, text: str) -> None:
    for kind in (EnergyRegressor, HeadRegressor):
        with pytest.raises(ValueError, match=text):
            kind.fit(x, y, settings=QUICK)


def test_arguments_are_checked(energy: EnergyRegressor) -> None:
    x, y = line(60)
    with pytest.raises(ValueError, match=r"head must be one of gaussian, laplace, l2, huber \(got 'cauchy'\)"):
        HeadRegressor.fit(x, y, head="cauchy")
    with pytest.raises(ValueError, match=r"sigmas must be numbers or rows of 1 \(got rows of 2\)"):
        EnergyRegressor.fit(x, y, sigmas=((0.1, 0.2),))
    with pytest.raises(ValueError, match="held_out must be at least 0 and below 1"):
        EnergyRegressor.fit(x, y, held_out=1.0)
    with pytest.raises(ValueError, match="point must be one of mean, median, mode"):
        energy.predict(x, "best")
    with pytest.raises(ValueError, match=r"x must be \(N, 2\), as in training \(got \(60, 1\)\)"):
        energy.predict(x[:, :1])
    with pytest.raises(ValueError, match=r"y must be \(60,\) or \(60, 1\)"):
        energy.log_prob(x, np.stack((y, y), 1))


def test_a_constant_column_and_a_constant_y_do_no_harm() -> None:
    x, y = line(60)
    x[:, 1] = 3.0
    model = HeadRegressor.fit(x, y, settings=QUICK, hidden=8)
    assert bool(np.isfinite(model.predict(x)).all())
    flat = HeadRegressor.fit(x, np.full(60, 7.0), settings=QUICK, hidden=8)
    assert bool(np.isfinite(flat.log_prob(x, np.full(60, 7.0))).all())
