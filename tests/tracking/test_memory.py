from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch

from ebm_tracker.tracking.memory import MemorySettings, SampleMemory

Golden = Callable[[str], dict[str, np.ndarray]]


def small_memory(initial: int, settings: MemorySettings) -> SampleMemory:
    return SampleMemory(torch.zeros(initial, 2, 3, 3), torch.zeros(initial, 3, 3), settings)


def weights_at_full_length(memory: SampleMemory) -> np.ndarray:
    full = np.zeros(memory.settings.capacity)
    full[: len(memory)] = memory.weights.numpy()
    return full


@pytest.mark.parametrize("tag", ["default", "hard", "vot", "small"])
def test_golden_weights_and_slots(golden: Golden, tag: str) -> None:
    arrays = golden("f_memory")
    weights, steps = arrays[f"{tag}_weights"], arrays[f"{tag}_weight_steps"].tolist()
    settings = MemorySettings(
        capacity=weights.shape[1], min_initial_weight=float(arrays[f"{tag}_min_init_weight"]) or None
    )
    memory = small_memory(int(arrays[f"{tag}_num_init"]), settings)
    np.testing.assert_allclose(weights_at_full_length(memory), weights[0], atol=1e-6)
    for step, (rate, slot) in enumerate(
        zip(arrays[f"{tag}_lr"], arrays[f"{tag}_replaced"], strict=True), start=1
    ):
        assert memory.add(torch.zeros(2, 3, 3), torch.zeros(3, 3), float(rate)) == slot
        if step in steps:
            np.testing.assert_allclose(weights_at_full_length(memory), weights[steps.index(step)], atol=1e-6)


def test_samples_and_labels_are_found_in_their_slot() -> None:
    initial = torch.randn(2, 2, 3, 3)
    memory = SampleMemory(initial, torch.ones(2, 3, 3), MemorySettings(capacity=4))
    sample, label = torch.randn(1, 2, 3, 3), torch.randn(3, 3)
    assert memory.add(sample, label) == 2
    assert len(memory) == 3
    torch.testing.assert_close(memory.samples, torch.cat([initial, sample]))
    torch.testing.assert_close(memory.labels[2], label)
    assert (memory.weights.dtype, tuple(memory.weights.shape)) == (torch.float32, (3,))


def test_weights_sum_to_one_without_a_minimum() -> None:
    memory = small_memory(3, MemorySettings(capacity=6, min_initial_weight=None))
    for step in range(20):
        memory.add(torch.zeros(2, 3, 3), torch.zeros(3, 3), 0.02 if step % 5 == 0 else 0.01)
        assert memory.weights.sum().item() == pytest.approx(1.0, abs=1e-6)


def test_first_frame_keeps_its_slots_and_its_share() -> None:
    memory = small_memory(3, MemorySettings(capacity=6, learning_rate=0.2))
    for _ in range(50):
        assert memory.add(torch.zeros(2, 3, 3), torch.zeros(3, 3)) >= 3
        assert memory.weights[:3].sum().item() >= 0.25 - 1e-6
        assert memory.weights.sum().item() == pytest.approx(1.0, abs=3e-3 + 0.25 * 0.2)


def test_newer_samples_weigh_more_by_a_constant_factor() -> None:
    memory = small_memory(1, MemorySettings(capacity=8, learning_rate=0.1, min_initial_weight=None))
    for _ in range(6):
        memory.add(torch.zeros(2, 3, 3), torch.zeros(3, 3))
    ratios = memory.weights[2:] / memory.weights[1:-1]
    torch.testing.assert_close(ratios, torch.full_like(ratios, 1 / 0.9))


def test_storage_does_not_grow() -> None:
    memory = small_memory(2, MemorySettings(capacity=5))
    address = memory.samples.data_ptr()
    for _ in range(20):
        memory.add(torch.zeros(2, 3, 3), torch.zeros(3, 3))
    assert len(memory) == 5
    assert memory.samples.data_ptr() == address


@pytest.mark.parametrize(("initial", "minimum"), [(6, None), (5, 0.25), (0, None)])
def test_too_small_a_capacity_is_refused(initial: int, minimum: float | None) -> None:
    with pytest.raises(ValueError, match="capacity"):
        small_memory(initial, MemorySettings(capacity=5, min_initial_weight=minimum))


def test_labels_must_belong_to_the_samples() -> None:
    with pytest.raises(ValueError, match="labels"):
        SampleMemory(torch.zeros(3, 2, 4, 4), torch.zeros(3, 4, 5))


@pytest.mark.parametrize("rate", [0.0, 1.0, -0.1])
def test_rates_outside_zero_and_one_are_refused(rate: float) -> None:
    with pytest.raises(ValueError, match="learning_rate"):
        MemorySettings(learning_rate=rate)
    memory = small_memory(2, MemorySettings(capacity=5))
    with pytest.raises(ValueError, match="learning_rate"):
        memory.add(torch.zeros(2, 3, 3), torch.zeros(3, 3), rate)
