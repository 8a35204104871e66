"""Feature extractors by name, and their features of augmented views kept in a folder.

An extractor maps images (B, 3, H, W), RGB 0..255 of any type, to features (B, F): a network with ImageNet weights,
whose last map is averaged over ``grid`` x ``grid`` regions. A frozen one sees every image the same way each time, so
its features of a few augmented views stand for the whole training.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol, cast, overload

import numpy as np
import torch
import torchvision
from numpy.lib.format import open_memmap
from numpy.typing import NDArray
from rich.console import Console
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.data import DataLoader, Dataset

from ebm_tracker.adapters.counting import open_counter
from ebm_tracker.errors import EbmError, WeightsError
from ebm_tracker.files import write_text_atomic
from ebm_tracker.models import load_imagenet_backbone, load_network
from ebm_tracker.models.backbone import BACKBONES, IMAGENET_MEAN, IMAGENET_STD

CUT = {"resnet18_layer3": "resnet18", "efficientnet_lite0": "efficientnet_lite0", "mobilenet_v2_cut": "mobilenet_v2"}
"""Networks cut at stride 16: name here -> name among ``models.BACKBONES``."""
_ENDS = ("fc", "classifier", "head", "heads")  # what torchvision calls the layers behind the pooled features


class FeatureError(EbmError):
    """Features that are kept in a folder are of other images, views or weights than those asked for."""


# Extractors ----------------------------------------------------------------------------------------------------------


def extractor_names() -> tuple[str, ...]:
    """The names that ``build_extractor`` knows: those of CUT, and torchvision's networks for classification."""
    return (*CUT, *torchvision.models.list_models(module=torchvision.models))


def build_extractor(name: str, weights: Path | None = None, *, grid: int = 1, trained: bool = False) -> nn.Module:
    """A network with ImageNet weights that gives features (B, F).

    ``weights``: a local file (for those of CUT also a network of this package that contains the backbone); without it
    torchvision's loader is asked, cache first. ``grid``: regions per side that the last map is averaged over, for those
    of CUT. ``trained``: its parameters require gradients.

    Raises ValueError for an unknown name, WeightsError when the weights are missing or of another network.
    """
    if grid < 1:
        raise ValueError(f"grid must be at least 1 (got {grid})")
    if name in CUT:
        extractor: nn.Module = CutExtractor(name, weights, grid)
    elif name not in extractor_names():
        raise ValueError(f"unknown backbone {name!r}; known: {', '.join(CUT)} and torchvision's, such as resnet50")
    elif grid > 1:
        raise ValueError(f"grid must be 1 for {name}, which averages its last map itself (got {grid})")
    else:
        extractor = ClassifierExtractor(name, weights)
    return extractor.requires_grad_(trained).eval()


def feature_size(extractor: nn.Module, image_size: int) -> int:
    """F for square images."""
    with torch.no_grad():
        return int(extractor(torch.zeros(1, 3, image_size, image_size)).shape[1])


class CutExtractor(nn.Module):
    """A backbone of this package up to stride 16."""

    def __init__(self, name: str, weights: Path | None, grid: int) -> None:
        super().__init__()
        own = CUT[name]
        if weights is not None and weights.suffix == ".safetensors" and BACKBONES[own].torchvision is None:
            self.backbone = load_network(weights).backbone
            if self.backbone.name != own:
                raise WeightsError(f"{weights.absolute()} holds the backbone {self.backbone.name}, not {own}")
        else:
            self.backbone = load_imagenet_backbone(own, weights)
        self.grid = grid

    def forward(self, images: Tensor) -> Tensor:
        return functional.adaptive_avg_pool2d(self.backbone(images.float())[1], self.grid).flatten(1)


