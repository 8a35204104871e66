"""A network under a preset of the other kind is warned of: it would run and lose the target."""

from __future__ import annotations

from pathlib import Path

import pytest

from ebm_tracker.build import WEIGHTS_FOLDER
from ebm_tracker.cli.loading import warn_if_unsuited
from ebm_tracker.models import EnergyHead, EnergyNetwork, build_backbone, save_network
from ebm_tracker.models.energy_head import HeadChannels

NARROW = HeadChannels((40, 112), (8, 8), (8, 8), (8, 8))


@pytest.fixture(scope="module")
def iou_network(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("iou") / "iou.safetensors"
    network = EnergyNetwork(build_backbone("efficientnet_lite0"), EnergyHead(NARROW))
    save_network(network, path, {"recipe": {"objective": "iou_mse_atom"}}, include_backbone=False)
    return path


@pytest.mark.parametrize("preset", ["default", "resnet18"])
def test_an_energy_fits_the_presets_of_energies(preset: str, capsys: pytest.CaptureFixture[str]) -> None:
    warn_if_unsuited(preset, WEIGHTS_FOLDER / "default.safetensors")
    warn_if_unsuited(preset, None)
    assert capsys.readouterr() == ("", "")


@pytest.mark.parametrize("preset", ["atom", "atom_star"])
def test_an_energy_under_the_steps_of_atom(preset: str, capsys: pytest.CaptureFixture[str]) -> None:
    path = WEIGHTS_FOLDER / "default.safetensors"
    warn_if_unsuited(preset, path)
    expected = f"warning: {path} was trained for an energy, and preset {preset} climbs IoU by other steps\n"
    assert capsys.readouterr() == ("", expected)


def test_an_iou_network(iou_network: Path, capsys: pytest.CaptureFixture[str]) -> None:
    warn_if_unsuited("atom", iou_network)
    assert capsys.readouterr() == ("", "")
    warn_if_unsuited("default", iou_network)
    assert capsys.readouterr().err.endswith(
        "was trained for IoU, and preset default climbs an energy by other steps: take preset atom\n"
    )


def test_other_files_are_left_to_the_loader(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "x.safetensors").write_text("x")
    warn_if_unsuited("atom", tmp_path / "x.safetensors")
    warn_if_unsuited("atom", tmp_path / "missing.safetensors")
    assert capsys.readouterr() == ("", "")
