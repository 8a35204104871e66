from __future__ import annotations

import hashlib
import json
import os
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from ebm_tracker.errors import WeightsError
from ebm_tracker.models import (
    EnergyHead,
    EnergyNetwork,
    HeadChannels,
    build_backbone,
    load_network,
    save_network,
)
from ebm_tracker.models import checkpoint as checkpoint_module
from ebm_tracker.models.backbone import fold_batch_norms
from ebm_tracker.models.checkpoint import read_provenance, sha256_of

CHANNELS = HeadChannels(features=(32, 96), reference=(4, 6), maps=(8, 5), hidden=(7, 3))
PROVENANCE = {"steps": 12, "data": ["pairs", "ä"], "loss": -1.5}


@pytest.fixture(scope="module")
def backbone_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """MobileNetV2 with its batch norms, as ImageNet files come."""
    torch.manual_seed(1)
    path = tmp_path_factory.mktemp("backbone") / "mobilenet.pt"
    torch.save(build_backbone("mobilenet_v2").state_dict(), path)
    return path


@pytest.fixture(scope="module")
def network(backbone_file: Path) -> EnergyNetwork:
    torch.manual_seed(2)
    backbone = build_backbone("mobilenet_v2")
    backbone.load_state_dict(torch.load(backbone_file, weights_only=True))
    fold_batch_norms(backbone)
    network = EnergyNetwork(backbone, EnergyHead(CHANNELS))
    for module in network.head.modules():
        if isinstance(module, nn.BatchNorm2d):
            assert module.running_mean is not None and module.running_var is not None
            module.running_mean.normal_()
            module.running_var.uniform_(0.5, 2)
    return network.eval()


@pytest.fixture
def saved(network: EnergyNetwork, tmp_path: Path) -> Path:
    path = tmp_path / "net.safetensors"
    save_network(network, path, PROVENANCE)
    return path


def rewrite(path: Path, state: dict[str, Tensor] | None = None, **architecture: Any) -> Path:
    """The file once more with other tensors or other entries of its architecture."""
    with safe_open(str(path), "pt") as file:
        metadata = dict(file.metadata())
    changed = {**json.loads(metadata["ebm_tracker"]), **architecture}
    metadata["ebm_tracker"] = json.dumps(changed)
    save_file(load_file(path) if state is None else state, path, metadata)
    return path


def tensors(network: nn.Module) -> dict[str, Tensor]:
    return {key: value for key, value in network.state_dict().items() if not key.endswith("num_batches_tracked")}


def test_round_trip_within_float16(network: EnergyNetwork, tmp_path: Path) -> None:
    path = tmp_path / "new" / "folder" / "net.safetensors"
    digest = save_network(network, path, PROVENANCE)
    assert digest == hashlib.sha256(path.read_bytes()).hexdigest() == sha256_of(path)
    assert os.listdir(path.parent) == ["net.safetensors"]
    loaded = load_network(path, sha256=digest)
    assert not loaded.training and loaded.head.channels == CHANNELS and loaded.backbone.name == "mobilenet_v2"
    expected = tensors(network)
    assert tensors(loaded).keys() == expected.keys()
    for key, value in tensors(loaded).items():
        assert value.dtype is torch.float32
        torch.testing.assert_close(value, expected[key], rtol=1e-3, atol=1e-6, msg=key)
    assert read_provenance(path) == PROVENANCE
    assert {value.dtype for value in load_file(path).values()} == {torch.float16}


def test_round_trip_in_float32_is_exact(network: EnergyNetwork, tmp_path: Path) -> None:
    path = tmp_path / "net.safetensors"
    save_network(network, path, {}, dtype=torch.float32)
    loaded = load_network(path)
    for key, value in tensors(loaded).items():
        assert torch.equal(value, tensors(network)[key]), key
    images = torch.randint(0, 256, (1, 3, 64, 64), dtype=torch.uint8)
    boxes = torch.tensor([[[10.0, 12, 30, 25]]])
    with torch.no_grad():
        energies = [n.head(n.features(images), boxes[:, 0], n.features(images), boxes) for n in (network, loaded)]
    assert torch.equal(*energies)


def test_head_only_files_take_the_backbone_from_elsewhere(
    network: EnergyNetwork, backbone_file: Path, tmp_path: Path
) -> None:
    path = tmp_path / "head.safetensors"
    save_network(network, path, PROVENANCE, include_backbone=False, dtype=torch.float32)
    assert all(key.startswith("head.") for key in load_file(path))
    loaded = load_network(path, backbone_weights=backbone_file)
    for key, value in tensors(loaded).items():
        torch.testing.assert_close(value, tensors(network)[key], msg=key)
    with pytest.raises(WeightsError, match=r"backbone weights not found: .*absent\.pt"):
        load_network(path, backbone_weights=tmp_path / "absent.pt")


