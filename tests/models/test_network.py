from __future__ import annotations

import pytest
import torch

from ebm_tracker.models import BatchNormMode, EnergyHead, EnergyNetwork, HeadChannels, build_backbone

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


def running_means(network: EnergyNetwork) -> torch.Tensor:
    return torch.cat([value for key, value in network.backbone.state_dict().items() if key.endswith("running_mean")])


@pytest.mark.parametrize("mode", list(BatchNormMode))
def test_the_backbone_s_statistics_move_only_where_asked_for_and_only_in_training(mode: BatchNormMode) -> None:
    moving = mode is BatchNormMode.TRAIN
    network = EnergyNetwork(build_backbone("mobilenet_v2"), EnergyHead(CHANNELS), mode).train()
    images = torch.randint(0, 256, (2, 3, 64, 64), generator=torch.Generator().manual_seed(0), dtype=torch.uint8)
    weights = {key: value.clone() for key, value in network.backbone.named_parameters()}
    start = running_means(network)
    network.features(images)
    moved = running_means(network)
    assert torch.equal(start, moved) is not moving
    network.eval()
    network.features(images)
    assert torch.equal(moved, running_means(network)), "never in eval mode"
    network.train().set_batch_norm(BatchNormMode.EVAL)
    assert network.head.training and not any(module.training for module in network.backbone.modules())
    network.features(images)
    assert torch.equal(moved, running_means(network))
    network.set_batch_norm(mode)
    assert network.head.training and network.backbone.training is moving
    for key, value in network.backbone.named_parameters():
        assert torch.equal(value, weights[key]) and not value.requires_grad


def test_in_training_mode_batch_norms_use_the_batch() -> None:
    """An image's features then depend on the other images of the batch."""
    network = EnergyNetwork(build_backbone("mobilenet_v2"), EnergyHead(CHANNELS), BatchNormMode.TRAIN)
    images = torch.randint(0, 256, (3, 3, 64, 64), generator=torch.Generator().manual_seed(0), dtype=torch.uint8)
    images[2] //= 8
    for training in (False, True):
        network.train(training)
        alike = torch.allclose(network.features(images[:2])[0][0], network.features(images[1:])[0][0])
        two, three = network.features(images[:2])[0][0], network.features(images)[0][0]
        assert torch.allclose(two, three, atol=1e-4) is not training
        assert not alike


def test_folded_batch_norms_cannot_move(network: EnergyNetwork) -> None:
    message = r"TRAIN needs a backbone with batch norms; those of this mobilenet_v2 are folded"
    with pytest.raises(ValueError, match=message):
        network.set_batch_norm(BatchNormMode.TRAIN)
    assert network.batch_norm is BatchNormMode.EVAL
    with pytest.raises(ValueError, match=message):
        EnergyNetwork(build_backbone("mobilenet_v2", folded=True), EnergyHead(CHANNELS), BatchNormMode.TRAIN)


def test_the_head_must_fit_the_backbone() -> None:
    with pytest.raises(ValueError, match=r"features of \(128, 256\) channels, mobilenet_v2 gives \(32, 96\)"):
        EnergyNetwork(build_backbone("mobilenet_v2"), EnergyHead())


def test_energies_from_pictures(network: EnergyNetwork) -> None:
    features = network.features(torch.randint(0, 256, (1, 3, 96, 96), dtype=torch.uint8))
    boxes = torch.tensor([[[30.0, 30, 30, 30], [35, 20, 40, 50]]])
    energies = network.head(features, boxes[:, 0], features, boxes)
    assert energies.shape == (1, 2) and bool(energies.isfinite().all())
