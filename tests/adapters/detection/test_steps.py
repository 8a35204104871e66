"""The losses of the confidence branch on energies whose losses are known."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any, cast

import pytest
import torch
import torchvision
from torch import Tensor, nn

from ebm_tracker.adapters.detection.base import FrozenDetector, Pyramid
from ebm_tracker.adapters.detection.branch import ConfidenceBranch, TwoLayers
from ebm_tracker.adapters.detection.candidates import MixtureBoxes, UniformIouBoxes
from ebm_tracker.adapters.detection.data import TrainingImages, open_detection_images
from ebm_tracker.adapters.detection.examples import ImageExample
from ebm_tracker.adapters.detection.steps import METHODS, ConfidenceStep, ObjectBatch
from ebm_tracker.training.display import Silence
from ebm_tracker.training.loop import LoopSettings, Training
from tests.adapters.detection.conftest import document, write_set

AT_TRUTH = 7.27286  # log q of the detection mixture at its centre (PROTOCOL 9)


def pyramid(images: int = 2) -> Pyramid:
    """Input images of 64 x 96, twice as wide and high as the originals."""
    maps = {str(i): torch.randn(images, 4, 64 // s, 96 // s) for i, s in enumerate((4, 8))}
    return Pyramid(maps, ("0", "1"), (4, 8), ((64, 96),) * images, ((32, 48),) * images, (64, 96))


def batch(*objects: list[tuple[list[float], int]]) -> ImageExample:
    """One list of (corners, label) for each image."""
    most = max(1, *map(len, objects))
    boxes, labels = torch.zeros(len(objects), most, 4), torch.zeros(len(objects), most, dtype=torch.int64)
    for i, rows in enumerate(objects):
        for j, (box, label) in enumerate(rows):
            boxes[i, j], labels[i, j] = torch.tensor(box), label
    count = len(objects)
    image = torch.zeros(count, 3, 32, 48, dtype=torch.uint8)
    return ImageExample(torch.arange(count), image, torch.tensor([[32, 48]] * count), boxes, labels)


TWO = batch([([4.0, 5, 24, 15], 1)], [([1.0, 2, 11, 30], 2), ([20.0, 8, 40, 28], 1), ([8.0, 8, 16, 16], 3)])


class Stub(nn.Module):
    """An energy of the box alone, with a note of what it was asked."""

    def __init__(self, energy: Any) -> None:
        super().__init__()
        self.energy, self.bias, self.asked = energy, nn.Parameter(torch.zeros(())), list[tuple[Tensor, ...]]()

    def forward(self, pyramid: Pyramid, boxes_xyxy: Tensor, image_index: Tensor, labels: Tensor) -> Tensor:
        self.asked.append((boxes_xyxy, image_index, labels))
        return cast(Tensor, self.energy(boxes_xyxy)) + self.bias


def step_of(energy: Any, **settings: Any) -> ConfidenceStep:
    return ConfidenceStep(cast(ConfidenceBranch, Stub(energy)), pyramid_of=lambda _: pyramid(), **settings)


def asked(step: ConfidenceStep) -> tuple[Tensor, ...]:
    return cast(Stub, step.branch).asked[-1]


def log_mixture(boxes: Tensor, truth: Tensor) -> Tensor:
    """log q of Eq 5 in relative coordinates, written out."""
    size, own = truth[2:] - truth[:2], boxes[:, 2:] - boxes[:, :2]
    center = (boxes[:, :2] + boxes[:, 2:]) / 2 - (truth[:2] + truth[2:]) / 2
    offsets = torch.cat((center / size, (own / size).log()), 1)
    parts = [-0.5 * (offsets / s).square().sum(1) - 4 * math.log(s) for s in (0.05, 0.1, 0.2)]
    return torch.stack(parts).logsumexp(0) - math.log(3) - 2 * math.log(2 * math.pi)


@pytest.mark.parametrize("constant", [0.0, 55.0])
def test_a_perfect_density_has_the_loss_of_the_proposal_at_the_truth(constant: float) -> None:
    """f = log q + c gives -log q(truth) whatever is drawn. Boxes reach the branch in input pixels."""
    truth = 2 * torch.tensor([4.0, 5, 24, 15])
    step = step_of(lambda boxes: log_mixture(boxes, truth) + constant)
    losses = step(batch([([4.0, 5, 24, 15], 1)], [([4.0, 5, 24, 15], 2)]))
    torch.testing.assert_close(losses, torch.full((2,), -AT_TRUTH), atol=1e-3, rtol=0)


def test_what_the_branch_is_asked() -> None:
    step = step_of(lambda boxes: boxes.sum(1))
    step(TWO)
    boxes, image, labels = asked(step)
    assert boxes.shape == (4 * 129, 4)
    assert image.tolist() == [0] * 129 + [1] * 387 and labels.tolist() == [1] * 129 + [2] * 129 + [1] * 129 + [3] * 129
    torch.testing.assert_close(boxes[129 * 2], torch.tensor([40.0, 16, 80, 56]))  # the truth first, in input pixels
    assert step.trained is step.branch
    step = step_of(lambda boxes: boxes.sum(1), loss="iou", scheme=UniformIouBoxes(16, pool=500))
    step(TWO)
    assert asked(step)[0].shape == (4 * 16, 4)


def test_nll_is_eq_4_with_the_truth_beside_the_draws() -> None:
    step = step_of(lambda boxes: 0.01 * boxes[:, 0] - 0.002 * boxes[:, 3], scheme=MixtureBoxes(samples=8))
    losses = step(TWO)
    boxes = asked(step)[0].unflatten(0, (4, 9))
    expected = []
    for rows in boxes:
        f = 0.01 * rows[:, 0] - 0.002 * rows[:, 3]
        log_q = log_mixture(rows[1:], rows[0])
        expected.append((f[1:] - log_q).exp().mean().log() - f[0])
    values = torch.stack(expected)
    torch.testing.assert_close(losses, torch.stack((values[0], values[1:].sum())) * 2 / 4, atol=1e-4, rtol=1e-4)
    # The mean is over all objects of the batch, not over images.
    torch.testing.assert_close(losses.mean(), values.mean(), atol=1e-4, rtol=1e-4)


def iou(a: list[float], b: list[float]) -> float:
    inter = max(min(a[2], b[2]) - max(a[0], b[0]), 0) * max(min(a[3], b[3]) - max(a[1], b[1]), 0)
    return inter / ((a[2] - a[0]) * (a[3] - a[1]) + (b[2] - b[0]) * (b[3] - b[1]) - inter)


@pytest.mark.parametrize("scheme", [UniformIouBoxes(12, pool=2000), MixtureBoxes(samples=12)])
def test_iou_is_the_huber_loss_of_twice_the_overlap_less_one(scheme: Any) -> None:
    step = step_of(lambda boxes: 0.05 * boxes[:, 0] - 1.5, loss="iou", scheme=scheme)
    losses = step(TWO)
    truths = [[8.0, 10, 48, 30], [2.0, 4, 22, 60], [40.0, 16, 80, 56], [16.0, 16, 32, 32]]
    means, is_linear = [], False
    for truth, rows in zip(truths, asked(step)[0].unflatten(0, (4, 12)).tolist(), strict=True):
        total = 0.0
        for box in rows:
            d = abs(0.05 * box[0] - 1.5 - (2 * iou(box, truth) - 1))
            is_linear |= d > 1
            total += 0.5 * d * d if d < 1 else d - 0.5
        means.append(total / 12)
    assert is_linear
    torch.testing.assert_close(losses, torch.tensor([means[0], sum(means[1:])]) / 2, atol=1e-4, rtol=1e-4)


def test_images_without_objects() -> None:
    step = step_of(lambda boxes: boxes.sum(1) * 0 + 1)
    losses = step(batch([], [([4.0, 5, 24, 15], 1)]))
    assert float(losses[0].detach()) == 0 and float(losses[1].detach()) != 0
    losses = step(batch([], []))
    assert losses.tolist() == [0, 0]
    losses.mean().backward()
    assert float(cast(Stub, step.branch).bias.grad) == 0  # type: ignore[arg-type]


def test_the_papers_three_uses() -> None:
    found = {name: make(24) for name, make in METHODS.items()}
    assert {name: loss for name, (loss, _) in found.items()} == {"iou_net": "iou", "iou_net_star": "iou", "ours": "nll"}
    assert isinstance(found["iou_net"][1], UniformIouBoxes) and found["iou_net"][1].samples == 24
    for name in ("iou_net_star", "ours"):
        scheme = found[name][1]
        assert isinstance(scheme, MixtureBoxes) and scheme.samples == 24
        assert scheme.mixture.sigmas.flatten().tolist() == [0.05, 0.1, 0.2]


def test_settings_are_checked() -> None:
    with pytest.raises(ValueError, match="loss must be one of iou, nll"):
        step_of(None, loss="huber")
    with pytest.raises(ValueError, match=r"candidates with a density \(got UniformIouBoxes\)"):
        step_of(None, scheme=UniformIouBoxes(4, pool=10))
    with pytest.raises(ValueError, match="either a detector or pyramid_of"):
        ConfidenceStep(cast(ConfidenceBranch, nn.Identity()))


@pytest.mark.parametrize("loss", ["nll", "iou"])
def test_a_branch_learns_where_the_object_is(loss: str) -> None:
    """Maps that show the box: after some steps f prefers it to its neighbours."""
    features = pyramid(1)
    for level in features.maps:
        level.zero_()
        stride = 64 // level.shape[2]
        level[:, :, 16 // stride : 48 // stride, 24 // stride : 72 // stride] = 1
    branch = ConfidenceBranch(TwoLayers(4, hidden=32), 32, 3)
    one = batch([([12.0, 8, 36, 24], 2)])

    def of_one(_: ObjectBatch) -> Pyramid:
        return features

    step = ConfidenceStep(branch, loss=loss, scheme=MixtureBoxes(samples=32), pyramid_of=of_one)
    optimizer = torch.optim.Adam(branch.parameters(), 3e-3)
    first = last = 0.0
    for turn in range(60):
        optimizer.zero_grad()
        value = step(one).mean()
        value.backward()
        optimizer.step()
        first, last = (float(value.detach()), last) if turn == 0 else (first, float(value.detach()))
    assert last < first - (1.0 if loss == "nll" else 0.02)
    boxes = torch.tensor([[24.0, 16, 72, 48], [34.0, 16, 82, 48], [24.0, 4, 72, 36], [14.0, 10, 82, 54]])
    f = branch(features, boxes, torch.zeros(4, dtype=torch.int64), torch.full((4,), 2))
    assert int(f.argmax()) == 0
    others = branch.readout.weight.grad
    assert others is not None and not others[:2].any() and bool(others[2].any())  # its own class alone


def test_a_run_of_the_loop_on_a_miniature_in_cocos_format(tmp_path: Path) -> None:
    """The real chain: files, frozen detector, branch, loop. Only the branch moves."""
    boxes = [(1, 2, (4, 5, 30, 20)), (1, 7, (30, 30, 20, 25)), (2, 7, (10, 8, 24, 30))]
    root = write_set(tmp_path / "set", "train", document({1: (64, 64), 2: (56, 72)}, boxes))
    model = torchvision.models.get_model(
        "fasterrcnn_mobilenet_v3_large_320_fpn",
        weights=None,
        weights_backbone=None,
        num_classes=3,
        min_size=64,
        max_size=96,
    )
    detector = FrozenDetector(model)
    images = open_detection_images(root, "train", training=True, outputs=detector.classes)
    branch = ConfidenceBranch(
        nn.Sequential(nn.Flatten(), nn.Linear(49 * detector.channels, 16), nn.ReLU()), 16, detector.classes
    )
    step = ConfidenceStep(branch, detector, scheme=MixtureBoxes(samples=16))
    before = {name: value.clone() for name, value in step.state_dict().items()}
    settings = LoopSettings(
        steps=3, batch_size=2, optimizer="sgd", bias_rate=2, bias_decay=False, weight_decay=1e-4, workers=0
    )
    data = TrainingImages(images, 6, seed=0)
    training = Training(step, data, settings, tmp_path / "run", trained=step.trained, display=Silence())
    assert training.run() == 3
    moved = {name for name, value in step.state_dict().items() if not torch.equal(value, before[name])}
    assert moved and all(name.startswith("branch.") for name in moved)
    assert {"branch.trunk.1.weight", "branch.readout.weight"} <= moved
