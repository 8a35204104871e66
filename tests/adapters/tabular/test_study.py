"""The comparison: scores of a known density, choices by the validation rows, resuming, and two peaks found."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from ebm_tracker.adapters.tabular import study as module
from ebm_tracker.adapters.tabular.data import TableData
from ebm_tracker.adapters.tabular.study import MODELS, Scores, TabularResult, TabularSettings, TabularStudy, measure

Array = NDArray[np.float64]
TINY = TabularSettings(folds=2, repeats=1, decays=(1e-3, 1e-2), hidden=4, epochs=2, samples=8)


def two_peaks(count: int) -> TableData:
    """y = x + 1 or x - 1, with noise of 0.1."""
    rng = np.random.default_rng(0)
    x = rng.uniform(-0.5, 0.5, (count, 1))
    y = x[:, 0] + rng.choice((-1.0, 1.0), count) + 0.1 * rng.standard_normal(count)
    return TableData("peaks", "made up", "y", ("x",), x, y)


class Standard:
    """The standard normal density, whatever x."""

    normal = torch.distributions.Normal(0.0, 1.0)

    def interval(self, x: Array, level: float) -> Array:
        high = float(self.normal.icdf(torch.tensor(0.5 + level / 2)))
        return np.tile([-high, high], (len(x), 1))

    def predict(self, x: Array) -> Array:
        return np.zeros(len(x))

    def log_prob(self, x: Array, y: Array) -> Array:
        return self.normal.log_prob(torch.from_numpy(y)).numpy()

    def cdf(self, x: Array, y: Array) -> Array:
        return self.normal.cdf(torch.from_numpy(y)).numpy()


def test_scores_of_a_known_density() -> None:
    y = np.array([0.0, 1.0, -2.0, 1.64])
    scores = measure(Standard(), np.zeros((4, 1)), y, 0.9)  # type: ignore[arg-type]
    assert scores["nll"] == pytest.approx(0.5 * math.log(2 * math.pi) + (0 + 1 + 4 + 1.64**2) / 8)
    assert scores["coverage"] == 0.75  # 1.64 is just inside 1.645
    assert scores["width"] == pytest.approx(2 * 1.6448536, rel=1e-5)
    assert scores["mae"] == pytest.approx(4.64 / 4)
    assert scores["pit"][0] == 0.5 and scores["pit"][2] == pytest.approx(0.0227501, rel=1e-4)


@pytest.mark.slow
def test_two_peaks_are_found(tmp_path: Path) -> None:
    settings = TabularSettings(folds=2, repeats=1, decays=(0.0,), hidden=16, epochs=80, learning_rate=1e-2)
    result = TabularStudy(two_peaks(300), settings, tmp_path, quiet=True).run()
    nll = {model: float(np.mean([one.nll for one in scores])) for model, scores in result.scores.items()}
    truth = math.log(2) + 0.5 * math.log(2 * math.pi * math.e * 0.01)  # -0.19: the entropy of the noise and a coin's
    assert truth < nll["ebm"] < 0.5 and nll["gaussian"] > 1.3 and nll["laplace"] > 1.3
    (ebm, gaussian, _) = result.table_rows()
    assert ebm.model == "EBM" and (gaussian.nll > ebm.nll).all() and (abs(ebm.coverage - 0.9) < 0.1).all()


def test_a_study_is_gone_on_with(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    data = two_peaks(60)
    study = TabularStudy(data, TINY, tmp_path, quiet=True)
    result = study.run()
    assert {model: len(scores) for model, scores in result.scores.items()} == dict.fromkeys(MODELS, 2)
    assert len(result.pit("ebm")) == 60
    # Each choice is the training that its validation rows prefer.
    for run in range(2):
        for model in MODELS:
            of_decay = {name: study.train(run, name).validation_nll for name in (f"{model}-0.001", f"{model}-0.01")}
            assert of_decay[study.chosen(run, model)] == min(of_decay.values())

    def refuse(*args: object) -> None:
        raise AssertionError("trained again")

    with monkeypatch.context() as patched:
        patched.setattr(TabularStudy, "_measured", refuse)
        again = TabularStudy(data, TINY, tmp_path, quiet=True).run()
        assert again.scores["laplace"][1].nll == result.scores["laplace"][1].nll
        # More decays leave the others as they are; another size does not.
        with pytest.raises(AssertionError, match="trained again"):
            TabularStudy(data, replace(TINY, decays=(1e-3, 0.1)), tmp_path, quiet=True).run()
    with pytest.raises(ValueError, match=r"other settings: hidden 4 \(now 5\)"):
        TabularStudy(data, replace(TINY, hidden=5), tmp_path, quiet=True).run()
    with pytest.raises(ValueError, match="other settings: data"):
        TabularStudy(replace(data, y=data.y + 1), TINY, tmp_path, quiet=True).run()


def test_a_training_without_scores_is_only_measured(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    study = TabularStudy(two_peaks(60), replace(TINY, decays=(0.0,)), tmp_path, quiet=True)
    first = study.train(0, "gaussian-0")
    path = tmp_path / "split-0" / "gaussian-0" / "scores.json"
    kept = json.loads(path.read_text())
    path.unlink()
    monkeypatch.setattr("ebm_tracker.training.loop.Training.run", lambda self: pytest.fail("trained again"))
    assert study.train(0, "gaussian-0").nll == first.nll
    assert json.loads(path.read_text()) == kept


def test_the_validation_rows_decide_not_the_test_rows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    study = TabularStudy(two_peaks(60), TINY, tmp_path, quiet=True)
    nothing = np.zeros(1)
    made = {"ebm-0.001": Scores(2.0, 0.0, 0, 0, 0, nothing), "ebm-0.01": Scores(1.0, 9.0, 0, 0, 0, nothing)}
    monkeypatch.setattr(study, "train", lambda run, name: made[name])
    assert study.chosen(0, "ebm") == "ebm-0.01"


@pytest.mark.parametrize(
    ("ebm", "sentence"),
    [
        (
            [1.0] * 5,
            "lower NLL than Gaussian (lower in 5 of 5 splits) and Laplace (lower in 5 of 5 splits); "
            "its 90% interval holds 2.0 points less than that.",
        ),
        ([2.2] * 5, "than Gaussian (lower in 5 of 5 splits), higher NLL than Laplace (lower in 0 of 5 splits);"),
        # One of five is 0.2 of them, which 1 - 0.8 in floating point is not.
        ([1.9, 2.4, 2.4, 2.4, 2.4], "higher NLL than Laplace (lower in 1 of 5 splits)"),
        ([1.0, 1.9, 2.4, 2.4, 1.9], "no clearly different NLL from Laplace (lower in 3 of 5 splits);"),
        # Four of five splits, but one so bad that the mean is higher: not clear either way.
        ([1.9, 1.9, 1.9, 1.9, 9.0], "no clearly different NLL from Gaussian (lower in 4 of 5 splits) and Laplace"),
    ],
)
def test_the_verdict_says_where_it_is_not_better(ebm: list[float], sentence: str) -> None:
    scores = {
        model: tuple(Scores(0.0, one, 0.88, 1.0, 1.0, np.zeros(1)) for one in nll)
        for model, nll in (("ebm", ebm), ("gaussian", [2.5] * 5), ("laplace", [2.0] * 5))
    }
    assert sentence in TabularResult(two_peaks(60), scores).verdict(0.9)


def test_workers_and_decays_are_checked(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="workers"):
        TabularStudy(two_peaks(60), TINY, tmp_path, workers=0)
    with pytest.raises(ValueError, match="decays"):
        TabularSettings(decays=())
    assert module.COST.keys() == MODELS.keys()
