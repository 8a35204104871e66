from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.utils.data import DataLoader

from ebm_tracker.adapters.regression import EpochDataset, Example


def numbered(count: int = 10) -> tuple[Tensor, Tensor]:
    return torch.arange(count)[:, None] * torch.tensor([1.0, 10.0]), torch.arange(float(count))[:, None]


def test_every_epoch_shows_every_row_once_in_an_order_of_its_own() -> None:
    x, y = numbered()
    data = EpochDataset(x, y, epochs=3, seed=5)
    assert len(data) == 30
    orders = [[int(data[number].y) for number in range(10 * epoch, 10 * epoch + 10)] for epoch in range(3)]
    assert all(sorted(order) == list(range(10)) for order in orders)
    assert orders[0] != orders[1] != orders[2] != list(range(10))
    assert orders[0] != [int(EpochDataset(x, y, 1, seed=6)[number].y) for number in range(10)]


def test_an_example_follows_from_seed_and_number_whatever_was_asked_before() -> None:
    def transform(x: Tensor, y: Tensor, generator: np.random.Generator) -> tuple[Tensor, Tensor]:
        return x + generator.random(), -y

    x, y = numbered()
    kept = x.clone(), y.clone()
    data = EpochDataset(x, y, 2, seed=5, transform=transform)
    forwards = [data[number] for number in range(20)]
    backwards = [data[number] for number in reversed(range(20))][::-1]
    for one, other in zip(forwards, backwards, strict=True):
        assert torch.equal(one.x, other.x) and torch.equal(one.y, other.y)
    assert len({float(example.x[0]) for example in forwards}) == 20  # another draw each
    assert torch.equal(x, kept[0]) and torch.equal(y, kept[1])


@pytest.mark.parametrize("with_transform", [False, True])
def test_a_batch_by_the_loader_is_its_examples(with_transform: bool) -> None:
    x, y = numbered()
    transform = (lambda x, y, generator: (2 * x, 3 * y)) if with_transform else None
    data = EpochDataset(x, y, 2, seed=1, transform=transform)
    batches = list(DataLoader(data, batch_size=4))
    assert all(isinstance(batch, Example) for batch in batches)
    assert torch.cat([batch.number for batch in batches]).tolist() == list(range(20))
    factor = torch.tensor([2.0, 20.0]) / 3 if with_transform else torch.tensor([1.0, 10.0])
    for batch in batches:
        torch.testing.assert_close(batch.x, batch.y * factor)
        assert [float(v) for v in batch.y[:, 0]] == [float(data[int(n)].y) for n in batch.number]


def test_x_may_be_any_sequence() -> None:
    _, y = numbered(3)
    data = EpochDataset([torch.full((2, 2), float(i)) for i in range(3)], y, 1, seed=0)
    for number in range(3):
        example = data[number]
        assert torch.equal(example.x, torch.full((2, 2), float(example.y)))


def test_rows_that_do_not_match_are_refused() -> None:
    x, y = numbered()
    for wrong in (y[:, 0], y[:9], y[:0]):
        with pytest.raises(ValueError, match=r"y must be \(N, D\) with one row for each of the 10 x"):
            EpochDataset(x, wrong, 1, 0)
    with pytest.raises(ValueError, match="epochs must be at least 1"):
        EpochDataset(x, y, 0, 0)
