"""The recipes for pytracking's loop, against stand-ins with its names: what they pass, and what they make of a batch.

Their own code is GPL and no part of this repository; the recipes were run against a checkout of commit 7eb9e74 by hand.
"""

from __future__ import annotations

import importlib
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest
import torch
import torchvision
from PIL import Image

from ebm_tracker.energy import GaussianMixture
from ebm_tracker.ltr_settings import atom, atom_star, ebm_tracking
from ebm_tracker.ltr_settings.pytracking_loop import (
    EnergyActor,
    LoopRecipe,
    build_loaders,
    build_network,
    changed,
    log_density,
    read_image,
    stack_samples,
    train,
)
from ebm_tracker.models import EnergyNetwork, load_network
from ebm_tracker.models.checkpoint import read_provenance
from ebm_tracker.models.network import BatchNormMode
from ebm_tracker.training.objective import TrainingStep, build_objective
from ebm_tracker.training.pairs import Pair
from ebm_tracker.training.sample import SampleDataset

TINY: dict[str, Any] = {"epochs": 2, "batches": 1, "batch_size": 2, "workers": 0, "samples": 4}


class Call(SimpleNamespace):
    """A made-up object of theirs: how it was called."""


def recorder(name: str) -> Any:
    """A class of theirs whose objects only know their arguments."""

    def make(*args: Any, **kwargs: Any) -> Call:
        return Call(made=name, args=args, kwargs=kwargs)

    return make


def batch(samples: int, first_is_truth: bool) -> dict[str, Any]:
    """Two pairs as their loader stacks them."""
    generator = torch.Generator().manual_seed(0)
    count = samples + first_is_truth
    truth = torch.tensor([[60.0, 70, 30, 20], [50, 40, 25, 45]])
    boxes = truth[:, None] + 5 * torch.rand((2, count, 4), generator=generator)
    density = torch.rand((2, count), generator=generator) + 0.1
    if first_is_truth:
        boxes[:, 0], density[:, 0] = truth, -1
    images = torch.rand((2, 1, 2, 3, 144, 144), generator=generator)
    return {
        "train_images": images[0],
        "test_images": images[1],
        "train_anno": truth[None] + 3,
        "test_anno": truth[None],
        "test_proposals": boxes[None],
        "proposal_density": density[None],
    }


class Trainer:
    """Their trainer's part that matters: an epoch of one batch, and the actor's modes."""

    made: list[Trainer] = []

    def __init__(self, actor: EnergyActor, loaders: list[Any], optimizer: Any, settings: Any, schedule: Any) -> None:
        self.actor, self.loaders, self.optimizer, self.schedule = actor, loaders, optimizer, schedule
        actor.to(torch.device("cpu"))
        self.rates: list[float] = []
        Trainer.made.append(self)

    def train(self, epochs: int, load_latest: bool, fail_safe: bool) -> None:
        assert load_latest and not fail_safe
        for _ in range(epochs):
            self.actor.train(True)
            loss, shown = self.actor(batch(4, first_is_truth=True))
            assert shown["Loss/total"] == pytest.approx(loss.item())
            self.optimizer.zero_grad()
            loss.backward()
            self.optimizer.step()
            self.schedule.step()
            self.rates.append(self.schedule.get_last_lr()[0])


