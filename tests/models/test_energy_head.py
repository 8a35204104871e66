from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from ebm_tracker.energy import importance_nll
from ebm_tracker.models.energy_head import EnergyHead, EnergyMaps, HeadChannels, Modulation

Golden = Callable[[str], dict[str, np.ndarray]]
Arrays = dict[str, np.ndarray]


class GoldenCase(NamedTuple):
    state: dict[str, Tensor]
    head_arrays: Arrays
    reference: tuple[Tensor, Tensor]
    test: tuple[Tensor, Tensor]

    def head(self) -> EnergyHead:
        head = EnergyHead()
        missing, unexpected = head.load_state_dict(self.state, strict=False)
        assert not unexpected and all(key.endswith("num_batches_tracked") for key in missing)
        return head.double().eval()

    def tensor(self, name: str) -> Tensor:
        return torch.from_numpy(self.head_arrays[name]).double()


@pytest.fixture(scope="module")
def case(golden: Golden, golden_head_state: dict[str, Tensor]) -> GoldenCase:
    arrays, features = golden("b_energy_head"), golden("b_energy_head_features")

    def pair(which: str) -> tuple[Tensor, Tensor]:
        first, second = (torch.from_numpy(features[f"{which}_layer{i}"]).double() for i in (2, 3))
        return first, second

    return GoldenCase(golden_head_state, arrays, pair("ref"), pair("test"))


def test_golden_weights_are_regenerated(case: GoldenCase) -> None:
    values = [value.double().numpy() for value in case.state.values()]
    np.testing.assert_allclose([v.sum() for v in values], case.head_arrays["weight_sum"], rtol=1e-5, atol=1e-4)
    np.testing.assert_allclose([abs(v).sum() for v in values], case.head_arrays["weight_abs_sum"], rtol=1e-6)
    first = [np.pad(v.ravel()[:4], (0, max(0, 4 - v.size))) for v in values]
    np.testing.assert_allclose(first, case.head_arrays["weight_first4"], rtol=1e-6)


def test_golden_energies_and_gradients(case: GoldenCase) -> None:
    head = case.head()
    with torch.no_grad():
        modulation = head.modulation(case.reference, case.tensor("ref_box")[None])
        maps = head.maps(case.test)
    np.testing.assert_allclose(modulation.stride8[0], case.head_arrays["modulation_l2"], rtol=1e-6, atol=1e-6)
    np.testing.assert_allclose(modulation.stride16[0], case.head_arrays["modulation_l3"], rtol=1e-6, atol=1e-6)
    probes = maps.stride8[0, :8, ::5, ::5], maps.stride16[0, :8, ::3, ::3]
    np.testing.assert_allclose(probes[0], case.head_arrays["iou_feat_l2_probe"], rtol=1e-6, atol=1e-6)
    np.testing.assert_allclose(probes[1], case.head_arrays["iou_feat_l3_probe"], rtol=1e-6, atol=1e-6)

    boxes = case.tensor("proposals")[None].requires_grad_()
    energies = head.energies(maps, modulation, boxes)
    np.testing.assert_allclose(energies.detach()[0], case.head_arrays["energies"], rtol=1e-6, atol=1e-6)
    (gradient,) = torch.autograd.grad(energies.sum(), boxes)
    np.testing.assert_allclose(gradient[0], case.head_arrays["grad_boxes"], rtol=1e-5, atol=1e-6)


def test_float32_stays_within_float32_noise(case: GoldenCase) -> None:
    head, arrays = case.head().float(), case.head_arrays
    reference, test = ((first.float(), second.float()) for first, second in (case.reference, case.test))
    boxes = case.tensor("proposals").float()[None].requires_grad_()
    energies = head(reference, case.tensor("ref_box").float()[None], test, boxes)
    (gradient,) = torch.autograd.grad(energies.sum(), boxes)
    noise = abs(arrays["energies_f32"] - arrays["energies"]).max()
    assert abs(energies.detach()[0].numpy() - arrays["energies"]).max() < max(4 * noise, 1e-5)
    noise = abs(arrays["grad_boxes_f32"] - arrays["grad_boxes"]).max()
    assert abs(gradient[0].numpy() - arrays["grad_boxes"]).max() < max(4 * noise, 1e-5)


