from __future__ import annotations

import os
from pathlib import Path

import pytest
import torch
from torch import nn

from ebm_tracker.errors import WeightsError
from ebm_tracker.training.checkpoint import (
    flat_settings,
    load_state,
    load_trained,
    remove_parts,
    require_same_settings,
    save_state,
)


def test_settings_are_flat_texts() -> None:
    settings = {"steps": 5, "objective": {"name": "nll", "sigmas": (0.05, 0.5)}, "empty": {}}
    flat = {"steps": "5", "objective.name": "'nll'", "objective.sigmas": "(0.05, 0.5)"}
    assert flat_settings(settings) == flat
    assert flat_settings("a") == {"fingerprint": "'a'"}


def test_differing_settings_are_named(tmp_path: Path) -> None:
    stored, now = {"a": "1", "b": "2", "gone": "3"}, {"a": "1", "b": "4", "new": "5"}
    require_same_settings(tmp_path, stored, dict(stored))
    with pytest.raises(ValueError) as error:
        require_same_settings(tmp_path / "last.pt", stored, now)
    expected = "other settings: b 2 (now 4), gone 3 (now absent), new absent (now 5); give those or choose"
    assert expected in str(error.value) and str(tmp_path / "last.pt") in str(error.value)


def test_file_that_is_no_checkpoint_is_one_sentence(tmp_path: Path) -> None:
    path = tmp_path / "last.pt"
    save_state(path, {"module": {}, "settings": {}, "steps": 3})
    assert load_state(path)["steps"] == 3
    path.write_bytes(path.read_bytes()[:-40])
    with pytest.raises(WeightsError, match=r"last.pt is no readable checkpoint"):
        load_state(path)
    save_state(path, {"weights": torch.zeros(1)})
    with pytest.raises(WeightsError, match="not a checkpoint of a training run"):
        load_state(path)


class Evil:
    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[object, ...]:
        return os.mkdir, (str(self.path),)


def test_file_runs_no_code(tmp_path: Path) -> None:
    save_state(tmp_path / "last.pt", {"module": Evil(tmp_path / "made"), "settings": {}, "steps": 3})
    with pytest.raises(WeightsError):
        load_state(tmp_path / "last.pt")
    assert not (tmp_path / "made").exists()


@pytest.mark.parametrize("averaged", [False, True])
def test_evaluated_weights_are_loaded(tmp_path: Path, averaged: bool) -> None:
    one, other = nn.Linear(2, 1), nn.Linear(2, 1)
    average = other.state_dict() if averaged else None
    path = tmp_path / "best.pt"
    save_state(path, {"module": one.state_dict(), "average": average, "settings": {}, "steps": 7})
    loaded = nn.Linear(2, 1)
    assert load_trained(path, loaded) == 7
    assert torch.equal(loaded.weight, other.weight if averaged else one.weight)


def test_unfinished_files_are_removed(tmp_path: Path) -> None:
    for name in (".last.123.part.pt", ".best.4.part.pt", "last.pt", ".other.part.pt"):
        (tmp_path / name).touch()
    remove_parts(tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == [".other.part.pt", "last.pt"]
