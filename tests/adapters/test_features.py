from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
import torchvision
from numpy.typing import NDArray
from torch import Tensor, nn

from ebm_tracker.adapters import features as module
from ebm_tracker.adapters.features import (
    CUT,
    FeatureError,
    FeatureViews,
    build_extractor,
    cached_views,
    extractor_names,
    feature_size,
    pick_view,
)
from ebm_tracker.build import WEIGHTS_FOLDER
from ebm_tracker.errors import WeightsError
from ebm_tracker.models import load_network

SHIPPED = WEIGHTS_FOLDER / "default.safetensors"
FACTS = {"images": "made", "seed": 0}


class Mean(nn.Module):
    """Features: the mean of each channel, twice and once."""

    calls = 0

    def forward(self, images: Tensor) -> Tensor:
        self.calls += 1
        means = images.float().mean((2, 3))
        return torch.cat((2 * means, means), 1)


class MadeViews:
    """Example i has three views of shade i, i + 1, i + 2 and targets 10 i, 10 i + 1, 10 i + 2."""

    def __init__(self, count: int = 5, fails_at: int | None = None) -> None:
        self.count, self.fails_at = count, fails_at

    def __len__(self) -> int:
        return self.count

    def __getitem__(self, index: int) -> tuple[NDArray[np.uint8], NDArray[np.float32]]:
        if index == self.fails_at:
            raise KeyboardInterrupt
        shades = np.array([index, index + 1, index + 2], np.uint8)
        images = np.broadcast_to(shades[:, None, None, None], (3, 8, 8, 3))
        return images, (10 * index + np.arange(3, dtype=np.float32))[:, None]


# Extractors ----------------------------------------------------------------------------------------------------------


def test_a_cut_backbone_averages_its_last_map_over_regions() -> None:
    images = torch.randint(0, 256, (2, 3, 96, 96), dtype=torch.uint8)
    extractor = build_extractor("efficientnet_lite0", SHIPPED, grid=2)
    maps = load_network(SHIPPED).backbone(images.float())[1].detach()  # (2, 112, 6, 6)
    halves = (slice(3), slice(3, 6))
    by_hand = [maps[:, :, rows, columns].mean((2, 3)) for rows in halves for columns in halves]
    torch.testing.assert_close(extractor(images), torch.stack(by_hand, 2).flatten(1))
    assert feature_size(extractor, 96) == 448
    assert not any(parameter.requires_grad for parameter in extractor.parameters()) and not extractor.training


def test_torchvisions_networks_end_with_their_pooled_features(tmp_path: Path) -> None:
    network = torchvision.models.get_model("resnet18", weights=None).eval()
    file = tmp_path / "resnet18.pth"
    torch.save(network.state_dict(), file)
    extractor = build_extractor("resnet18", file, trained=True)
    images = torch.randint(0, 256, (2, 3, 64, 64), dtype=torch.uint8)
    mean, std = (torch.tensor(v).view(3, 1, 1) for v in ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)))
    with torch.no_grad():
        expected = network((images / 255 - mean) / std)
        found = network.fc(extractor(images))
    torch.testing.assert_close(found, expected, atol=1e-4, rtol=1e-4)
    assert all(parameter.requires_grad for parameter in extractor.parameters())
    assert feature_size(extractor, 64) == 512


def test_the_papers_backbone_gives_2048_features(monkeypatch: pytest.MonkeyPatch) -> None:
    state = torchvision.models.get_model("resnet50", weights=None).state_dict()
    monkeypatch.setattr(module, "_classifier_state", lambda name, weights: state)
    assert feature_size(build_extractor("resnet50"), 200) == 2048


