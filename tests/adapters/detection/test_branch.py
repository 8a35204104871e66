from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn
from torchvision.models.detection.faster_rcnn import FastRCNNConvFCHead, TwoMLPHead

from ebm_tracker.adapters.detection import Pyramid
from ebm_tracker.adapters.detection.branch import CHUNK, ConfidenceBranch, TwoLayers
from ebm_tracker.adapters.detection.pooling import pyramid_pool

STRIDES = (4, 8)
CLASSES, CHANNELS, HIDDEN = 4, 3, 20


class Detector:
    """What of_detector reads."""

    def __init__(self, box_head: nn.Module) -> None:
        self.box_head = box_head.requires_grad_(False)
        self.channels, self.feature_size, self.classes, self.pool_size = CHANNELS, HIDDEN, CLASSES, 7
        self.device = torch.device("cpu")


def two_layers_detector() -> Detector:
    torch.manual_seed(0)
    return Detector(TwoMLPHead(CHANNELS * 49, HIDDEN))


def convolutions_detector() -> Detector:
    torch.manual_seed(0)
    head = FastRCNNConvFCHead((CHANNELS, 7, 7), [6, 6], [HIDDEN], nn.BatchNorm2d)
    return Detector(head.eval())


def pyramid(batch: int = 2) -> Pyramid:
    generator = torch.Generator().manual_seed(2)
    levels = {
        str(i): torch.randn((batch, CHANNELS, 160 // s, 200 // s), generator=generator) for i, s in enumerate(STRIDES)
    }
    size = ((160, 200),) * batch
    return Pyramid(levels, tuple(levels), STRIDES, size, size, (160, 200))


def boxes_and_labels(count: int) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(3)
    corner = torch.rand((count, 2), generator=generator) * torch.tensor([190.0, 150.0]) - 5
    side = 3 + 170 * torch.rand((count, 2), generator=generator) ** 2
    return torch.cat((corner, corner + side), dim=1), torch.randint(1, CLASSES, (count,), generator=generator)


def branch_of(detector: Detector, dtype: torch.dtype = torch.float32) -> ConfidenceBranch:
    branch = ConfidenceBranch.of_detector(detector).to(dtype).eval()  # type: ignore[arg-type]
    with torch.no_grad():
        branch.readout.weight.normal_()
        branch.readout.bias.normal_()
    return branch


@pytest.mark.parametrize("make", [two_layers_detector, convolutions_detector])
def test_the_trunk_is_a_copy_of_the_box_head_that_learns(make: object) -> None:
    detector = make()  # type: ignore[operator]
    branch = ConfidenceBranch.of_detector(detector)
    pooled = torch.randn(5, CHANNELS, 7, 7)
    torch.testing.assert_close(branch.trunk(pooled), detector.box_head(pooled))
    assert all(p.requires_grad for p in branch.parameters())
    assert not any(p.requires_grad for p in detector.box_head.parameters())
    with torch.no_grad():
        for parameter in branch.trunk.parameters():
            parameter.zero_()
    assert detector.box_head(pooled).any()


def test_the_last_layer_starts_as_the_paper_has_it() -> None:
    torch.manual_seed(0)
    branch = ConfidenceBranch(TwoLayers(1, 1, 1000), 1000, 91)
    assert branch.readout.weight.shape == (91, 1000) and not branch.readout.bias.any()
    assert float(branch.readout.weight.detach().std()) == pytest.approx(0.001, rel=0.02)


def test_norms_stay_in_eval_mode() -> None:
    branch = ConfidenceBranch.of_detector(convolutions_detector()).train()  # type: ignore[arg-type]
    norms = [module for module in branch.modules() if isinstance(module, nn.BatchNorm2d)]
    assert branch.training and norms and not any(norm.training for norm in norms)


@pytest.mark.parametrize("make", [two_layers_detector, convolutions_detector])
def test_reads_the_number_of_the_own_class(make: object) -> None:
    branch = branch_of(make())  # type: ignore[operator]
    boxes, labels = boxes_and_labels(30)
    images = torch.arange(30) % 2
    f = branch(pyramid(), boxes, images, labels)
    pooled = pyramid_pool(pyramid().maps, boxes, images, STRIDES)
    table = branch.readout(branch.trunk(pooled))
    torch.testing.assert_close(f, torch.stack([table[i, label] for i, label in enumerate(labels.tolist())]))
    torch.testing.assert_close(branch.of_pooled(pooled.contiguous(), labels), f)


@pytest.mark.parametrize("make", [two_layers_detector, convolutions_detector])
@pytest.mark.parametrize("count", [0, 1, 40, CHUNK + 3])
def test_an_images_values_and_gradients_are_those_of_autograd(make: object, count: int) -> None:
    branch = branch_of(make(), torch.float64)  # type: ignore[operator]
    features = pyramid().to(torch.float64)
    boxes, labels = boxes_and_labels(count)
    leaf = boxes.double().requires_grad_()
    f = branch(features, leaf, torch.ones(count, dtype=torch.long), labels)
    (expected,) = torch.autograd.grad(f.sum(), leaf)
    energy = branch.of_image(features, 1)
    value, gradient = energy.value_and_grad(boxes.double(), labels)
    torch.testing.assert_close(value, f.detach(), rtol=1e-8, atol=1e-9)
    torch.testing.assert_close(energy.values(boxes.double(), labels), f.detach(), rtol=1e-8, atol=1e-9)
    torch.testing.assert_close(gradient, expected, rtol=1e-7, atol=1e-8)
    assert not value.requires_grad and not gradient.requires_grad


def test_gradcheck_of_the_energy_with_respect_to_boxes() -> None:
    branch, features = branch_of(two_layers_detector(), torch.float64), pyramid().to(torch.float64)
    boxes = torch.tensor([[13.3, 20.7, 60.1, 81.9], [40.3, 10.2, 190.7, 150.6], [-9.7, 90.3, 35.9, 170.1]]).double()
    labels, images = torch.tensor([1, 2, 3]), torch.zeros(3, dtype=torch.long)
    assert torch.autograd.gradcheck(
        lambda b: branch(features, b, images, labels), boxes.requires_grad_(), eps=1e-6, atol=1e-4
    )
    energy, step = branch.of_image(features), 1e-5
    _, gradient = energy.value_and_grad(boxes.detach(), labels)
    for axis in range(4):
        shift = step * torch.eye(4, dtype=torch.float64)[axis]
        up, down = (energy.values(boxes.detach() + sign * shift, labels) for sign in (1, -1))
        torch.testing.assert_close((up - down) / (2 * step), gradient[:, axis], rtol=1e-5, atol=1e-6)


def test_features_of_another_type_and_memory_layout() -> None:
    """A cache holds float16; a backbone may run in channels-last memory."""
    branch, features = branch_of(two_layers_detector()), pyramid()
    boxes, labels = boxes_and_labels(10)
    expected = branch.of_image(features).values(boxes, labels)
    half = branch.of_image(features.to(torch.float16)).values(boxes, labels)
    torch.testing.assert_close(half, expected, rtol=0.02, atol=0.02)
    last = {name: level.to(memory_format=torch.channels_last) for name, level in features.levels.items()}
    other = Pyramid(last, features.pooled, STRIDES, features.input_sizes, features.image_sizes, features.padded_size)
    torch.testing.assert_close(branch.of_image(other).values(boxes, labels), expected)


def test_the_parameters_get_gradients_once_through_the_loss() -> None:
    branch = ConfidenceBranch.of_detector(two_layers_detector()).train()  # type: ignore[arg-type]
    boxes, labels = boxes_and_labels(8)
    branch(pyramid(), boxes, torch.zeros(8, dtype=torch.long), labels).sum().backward()
    assert all(p.grad is not None and p.grad.any() for p in branch.parameters())


@pytest.mark.parametrize("labels", [torch.tensor([1, CLASSES]), torch.tensor([0, 1])])
def test_labels_that_are_no_class(labels: Tensor) -> None:
    branch = branch_of(two_layers_detector())
    boxes, _ = boxes_and_labels(2)
    for call in (branch.of_image(pyramid()).values, branch.of_image(pyramid()).value_and_grad):
        with pytest.raises(ValueError, match=rf"labels must lie in 1..{CLASSES - 1}"):
            call(boxes, labels)
    with pytest.raises(ValueError, match="whole numbers"):
        branch.of_image(pyramid()).values(boxes, torch.ones(2))
