"""The light detector: its maps, what learns, torchvision's losses in the loop, squares that it finds after training."""

from __future__ import annotations

from functools import cache
from pathlib import Path

import pytest
import torch
from torch import Tensor
from torch.utils.data import Dataset, default_collate
from torchvision.ops import box_iou

from ebm_tracker.adapters.detection import (
    DetectorStep,
    FrozenDetector,
    GaussianBoxHead,
    HeadStep,
    ImageExample,
    RegionSampling,
    SmallSettings,
    images_of,
    objects_of,
    pad_together,
    small_detector,
)
from ebm_tracker.build import WEIGHTS_FOLDER
from ebm_tracker.errors import WeightsError
from ebm_tracker.models import build_backbone, load_network
from ebm_tracker.training.display import Silence
from ebm_tracker.training.loop import LoopSettings, Training

WEIGHTS = WEIGHTS_FOLDER / "default.safetensors"
SETTINGS = SmallSettings(channels=32, features=64, min_size=96, max_size=160, proposals=60, regions=32)


class Squares(Dataset[ImageExample]):
    """Images of 96 x 96 to 96 x 128 pixels with bright (1) and red (2) squares on noise."""

    def __init__(self, count: int, seed: int = 0) -> None:
        self.count, self.seed = count, seed

    def __len__(self) -> int:
        return self.count

    def __getitems__(self, numbers: list[int]) -> list[ImageExample]:
        return pad_together([self.draw(number) for number in numbers])

    def draw(self, number: int) -> ImageExample:
        generator = torch.Generator().manual_seed(1000 * self.seed + number % 40)
        width = 96 + 32 * (number % 2)
        image = torch.randint(0, 120, (3, 96, width), dtype=torch.uint8, generator=generator)
        boxes = []
        for place in range(2):
            side = int(torch.randint(20, 40, (), generator=generator))
            x, y = (int(torch.randint(0, 48 - side + 1, (), generator=generator)) for _ in range(2))
            x, y = x + 48 * place, y + 24 * place
            image[0, y : y + side, x : x + side] = 250
            image[1:, y : y + side, x : x + side] = 20 if place else 250
            boxes.append((x, y, x + side, y + side))
        return ImageExample(
            torch.tensor(number), image, torch.tensor((96, width)), torch.tensor(boxes).float(), torch.tensor((1, 2))
        )


def batch_of(numbers: list[int]) -> ImageExample:
    batch: ImageExample = default_collate(Squares(40).__getitems__(numbers))
    return batch


@cache
def fresh() -> torch.nn.Module:
    torch.manual_seed(0)
    return small_detector(3, SETTINGS, WEIGHTS)


def test_maps_are_those_of_the_backbone_in_the_package() -> None:
    model, image = fresh(), torch.rand(2, 3, 64, 96)
    backbone = load_network(WEIGHTS).backbone
    expected8, expected16 = backbone(255 * (image * backbone.std / 255 + backbone.mean / 255))
    levels = image
    found = []
    for stage in model.backbone.stages:
        levels = stage(levels)
        found.append(levels)
    torch.testing.assert_close(found[1], expected8, rtol=1e-3, atol=1e-3)
    torch.testing.assert_close(found[2], expected16, rtol=1e-3, atol=1e-3)
    assert found[0].shape == (2, 24, 16, 24)
    assert model.transform.image_mean == [0.498] * 3 and model.transform.image_std == [0.502] * 3


@pytest.mark.parametrize(("name", "finest"), [("resnet18", 64), ("mobilenet_v2", 24), ("efficientnet_lite0", 24)])
def test_every_backbone(name: str, finest: int, tmp_path: Path) -> None:
    own = build_backbone(name)
    torch.save(own.state_dict(), tmp_path / "weights.pth")
    model = small_detector(3, SmallSettings(backbone=name, channels=8, features=16), tmp_path / "weights.pth").eval()
    sizes = [layer.shape[1] for layer in model.backbone._run(torch.zeros(1, 3, 64, 64))]
    assert sizes == [finest, *own.channels]
    assert FrozenDetector(model).strides == (4, 8, 16)