@pytest.mark.parametrize(
    ("name", "end"), [("mobilenet_v3_small", "classifier"), ("vit_b_32", "heads"), ("swin_t", "head")]
)
def test_the_last_layers_have_many_names(name: str, end: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with torch.device("meta"):
        network = torchvision.models.get_model(name, weights=None)
    assert next(part for part in module._ENDS if hasattr(network, part)) == end


def test_unknown_names_and_weights_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="unknown backbone 'resnet5'; known: resnet18_layer3"):
        build_extractor("resnet5")
    with pytest.raises(ValueError, match="grid must be 1 for resnet50"):
        build_extractor("resnet50", grid=2)
    with pytest.raises(ValueError, match="grid must be at least 1"):
        build_extractor("resnet50", grid=0)
    with pytest.raises(WeightsError, match="not found"):
        build_extractor("resnet18", tmp_path / "none.pth")
    (tmp_path / "damaged.pth").write_bytes(b"no weights")
    with pytest.raises(WeightsError, match=r"damaged.pth cannot be read"):
        build_extractor("resnet18", tmp_path / "damaged.pth")
    torch.save({"x": torch.zeros(1)}, tmp_path / "other.pth")
    with pytest.raises(WeightsError, match=r"other.pth does not fit resnet18"):
        build_extractor("resnet18", tmp_path / "other.pth")
    assert {"resnet50", "efficientnet_lite0"} < set(extractor_names()) and set(CUT) < set(extractor_names())


# Views ---------------------------------------------------------------------------------------------------------------


def test_features_are_those_of_each_view_and_are_kept(tmp_path: Path) -> None:
    extractor = Mean()
    views = cached_views(MadeViews(), extractor, tmp_path, facts=FACTS, quiet=True)
    assert views.features.shape == (5, 3, 6) and views.targets.shape == (5, 3, 1)
    assert views.features[2, 1].tolist() == [6, 6, 6, 3, 3, 3] and views.targets[2, :, 0].tolist() == [20, 21, 22]
    calls = extractor.calls
    again = cached_views(MadeViews(), extractor, tmp_path, facts=FACTS, quiet=True)
    assert extractor.calls == calls + 1  # the one that asks for the number of features
    assert torch.equal(again.features, views.features) and torch.equal(again.targets, views.targets)


def test_what_was_stopped_goes_on(tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt):
        cached_views(MadeViews(fails_at=3), Mean(), tmp_path, facts=FACTS, quiet=True)
    assert np.load(tmp_path / "done.npy").tolist() == [True, True, True, False, False]
    extractor = Mean()
    views = cached_views(MadeViews(), extractor, tmp_path, facts=FACTS, quiet=True)
    assert extractor.calls == 3 and views.features[:, 0, 3].tolist() == [0, 1, 2, 3, 4]


def test_features_of_something_else_are_refused(tmp_path: Path) -> None:
    cached_views(MadeViews(), Mean(), tmp_path, facts=FACTS, quiet=True)
    with pytest.raises(FeatureError, match="keeps features with another seed: remove it"):
        cached_views(MadeViews(), Mean(), tmp_path, facts=FACTS | {"seed": 1}, quiet=True)
    with pytest.raises(FeatureError, match="another count"):
        cached_views(MadeViews(4), Mean(), tmp_path, facts=FACTS, quiet=True)
    (tmp_path / "features.npy").write_bytes(b"\x93NUMPY")
    with pytest.raises(FeatureError, match="is damaged"):
        cached_views(MadeViews(), Mean(), tmp_path, facts=FACTS, quiet=True)


def test_one_view_is_drawn_with_its_own_target() -> None:
    features = torch.arange(24.0).view(2, 4, 3)
    views = FeatureViews(features, features[..., :1])
    rng = np.random.default_rng(0)
    drawn = [pick_view(views[1], torch.zeros(1), rng) for _ in range(60)]
    assert {float(y) for _, y in drawn} == {12.0, 15.0, 18.0, 21.0}
    assert all(float(x[0]) == float(y) for x, y in drawn)
    with pytest.raises(ValueError, match="features and targets must be"):
        FeatureViews(features, torch.zeros(2, 3, 1))


def test_standardised_by_the_training_examples() -> None:
    generator = torch.Generator().manual_seed(0)
    train = FeatureViews(5 + 3 * torch.randn((50, 4, 6), generator=generator), torch.zeros(50, 4, 1))
    kept = train.standardised()
    flat = kept.features.flatten(0, 1)
    torch.testing.assert_close(flat.mean(0), torch.zeros(6), atol=1e-5, rtol=0)
    torch.testing.assert_close(flat.std(0), torch.ones(6))
    test = FeatureViews(torch.full((1, 1, 6), 5.0), torch.zeros(1, 1, 1)).standardised(train)
    assert test.features.abs().max() < 0.3
