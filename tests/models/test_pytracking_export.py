"""Networks written for pytracking: what its loader would find, and that nothing is lost on the way."""

from __future__ import annotations

import os
import pickletools
import subprocess
import sys
import zipfile
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import torch
import torchvision

from ebm_tracker.errors import WeightsError
from ebm_tracker.models import EnergyHead, EnergyNetwork, HeadChannels, build_backbone
from ebm_tracker.models.pytracking_checkpoint import load_pytracking_network, open_checkpoint
from ebm_tracker.models.pytracking_export import FILLED, export_network

PROVENANCE = {"file": "net.safetensors", "sha256": "ab" * 32}


@pytest.fixture(scope="module")
def network(atom_checkpoints: dict[str, Path]) -> EnergyNetwork:
    return load_pytracking_network(atom_checkpoints["zip"])[0]


@pytest.fixture(scope="module")
def exported(network: EnergyNetwork, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("exported") / "new" / "ATOMnet_ep0000.pth.tar"
    export_network(network, path, PROVENANCE)
    assert os.listdir(path.parent) == [path.name]
    return path


@pytest.fixture
def as_they_load_it(exported: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """torch.load with a class where theirs would be."""
    for name in ("ltr", "ltr.admin", "ltr.admin.model_constructor"):
        monkeypatch.setitem(sys.modules, name, ModuleType(name))
    kind = type("NetConstructor", (), {})
    sys.modules["ltr.admin.model_constructor"].NetConstructor = kind  # type: ignore[attr-defined]
    content: dict[str, Any] = torch.load(exported, weights_only=False)
    assert isinstance(content["constructor"], kind)
    return content


def test_one_foreign_name_is_written_and_nothing_is_imported(exported: Path) -> None:
    with zipfile.ZipFile(exported) as archive:
        (name,) = (n for n in archive.namelist() if n.endswith("/data.pkl"))
        found = {str(arg) for code, arg, _ in pickletools.genops(archive.read(name)) if code.name == "GLOBAL"}
    assert {name for name in found if not name.startswith(("torch", "collections"))} == {
        "ltr.admin.model_constructor NetConstructor"
    }
    assert "ltr" not in sys.modules


def test_what_their_loader_finds(as_they_load_it: dict[str, Any]) -> None:
    constructor = as_they_load_it["constructor"]
    assert (constructor.fun_module, constructor.fun_name, constructor.args) == (
        "ltr.models.bbreg.atom",
        "atom_resnet18",
        (),
    )
    assert constructor.kwds == {
        "iou_input_dim": (256, 256),
        "iou_inter_dim": (256, 256),
        "backbone_pretrained": False,
    }
    assert as_they_load_it["net_type"] == "ATOMnet" and as_they_load_it["net_info"] is None


def test_the_state_loads_strictly_and_computes_the_same(as_they_load_it: dict[str, Any], atom_parts: Any) -> None:
    state = as_they_load_it["net"]
    assert list(state) == list(atom_parts.state())
    resnet, head = torchvision.models.resnet18(weights=None).eval(), EnergyHead().eval()
    resnet.load_state_dict({k[18:]: v for k, v in state.items() if k.startswith("feature_extractor.")})
    head.load_state_dict({k[13:]: v for k, v in state.items() if k.startswith("bb_regressor.")})
    images = torch.randint(0, 256, (1, 3, 144, 144), generator=torch.Generator().manual_seed(2))
    expected = atom_parts.features(images)
    source = atom_parts.resnet
    try:
        atom_parts.resnet = resnet
        found = atom_parts.features(images)
    finally:
        atom_parts.resnet = source
    for a, b in zip(found, expected, strict=True):
        assert ((a - b).abs().max() / b.abs().max()).item() < 1e-5
    for key, value in head.state_dict().items():
        assert torch.equal(value, atom_parts.head.state_dict()[key])
    assert all(not value.any() for key, value in state.items() if key.startswith("feature_extractor.layer4.0.conv"))
    assert (resnet.layer4[0].bn1.running_var - 1).abs().max() < 2e-5 and "zeros" in FILLED


def test_there_and_back(exported: Path, network: EnergyNetwork) -> None:
    back, told = load_pytracking_network(exported)
    for (key, value), (other, expected) in zip(back.state_dict().items(), network.state_dict().items(), strict=True):
        assert key == other
        torch.testing.assert_close(value, expected, rtol=1e-6, atol=0, msg=key)
    assert told["exported_from"]["provenance"] == PROVENANCE
    with open_checkpoint(exported) as checkpoint:
        assert checkpoint.facts.epoch == 0
    assert exported.stat().st_size < 36e6  # layer4 and fc take one number each


def small(name: str, channels: HeadChannels) -> EnergyNetwork:
    return EnergyNetwork(build_backbone(name, folded=True), EnergyHead(channels))


def test_networks_that_their_code_cannot_build(tmp_path: Path) -> None:
    path = tmp_path / "x.pth.tar"
    with pytest.raises(WeightsError, match="ATOM on ResNet18 only; this network has the backbone mobilenet_v2"):
        export_network(small("mobilenet_v2", HeadChannels((32, 96), (4, 4), (4, 4), (4, 4))), path, {})
    with pytest.raises(WeightsError, match=r"maps \(256, 256\); this head has \(128, 256\) and \(8, 256\)"):
        export_network(small("resnet18", HeadChannels(maps=(8, 256))), path, {})
    assert os.listdir(tmp_path) == []


def test_other_hidden_widths_are_told_to_their_constructor(tmp_path: Path) -> None:
    path = tmp_path / "x.pth.tar"
    network = small("resnet18", HeadChannels(hidden=(5, 7)))
    export_network(network, path, {})
    with open_checkpoint(path) as checkpoint:
        constructor = checkpoint.file.content["constructor"]
    assert constructor.attributes["kwds"]["iou_inter_dim"] == (5, 7)
    assert load_pytracking_network(path)[0].head.channels.hidden == (5, 7)


@pytest.mark.pytracking
def test_the_real_loader_takes_it(exported: Path, network: EnergyNetwork, tmp_path: Path) -> None:
    """load_network of the checkout that EBM_PYTRACKING names, and its network's energies."""
    numbers = tmp_path / "numbers.npz"
    script = Path(__file__).with_name("upstream_atom.py")
    subprocess.run([sys.executable, script, os.environ["EBM_PYTRACKING"], "load", exported, numbers], check=True)
    with np.load(numbers) as given:
        pictures, box, boxes, found = (torch.from_numpy(given[k]) for k in ("images", "box", "boxes", "energies"))
    with torch.no_grad():
        ours = network.head(network.features(pictures[:1]), box, network.features(pictures[1:]), boxes)
    torch.testing.assert_close(found, ours, rtol=1e-5, atol=1e-5 * ours.abs().max().item())
