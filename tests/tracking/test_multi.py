"""Several objects at once against trackers of their own."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch

from ebm_tracker.models import BoxEnergy, EnergyNetwork
from ebm_tracker.models.box_energy_group import GroupBoxEnergy
from ebm_tracker.models.energy_head import EnergyMaps
from ebm_tracker.parameters import preset
from ebm_tracker.tracking import MultiTracker, Status, Tracker

Frames = Callable[..., np.ndarray]
TOLERANCE = 0.02
"""Pixels: what the order of sums in a batch may change in a few frames."""
BOXES = {"a": (60.0, 60.0, 40.0, 40.0), 7: (200.0, 150.0, 40.0, 40.0)}


def video(frame: Frames, count: int) -> list[np.ndarray]:
    """Two squares that move."""
    return [frame(60 + 3 * i, 60 + 2 * i, more=((200 - 2 * i, 150 - i),)) for i in range(count)]


def own(network: EnergyNetwork, frames: list[np.ndarray], box: tuple[float, ...]) -> list[Any]:
    tracker = Tracker(network, preset("default"))
    tracker.initialize(frames[0], box)
    return [tracker.track(image) for image in frames[1:]]


@pytest.fixture(scope="module")
def frames(frame: Frames) -> list[np.ndarray]:
    return video(frame, 4)


@pytest.fixture(scope="module")
def alone(network: EnergyNetwork, frames: list[np.ndarray]) -> dict[Any, list[Any]]:
    return {key: own(network, frames, box) for key, box in BOXES.items()}


def make(network: EnergyNetwork, **settings: Any) -> MultiTracker:
    return MultiTracker(network, preset("default"), **settings)


def test_one_object_is_exactly_the_tracker(network: EnergyNetwork, frames: Any, alone: Any) -> None:
    multi = make(network)
    multi.initialize(frames[0], {"a": BOXES["a"]})
    assert [multi.track(image) for image in frames[1:]] == [{"a": output} for output in alone["a"]]


def test_objects_by_id_and_one_that_leaves(network: EnergyNetwork, frames: Any, alone: Any) -> None:
    multi = make(network, keep_details=True)
    multi.initialize(frames[0], {"a": BOXES["a"]})
    multi.add(frames[0], 7, BOXES[7])
    with pytest.raises(ValueError, match="object 7 is tracked already"):
        multi.add(frames[0], 7, BOXES[7])
    with pytest.raises(ValueError, match="object 8"):
        multi.add(frames[0], 8, (1, 2, 0, 3))
    for i, image in enumerate(frames[1:]):
        if i == 2:
            multi.remove("a")
        outputs = multi.track(image)
        assert list(outputs) == list(multi.ids) == (["a", 7] if i < 2 else [7])
        for key, output in outputs.items():
            assert output.box_xywh == pytest.approx(alone[key][i].box_xywh, abs=TOLERANCE)
            assert output.status is alone[key][i].status
            assert multi.details[key].climb is not None
    with pytest.raises(KeyError, match="there are: 7"):
        multi.remove("a")
    lost = multi.track(None)
    assert lost[7].status is Status.LOST and lost[7].box_xywh == outputs[7].box_xywh
    with pytest.raises(ValueError):
        multi.initialize(frames[0], {1: BOXES[7], 2: (0, 0, -1, 1)})
    assert multi.ids == (7,)
    multi.initialize(frames[0], {})
    assert multi.track(frames[1]) == {}


def test_boxes_by_id_for_the_plain_tracker(network: EnergyNetwork, frames: Any, alone: Any) -> None:
    tracker = Tracker(network, preset("default"))
    tracker.initialize(frames[0], BOXES)
    outputs: Any = tracker.track(frames[1])
    assert list(outputs) == ["a", 7]
    for key, output in outputs.items():
        assert output.box_xywh == pytest.approx(alone[key][0].box_xywh, abs=TOLERANCE)
    tracker.initialize(frames[0], BOXES["a"])
    assert tracker.track(frames[1]) == alone["a"][0]


@pytest.mark.parametrize("shift", [0.0, 150.0, float("nan")])
def test_energies_of_a_group_are_those_of_its_targets(network: EnergyNetwork, shift: float) -> None:
    network = network.eval()
    generator = torch.Generator().manual_seed(3)
    images = 255 * torch.rand((3, 3, 288, 288), generator=generator)
    with torch.no_grad():
        features = network.features(images)
        maps = network.head.maps(features)
        boxes = 100 + 60 * torch.rand((3, 5, 4), generator=generator)
        modulation = network.head.modulation(features, boxes[:, 0])
    boxes[1, :, :2] += shift  # partly outside the crop, or no box at all
    targets = [BoxEnergy(network.head, type(modulation)(*(m[i : i + 1] for m in modulation))) for i in range(3)]
    group = GroupBoxEnergy(targets, maps)
    singles = [t.frame(type(maps)(*(m[i : i + 1] for m in maps))) for i, t in enumerate(targets)]
    for moved in (boxes, boxes + 1, boxes + 9):  # within the windows, and out of them
        energies, gradient = group.value_and_grad(moved.reshape(-1, 4))
        for i, single in enumerate(singles):
            if i == 1 and shift != shift:
                continue
            wanted, slope = single.value_and_grad(moved[i])
            torch.testing.assert_close(energies.view(3, 5)[i], wanted, rtol=1e-4, atol=1e-4)
            torch.testing.assert_close(gradient.view(3, 5, 4)[i], slope, rtol=1e-3, atol=1e-5)
        torch.testing.assert_close(group.values(moved.reshape(-1, 4)), energies, rtol=0, atol=1e-5, equal_nan=True)


def test_group_errors(network: EnergyNetwork) -> None:
    channels = network.head.channels.maps
    maps = EnergyMaps(torch.zeros(1, channels[0], 4, 4), torch.zeros(1, channels[1], 2, 2))
    with pytest.raises(ValueError, match="0 targets need as many maps"):
        GroupBoxEnergy([], maps)
