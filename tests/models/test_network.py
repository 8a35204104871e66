from __future__ import annotations

import pytest
import torch

from ebm_tracker.models import EnergyHead, EnergyNetwork, HeadChannels, build_backbone

CHANNELS = HeadChannels(features=(32, 96), reference=(8, 8), maps=(8, 8), hidden=(8, 8))


@pytest.fixture(scope="module")
def network() -> EnergyNetwork:
    torch.manual_seed(0)
    return EnergyNetwork(build_backbone("mobilenet_v2", folded=True), EnergyHead(CHANNELS)).eval()


def test_bytes_and_floats_give_the_same_features(network: EnergyNetwork) -> None:
    images = torch.randint(0, 256, (2, 3, 64, 96), dtype=torch.uint8)
    for a, b in zip(network.features(images), network.features(images.float()), strict=True):
        assert torch.equal(a, b) and not a.requires_grad
    assert network.features(images)[0].shape == (2, 32, 8, 12)


def test_only_the_head_trains(network: EnergyNetwork) -> None:
    assert network.train() is network
    assert network.head.training and not any(module.training for module in network.backbone.modules())
    trainable = {name.split(".")[0] for name, p in network.named_parameters() if p.requires_grad}
    assert trainable == {"head"}
    network.eval()
    assert not network.head.training


def test_the_head_must_fit_the_backbone() -> None:
    with pytest.raises(ValueError, match=r"features of \(128, 256\) channels, mobilenet_v2 gives \(32, 96\)"):
        EnergyNetwork(build_backbone("mobilenet_v2"), EnergyHead())


def test_energies_from_pictures(network: EnergyNetwork) -> None:
    features = network.features(torch.randint(0, 256, (1, 3, 96, 96), dtype=torch.uint8))
    boxes = torch.tensor([[[30.0, 30, 30, 30], [35, 20, 40, 50]]])
    energies = network.head(features, boxes[:, 0], features, boxes)
    assert energies.shape == (1, 2) and bool(energies.isfinite().all())
