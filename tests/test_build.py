"""From a name to a tracker: files, devices, hashes."""

from __future__ import annotations

import urllib.error
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from ebm_tracker import load
from ebm_tracker.build import WEIGHTS_FOLDER
from ebm_tracker.errors import PresetError, WeightsError
from ebm_tracker.models import EnergyHead, EnergyNetwork, HeadChannels, save_network
from ebm_tracker.models.backbone import build_backbone
from ebm_tracker.models.checkpoint import sha256_of
from ebm_tracker.parameters import preset
from ebm_tracker.tracking import Tracker, TrackerConfig, TrackOutput
from ebm_tracker.tracking.config import WeightsSource

DEFAULT = WEIGHTS_FOLDER / preset("default").weights.file


def test_load_takes_device_seed_and_profile() -> None:
    tracker = load("default", device="cpu", seed=3, profile=True)
    assert isinstance(tracker, Tracker)
    assert (tracker.device, tracker.seed, tracker.config) == (torch.device("cpu"), 3, preset("default"))


def test_auto_takes_the_cpu_where_there_is_nothing_else(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    monkeypatch.setattr("torch.backends.mps.is_available", lambda: False)
    assert load(device="auto").device == torch.device("cpu")


@pytest.mark.parametrize("device", ["gpu", "cuda:x", "", "cpu cpu"])
def test_unknown_device(device: str) -> None:
    with pytest.raises(ValueError, match="device must be 'auto' or a torch device") as error:
        load(device=device)
    assert repr(device) in str(error.value)


@pytest.mark.parametrize(("device", "what"), [("cuda", "CUDA"), ("cuda:0", "CUDA"), ("mps", "Apple GPU")])
def test_device_that_is_not_there(device: str, what: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    monkeypatch.setattr("torch.backends.mps.is_available", lambda: False)
    with pytest.raises(ValueError, match=f"{device!r} was asked for, but torch sees no {what}"):
        load(device=device)


@pytest.mark.parametrize("device", ["meta", "vulkan"])
def test_device_that_cannot_compute(device: str) -> None:
    with pytest.raises(ValueError, match=f"{device!r} was asked for, but torch cannot compute on it here: ") as error:
        load(device=device)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("device", [None, 1.5, ["cpu"]])
def test_device_of_another_type(device: Any) -> None:
    with pytest.raises(ValueError, match="device must be 'auto' or a torch device"):
        load(device=device)


@pytest.mark.parametrize("seed", [-1, 2**63, 1.5, "0", None])
def test_seeds_that_no_generator_takes(seed: Any) -> None:
    with pytest.raises(ValueError, match=r"seed must be a whole number from 0 to 2\^63 - 1 \(got "):
        load(device="cpu", seed=seed)


def test_seed_of_numpy_is_a_number() -> None:
    assert type(load(device="cpu", seed=np.int64(3)).seed) is int


def test_default_type_of_torch_does_not_matter() -> None:
    """Programs that compute in float64 set it for all of torch."""
    frame = np.random.default_rng(0).integers(0, 255, (60, 80, 3), dtype=np.uint8)

    def outputs(tracker: Tracker) -> list[TrackOutput]:
        tracker.initialize(frame, (20, 20, 20, 20))
        return [tracker.track(np.roll(frame, shift, axis=1)) for shift in (1, 2)]

    expected = outputs(load(device="cpu"))
    torch.set_default_dtype(torch.float64)
    try:
        assert outputs(load(device="cpu")) == expected
    finally:
        torch.set_default_dtype(torch.float32)


def test_unknown_preset() -> None:
    with pytest.raises(PresetError, match="known: .*default"):
        load("nothing")


# Files -------------------------------------------------------------------------------------------------------------


def test_weights_by_file_give_the_same_tracker(tmp_path: Path) -> None:
    copy = tmp_path / "mine.safetensors"
    copy.write_bytes(DEFAULT.read_bytes())
    frame = np.random.default_rng(0).integers(0, 256, (120, 160, 3), dtype=np.uint8)
    outputs = []
    for weights in (None, copy, str(copy)):
        tracker = load("default", device="cpu", weights=weights)
        tracker.initialize(frame, (50, 40, 40, 30))
        outputs.append(tracker.track(frame))
    assert outputs[0] == outputs[1] == outputs[2]


def test_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(WeightsError) as error:
        load("default", device="cpu", weights=tmp_path / "none.safetensors")
    assert str(tmp_path / "none.safetensors") in str(error.value)


def test_relative_path_is_relative_to_the_working_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "mine.safetensors").write_bytes(DEFAULT.read_bytes())
    monkeypatch.chdir(tmp_path)
    assert isinstance(load("default", device="cpu", weights="mine.safetensors"), Tracker)


def _with_source(path: Path, sha256: str) -> TrackerConfig:
    return replace(preset("default"), weights=WeightsSource(str(path), sha256))


def test_preset_hash_accepts_the_file_and_refuses_a_flipped_bit(tmp_path: Path) -> None:
    digest = sha256_of(DEFAULT)
    assert isinstance(load(device="cpu", config=_with_source(DEFAULT, digest)), Tracker)
    content = bytearray(DEFAULT.read_bytes())
    content[len(content) // 2] ^= 1
    tampered = tmp_path / "default.safetensors"
    tampered.write_bytes(content)
    with pytest.raises(WeightsError) as error:
        load(device="cpu", config=_with_source(tampered, digest))
    message = str(error.value)
    assert str(tampered) in message and digest in message and sha256_of(tampered) in message


@pytest.mark.parametrize(
    "content",
    [
        DEFAULT.read_bytes()[:100_000],
        DEFAULT.read_bytes()[:-1],
        b"",
        b"<!DOCTYPE html><html>Quota exceeded</html>",
        b"PK\x03\x04 a zip archive, as torch.save writes",
    ],
    ids=["half", "one-byte-short", "empty", "html", "zip"],
)
def test_truncated_or_other_file(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "broken.safetensors"
    path.write_bytes(content)
    with pytest.raises(WeightsError) as error:
        load("default", device="cpu", weights=path)
    assert str(path) in str(error.value) and "\n" not in str(error.value)


def test_truncated_file_fails_the_hash_first(tmp_path: Path) -> None:
    path = tmp_path / "short.safetensors"
    path.write_bytes(DEFAULT.read_bytes()[:-1])
    with pytest.raises(WeightsError, match="SHA-256"):
        load(device="cpu", config=_with_source(path, sha256_of(DEFAULT)))


# Networks that ship only their head ------------------------------------------------------------------------------


@pytest.fixture
def head_only(tmp_path: Path) -> Path:
    network = EnergyNetwork(build_backbone("resnet18", folded=True), EnergyHead(HeadChannels((128, 256), maps=(8, 8))))
    path = tmp_path / "head.safetensors"
    save_network(network, path, {}, include_backbone=False)
    return path


def test_head_without_backbone_weights_says_what_to_do(head_only: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: Any, **__: Any) -> None:
        raise urllib.error.URLError("no network")

    monkeypatch.delenv("EBM_BACKBONE_WEIGHTS", raising=False)
    monkeypatch.setattr("torchvision.models._api.load_state_dict_from_url", refuse)
    with pytest.raises(WeightsError) as error:
        load("resnet18", device="cpu", weights=head_only)
    message = str(error.value)
    for part in ("resnet18", "cache", "backbone_weights=FILE", "EBM_BACKBONE_WEIGHTS"):
        assert part in message


def test_backbone_weights_from_argument_or_variable(
    head_only: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    state = tmp_path / "resnet18.pth"
    torch.save(build_backbone("resnet18").state_dict(), state)
    monkeypatch.delenv("EBM_BACKBONE_WEIGHTS", raising=False)
    assert isinstance(load("resnet18", device="cpu", weights=head_only, backbone_weights=state), Tracker)
    monkeypatch.setenv("EBM_BACKBONE_WEIGHTS", str(state))
    assert isinstance(load("resnet18", device="cpu", weights=head_only), Tracker)
    missing = tmp_path / "none.pth"
    with pytest.raises(WeightsError, match="not found") as error:
        load("resnet18", device="cpu", weights=head_only, backbone_weights=missing)
    assert str(missing) in str(error.value)
