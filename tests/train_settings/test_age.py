from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

from ebm_tracker.adapters.age.data import AGES, find_faces
from ebm_tracker.adapters.regression import EnergyStep, FitSettings, HeadStep
from ebm_tracker.adapters.regression.study import ENERGY, Study, StudyData
from ebm_tracker.train_settings import age

PAPER = {
    "direct_huber": [[(2048, 2048), (2048, 1)]],
    "direct_l2": [[(2048, 2048), (2048, 1)]],
    "gaussian": [[(2048, 2048), (2048, 1)]] * 2,
    "laplace": [[(2048, 2048), (2048, 1)]] * 2,
    "softmax_l2": [[(2048, 2048), (2048, 101)]],
    "softmax_l2_var": [[(2048, 2048), (2048, 101)]],
}


def sizes(module: nn.Module) -> list[tuple[int, int]]:
    return [(layer.in_features, layer.out_features) for layer in module.modules() if isinstance(layer, nn.Linear)]


@pytest.fixture(scope="module")
def paper() -> Study:
    x, y = torch.zeros(4, 2048), torch.zeros(4, 1)
    return Study(StudyData(x, y, x, y, 2048, {}, torch.zeros(1, 1)), age.FULL.study, Path("unused"), quiet=True)


@pytest.mark.parametrize("name", PAPER)
def test_the_full_heads_have_the_papers_layers(paper: Study, name: str) -> None:
    step = paper._build(0, name)
    assert isinstance(step, HeadStep)
    assert [sizes(stack) for stack in step.model.stacks] == PAPER[name]


def test_the_full_energy_network_has_the_papers_layers(paper: Study) -> None:
    step = paper._build(0, ENERGY)
    assert isinstance(step, EnergyStep)
    assert sizes(step.model) == [(1, 16), (16, 32), (32, 64), (64, 128), (2176, 2048), (2048, 1)]
    assert step.samples == 1024 and step.objective == "nll"
    y = torch.zeros(1, 1)
    log_q = step.proposal.log_density(y[:, None], y)
    assert float(log_q) == pytest.approx(0.69549, abs=1e-5)  # PROTOCOL 9


def test_the_full_settings_are_the_papers() -> None:
    study = age.FULL.study
    assert (age.FULL.backbone, age.FULL.freeze, age.FULL.hold_out, age.FULL.validation) == ("resnet50", False, 0, 1644)
    assert (study.refine.step, study.refine.steps, study.refine.flat, study.refine.drop) == (3.0, 5, 1e-3, -1e-2)
    for fit in (study.head_fit, study.energy_fit):
        assert (fit.epochs, fit.batch_size, fit.learning_rate, fit.weight_decay) == (75, 32, 1e-3, 1e-3)
    assert study.classes == tuple(range(101)) and age.FULL.augment.scales == (0.7, 1.4)


def test_at_small_scale_all_networks_are_treated_alike() -> None:
    study = age.SMALL.study
    assert replace(study.head_fit, epochs=50) == study.energy_fit and study.joint == (study.hidden,) and study.runs == 5
    assert study.refine == age.FULL.study.refine and study.sigmas == age.FULL.study.sigmas
    assert age.SMALL.augment == age.FULL.augment and age.SMALL.hold_out == 0.2


def test_a_trained_backbone_sees_augmented_images(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(0)
    names = []
    for number in range(12):
        names.append(f"{AGES[0] + number}_0_0_{number:04d}.jpg")
        image = rng.integers(0, 256, (200, 200, 3), np.uint8)
        Image.fromarray(image).save(tmp_path / names[-1])
    for file, part in (("utk_train.csv", names[:8]), ("utk_test.csv", names[8:])):
        rows = [f"{i},{name},{int(name[:2]) - 21}" for i, name in enumerate(part)]
        (tmp_path / file).write_text("\n".join([",file,age", *rows]))
    built = []

    class Tiny(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer = nn.Conv2d(3, 4, 5, 5)

        def forward(self, images: torch.Tensor) -> torch.Tensor:
            return self.layer(images / 255.0).mean((2, 3))

    def build(name: str, weights: Path | None, grid: int, trained: bool) -> nn.Module:
        built.append((name, weights, grid, trained))
        return Tiny().requires_grad_(trained)

    monkeypatch.setattr(age, "build_extractor", build)
    source = age.AgeSource(tmp_path)
    train, test, _ = age.choose_faces(age.FULL, source)
    assert (len(train), len(test), len(find_faces(tmp_path))) == (8, 4, 12)
    data = age.open_study_data(age.FULL, source, train, test, tmp_path / "features", torch.device("cpu"))
    assert built == [("resnet50", None, 1, True)] and data.feature_size == 4
    fit = FitSettings(epochs=1, batch_size=4)
    study = Study(data, replace(age.FULL.study, hidden=8, head_fit=fit), tmp_path / "runs", quiet=True)
    first = study._build(0, "direct_l2").extractor.layer.weight.detach().clone()
    step = study.train(0, "direct_l2")
    assert not torch.equal(step.extractor.layer.weight, first)
    batch = next(iter(study._test_batches()))
    assert batch.x.shape == (4, 3, 200, 200) and batch.y[:, 0].tolist() == [29, 30, 31, 32]
