from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from ebm_tracker.models.box_energy import BoxEnergy
from ebm_tracker.models.energy_head import EnergyHead, EnergyMaps, HeadChannels, Modulation

CHANNELS = [
    HeadChannels(features=(3, 4), reference=(3, 5), maps=(4, 6), hidden=(5, 7)),
    HeadChannels(features=(8, 8), reference=(8, 8), maps=(16, 8), hidden=(12, 12)),
    HeadChannels(features=(2, 2), reference=(2, 2), maps=(1, 1), hidden=(1, 3)),
]

AWKWARD_BOXES = [
    [100, 100, 0.3, 0.2],  # tiny
    [100.3, 99.7, 1e-3, 1e-3],
    [10, 10, 900, 900],  # huge
    [-500, -400, 1500, 1300],
    [-40, -30, 60, 50],  # over an edge
    [61, 62, 50, 50],
    [-200, -200, 20, 20],  # outside
    [400, 400, 30, 20],
    [-300, 50, 20, 20],
    [50, 50, 0, 10],  # empty
    [50, 50, 10, 0],
    [50, 50, 0, 0],
    [50, 50, -10, 10],  # inverted
    [30.5, 31.5, 16, 16],
]


def random_case(
    channels: HeadChannels, dtype: torch.dtype = torch.float64, size8: tuple[int, int] = (12, 12)
) -> tuple[EnergyHead, Modulation, EnergyMaps]:
    generator = torch.Generator().manual_seed(3)

    def uniform(*shape: int) -> Tensor:
        return torch.rand(shape, generator=generator, dtype=dtype)

    torch.manual_seed(4)
    head = EnergyHead(channels).to(dtype).eval()
    with torch.no_grad():
        for name, value in head.named_parameters():
            if name.endswith("bias"):
                value.normal_(0, 0.3, generator=generator)
            elif value.ndim == 1:
                value.uniform_(0.5, 1.5, generator=generator)
    for module in head.modules():
        if isinstance(module, nn.BatchNorm2d):
            assert module.running_mean is not None and module.running_var is not None
            module.running_mean.normal_(0, 0.2, generator=generator)
            module.running_var.uniform_(0.5, 2, generator=generator)
    (c8, c16), (h, w) = channels.maps, size8
    maps = EnergyMaps(uniform(1, c8, h, w), uniform(1, c16, h // 2, w // 2))
    return head, Modulation(uniform(1, c8), uniform(1, c16)), maps


def by_autograd(head: EnergyHead, modulation: Modulation, maps: EnergyMaps, boxes: Tensor) -> tuple[Tensor, Tensor]:
    leaf = boxes.clone().requires_grad_()
    energies = head.energies(maps, modulation, leaf[None])[0]
    return energies.detach(), torch.autograd.grad(energies.sum(), leaf)[0]


@pytest.mark.parametrize("channels", CHANNELS)
@pytest.mark.parametrize("size8", [(12, 12), (8, 14)])
def test_equals_the_head_on_random_boxes(channels: HeadChannels, size8: tuple[int, int]) -> None:
    head, modulation, maps = random_case(channels, size8=size8)
    energy = BoxEnergy(head, modulation).frame(maps)
    generator = torch.Generator().manual_seed(5)
    boxes = torch.rand((40, 4), generator=generator, dtype=torch.float64) * 60 + 1
    boxes[:, :2] += torch.rand((40, 2), generator=generator, dtype=torch.float64) * 80 - 60
    expected_f, expected_grad = by_autograd(head, modulation, maps, boxes)
    f, grad = energy.value_and_grad(boxes)
    torch.testing.assert_close(f, expected_f, atol=1e-10, rtol=1e-10)
    torch.testing.assert_close(grad, expected_grad, atol=1e-10, rtol=1e-10)
    torch.testing.assert_close(energy.values(boxes), f, atol=1e-12, rtol=0)
    assert not f.requires_grad and not grad.requires_grad
    assert expected_grad.abs().max() > 1e-3


@pytest.mark.parametrize("channels", CHANNELS)
@pytest.mark.parametrize("index", range(len(AWKWARD_BOXES)))
def test_equals_the_head_on_awkward_boxes_alone(channels: HeadChannels, index: int) -> None:
    """One box at a time: the window of cells is as small as that box."""
    head, modulation, maps = random_case(channels)
    boxes = torch.tensor(AWKWARD_BOXES[index : index + 1], dtype=torch.float64)
    expected_f, expected_grad = by_autograd(head, modulation, maps, boxes)
    f, grad = BoxEnergy(head, modulation).frame(maps).value_and_grad(boxes)
    torch.testing.assert_close(f, expected_f, atol=1e-10, rtol=1e-10)
    # A box of 1e-3 pixels has gradients of differences over 1e-3 / 40 cells: ten digits of them are not there.
    torch.testing.assert_close(grad, expected_grad, atol=1e-8, rtol=1e-8)
    if min(AWKWARD_BOXES[index][2:]) > 1:
        torch.testing.assert_close(grad, expected_grad, atol=1e-10, rtol=1e-10)


def test_equals_the_head_on_all_of_them_together() -> None:
    head, modulation, maps = random_case(CHANNELS[0])
    boxes = torch.tensor(AWKWARD_BOXES, dtype=torch.float64)
    expected_f, expected_grad = by_autograd(head, modulation, maps, boxes)
    f, grad = BoxEnergy(head, modulation).frame(maps).value_and_grad(boxes)
    torch.testing.assert_close(f, expected_f, atol=1e-10, rtol=1e-10)
    torch.testing.assert_close(grad, expected_grad, atol=1e-8, rtol=1e-8)
    empty = (boxes[:, 2:] <= 0).any(1)
    assert float(grad[empty].abs().max()) == 0
    assert float(f[empty].std()) < 1e-12, "an empty box has the energy of an empty map, wherever it is"


def test_a_broken_box_does_not_touch_the_others() -> None:
    head, modulation, maps = random_case(CHANNELS[0])
    energy = BoxEnergy(head, modulation).frame(maps)
    good = torch.tensor([[20.0, 30, 25, 20], [40, 10, 30, 35]], dtype=torch.float64)
    broken = torch.tensor([[torch.nan, 0, 10, 10], [0, 0, torch.inf, 10]], dtype=torch.float64)
    f, grad = energy.value_and_grad(torch.cat((good, broken)))
    expected_f, expected_grad = energy.value_and_grad(good)
    torch.testing.assert_close(f[:2], expected_f, atol=1e-12, rtol=0)
    torch.testing.assert_close(grad[:2], expected_grad, atol=1e-12, rtol=0)


def test_float32_agrees_with_float64() -> None:
    head, modulation, maps = random_case(CHANNELS[1])
    boxes = torch.tensor(AWKWARD_BOXES, dtype=torch.float64)
    f, grad = BoxEnergy(head, modulation).frame(maps).value_and_grad(boxes)
    narrow_f, narrow_grad = (
        BoxEnergy(head.float(), Modulation(modulation[0].float(), modulation[1].float()))
        .frame(EnergyMaps(maps[0].float(), maps[1].float()))
        .value_and_grad(boxes.float())
    )
    assert narrow_f.dtype is narrow_grad.dtype is torch.float32
    torch.testing.assert_close(narrow_f.double(), f, atol=1e-5, rtol=1e-5)
    sized = boxes[:, 2:].amin(1) > 0.1  # float32 corners cannot even name a box of 1e-3 pixels at 100
    torch.testing.assert_close(narrow_grad.double()[sized], grad[sized], atol=1e-4, rtol=1e-3)


def test_the_target_keeps_what_it_was_made_of() -> None:
    """Later changes of the head do not reach a target that was already folded."""
    head, modulation, maps = random_case(CHANNELS[0])
    target = BoxEnergy(head, modulation)
    boxes = torch.tensor([[20.0, 30, 25, 20]], dtype=torch.float64)
    before = target.frame(maps).values(boxes)
    with torch.no_grad():
        head.fc3_rt.linear.weight.zero_()
        modulation.stride8.zero_()
    assert torch.equal(target.frame(maps).values(boxes), before)


def test_a_head_in_training_mode_is_refused() -> None:
    head, modulation, _ = random_case(CHANNELS[0])
    with pytest.raises(ValueError, match="eval mode"):
        BoxEnergy(head.train(), modulation)