def test_a_failed_save_leaves_the_old_file_and_nothing_beside_it(
    network: EnergyNetwork, saved: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = saved.read_bytes()

    def half(state: dict[str, Tensor], path: Path, metadata: dict[str, str]) -> None:
        Path(path).write_bytes(before[:100])
        raise OSError("disk full")

    monkeypatch.setattr(checkpoint_module, "save_file", half)
    with pytest.raises(OSError, match="disk full"):
        save_network(network, saved, PROVENANCE)
    assert saved.read_bytes() == before
    assert os.listdir(saved.parent) == [saved.name]


def test_an_existing_file_is_replaced(network: EnergyNetwork, saved: Path) -> None:
    save_network(network, saved, {"steps": 13})
    assert read_provenance(saved) == {"steps": 13}
    assert os.listdir(saved.parent) == [saved.name]


def test_absent_file(tmp_path: Path) -> None:
    for path in (tmp_path / "absent.safetensors", tmp_path):
        with pytest.raises(WeightsError, match=f"network file not found: .*{path.name}"):
            load_network(path)


def test_wrong_hash(saved: Path) -> None:
    with pytest.raises(WeightsError, match=r"net\.safetensors is damaged or another file: SHA-256 \w{64}, expected 00"):
        load_network(saved, sha256="00" * 32)


@pytest.mark.parametrize("keep", [0, 5, 100, -1000])
def test_truncated_file(saved: Path, keep: int) -> None:
    saved.write_bytes(saved.read_bytes()[:keep])
    with pytest.raises(WeightsError, match=r"net\.safetensors is not a readable \.safetensors file"):
        load_network(saved)


def test_a_web_page_or_a_pickle_under_the_right_name(saved: Path, backbone_file: Path) -> None:
    for content in (b"<!DOCTYPE html>\n<html><body>Not found</body></html>", backbone_file.read_bytes()):
        saved.write_bytes(content)
        with pytest.raises(WeightsError, match=r"net\.safetensors is not a readable"):
            load_network(saved)


@pytest.mark.parametrize(
    "metadata",
    [None, {}, {"ebm_tracker": "no json"}, {"ebm_tracker": "[1]"}, {"ebm_tracker": '{"format": "other 2"}'}],
)
def test_files_of_other_programs(saved: Path, metadata: dict[str, str] | None) -> None:
    save_file(load_file(saved), saved, metadata)
    with pytest.raises(WeightsError, match=r"net\.safetensors is not an ebm_tracker network"):
        load_network(saved)


@pytest.mark.parametrize("name", ["resnet999", None, ["mobilenet_v2"]])
def test_unknown_backbone(saved: Path, name: Any) -> None:
    with pytest.raises(WeightsError, match=r"net\.safetensors needs backbone .*known: .*mobilenet_v2") as error:
        load_network(rewrite(saved, backbone=name))
    assert repr(name) in str(error.value)


@pytest.mark.parametrize(
    "head",
    [None, [1], {"bogus": [1, 2]}, {"features": [32, 96], "maps": [4]}, {"features": [32, -96]}, {"features": 32}],
)
def test_heads_that_cannot_be_built(saved: Path, head: Any) -> None:
    with pytest.raises(WeightsError, match=r"net\.safetensors describes a head that cannot be built"):
        load_network(rewrite(saved, head=head))


def test_a_head_for_another_backbone(saved: Path) -> None:
    with pytest.raises(WeightsError, match=r"net\.safetensors .*\(32, 96\) channels, resnet18 gives \(128, 256\)"):
        load_network(rewrite(saved, backbone="resnet18"))


def test_missing_tensors(saved: Path) -> None:
    state = load_file(saved)
    del state["head.iou_predictor.bias"]
    with pytest.raises(WeightsError, match=r"net\.safetensors .*1 tensors missing.*head\.iou_predictor\.bias"):
        load_network(rewrite(saved, state))


def test_extra_tensors(saved: Path) -> None:
    state = {**load_file(saved), "head.surplus": torch.zeros(2)}
    with pytest.raises(WeightsError, match=r"net\.safetensors .*1 unknown.*head\.surplus"):
        load_network(rewrite(saved, state))


def test_backbone_said_to_be_absent(saved: Path, backbone_file: Path) -> None:
    with pytest.raises(WeightsError, match=r"net\.safetensors .*unknown.*backbone\."):
        load_network(rewrite(saved, backbone_included=False), backbone_weights=backbone_file)


def test_tensors_of_another_shape(saved: Path) -> None:
    state = {**load_file(saved), "head.iou_predictor.weight": torch.zeros(1, 11)}
    with pytest.raises(WeightsError, match=r"net\.safetensors: .*iou_predictor\.weight.*\(1, 11\).*needed \(1, 10\)"):
        load_network(rewrite(saved, state))


def test_saving_twice_gives_the_same_file(network: EnergyNetwork, tmp_path: Path) -> None:
    digests = {save_network(network, tmp_path / f"{i}.safetensors", {"b": 1, "a": [2, 3]}) for i in range(4)}
    assert len(digests) == 1


def test_a_checkpoint_of_pytracking_is_sent_to_the_converter(saved: Path, backbone_file: Path) -> None:
    path = saved.with_name("atom_default.pth.tar")
    path.write_bytes(backbone_file.read_bytes())
    with pytest.raises(WeightsError, match=r"atom_default\.pth\.tar is not .*\(`ebm weights convert` reads"):
        load_network(path)