@pytest.fixture
def theirs(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Stand-ins for the modules of a checkout."""
    modules: dict[str, dict[str, Any]] = {
        "pytracking": {"TensorDict": dict},
        "ltr": {},
        "ltr.admin": {},
        "ltr.admin.stats": {"AverageMeter": type("AverageMeter", (), {}), "StatValue": type("StatValue", (), {})},
        "ltr.dataset": {name: recorder(name) for name in ("Got10k", "Lasot", "MSCOCOSeq", "TrackingNet")},
        "ltr.data": {"LTRLoader": recorder("LTRLoader")},
        "ltr.data.sampler": {"ATOMSampler": recorder("ATOMSampler")},
        "ltr.data.transforms": {
            name: recorder(name) for name in ("Transform", "ToGrayscale", "ToTensor", "ToTensorAndJitter")
        },
        "ltr.data.processing": {name: recorder(name) for name in ("ATOMProcessing", "KLBBregProcessing")},
        "ltr.trainers": {"LTRTrainer": Trainer},
    }
    for name, members in modules.items():
        module = ModuleType(name)
        vars(module).update(members)
        monkeypatch.setitem(sys.modules, name, module)
        parent, _, child = name.rpartition(".")
        if parent:
            setattr(sys.modules[parent], child, module)
    Trainer.made.clear()
    yield


@pytest.fixture
def settings(tmp_path: Path) -> Any:
    torch.manual_seed(0)
    torch.save(torchvision.models.resnet18(weights=None).state_dict(), tmp_path / "resnet18.pth")
    env = SimpleNamespace(lasot_dir="L", got10k_dir="G", trackingnet_dir="T", coco_dir="C", workspace_dir=str(tmp_path))
    return SimpleNamespace(env=env, project_path="ltr/ebm/x", backbone_weights=tmp_path / "resnet18.pth")


@pytest.fixture
def network(settings: Any) -> EnergyNetwork:
    return build_network(replace(ebm_tracking.RECIPE, **TINY), settings.backbone_weights)


def test_their_data_as_the_paper_has_it(theirs: None) -> None:
    env = SimpleNamespace(lasot_dir="L", got10k_dir="G", trackingnet_dir="T", coco_dir="C")
    training, validation = build_loaders(env, ebm_tracking.RECIPE)
    assert training.args[0] == "train" and validation.args[0] == "val"
    common = {"batch_size": 64, "num_workers": 8, "drop_last": True, "stack_dim": 1, "collate_fn": stack_samples}
    assert training.kwargs == {**common, "training": True, "shuffle": True}
    assert validation.kwargs == {**common, "training": False, "epoch_interval": 5}
    drawn = training.args[1]
    sets, weights = drawn.args
    assert [(s.made, s.args, s.kwargs) for s in sets] == [
        ("Lasot", ("L", read_image), {"split": "train"}),
        ("Got10k", ("G", read_image), {"split": "vottrain"}),
        ("TrackingNet", ("T", read_image), {"set_ids": [0, 1, 2, 3]}),
        ("MSCOCOSeq", ("C", read_image), {}),
    ]
    assert weights == [1, 1, 1, 1]
    assert (drawn.kwargs["samples_per_epoch"], drawn.kwargs["max_gap"]) == (64_000, 200)
    held_out = validation.args[1]
    assert [s.kwargs for s in held_out.args[0]] == [{"split": "votval"}]
    assert held_out.kwargs["samples_per_epoch"] == 32_000
    made = drawn.kwargs["processing"]
    assert made.made == "KLBBregProcessing"
    assert made.kwargs["search_area_factor"] == 5 and made.kwargs["output_sz"] == 288
    assert made.kwargs["center_jitter_factor"] == {"train": 0, "test": 4.5}
    assert made.kwargs["scale_jitter_factor"] == {"train": 0, "test": 0.5}
    assert made.kwargs["mode"] == "sequence"
    assert made.kwargs["proposal_params"]["boxes_per_frame"] == 128
    assert made.kwargs["proposal_params"]["proposal_sigma"] == [(0.05, 0.05), (0.5, 0.5)]
    assert made.kwargs["proposal_params"]["add_mean_box"] is True
    jitter = made.kwargs["transform"].args[0]
    assert (jitter.made, jitter.args) == ("ToTensorAndJitter", (0.2,))
    assert held_out.kwargs["processing"].kwargs["transform"].args[0].made == "ToTensor"
    assert made.kwargs["joint_transform"].args[0].kwargs == {"probability": 0.05}


@pytest.mark.parametrize(
    ("recipe", "gap", "expected"),
    [
        (
            atom.RECIPE,
            50,
            {"min_iou": 0.1, "boxes_per_frame": 16, "sigma_factor": [0.01, 0.05, 0.1, 0.2, 0.3]},
        ),
        (
            atom_star.RECIPE,
            200,
            {"proposal_method": "gmm", "boxes_per_frame": 128, "proposal_sigma": [(0.05, 0.05), (0.5, 0.5)]},
        ),
    ],
)
def test_candidates_of_the_baselines(theirs: None, recipe: LoopRecipe, gap: int, expected: dict[str, Any]) -> None:
    env = SimpleNamespace(lasot_dir="L", got10k_dir="G", trackingnet_dir="T", coco_dir="C")
    drawn = build_loaders(env, recipe)[0].args[1]
    assert drawn.kwargs["max_gap"] == gap
    assert drawn.kwargs["processing"].made == "ATOMProcessing"
    assert drawn.kwargs["processing"].kwargs["proposal_params"] == expected


def test_unknown_objectives_are_refused(theirs: None) -> None:
    env = SimpleNamespace(lasot_dir="L", got10k_dir="G", trackingnet_dir="T", coco_dir="C")
    with pytest.raises(ValueError, match=r"objective must be one of nll, iou_mse, iou_mse_atom .*\(got 'kl'\)"):
        build_loaders(env, replace(ebm_tracking.RECIPE, objective="kl"))


@pytest.mark.parametrize("objective", ["nll", "iou_mse", "iou_mse_atom"])
def test_the_actor_computes_our_loss(network: EnergyNetwork, objective: str) -> None:
    """On a sample of ours, written as a batch of theirs, it is the loss of our own loop."""
    ours = build_objective(objective, samples=8)
    generator = torch.Generator().manual_seed(1)
    images = torch.randint(0, 256, (2, 3, 144, 144), generator=generator, dtype=torch.uint8)
    pair = Pair(images[0], torch.tensor([50.0, 60, 30, 20]), images[1], torch.tensor([40.0, 70, 24, 30]))
    sample = torch.utils.data.default_collate([SampleDataset([pair, pair], ours.scheme, seed=0)[i] for i in range(2)])  # type: ignore[arg-type]
    density = sample.candidates.log_q.exp()
    if objective == "nll":
        density[:, 0] = -1
    data = {
        "train_images": sample.pair.reference_image[None] / 255,
        "test_images": sample.pair.test_image[None] / 255,
        "train_anno": sample.pair.reference_box[None],
        "test_anno": sample.pair.test_box[None],
        "test_proposals": sample.candidates.boxes_xywh[None],
    }
    if objective != "iou_mse_atom":
        data["proposal_density"] = density[None]
    actor = EnergyActor(network, ours)
    actor.eval()
    step = TrainingStep(network, ours, batch_norm=BatchNormMode.TRAIN).eval()
    loss, shown = actor(data)
    assert loss.item() == pytest.approx(step(sample).mean().item(), rel=1e-4)
    assert set(shown) == {"Loss/total", f"Loss/{objective}"}


def test_a_loss_that_is_not_finite_stops(network: EnergyNetwork) -> None:
    data = batch(4, first_is_truth=True)
    data["test_proposals"][0, 1, 2] = float("nan")
    with pytest.raises(FloatingPointError, match="the loss became nan in epoch 7"):
        EnergyActor(network, build_objective("nll"))({**data, "epoch": 7})


def test_log_density_is_the_mixtures() -> None:
    mixture = GaussianMixture((0.05, 0.5))
    noise = torch.randn(1, 5, 4, generator=torch.Generator().manual_seed(0))
    log_q = mixture.log_density(noise, torch.zeros(1, 4))
    density = torch.cat((torch.tensor([[-1.0]]), log_q.exp()), dim=1)
    found = log_density(density[None], torch.zeros(1, 6, 4))
    assert found[0, 0] == 0 and torch.allclose(found[0, 1:], log_q[0], atol=1e-5)
    assert torch.equal(log_density(None, torch.zeros(2, 3, 4)), torch.zeros(2, 3))


def test_samples_are_stacked_along_the_second_axis(theirs: None) -> None:
    samples = [{"train_images": torch.full((1, 3, 2, 2), float(i)), "dataset": "x", "test_anno": None} for i in (1, 2)]
    for i, sample in enumerate(samples):
        sample["test_anno"] = torch.full((1, 4), float(i))
    stacked = stack_samples(samples)
    assert set(stacked) == {"train_images", "test_anno"}
    assert stacked["train_images"].shape == (1, 2, 3, 2, 2) and stacked["train_images"][0, 1].unique().item() == 2
    assert stacked["test_anno"][0, :, 0].tolist() == [0, 1]


def test_images_come_as_rgb(tmp_path: Path) -> None:
    Image.new("RGB", (8, 4), (250, 10, 10)).save(tmp_path / "a.jpg", quality=95)
    image = read_image(str(tmp_path / "a.jpg"))
    assert image.shape == (4, 8, 3) and image[0, 0, 0] > 240 and image[0, 0, 2] < 30


def test_a_run_trains_the_head_alone_and_writes_the_network(
    theirs: None, settings: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    recipe = replace(ebm_tracking.RECIPE, **TINY, decay_every=1)
    before = build_network(recipe, settings.backbone_weights)
    path = train(settings, recipe)
    assert path == Path(settings.env.workspace_dir) / "checkpoints/ltr/ebm/x/network.safetensors"
    assert str(path) in capsys.readouterr().out
    (trainer,) = Trainer.made
    assert trainer.rates == pytest.approx([2e-4, 4e-5])
    trained = {id(p) for group in trainer.optimizer.param_groups for p in group["params"]}
    assert trained == {id(p) for p in trainer.actor.net.head.parameters()}
    assert (settings.batch_size, settings.num_workers, settings.description) == (2, 0, recipe.description)
    assert type(settings.backbone_weights) is str  # their checkpoints hold it
    network = load_network(path)
    assert read_provenance(path)["recipe"]["objective"] == "nll"
    images = 255 * batch(4, True)["test_images"][0]
    ours, loaded = trainer.actor.net.features(images), network.features(images)
    assert all(torch.allclose(a, b, rtol=0.05, atol=0.05) for a, b in zip(ours, loaded, strict=True))  # float16
    # Batch norms of the backbone moved, its weights did not: features differ from ImageNet's.
    assert not torch.allclose(before.eval().features(images)[0], loaded[0], rtol=0.05, atol=0.05)


def test_a_variable_changes_the_recipe(
    theirs: None, settings: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    backbone = settings.backbone_weights
    del settings.backbone_weights
    monkeypatch.setenv("EBM_BACKBONE_WEIGHTS", str(backbone))
    monkeypatch.setenv("EBM_LTR_SET", "epochs=3 sigmas=0.1,0.4 learning_rate=2e-3")
    path = train(settings, replace(ebm_tracking.RECIPE, **TINY))
    (trainer,) = Trainer.made
    assert len(trainer.rates) == 3 and trainer.rates[0] == pytest.approx(2e-3)
    told = read_provenance(path)["recipe"]
    assert (told["sigmas"], told["batch_size"]) == ([0.1, 0.4], 2)
    # What their checkpoints get: text and plain values only.
    assert settings.backbone_weights == str(backbone)
    assert trainer.actor.net.info["backbone"] == "resnet18" and trainer.actor.net.info["recipe"]["epochs"] == 3


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("epoch=3", "EBM_LTR_SET: epoch=3 is no field=value of the recipe"),
        ("epochs=many", "EBM_LTR_SET: epochs takes a value like 50 \\(got 'many'\\)"),
        ("sigmas=a", r"sigmas takes a value like \(0\.05, 0\.5\) \(got 'a'\)"),
    ],
)
def test_changes_that_are_none(text: str, expected: str) -> None:
    with pytest.raises(ValueError, match=expected):
        changed(ebm_tracking.RECIPE, text)
    assert changed(ebm_tracking.RECIPE, "") == ebm_tracking.RECIPE


@pytest.mark.parametrize("name", ["ebm_tracking", "atom", "atom_star"])
def test_run_is_what_their_script_calls(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    module = importlib.import_module(f"ebm_tracker.ltr_settings.{name}")
    monkeypatch.setattr(module, "train", lambda settings, recipe: (settings, recipe))
    assert module.run("theirs") == ("theirs", module.RECIPE)
    words = " ".join((module.__doc__ or "").lower().split())
    assert all(word in words for word in ("command", "hardware", "time", "number to expect", "have not reproduced"))