class ClassifierExtractor(nn.Module):
    """A network of torchvision without its last layers; images are normalised by ImageNet's mean and deviation."""

    mean: Tensor
    std: Tensor

    def __init__(self, name: str, weights: Path | None) -> None:
        super().__init__()
        self.network = torchvision.models.get_model(name, weights=None)
        try:
            self.network.load_state_dict(_classifier_state(name, weights))
        except RuntimeError as error:  # torch's for names and shapes, a line each
            raise WeightsError(f"{weights and weights.absolute()} does not fit {name}: {error}"[:300]) from error
        end = next((part for part in _ENDS if hasattr(self.network, part)), None)
        if end is None:
            raise ValueError(f"{name} has no last layers that could be left out; choose another, such as resnet50")
        setattr(self.network, end, nn.Identity())
        mean, std = torch.tensor((IMAGENET_MEAN, IMAGENET_STD)).view(2, 1, 3, 1, 1)
        self.register_buffer("mean", 255 * mean, persistent=False)
        self.register_buffer("std", 255 * std, persistent=False)

    def forward(self, images: Tensor) -> Tensor:
        return cast(Tensor, self.network((images.float() - self.mean) / self.std))


def _classifier_state(name: str, weights: Path | None) -> Mapping[str, Any]:
    if weights is not None:
        if not weights.is_file():
            raise WeightsError(f"backbone weights not found: {weights.absolute()}")
        try:
            return cast(Mapping[str, Any], torch.load(weights, map_location="cpu", weights_only=True))
        except Exception as error:  # damaged files raise many kinds
            raise WeightsError(f"backbone weights {weights.absolute()} cannot be read as torch's tensors") from error
    # torchvision's newest weights are stronger than the paper's time had; V1 is what it names ImageNet weights.
    known = torchvision.models.get_model_weights(name)
    chosen = known["IMAGENET1K_V1"] if "IMAGENET1K_V1" in known.__members__ else known.DEFAULT
    try:
        return cast(Mapping[str, Any], chosen.get_state_dict(check_hash=True, weights_only=True))
    except OSError as error:  # URLError and HTTPError are OSErrors
        raise WeightsError(
            f"ImageNet weights of {name} are neither in torch's cache {torch.hub.get_dir()}/checkpoints nor could be "
            f"fetched ({error}); pass a file instead: --backbone_weights FILE"
        ) from error


# Views ---------------------------------------------------------------------------------------------------------------


class Views(Protocol):
    """Item i: K images (K, H, W, 3) uint8 RGB of one example, augmented or not, and their targets (K, D) float32.

    The same whenever it is asked for; picklable.
    """

    def __len__(self) -> int: ...

    def __getitem__(self, index: int) -> tuple[NDArray[np.uint8], NDArray[np.float32]]: ...


class FeatureViews(Sequence[tuple[Tensor, Tensor]]):
    """``features`` (N, K, F) and ``targets`` (N, K, D), float32; item i is a pair of (K, F) and (K, D).

    With ``pick_view`` as its transform, EpochDataset draws one view of an example each time.
    """

    def __init__(self, features: Tensor, targets: Tensor) -> None:
        if features.ndim != 3 or features.shape[:2] != targets.shape[:2]:
            shapes = f"{tuple(features.shape)} and {tuple(targets.shape)}"
            raise ValueError(f"features and targets must be (N, K, F) and (N, K, D) (got {shapes})")
        self.features, self.targets = features, targets

    def __len__(self) -> int:
        return len(self.features)

    @overload
    def __getitem__(self, index: int) -> tuple[Tensor, Tensor]: ...

    @overload
    def __getitem__(self, index: slice) -> FeatureViews: ...

    def __getitem__(self, index: int | slice) -> tuple[Tensor, Tensor] | FeatureViews:
        if isinstance(index, slice):
            return FeatureViews(self.features[index], self.targets[index])
        return self.features[index], self.targets[index]

    def standardised(self, like: FeatureViews | None = None) -> FeatureViews:
        """Every feature with mean 0 and deviation 1 over the examples and views of ``like`` (default: its own)."""
        flat = (like or self).features.flatten(0, 1)
        mean, std = flat.mean(0), flat.std(0)
        return FeatureViews((self.features - mean) / std.clamp_min(1e-6), self.targets)


