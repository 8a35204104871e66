"""The heads' losses against torch's distributions; the loop's step; a density that is known is learned."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
import torch
from torch import Tensor
from torch.distributions import Laplace, Normal
from torch.utils.data import Dataset

from ebm_tracker.adapters.detection import (
    BoxHead,
    BoxParameters,
    GaussianBoxHead,
    HeadStep,
    ImageExample,
    LaplaceBoxHead,
    RegionExample,
)
from ebm_tracker.training.display import Silence
from ebm_tracker.training.loop import LoopSettings, Training

HEADS = (GaussianBoxHead, LaplaceBoxHead)


def parameters(count: int, classes: int) -> BoxParameters:
    return BoxParameters(torch.randn(count, classes, 4), torch.randn(count, classes, 4))


def test_losses_are_those_of_the_densities() -> None:
    given, labels, offsets = parameters(6, 5), torch.tensor([3, 0, 1, -1, 4, 2]), torch.randn(6, 4)
    own = labels.clamp_min(0)
    mean, log_scale = (parameter[torch.arange(6), own].double() for parameter in given)
    front = (labels > 0).double()
    normal = Normal(mean, (0.5 * log_scale).exp()).log_prob(offsets.double()).sum(1)
    expected = front * -(2 * normal + 4 * math.log(2 * math.pi))
    torch.testing.assert_close(GaussianBoxHead(1, 5).loss(given, labels, offsets).double(), expected)
    laplace = Laplace(mean, log_scale.exp()).log_prob(offsets.double()).sum(1)
    expected = front * -(laplace + 4 * math.log(2))
    torch.testing.assert_close(LaplaceBoxHead(1, 5).loss(given, labels, offsets).double(), expected)


def test_losses_by_hand() -> None:
    mean = torch.zeros(1, 2, 4)
    log_scale = torch.full((1, 2, 4), math.log(2))
    label, offset = torch.tensor([1]), torch.tensor([[2.0, -1.0, 0.0, 3.0]])
    given = BoxParameters(mean, log_scale)
    # (4 + 1 + 0 + 9) / 2 + 4 log 2, (2 + 1 + 0 + 3) / 2 + 4 log 2
    assert GaussianBoxHead(1, 2).loss(given, label, offset).item() == pytest.approx(7 + 4 * math.log(2))
    assert LaplaceBoxHead(1, 2).loss(given, label, offset).item() == pytest.approx(3 + 4 * math.log(2))


@pytest.mark.parametrize("head", HEADS)
def test_only_the_own_class_learns(head: type[BoxHead]) -> None:
    own = head(8, 4)
    labels = torch.tensor([2, 0, -1, 2])
    own.loss(own(torch.randn(4, 8)), labels, torch.randn(4, 4)).sum().backward()
    for layer in (own.mean, own.log_scale):
        gradient = layer.weight.grad
        assert gradient is not None
        rows = gradient.view(4, 4, 8).abs().sum((1, 2)) > 0
        assert rows.tolist() == [False, False, True, False]


@pytest.mark.parametrize("head", HEADS)
def test_the_first_weights(head: type[BoxHead]) -> None:
    own = head(1024, 81)
    for layer in (own.mean, own.log_scale):
        assert layer.weight.shape == (324, 1024) and not layer.bias.any()
        weight = layer.weight.detach()
        assert weight.mean().abs() < 1e-5 and float(weight.std()) == pytest.approx(0.001, rel=0.01)
    assert not torch.equal(own.mean.weight, own.log_scale.weight)
    mean, log_scale = own(torch.zeros(2, 1024))
    assert mean.shape == log_scale.shape == (2, 81, 4) and not mean.any() and not log_scale.any()
    features = torch.randn(2, 1024)
    assert torch.equal(own.offsets(features), own(features).mean)
    with pytest.raises(ValueError, match=r"classes >= 2 \(got 4 and 1\)"):
        head(4, 1)


def test_a_class_that_does_not_exist() -> None:
    head = GaussianBoxHead(2, 3)
    for label in (3, -2):
        with pytest.raises(ValueError, match=r"labels must be -1 to 2 \(got"):
            head.loss(head(torch.zeros(2, 2)), torch.tensor([label, label]), torch.zeros(2, 4))
    assert head.loss(head(torch.zeros(0, 2)), torch.zeros(0, dtype=torch.int64), torch.zeros(0, 4)).shape == (0,)


@pytest.mark.parametrize("head", HEADS)
def test_the_loss_of_a_batch_is_by_the_number_of_all_its_regions(head: type[BoxHead]) -> None:
    step = HeadStep(head(8, 4))
    labels = torch.tensor([[1, 2, 0, 0, 0], [3, 0, 0, -1, -1], [0, 0, -1, -1, -1]])
    batch = RegionExample(torch.arange(3), torch.randn(3, 5, 8), labels, torch.randn(3, 5, 4))
    losses = step(batch)
    assert losses.shape == (3,) and losses[2] == 0
    total = torch.zeros(())
    for features, own, offsets in zip(batch.features, labels, batch.offsets, strict=True):
        for feature, label, offset in zip(features, own, offsets, strict=True):
            if label > 0:
                total = total + step.head.loss(step.head(feature[None]), label[None], offset[None])[0]
    torch.testing.assert_close(losses.mean(), total / 10)  # 5 + 3 + 2 regions


@pytest.mark.parametrize("head", HEADS)
def test_a_batch_without_objects_or_regions(head: type[BoxHead]) -> None:
    step = HeadStep(head(8, 4))
    for label in (0, -1):
        batch = RegionExample(
            torch.arange(2), torch.zeros(2, 3, 8), torch.full((2, 3), label), torch.zeros(2, 3, 4)
        )
        losses = step(batch)
        losses.mean().backward()
        assert losses.tolist() == [0, 0]
        assert step.head.mean.weight.grad is not None and not step.head.mean.weight.grad.any()


def test_images_need_a_detector() -> None:
    none = torch.zeros(1, 0)
    batch = ImageExample(torch.zeros(1), torch.zeros(1, 3, 8, 8), torch.tensor([[8, 8]]), none[..., None], none)
    with pytest.raises(ValueError, match="detector must be given"):
        HeadStep(GaussianBoxHead(4, 2))(batch)


class Known(Dataset[RegionExample]):
    """Class 1: offsets around (1, -2, 0, 3), class 2 around their negative; spreads of 0.25, 0.5, 1 and 2."""

    CENTER = torch.tensor([1.0, -2.0, 0.0, 3.0])
    SPREAD = torch.tensor([0.25, 0.5, 1.0, 2.0])

    def __init__(self, density: type[Normal] | type[Laplace], steps: int, batch: int) -> None:
        torch.manual_seed(5)
        count = steps * batch
        self.labels = torch.randint(0, 3, (count, 32))
        noise = density(torch.zeros(4), self.SPREAD).sample((count, 32))
        sign = torch.where(self.labels == 1, 1.0, -1.0)[..., None]
        self.offsets = sign * self.CENTER + noise

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, number: int) -> RegionExample:
        features = torch.ones(32, 2)
        return RegionExample(torch.tensor(number), features, self.labels[number], self.offsets[number])


@pytest.mark.parametrize(("head", "density"), [(GaussianBoxHead, Normal), (LaplaceBoxHead, Laplace)])
def test_the_loop_finds_a_known_density(
    head: type[BoxHead], density: type[Normal] | type[Laplace], tmp_path: Path
) -> None:
    steps, batch = 300, 4
    step = HeadStep(head(2, 3))
    settings = LoopSettings(
        steps=steps, batch_size=batch, learning_rate=0.05, schedule="cosine", workers=0, tensorboard=False
    )
    data = Known(density, steps, batch)
    Training(step, data, settings, tmp_path, trained=step.trained, display=Silence()).run()
    found: list[Tensor] = [parameter[0].detach() for parameter in step.head(torch.ones(1, 2))]
    scale = found[1].mul(0.5 if head is GaussianBoxHead else 1).exp()
    for label, sign in ((1, 1), (2, -1)):
        torch.testing.assert_close(found[0][label], sign * Known.CENTER, rtol=0.1, atol=0.1)
        torch.testing.assert_close(scale[label], Known.SPREAD, rtol=0.1, atol=0.02)
