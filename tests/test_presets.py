"""Every preset of the folder: what it holds, and that it makes a tracker."""

from __future__ import annotations

import dataclasses
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import ebm_tracker.parameters
from ebm_tracker.build import WEIGHTS_FOLDER, load
from ebm_tracker.errors import PresetError, WeightsError
from ebm_tracker.models import EnergyHead, EnergyNetwork, HeadChannels, save_network
from ebm_tracker.models.backbone import build_backbone
from ebm_tracker.models.checkpoint import sha256_of
from ebm_tracker.parameters import preset, preset_names
from ebm_tracker.tracking.config import BoxSpace, RefinementSettings, TrackerConfig, WeightsSource

FOLDER = Path(ebm_tracker.parameters.__file__).parent
NAMES = sorted(path.stem for path in FOLDER.glob("*.py") if path.stem != "__init__")


@pytest.fixture(scope="session")
def small_network_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An untrained network, for presets whose own is not shipped."""
    torch.manual_seed(0)
    head = EnergyHead(HeadChannels((40, 112), (8, 8), (8, 8), (8, 8)))
    path = tmp_path_factory.mktemp("weights") / "small.safetensors"
    save_network(EnergyNetwork(build_backbone("efficientnet_lite0", folded=True), head), path, {})
    return path


def test_names_are_the_files_of_the_folder() -> None:
    assert preset_names() == NAMES
    assert {"default", "resnet18", "atom", "atom_star"} <= set(NAMES)


@pytest.mark.parametrize("name", NAMES)
def test_every_preset_makes_a_tracker(name: str, small_network_file: Path) -> None:
    tracker = load(name, device="cpu", weights=small_network_file)
    frame = np.random.default_rng(0).integers(0, 256, (120, 160, 3), dtype=np.uint8)
    tracker.initialize(frame, (50, 40, 40, 30))
    assert all(np.isfinite(tracker.track(frame).box_xywh))
    weights = replace(tracker.config.weights, file=preset(name).weights.file, sha256=preset(name).weights.sha256)
    assert replace(tracker.config, weights=weights) == preset(name)


@pytest.mark.parametrize("name", NAMES)
def test_presets_are_frozen_all_the_way_down(name: str) -> None:
    def check(value: Any) -> None:
        for field in dataclasses.fields(value):
            with pytest.raises(dataclasses.FrozenInstanceError):
                setattr(value, field.name, None)
            inner = getattr(value, field.name)
            assert not isinstance(inner, (list, dict, set)), f"{name}: {field.name} can be changed"
            if dataclasses.is_dataclass(inner):
                check(inner)

    check(preset(name))


@pytest.mark.parametrize("name", NAMES)
def test_shipped_networks_are_known_by_their_hash(name: str) -> None:
    source = preset(name).weights
    path = WEIGHTS_FOLDER / source.file
    if not path.is_file():
        pytest.skip(f"{source.file} is not shipped")
    assert source.sha256 == sha256_of(path)


@pytest.mark.parametrize("name", NAMES)
def test_preset_without_its_network_says_what_was_looked_for(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ebm_tracker.build.WEIGHTS_FOLDER", Path("nowhere"))
    source = preset(name).weights
    with pytest.raises(WeightsError, match="not found") as error:
        load(name, device="cpu")
    message = str(error.value)
    assert repr(name) in message and str(Path("nowhere", source.file).absolute()) in message
    assert source.advice in message
    assert "\n" not in message


@pytest.mark.parametrize("name", ["atom", "atom_star"])
def test_baselines_without_a_network_say_what_to_do(name: str) -> None:
    with pytest.raises(WeightsError, match=r"weights=FILE"):
        load(name, device="cpu")


@pytest.mark.parametrize("name", ["defaults", "", "__init__", "../default", "default.py"])
def test_unknown_preset_lists_the_known_ones(name: str) -> None:
    with pytest.raises(PresetError) as error:
        preset(name)
    assert repr(name) in str(error.value)
    assert all(known in str(error.value) for known in NAMES)


@pytest.mark.parametrize("kind", [TrackerConfig, RefinementSettings, WeightsSource])
def test_unknown_key_is_refused(kind: type) -> None:
    with pytest.raises(TypeError, match="serch_area"):
        kind(serch_area=4.0)
    with pytest.raises(TypeError, match="serch_area"):
        replace(preset("default"), serch_area=4.0)  # type: ignore[call-arg]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"crop_size": 100}, "multiple of 32"),
        ({"search_area": 1.0}, "search_area"),
        ({"max_size_change": 1.0}, "max_size_change"),
    ],
)
def test_values_out_of_range(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        replace(preset("default"), **changes)


@pytest.mark.parametrize(
    "changes",
    [
        {"boxes": 0},
        {"steps": -1},
        {"best": 11},
        {"best": 0},
        {"decay": 0.0},
        {"max_aspect": 1.0},
        {"step_length": (-1.0, 1.0)},
    ],
)
def test_refinement_values_out_of_range(changes: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="refinement needs"):
        RefinementSettings(**changes)


def test_settings_of_the_paper() -> None:
    """Gustafsson et al., section 5.2 and supplement; ATOM's own numbers for its steps."""
    paper = RefinementSettings()
    assert (paper.boxes, paper.steps, paper.step_length, paper.best) == (10, 10, (2e-4, 1e-3), 3)
    assert (paper.space, paper.decay) == (BoxSpace.RELATIVE, 1.0)
    atom = preset("atom").refinement
    assert (atom.steps, atom.step_length, atom.space) == (5, (1.0, 1.0), BoxSpace.IMAGE)
    star = preset("atom_star").refinement
    assert (star.steps, star.step_length, star.space) == (10, (1e-2, 5e-2), BoxSpace.RELATIVE)
    ours = preset("resnet18").refinement
    assert replace(ours, step_length=paper.step_length) == paper  # its step lengths are its own
    assert not any(preset(name).upstream_compat for name in NAMES)