def test_what_learns() -> None:
    parts = {name.partition(".")[0] for name, p in fresh().named_parameters() if p.requires_grad}
    assert parts == {"backbone", "rpn", "roi_heads"}
    assert not any(p.requires_grad for p in fresh().backbone.stages.parameters())
    assert all(p.requires_grad for p in fresh().backbone.fpn.parameters())
    whole = small_detector(3, SmallSettings(train_backbone=True), WEIGHTS)
    assert all(p.requires_grad for p in whole.parameters())


def test_losses_are_torchvisions() -> None:
    batch = batch_of([0, 1, 2])
    step = DetectorStep(fresh()).train()
    torch.manual_seed(3)
    losses = step(batch)
    torch.manual_seed(3)
    expected = fresh()(images_of(batch), objects_of(batch))
    assert len(expected) == 4 and losses.shape == (3,)
    torch.testing.assert_close(losses.mean(), sum(expected.values()))


def test_an_image_without_objects_is_learned_from() -> None:
    batch = batch_of([0, 1])
    batch = batch._replace(labels=torch.zeros_like(batch.labels))
    losses = DetectorStep(fresh()).train()(batch)
    assert losses.isfinite().all() and losses.requires_grad


@cache
def trained(folder: Path) -> FrozenDetector:
    torch.manual_seed(0)
    step = DetectorStep(small_detector(3, SETTINGS, WEIGHTS))
    settings = LoopSettings(
        steps=60, batch_size=4, learning_rate=2e-3, schedule="cosine", workers=0, tensorboard=False, clip_norm=10
    )
    data = Squares(settings.steps * settings.batch_size)
    Training(step, data, settings, folder, trained=step.trained, display=Silence()).run()
    return FrozenDetector(step.model)


@pytest.fixture(scope="session")
def detector(tmp_path_factory: pytest.TempPathFactory) -> FrozenDetector:
    return trained(tmp_path_factory.mktemp("small"))


def test_squares_are_found_after_training(detector: FrozenDetector) -> None:
    unseen = Squares(8, seed=1)
    overlaps = []
    for number in range(8):
        example = unseen.draw(number)
        (found,) = detector.detect([example.image])
        for box, label in zip(example.boxes_xyxy, example.labels, strict=True):
            own = found[(found.labels == label) & (found.scores > 0.5)]
            overlaps.append(float(box_iou(own.boxes_xyxy, box[None]).max()) if len(own) else 0.0)
    good = [overlap for overlap in overlaps if overlap > 0.6]
    assert len(good) >= 14, overlaps


def head_losses(detector: FrozenDetector, step: HeadStep, seed: int) -> Tensor:
    torch.manual_seed(seed)
    losses: Tensor = step(batch_of([0, 1, 2, 3]))
    return losses


def test_a_gaussian_head_learns_from_images(detector: FrozenDetector) -> None:
    step = HeadStep(GaussianBoxHead(detector.feature_size, detector.classes), detector, RegionSampling(32)).train()
    assert not detector.model.training
    first = head_losses(detector, step, 0)
    assert first.shape == (4,) and torch.equal(first, head_losses(detector, step, 0))
    optimizer = torch.optim.Adam(step.trained.parameters(), 1e-2)
    for seed in range(25):
        optimizer.zero_grad()
        head_losses(detector, step, seed).mean().backward()
        optimizer.step()
    assert all(parameter.grad is None for parameter in detector.parameters())
    assert head_losses(detector, step, 0).mean() < first.mean() - 0.1
    # Its boxes, from the same regions.
    pyramid = detector.pyramid(images_of(batch_of([0])))
    (regions,) = detector.regions(pyramid)
    raw = detector.decode(regions, pyramid.input_sizes[0], step.head.offsets(regions.features))
    assert len(detector.suppress(raw)) and not torch.equal(raw.boxes_xyxy[:5], detector.raw(pyramid)[0].boxes_xyxy[:5])


def test_what_cannot_be_built(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"backbone must be one of resnet18, .* \(got 'vgg'\)"):
        small_detector(3, SmallSettings(backbone="vgg"), WEIGHTS)
    with pytest.raises(ValueError, match=r"classes must be at least 2, the background among them \(got 1\)"):
        small_detector(1, SETTINGS, WEIGHTS)
    with pytest.raises(WeightsError, match="not found"):
        small_detector(3, SmallSettings(backbone="resnet18"), tmp_path / "none.npz")
