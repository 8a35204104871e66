"""Checkpoints of pytracking's trainer: same energies, what is kept of them, and what is refused."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torchvision
from safetensors import safe_open

from ebm_tracker.errors import WeightsError
from ebm_tracker.models import EnergyHead, EnergyNetwork, HeadChannels, build_backbone, load_network
from ebm_tracker.models.backbone import fold_batch_norms
from ebm_tracker.models.checkpoint import read_provenance, sha256_of
from ebm_tracker.models.pytracking_checkpoint import (
    architecture_of,
    convert_checkpoint,
    load_pytracking_network,
    open_checkpoint,
)

Write = Callable[..., Path]
BOX = torch.tensor([[50.0, 40, 60, 70]])
BOXES = BOX[:, None] + torch.linspace(-20, 20, 24).reshape(1, 6, 4)
SMALL = HeadChannels(features=(32, 96), reference=(4, 6), maps=(8, 5), hidden=(7, 3))


def images() -> torch.Tensor:
    return torch.randint(0, 256, (2, 3, 144, 144), dtype=torch.uint8, generator=torch.Generator().manual_seed(1))


@torch.no_grad()
def energies(network: EnergyNetwork) -> torch.Tensor:
    reference, test = images().split(1)
    return network.head(network.features(reference), BOX, network.features(test), BOXES)


@pytest.mark.parametrize("layout", ["zip", "legacy"])
def test_energies_are_those_of_the_source(atom_parts: Any, atom_checkpoints: dict[str, Path], layout: str) -> None:
    reference, test = (atom_parts.features(image) for image in images().split(1))
    with torch.no_grad():
        expected = atom_parts.head(reference, BOX, test, BOXES)
    assert expected.std() > 1e-3
    network, _ = load_pytracking_network(atom_checkpoints[layout])
    assert not network.training and network.backbone.name == "resnet18"
    assert not any(isinstance(m, torch.nn.BatchNorm2d) for m in network.backbone.modules())
    torch.testing.assert_close(energies(network), expected, rtol=1e-5, atol=0)
    assert not {name.split(".")[0] for name in sys.modules} & {"ltr", "dlframework"}


def test_the_golden_head(
    golden: Callable[[str], dict[str, np.ndarray]],
    golden_head_state: dict[str, torch.Tensor],
    atom_parts: Any,
    write_checkpoint: Write,
    tmp_path: Path,
) -> None:
    """Energies of the reference run of upstream, from its features."""
    state = {k: v for k, v in atom_parts.state().items() if not k.startswith("bb_regressor")}
    state |= {f"bb_regressor.{k}": v for k, v in golden_head_state.items()}
    head = load_pytracking_network(write_checkpoint(tmp_path / "a.pth.tar", state))[0].head
    maps, b = golden("b_energy_head_features"), golden("b_energy_head")

    def features(name: str) -> tuple[torch.Tensor, torch.Tensor]:
        return torch.from_numpy(maps[f"{name}_layer2"]).float(), torch.from_numpy(maps[f"{name}_layer3"]).float()

    with torch.no_grad():
        box, boxes = (torch.tensor(b[name])[None].float() for name in ("ref_box", "proposals"))
        found = head(features("ref"), box, features("test"), boxes)
    relative = np.abs(found[0].numpy() - b["energies"]) / np.abs(b["energies"]).max()
    assert relative.max() <= 1e-5


def test_what_is_kept_and_what_is_not(atom_checkpoints: dict[str, Path], tmp_path: Path) -> None:
    source, out = atom_checkpoints["zip"], tmp_path / "new" / "net.safetensors"
    digest = convert_checkpoint(source, out)
    assert digest == sha256_of(out) and os.listdir(out.parent) == [out.name]
    told = read_provenance(out)
    assert told["converted_from"] == {
        "file": "ATOMnet_ep0040.pth.tar",
        "sha256": sha256_of(source),
        "format": "pytracking checkpoint (zip)",
        "epoch": 40,
        "net_type": "ATOMnet",
        "actor_type": "AtomActor",
        "constructor": "ltr.models.bbreg.atom.atom_resnet18",
        "settings": {"description": "ATOM, as published", "module_name": "bbreg", "script_name": "atom_default"},
    }
    assert told["left_out"] == {"unused by the tracker": "layer4, fc"}
    content = out.read_bytes()
    for personal in (b"/home/trainer", b"secret-disk", str(source.parent).encode()):
        assert personal in source.read_bytes() or personal == str(source.parent).encode()
        assert personal not in content
    with safe_open(str(out), "pt") as file:
        assert {file.get_tensor(key).dtype for key in file.keys()} == {torch.float32}
    direct = load_pytracking_network(source)[0]
    assert torch.equal(energies(load_network(out)), energies(direct))
    convert_checkpoint(source, out, torch.float16)
    assert out.stat().st_size < 0.55 * len(content)
    torch.testing.assert_close(energies(load_network(out)), energies(direct), rtol=0.02, atol=0.02)


def own_network(folded: bool) -> EnergyNetwork:
    torch.manual_seed(5)
    backbone = build_backbone("mobilenet_v2")
    network = EnergyNetwork(backbone, EnergyHead(SMALL))
    for norm in network.modules():
        if isinstance(norm, torch.nn.BatchNorm2d):
            assert norm.running_mean is not None and norm.running_var is not None
            norm.running_mean.normal_(0, 0.1)
            norm.running_var.uniform_(0.8, 1.2)
    if folded:
        fold_batch_norms(backbone)
    return network.eval()


@pytest.mark.parametrize("folded", [True, False])
@pytest.mark.parametrize("told", [True, False])
def test_our_own_network_from_their_trainer(
    write_checkpoint: Write, tmp_path: Path, folded: bool, told: bool
) -> None:
    network = own_network(folded)
    info = {"backbone": "mobilenet_v2", "recipe": {"epochs": 2, "sigmas": (0.05, 0.5), "odd": object}} if told else None
    if info:
        del info["recipe"]["odd"]  # type: ignore[attr-defined]
    path = write_checkpoint(
        tmp_path / "EnergyNetwork_ep0002.pth.tar",
        network.state_dict(),
        net_type="EnergyNetwork",
        made_by=None,
        net_info=info,
    )
    loaded, provenance = load_pytracking_network(path)
    assert loaded.head.channels == SMALL and loaded.backbone.name == "mobilenet_v2"
    torch.testing.assert_close(energies(loaded), energies(network), rtol=1e-4, atol=1e-5)
    assert provenance["converted_from"]["constructor"] is None and "left_out" not in provenance
    assert provenance.get("recipe") == ({"epochs": 2, "sigmas": (0.05, 0.5)} if told else None)
    json.dumps(provenance)


class Payload:
    def __init__(self, made: Path) -> None:
        self.made = made

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, (str(self.made),)


@pytest.mark.parametrize("zipped", [True, False])
def test_a_malicious_checkpoint(atom_parts: Any, write_checkpoint: Write, tmp_path: Path, zipped: bool) -> None:
    """A whole, convertible checkpoint with a payload in its settings."""
    made, out = tmp_path / "made", tmp_path / "out.safetensors"
    path = write_checkpoint(tmp_path / "a.pth.tar", atom_parts.state(), planted=Payload(made), zipped=zipped)
    with pytest.raises(WeightsError, match=rf"a\.pth\.tar names {os.name}\.mkdir, .*not called"):
        convert_checkpoint(path, out)
    assert not made.exists() and os.listdir(tmp_path) == ["a.pth.tar"]


def resnet50() -> dict[str, torch.Tensor]:
    with torch.device("meta"):
        pattern = torchvision.models.resnet50(weights=None).state_dict()
    return {f"feature_extractor.{k}": torch.zeros(()).expand(v.shape) for k, v in pattern.items()}


@pytest.mark.parametrize(
    ("state", "options", "expected"),
    [
        (
            resnet50,
            {"made_by": "ltr.models.bbreg.atom.atom_resnet50"},
            r"holds ATOMnet made by ltr\.models\.bbreg\.atom\.atom_resnet50 on a ResNet50 or larger; only ATOM",
        ),
        (resnet50, {"made_by": None}, "holds ATOMnet on a ResNet50 or larger; only"),
        (
            lambda: {"classifier.x": torch.zeros(1)},
            {"net_type": "DiMPnet", "made_by": "ltr.models.tracking.dimpnet.dimpnet50"},
            r"holds DiMPnet made by ltr\.models\.tracking\.dimpnet\.dimpnet50; only ATOM",
        ),
        (lambda: {"a": torch.zeros(1)}, {"made_by": None, "net_type": None}, "holds no box regression network"),
        (lambda: {}, {"net_type": "EnergyNetwork", "made_by": None}, r"has no tensor conv3_1r\.0\.weight in its head"),
    ],
)
def test_other_networks_are_named(
    write_checkpoint: Write, tmp_path: Path, state: Callable[[], Any], options: dict[str, Any], expected: str
) -> None:
    path = write_checkpoint(tmp_path / "x.pth.tar", state(), **options)
    with pytest.raises(WeightsError, match=r"x\.pth\.tar " + expected):
        load_pytracking_network(path)
    with open_checkpoint(path) as checkpoint:
        assert "not convertible" in architecture_of(checkpoint)


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (
            lambda s: s.pop("bb_regressor.iou_predictor.bias"),
            r"1 tensors missing \['head\.iou_predictor\.bias'\], 0 unknown",
        ),
        (lambda s: s.pop("feature_extractor.layer3.1.bn2.weight"), r"missing \['backbone\.stage16\.1\.bn2\.weight'\]"),
        (lambda s: s.update(surplus=torch.zeros(1)), r"0 tensors missing \[\], 1 unknown \['surplus'\]"),
        (
            lambda s: s.update({"bb_regressor.iou_predictor.weight": torch.zeros(1, 9)}),
            r"tensor 'head\.iou_predictor\.weight' has shape \(1, 9\), needed \(1, 512\)",
        ),
        (
            lambda s: s.update({"bb_regressor.iou_predictor.bias": torch.zeros(1, dtype=torch.int64)}),
            "'head.iou_predictor.bias' holds torch.int64, not floating-point numbers",
        ),
        (
            lambda s: s.update({"bb_regressor.fc3_rt.linear.weight": torch.zeros(()).expand(10**7, 6400)}),
            "hidden|shape",
        ),
        (
            lambda s: s.update({"bb_regressor.fc3_rt.linear.weight": torch.zeros(()).expand(256, 6400)} | {
                k: torch.zeros(()).expand(v.shape) for k, v in s.items() if v.numel() > 10**4
            }),
            "cut off or damaged: its network needs",
        ),
    ],
)
def test_tensors_that_do_not_fit(
    atom_parts: Any, write_checkpoint: Write, tmp_path: Path, change: Callable[[dict[str, Any]], Any], expected: str
) -> None:
    state = atom_parts.state()
    change(state)
    path = write_checkpoint(tmp_path / "x.pth.tar", state)
    with pytest.raises(WeightsError, match=rf"x\.pth\.tar.*({expected})"):
        load_pytracking_network(path)


@pytest.mark.parametrize("content", [{"state_dict": 1, "epoch": 2}, [1, 2], {"net": torch.ones(2)}])
def test_other_files_of_torch_save(tmp_path: Path, content: Any) -> None:
    torch.save(content, tmp_path / "x.pth")
    with pytest.raises(WeightsError, match=r"x\.pth is a file of torch\.save, but no checkpoint of .*: it holds"):
        load_pytracking_network(tmp_path / "x.pth")


@pytest.mark.pytracking
def test_energies_of_the_real_upstream(tmp_path: Path) -> None:
    """Their network and their trainer, in the checkout that EBM_PYTRACKING names, made the file and the numbers."""
    path, numbers = tmp_path / "ATOMnet_ep0007.pth.tar", tmp_path / "numbers.npz"
    script = Path(__file__).with_name("upstream_atom.py")
    subprocess.run([sys.executable, script, os.environ["EBM_PYTRACKING"], "make", path, numbers], check=True)
    network, provenance = load_pytracking_network(path)
    assert provenance["converted_from"]["epoch"] == 7
    with np.load(numbers) as given:
        pictures, box, boxes, expected = (
            torch.from_numpy(given[k]) for k in ("images", "box", "boxes", "energies")
        )
    with torch.no_grad():
        found = network.head(network.features(pictures[:1]), box, network.features(pictures[1:]), boxes)
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=0)