def both_ways(case: GoldenCase) -> tuple[tuple[Tensor, Tensor], Tensor, tuple[Tensor, Tensor]]:
    """Two pairs: reference -> test, and the same the other way round."""
    references = (torch.cat((case.reference[0], case.test[0])), torch.cat((case.reference[1], case.test[1])))
    tests = (torch.cat((case.test[0], case.reference[0])), torch.cat((case.test[1], case.reference[1])))
    return references, torch.stack((case.tensor("ref_box"), case.tensor("batch_ref_box2"))), tests


def test_golden_batch_of_two_pairs(case: GoldenCase) -> None:
    references, reference_boxes, tests = both_ways(case)
    proposals = case.tensor("proposals")
    with torch.no_grad():
        energies = case.head()(references, reference_boxes, tests, torch.stack((proposals, proposals.flip(0))))
    np.testing.assert_allclose(energies, case.head_arrays["batch_energies"], rtol=1e-6, atol=1e-6)


def test_golden_training_step(case: GoldenCase, golden: Golden) -> None:
    arrays = golden("b_energy_head_train_step")
    head = case.head().train()
    references, reference_boxes, tests = both_ways(case)
    scores = head(references, reference_boxes, tests, torch.from_numpy(arrays["proposals"]).double())
    np.testing.assert_allclose(scores.detach(), arrays["scores"], rtol=1e-5, atol=1e-5)
    log_q = torch.from_numpy(arrays["sample_density"][:, 1:]).double().log()
    loss = importance_nll(scores[:, 1:], log_q, scores[:, 0]).mean()
    assert loss.item() == pytest.approx(float(arrays["loss"]), rel=1e-6)
    loss.backward()

    parameters = dict(head.named_parameters())
    assert sorted(parameters) == sorted(map(str, arrays["param_names"]))
    for name, norm, first in zip(arrays["param_names"], arrays["grad_norm"], arrays["grad_first4"], strict=True):
        grad = parameters[str(name)].grad
        assert grad is not None
        if str(name).endswith((".0.bias", "linear.bias", "iou_predictor.bias")):
            # A batch norm after it, or the normalisation of the density, takes every constant out.
            assert float(grad.norm()) < 1e-9, name
        else:
            assert float(grad.norm()) == pytest.approx(float(norm), rel=1e-4), name
            flat = grad.flatten()[:4].numpy()
            np.testing.assert_allclose(flat, first[: len(flat)], rtol=1e-3, atol=1e-4 * norm, err_msg=str(name))
    state = head.state_dict()
    for name, mean_sum, var_sum in zip(
        map(str, arrays["bn_names"]),
        arrays["bn_running_mean_sum_after"],
        arrays["bn_running_var_sum_after"],
        strict=True,
    ):
        prefix = name.removesuffix(".running_mean")
        assert state[f"{prefix}.running_mean"].sum().item() == pytest.approx(float(mean_sum), rel=1e-4, abs=1e-4)
        assert state[f"{prefix}.running_var"].sum().item() == pytest.approx(float(var_sum), rel=1e-5)


SMALL = HeadChannels(features=(3, 4), reference=(3, 5), maps=(4, 6), hidden=(5, 7))


def random_head(channels: HeadChannels, seed: int = 0) -> EnergyHead:
    """A head whose batch norms do something, in float64 and eval mode."""
    torch.manual_seed(seed)
    generator = torch.Generator().manual_seed(seed)
    head = EnergyHead(channels).double().eval()
    for module in head.modules():
        if isinstance(module, nn.BatchNorm2d):
            assert module.running_mean is not None and module.running_var is not None
            module.running_mean.normal_(0, 0.2, generator=generator)
            module.running_var.uniform_(0.5, 2, generator=generator)
    with torch.no_grad():
        for name, parameter in head.named_parameters():
            if name.endswith("bias"):
                parameter.normal_(0, 0.3, generator=generator)
            elif parameter.ndim == 1:
                parameter.uniform_(0.5, 1.5, generator=generator)
    return head


