"""Fixed-size store of weighted training samples for the online classifier.

The first-frame samples keep their slots for the whole video; later samples take the least important other
slot. Weights follow an exponential moving average: with a constant rate each sample weighs `1 / (1 - rate)`
times as much as the one before it. `min_initial_weight` bounds from below what the first frame's samples
weigh together.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class MemorySettings:
    """Size and forgetting of a `SampleMemory`.

    Args:
        capacity: number of slots.
        learning_rate: share of the total weight given to an ordinary sample, in (0, 1).
        hard_negative_learning_rate: the same for a frame with a distractor.
        min_initial_weight: least total weight of the first frame's samples, in (0, 1). None lets them fade
            and be replaced.
    """

    capacity: int = 250
    learning_rate: float = 0.01
    hard_negative_learning_rate: float = 0.02
    min_initial_weight: float | None = 0.25

    def __post_init__(self) -> None:
        for name in ("learning_rate", "hard_negative_learning_rate"):
            _check_fraction(name, getattr(self, name))
        if self.min_initial_weight is not None:
            _check_fraction("min_initial_weight", self.min_initial_weight)


class SampleMemory:
    """Samples, labels and weights, allocated once at their final size.

    The filled slots are always the first ones: empty slots weigh nothing and are therefore taken in order.

    Args:
        samples: first-frame samples (N, C, h, w); their device and dtype become the memory's.
        labels: their labels (N, h, w).
        settings: size and forgetting, defaults if None.

    Raises:
        ValueError: if the samples do not fit the capacity, or labels and samples do not belong together.
    """

    def __init__(self, samples: Tensor, labels: Tensor, settings: MemorySettings | None = None) -> None:
        self.settings = settings or MemorySettings()
        capacity = self.settings.capacity
        count, channels, height, width = samples.shape
        if tuple(labels.shape) != (count, height, width):
            raise ValueError(
                f"labels must have shape {(count, height, width)} to fit the samples, "
                f"received {tuple(labels.shape)}"
            )
        # A protected first frame needs at least one other slot to write to.
        needed = count if self.settings.min_initial_weight is None else count + 1
        if count < 1 or capacity < needed:
            raise ValueError(
                f"capacity must be at least {max(needed, 1)} for {count} initial samples, received {capacity}"
            )
        self._initial_count = count
        self._filled = count
        self._newest: int | None = None
        self._samples = samples.new_zeros(capacity, channels, height, width)
        self._labels = labels.new_zeros(capacity, height, width)
        self._samples[:count] = samples
        self._labels[:count] = labels
        # The choice of a slot must not wait for a device, nor depend on the samples' precision.
        self._weights = torch.zeros(capacity, dtype=torch.float64)
        self._weights[:count] = 1.0 / count

    def __len__(self) -> int:
        """Number of filled slots."""
        return self._filled

    @property
    def samples(self) -> Tensor:
        """View of the filled slots (n, C, h, w)."""
        return self._samples[: self._filled]

    @property
    def labels(self) -> Tensor:
        """View of the filled slots' labels (n, h, w)."""
        return self._labels[: self._filled]

    @property
    def weights(self) -> Tensor:
        """Weights of the filled slots (n,), on the samples' device and in their dtype."""
        return self._weights[: self._filled].to(device=self._samples.device, dtype=self._samples.dtype)

    def add(self, sample: Tensor, label: Tensor, learning_rate: float | None = None) -> int:
        """Store one sample in the least important slot.

        Args:
            sample: (C, h, w) or (1, C, h, w).
            label: (h, w) or (1, h, w).
            learning_rate: share of the total weight for this sample, in (0, 1); the ordinary rate if None.

        Returns:
            Index of the slot that was written.

        Raises:
            ValueError: if the rate is outside (0, 1).
        """
        rate = self.settings.learning_rate if learning_rate is None else learning_rate
        _check_fraction("learning_rate", rate)
        index = self._reweigh(rate)
        self._samples[index] = sample
        self._labels[index] = label
        self._filled = max(self._filled, index + 1)
        return index

    def _reweigh(self, rate: float) -> int:
        """Choose a slot for a new sample, give it its weight and normalise; returns the slot."""
        weights, count, minimum = self._weights, self._initial_count, self.settings.min_initial_weight
        first = 0 if minimum is None else count
        index = first + int(weights[first:].argmin())
        if self._newest is None:
            weights /= 1.0 - rate
            weights[index] = rate
        else:
            weights[index] = weights[self._newest] / (1.0 - rate)
        weights /= weights.sum()
        if minimum is not None and float(weights[:count].sum()) < minimum:
            weights /= minimum + weights[count:].sum()
            weights[:count] = minimum / count
        self._newest = index
        return index


def _check_fraction(name: str, value: float) -> None:
    if not 0.0 < value < 1.0:
        raise ValueError(f"{name} must lie between 0 and 1, received {value}")
