from __future__ import annotations

import json
import pickle
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from ebm_tracker.adapters.regression import EnergyStep, FitSettings
from ebm_tracker.adapters.toy import MODELS, TRUTHS, ToyModel, ToySettings, ToyStudy, divergence_from, study
from ebm_tracker.errors import EbmError

TINY = ToySettings(runs=2, pairs=32, samples=4, fit=FitSettings(epochs=2, batch_size=16))
EBM = ToyModel("wave", "nll")


def small_study(folder: Path, settings: ToySettings = TINY) -> ToyStudy:
    return ToyStudy(settings, folder, data_sets=("wave",), models=("gaussian", "nll"), quiet=True)


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> ToyStudy:
    made = small_study(tmp_path_factory.mktemp("runs"))
    made.run()
    return made


def test_results_are_the_divergences_of_the_trained_models(finished: ToyStudy) -> None:
    found = finished.run()
    assert [model.name for model in found] == ["wave/gaussian", "wave/nll"]
    expected = [divergence_from(TRUTHS["wave"], finished.train(run, EBM.name)) for run in range(2)]
    assert found[EBM].tolist() == pytest.approx(expected)
    assert len({*expected}) == 2  # runs differ


def test_a_finished_study_trains_nothing(finished: ToyStudy, monkeypatch: pytest.MonkeyPatch) -> None:
    before = finished.run()

    def refuse(*args: object, **kwargs: object) -> None:
        raise AssertionError("trained again")

    monkeypatch.setattr(study, "fit", refuse)
    again = small_study(finished.folder).run()
    assert all(np.array_equal(before[model], again[model]) for model in before)


def test_more_runs_keep_those_that_are_there(finished: ToyStudy, tmp_path: Path) -> None:
    for path in finished.folder.rglob("*"):
        if path.is_file():
            copy = tmp_path / path.relative_to(finished.folder)
            copy.parent.mkdir(parents=True, exist_ok=True)
            copy.write_bytes(path.read_bytes())
    more = small_study(tmp_path, replace(TINY, runs=3)).run()
    assert more[EBM][:2].tolist() == finished.run()[EBM].tolist() and len(more[EBM]) == 3


@pytest.mark.parametrize(
    ("change", "said"),
    [({"samples": 8}, "samples 4 .now 8."), ({"fit": replace(TINY.fit, learning_rate=1.0)}, "learning_rate 0.001")],
)
def test_other_settings_in_the_folder_are_refused(finished: ToyStudy, change: dict[str, object], said: str) -> None:
    with pytest.raises(EbmError, match=said):
        small_study(finished.folder, replace(TINY, **change)).run()  # type: ignore[arg-type]


def test_a_training_without_its_result_is_measured_and_not_trained(finished: ToyStudy) -> None:
    path = finished.folder / "wave" / "nll" / "01" / "divergence.json"
    before, log = json.loads(path.read_text()), path.with_name("log.csv").stat().st_mtime_ns
    path.unlink()
    with pytest.raises(EbmError, match="training 1 of wave/nll .* is not finished"):
        finished.divergences(EBM)
    finished.run()
    assert json.loads(path.read_text()) == before and path.with_name("log.csv").stat().st_mtime_ns == log


def test_objectives_begin_with_equal_weights_and_runs_with_others(tmp_path: Path) -> None:
    made = ToyStudy(TINY, tmp_path, quiet=True)
    steps = {name: made._build(0, name) for name in MODELS if name != "gaussian"}
    first = torch.nn.utils.parameters_to_vector(steps["nll"].parameters())
    for name, step in steps.items():
        assert isinstance(step, EnergyStep) and step.objective == name
        assert torch.equal(torch.nn.utils.parameters_to_vector(step.parameters()), first)
    assert float(steps["kl"].label.sigmas) == TINY.label_sigma  # type: ignore[union-attr, arg-type]
    other = torch.nn.utils.parameters_to_vector(made._build(1, "nll").parameters())
    assert not torch.equal(first, other)


def test_median_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made = small_study(tmp_path, replace(TINY, runs=4))
    monkeypatch.setattr(made, "_kept", lambda run, name: [0.4, 0.1, 0.3, 0.2][run])
    assert made.median_run(EBM) == 3  # of 0.2 and 0.3 the better


def test_names_and_numbers_are_checked(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="models must be some of gaussian, nll, kl, nce, nce[+] .got ebm"):
        ToyStudy(TINY, tmp_path, models=("ebm",))
    with pytest.raises(ValueError, match="data_sets must be some of mixture, wave"):
        ToyStudy(TINY, tmp_path, data_sets=())
    with pytest.raises(ValueError, match="workers must be at least 1 .got 0."):
        ToyStudy(TINY, tmp_path, workers=0)
    with pytest.raises(ValueError, match="runs must be at least 1 .got 0."):
        replace(TINY, runs=0)
    with pytest.raises(ValueError, match="network must be one of"):
        replace(TINY, network="mlp")


def test_workers_can_be_sent_the_study(tmp_path: Path) -> None:
    sent = pickle.loads(pickle.dumps(small_study(tmp_path)))
    assert sent.settings == TINY and sent.folder == tmp_path