class SlowHead:
    """The head once more from its description, in numpy, position by position."""

    def __init__(self, head: EnergyHead) -> None:
        self.state = {key: value.detach().numpy() for key, value in head.state_dict().items()}

    def norm(self, x: np.ndarray, name: str) -> np.ndarray:
        gain = self.state[f"{name}.weight"] / np.sqrt(self.state[f"{name}.running_var"] + 1e-5)
        shape = (-1,) + (1,) * (x.ndim - 1)
        mean, bias = self.state[f"{name}.running_mean"], self.state[f"{name}.bias"]
        return np.maximum((x - mean.reshape(shape)) * gain.reshape(shape) + bias.reshape(shape), 0)

    def conv(self, x: np.ndarray, name: str, padding: int) -> np.ndarray:
        weight, bias = self.state[f"{name}.0.weight"], self.state[f"{name}.0.bias"]
        side = weight.shape[2]
        x = np.pad(x, ((0, 0), (padding, padding), (padding, padding)))
        out = np.zeros((len(weight), x.shape[1] - side + 1, x.shape[2] - side + 1))
        for row in range(out.shape[1]):
            for col in range(out.shape[2]):
                out[:, row, col] = np.tensordot(weight, x[:, row : row + side, col : col + side], 3) + bias
        return self.norm(out, f"{name}.1")

    def weights(self, low: float, high: float, cells: int) -> np.ndarray:
        """Mean of each cell's hat over [low, high]: the trapezoid rule between the kinks is exact."""
        if high <= low:
            return np.zeros(cells)
        knots = np.array([low, *np.arange(np.ceil(low), np.floor(high) + 1), high])
        hats = np.maximum(0, 1 - abs(knots[:, None] - np.arange(cells)))
        return ((hats[1:] + hats[:-1]) / 2 * np.diff(knots)[:, None]).sum(0) / (high - low)

    def pool(self, x: np.ndarray, box: np.ndarray, bins: int, stride: int) -> np.ndarray:
        (left, top), (width, height) = box[:2] / stride, box[2:] / stride / bins
        out = np.zeros((len(x), bins, bins))
        if width <= 0 or height <= 0:
            return out
        for row in range(bins):
            down = self.weights(top + row * height, top + (row + 1) * height, x.shape[1])
            for col in range(bins):
                across = self.weights(left + col * width, left + (col + 1) * width, x.shape[2])
                out[:, row, col] = [down @ plane @ across for plane in x]
        return out

    def modulation(self, features: tuple[np.ndarray, np.ndarray], box: np.ndarray) -> list[np.ndarray]:
        fine = self.conv(self.pool(self.conv(features[0], "conv3_1r", 1), box, 3, 8), "fc3_1r", 0)
        coarse = self.pool(self.conv(features[1], "conv4_1r", 1), box, 1, 16)
        joined = np.concatenate((fine, coarse))
        return [self.conv(joined, name, 0)[:, 0, 0] for name in ("fc34_3r", "fc34_4r")]

    def energy(self, features: tuple[np.ndarray, np.ndarray], modulation: list[np.ndarray], box: np.ndarray) -> float:
        hidden = []
        for level, (bins, stride, name) in enumerate(((5, 8, "fc3_rt"), (3, 16, "fc4_rt"))):
            maps = self.conv(self.conv(features[level], f"conv{level + 3}_1t", 1), f"conv{level + 3}_2t", 1)
            pooled = self.pool(maps * modulation[level][:, None, None], box, bins, stride)
            layer = f"{name}.linear"
            out = self.state[f"{layer}.weight"] @ pooled.ravel() + self.state[f"{layer}.bias"]
            hidden.append(self.norm(out, f"{name}.bn"))
        weight, bias = self.state["iou_predictor.weight"][0], self.state["iou_predictor.bias"]
        return float(weight @ np.concatenate(hidden) + bias[0])


