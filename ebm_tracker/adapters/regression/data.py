"""Examples of a training run: every epoch in an order of its own."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset


class Example(NamedTuple):
    """``number``: its place in the run; ``x``: features, or what the extractor makes features from; ``y`` (D,).
    A batch has a leading B."""

    number: Tensor
    x: Tensor
    y: Tensor


Transform = Callable[[Any, Tensor, np.random.Generator], tuple[Tensor, Tensor]]
"""(x, y (D,), random generator) -> (x, y) of one draw: augmentation. The stored x and y must stay as they are."""


class EpochDataset(Dataset[Example]):
    """``epochs`` passes over (x, y), each a permutation of its own; item ``number`` depends on (seed, number) alone.

    ``x``: a tensor (N, ...) or any sequence of N items; ``y`` (N, D). ``transform(x, y, generator)`` makes the example
    of one draw. Its length is epochs * N; a run takes as many whole batches of them.
    """

    def __init__(
        self,
        x: Tensor | Sequence[Any],
        y: Tensor,
        epochs: int,
        seed: int,
        transform: Transform | None = None,
    ) -> None:
        if y.ndim != 2 or len(x) != len(y) or not len(y):
            raise ValueError(f"y must be (N, D) with one row for each of the {len(x)} x (got {tuple(y.shape)})")
        if epochs < 1:
            raise ValueError(f"epochs must be at least 1 (got {epochs})")
        self.x, self.y, self.epochs, self.seed, self.transform = x, y, epochs, seed, transform
        self.count = len(y)
        self._epoch, self._order = -1, np.arange(0)

    def __len__(self) -> int:
        return self.epochs * self.count

    def __getitem__(self, number: int) -> Example:
        return self.__getitems__([number])[0]

    def __getitems__(self, numbers: Sequence[int]) -> list[Example]:
        """What torch's loader asks for: the examples of a batch, gathered at once where nothing is transformed."""
        rows = [self.row(number) for number in numbers]
        labels = torch.as_tensor(list(numbers))
        if self.transform is None and isinstance(self.x, Tensor):
            index = torch.as_tensor(rows)
            return list(map(Example, labels, self.x[index], self.y[index]))
        return [
            Example(label, *self._draw(number, row)) for label, number, row in zip(labels, numbers, rows, strict=True)
        ]

    def row(self, number: int) -> int:
        """Which of the N rows draw ``number`` shows."""
        epoch, place = divmod(number, self.count)
        if epoch != self._epoch:
            self._order = np.random.default_rng((self.seed, epoch, 1)).permutation(self.count)
            self._epoch = epoch
        return int(self._order[place])

    def _draw(self, number: int, row: int) -> tuple[Tensor, Tensor]:
        if self.transform is None:
            return self.x[row], self.y[row]
        return self.transform(self.x[row], self.y[row], np.random.default_rng((self.seed, number, 2)))
