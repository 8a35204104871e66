"""The pose recipe: the paper's settings, its data, and a whole experiment in miniature."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from ebm_tracker.adapters.pose.data import PoseData, write_pose_file
from ebm_tracker.adapters.pose.density import local_marginal, own_poses
from ebm_tracker.adapters.pose.render import render_heads
from ebm_tracker.adapters.regression import HEADS, FitSettings, RegressionEnergy
from ebm_tracker.adapters.regression.study import Study, StudyData
from ebm_tracker.energy import GaussianMixture
from ebm_tracker.train_settings import pose


def layer_sizes(module: nn.Module) -> list[tuple[int, int]]:
    return [(layer.in_features, layer.out_features) for layer in module.modules() if isinstance(layer, nn.Linear)]


def test_full_recipe_is_the_papers() -> None:
    study = pose.FULL.study
    assert study.sigmas == (1.0, 20.0) and study.samples == 1024
    assert (study.refine.step, study.refine.steps, study.refine.flat, study.refine.drop) == (0.1, 5, 1e-3, -1e-2)
    assert study.classes == tuple(range(-75, 76)) and len(study.classes) == 151
    for fit in (study.head_fit, study.energy_fit):
        assert (fit.epochs, fit.batch_size, fit.weight_decay) == (75, 32, 1e-3)
    assert tuple(study.heads) == tuple(HEADS) and len(study.heads) == 6
    assert pose.FULL.backbone == "resnet50" and not pose.FULL.freeze and pose.FULL.enlarge == 1
    assert pose.FULL.augment.mirror == 0.5 and pose.FULL.augment.scales == (0.7, 1.4)
    assert pose.FULL.validation == 1_010


def test_small_recipe_keeps_sigma_step_and_steps() -> None:
    small, full = pose.SMALL.study, pose.FULL.study
    assert (small.sigmas, small.refine, small.classes, small.runs) == (full.sigmas, full.refine, full.classes, 5)
    assert small.head_fit == small.energy_fit  # fair: the same epochs, rate and decay
    assert pose.SMALL.augment == pose.FULL.augment


def test_networks_have_the_papers_layers() -> None:
    study = pose.FULL.study
    expected = {
        "direct_huber": [(2048, 2048), (2048, 3)],
        "direct_l2": [(2048, 2048), (2048, 3)],
        "gaussian": 2 * [(2048, 2048), (2048, 3)],
        "laplace": 2 * [(2048, 2048), (2048, 3)],
        "softmax_l2": 3 * [(2048, 2048), (2048, 151)],
        "softmax_l2_var": 3 * [(2048, 2048), (2048, 151)],
    }
    for name, build in HEADS.items():
        assert layer_sizes(build(2048, 3, study.hidden, study.classes)) == expected[name], name
    energy = RegressionEnergy(2048, 3, branch=study.branch, joint=study.joint)
    assert layer_sizes(energy) == [(3, 16), (16, 32), (32, 64), (64, 128), (2048 + 128, 2048), (2048, 1)]


def test_proposal_at_the_true_pose() -> None:
    # PROTOCOL 9: q at its centre for sigma 1 and 20 in three dimensions.
    at_center = GaussianMixture(pose.FULL.study.sigmas).log_density(torch.zeros(1, 1, 3), torch.zeros(1, 3))
    assert float(at_center) == pytest.approx(-3.44984, abs=1e-5)


def biwi(folder: Path, train: int, test: int) -> Path:
    rng = np.random.default_rng(0)
    for name, count in (("train", train), ("test", test)):
        images = rng.integers(0, 256, (count, 64, 64, 3), dtype=np.uint8)
        poses = rng.uniform(-70, 70, (count, 3)).astype(np.float32)
        write_pose_file(folder / f"BIWI_{name}.npz", PoseData(images, poses))
    return folder


def no_render(count: int, seed: int) -> PoseData:
    raise AssertionError("must not render")


def test_the_papers_validation_images_are_left_out(tmp_path: Path) -> None:
    recipe = replace(pose.FULL, validation=10)
    train, test, remarks = pose.choose_heads(recipe, biwi(tmp_path, 30, 8), no_render, tmp_path / "kept")
    assert (len(train), len(test)) == (20, 8)
    text = " ".join(remarks)
    assert "10 training images" in text and "20 heads to train on, 8 to test on" in text and "10613" in text
    train, test, _ = pose.choose_heads(recipe, tmp_path, no_render, tmp_path / "kept", limit=12)
    assert (len(train), len(test)) == (12, 3)


def test_rendered_heads_are_kept_and_said_to_be_rendered(tmp_path: Path) -> None:
    recipe = replace(pose.SMALL, rendered=(6, 3))
    train, test, remarks = pose.choose_heads(recipe, None, render_heads_as_data, tmp_path)
    assert (len(train), len(test)) == (6, 3)
    assert "Rendered heads" in remarks[0]
    again, _, _ = pose.choose_heads(recipe, None, no_render, tmp_path)
    assert (again.images == train.images).all() and (again.poses == train.poses).all()
    assert not (train.images[:3] == test.images).all()  # another seed
    fewer, _, _ = pose.choose_heads(recipe, None, render_heads_as_data, tmp_path, limit=4)
    assert (fewer.images == train.images[:4]).all()


def render_heads_as_data(count: int, seed: int) -> PoseData:
    return PoseData(*render_heads(count, seed))


def test_candidates_cover_the_limits() -> None:
    poses = pose.candidates((20.0, 10.0, 10.0))
    assert poses.shape == (5 * 3 * 3, 3)
    assert poses.amin(0).tolist() == [-20, -10, -10] and poses.amax(0).tolist() == [20, 10, 10]


def test_rows_of_the_figure_are_spread_over_yaw() -> None:
    yaw = np.random.default_rng(0).permutation(np.linspace(-70, 70, 101))
    assert yaw[pose.spread_rows(yaw, 6)] == pytest.approx(np.linspace(-50, 50, 6), abs=0.8)


class Mean(nn.Module):
    """Features with one learned number, in place of a network of millions."""

    def __init__(self) -> None:
        super().__init__()
        self.gain = nn.Parameter(torch.ones(()))

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return self.gain * nn.functional.adaptive_avg_pool2d(images.float() / 255, 2).flatten(1)


def test_images_go_to_a_network_that_is_trained_along(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[tuple[Any, ...]] = []

    def build(name: str, weights: Path | None, *, grid: int, trained: bool) -> nn.Module:
        asked.append((name, weights, grid, trained))
        return Mean()

    monkeypatch.setattr(pose, "build_extractor", build)
    train, test, _ = pose.choose_heads(pose.FULL, biwi(tmp_path, 40, 8), no_render, tmp_path)
    fit = FitSettings(epochs=2, batch_size=8, weight_decay=1e-3)
    study = replace(pose.FULL.study, heads=("gaussian",), hidden=8, joint=(8,), samples=8, runs=1, head_fit=fit,
                    energy_fit=fit)  # fmt: skip
    recipe = replace(pose.FULL, study=study)
    stored = train.images.copy(), train.poses.copy()
    data = pose.open_study_data(recipe, train, test, None, tmp_path / "features", torch.device("cpu"))
    result = Study(data, study, tmp_path / "runs", quiet=True).run()
    assert asked[0] == ("resnet50", None, 1, True) and data.feature_size == 12
    assert data.test_x.shape == (8, 3, 64, 64)
    assert (data.test_x[0].permute(1, 2, 0).numpy() == test.images[0]).all()
    assert result.before["gaussian"].shape == (1, 8, 3)
    assert (train.images == stored[0]).all() and (train.poses == stored[1]).all()
    table = pose.tables(recipe, Study(data, study, tmp_path / "runs", quiet=True), result, [])[0]
    assert "BIWI" in table.title and any("Paper" in column.heading for column in table.columns)


class Bowl(nn.Module):
    """f whose density is a Gaussian about the features, with known deviations."""

    deviations = torch.tensor([4.0, 3.0, 5.0])

    def forward(self, features: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        return -0.5 * ((y - features[:, None]) / self.deviations).square().sum(-1)


class KnownStudy(Study):
    """Its energy network is a bowl about the true poses."""

    def energy(self, run: int) -> Any:
        from ebm_tracker.adapters.regression.steps import EnergyStep

        return EnergyStep(nn.Identity(), Bowl(), GaussianMixture([1.0]), 1).eval()


@pytest.fixture
def known(tmp_path: Path) -> KnownStudy:
    truth = torch.tensor([[10.0, -5, 3], [-42, 20, 11]])
    data = StudyData(truth, truth, truth, truth, 3, {}, pose.candidates((60.0, 30.0, 30.0)))
    return KnownStudy(data, replace(pose.SMALL.study, heads=("direct_l2",)), tmp_path)


def test_own_predictions_climb_to_the_top(known: KnownStudy) -> None:
    from ebm_tracker.adapters.regression.study import StudyResult, own_predictions

    mode, mean = own_predictions(Bowl(), known.data.test_x, known.data.candidates)  # type: ignore[arg-type]
    truth = known.data.test_y.double().numpy()
    result = StudyResult(truth, {}, {}, {"mode": mode[None].double().numpy(), "mean": mean[None].double().numpy()})
    own = own_poses(known, result)
    assert np.abs(result.alone["mode"] - truth).max() > 1  # the grid is coarse
    assert np.abs(own["highest value of f"] - truth).max() < 0.01
    assert own["mean of p"] is result.alone["mean"]


def test_density_of_yaw_is_the_marginal(known: KnownStudy) -> None:
    around = known.data.test_y.double().numpy() + np.array([3.0, 1, -2])
    yaw, density = local_marginal(known, 0, [0, 1], around)
    for row in (0, 1):
        expected = torch.distributions.Normal(float(known.data.test_y[row, 0]), 4.0)
        heights = expected.log_prob(torch.from_numpy(yaw[row])).exp().numpy()
        np.testing.assert_allclose(density[row], heights, atol=1e-3)
        assert density[row].sum() * 0.5 == pytest.approx(1)