def pick_view(
    x: tuple[Tensor, Tensor], y: Tensor, generator: np.random.Generator
) -> tuple[Tensor, Tensor]:
    """EpochDataset's transform for FeatureViews: the features and the target of one view."""
    features, targets = x
    view = int(generator.integers(len(features)))
    return features[view], targets[view]


def cached_views(
    views: Views,
    extractor: nn.Module,
    folder: Path,
    *,
    facts: Mapping[str, Any],
    device: torch.device = torch.device("cpu"),  # noqa: B008  # cannot change
    workers: int = 0,
    title: str = "features",
    quiet: bool = False,
) -> FeatureViews:
    """Features of all views. ``folder`` keeps them: what is there is only read, what is missing is made.

    ``facts``: what decides them (images, augmentation, seed, backbone, weights); a folder with other ones raises
    FeatureError. ``workers``: processes that make the views. Ctrl-C keeps what is done.
    """
    first_images, first_targets = views[0]
    count, kinds = len(views), len(first_images)
    size = feature_size(extractor, first_images.shape[1])
    described = json.loads(json.dumps({**facts, "count": count, "views": kinds, "features": size}))
    features, targets, done = _open(folder, described, (count, kinds, size), (count, *first_targets.shape))
    missing = np.flatnonzero(~done).tolist()
    if missing:
        loader: DataLoader[Any] = DataLoader(_Listed(views, missing), batch_size=None, num_workers=workers)
        # Depthwise convolutions are twice as fast with the channels last, on a CPU.
        extractor = extractor.to(device).to(memory_format=torch.channels_last).eval()
        with open_counter(title, len(missing), Console(quiet=quiet)) as show:
            for number, (index, (images, y)) in enumerate(zip(missing, loader, strict=True), 1):
                with torch.no_grad():
                    made = extractor(images.permute(0, 3, 1, 2).to(device))  # (K, 3, H, W), channels last as they come
                features[index], targets[index] = made.cpu().numpy(), y.numpy()
                done[index] = True
                show(number)
    return FeatureViews(torch.from_numpy(np.array(features, np.float32)), torch.from_numpy(np.array(targets)))


class _Listed(Dataset[Any]):
    def __init__(self, views: Views, numbers: list[int]) -> None:
        self._views, self._numbers = views, numbers

    def __len__(self) -> int:
        return len(self._numbers)

    def __getitem__(self, place: int) -> tuple[NDArray[np.uint8], NDArray[np.float32]]:
        images, targets = self._views[self._numbers[place]]
        return np.array(images), targets  # torch wants arrays of its own


def _open(
    folder: Path, described: Mapping[str, Any], feature_shape: tuple[int, ...], target_shape: tuple[int, ...]
) -> tuple[NDArray[np.float16], NDArray[np.float32], NDArray[np.bool_]]:
    """The three files as memory maps; made when they are not there. The description is written last of all."""
    path, names = folder / "features.json", ("features", "targets", "done")
    if path.is_file():
        kept = json.loads(path.read_text())
        if kept != described:
            other = sorted(key for key in {*kept, *described} if kept.get(key) != described.get(key))
            raise FeatureError(
                f"{folder.absolute()} keeps features with another {', '.join(other)}: remove it or choose another --out"
            )
    else:
        folder.mkdir(parents=True, exist_ok=True)
        types = (np.float16, np.float32, np.bool_)
        shapes = (feature_shape, target_shape, feature_shape[:1])
        for name, kind, shape in zip(names, types, shapes, strict=True):
            open_memmap(folder / f"{name}.npy", mode="w+", dtype=kind, shape=shape).flush()
        write_text_atomic(path, json.dumps(described, indent=1) + "\n")
    try:
        opened = [np.load(folder / f"{name}.npy", mmap_mode="r+", allow_pickle=False) for name in names]
    except (OSError, ValueError) as error:
        raise FeatureError(f"{folder.absolute()} is damaged ({error}); remove it") from error
    return opened[0], opened[1], opened[2]