def test_agrees_with_a_slow_head_written_from_the_description() -> None:
    head = random_head(SMALL)
    slow = SlowHead(head)
    random = np.random.RandomState(0)
    reference = random.rand(2, 3, 8, 10), random.rand(2, 4, 4, 5)
    test = random.rand(2, 3, 8, 10), random.rand(2, 4, 4, 5)
    reference_boxes = np.array([[10.3, 12.1, 30.5, 25.2], [-8.0, 20, 45, 60]])
    boxes = np.array(
        [
            [[12.5, 9.75, 33, 27], [-20, -10, 60, 50], [40, 30, 0.2, 0.3]],
            [[60, 50, 80, 70], [-90, -90, 20, 20], [30, 20, 0, 10]],
        ]
    )
    as_tensors = [(torch.from_numpy(first), torch.from_numpy(second)) for first, second in (reference, test)]
    with torch.no_grad():
        energies = head(as_tensors[0], torch.from_numpy(reference_boxes), as_tensors[1], torch.from_numpy(boxes))
    for pair in range(2):
        modulation = slow.modulation((reference[0][pair], reference[1][pair]), reference_boxes[pair])
        expected = [slow.energy((test[0][pair], test[1][pair]), modulation, box) for box in boxes[pair]]
        np.testing.assert_allclose(energies[pair], expected, rtol=1e-10, atol=1e-10)
    assert energies[:, :2].std() > 0.1


def test_each_box_and_pair_is_scored_alone() -> None:
    head = random_head(SMALL)
    generator = torch.Generator().manual_seed(2)
    maps = EnergyMaps(
        torch.rand((3, 4, 9, 9), generator=generator).double(), torch.rand((3, 6, 5, 5), generator=generator).double()
    )
    modulation = Modulation(
        torch.rand((3, 4), generator=generator).double(), torch.rand((3, 6), generator=generator).double()
    )
    boxes = 20 * torch.rand((3, 4, 4), generator=generator).double() + 1
    with torch.no_grad():
        energies = head.energies(maps, modulation, boxes)
        for pair in range(3):
            one = slice(pair, pair + 1)
            for index in range(4):
                alone = head.energies(
                    EnergyMaps(maps[0][one], maps[1][one]),
                    Modulation(modulation[0][one], modulation[1][one]),
                    boxes[one, index : index + 1],
                )
                assert alone.item() == pytest.approx(energies[pair, index].item(), abs=1e-12)


def test_new_heads_start_as_atom_does() -> None:
    torch.manual_seed(1)
    head = EnergyHead(HeadChannels(features=(32, 96)))
    weight = head.conv3_2t[0].weight.detach()
    assert float(weight.std()) == pytest.approx((2 / (256 * 9)) ** 0.5, rel=0.05)
    scales = head.conv3_2t[1].weight.detach()
    assert float(scales.min()) >= 0 and float(scales.max()) <= 1 and float(scales.std()) > 0.2
    assert all(float(p.detach().abs().max()) == 0 for n, p in head.named_parameters() if n.endswith("0.bias"))


def test_the_head_learns_by_itself() -> None:
    """A few steps on one pair lower the loss: the gradient reaches everything."""
    torch.manual_seed(0)
    head = EnergyHead(SMALL).train()
    features = torch.rand(2, 3, 18, 18), torch.rand(2, 4, 9, 9)
    truth = torch.tensor([[40.0, 40, 50, 40], [60, 30, 40, 60]])
    boxes = torch.cat((truth[:, None], truth[:, None] + 30 * torch.rand(2, 32, 4)), dim=1)
    optimizer = torch.optim.Adam(head.parameters(), 1e-2)
    losses = []
    for _ in range(15):
        f = head(features, truth, features, boxes)
        loss = importance_nll(f[:, 1:], torch.zeros(2, 32), f[:, 0]).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < losses[0] - 0.5
    assert all(p.grad is not None and bool(p.grad.isfinite().all()) for p in head.parameters())


@pytest.mark.parametrize("changes", [{"maps": (0, 8)}, {"hidden": (8,)}, {"reference": (4, -1)}])
def test_channel_numbers_are_checked(changes: dict[str, tuple[int, ...]]) -> None:
    (name,) = changes
    with pytest.raises(ValueError, match=f"{name} must be two numbers of channels"):
        HeadChannels(**changes)  # type: ignore[arg-type]
