from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader, Dataset

from ebm_tracker.training.bank import BankError, PairBank, ShuffledPairs, make_bank, mirrored
from ebm_tracker.training.pairs import Pair

COUNT, SIZE = 70, 8


class Numbered(Dataset[Pair]):
    """Pair i is filled with i; ``made`` lists what was asked for in this process."""

    def __init__(self, stop_at: int = 10**9) -> None:
        self.made: list[int] = []
        self.stop_at = stop_at

    def __getitem__(self, index: int) -> Pair:
        if index == self.stop_at:
            raise KeyboardInterrupt
        self.made.append(index)
        image = torch.full((3, SIZE, SIZE), index, dtype=torch.uint8)
        return Pair(image, torch.tensor([1.0, 2, 3, index]), image + 100, torch.tensor([0.5, 1, 2, index]))


@pytest.fixture(scope="module")
def bank(tmp_path_factory: pytest.TempPathFactory) -> PairBank:
    return make_bank(tmp_path_factory.mktemp("bank") / "b", Numbered(), COUNT, {"seed": 1}, workers=2)


def test_a_bank_gives_back_its_pairs(bank: PairBank) -> None:
    assert len(bank) == COUNT and bank.facts == {"seed": 1}
    for i in (0, 31, 32, COUNT - 1):
        for got, want in zip(bank[i], Numbered()[i], strict=True):
            assert torch.equal(got, want) and got.dtype == want.dtype


def test_spawned_workers_open_the_bank_themselves(bank: PairBank) -> None:
    loader = DataLoader(bank, batch_size=7, num_workers=1, multiprocessing_context="spawn")
    heights = torch.cat([batch.test_box[:, 3] for batch in loader])
    assert heights.tolist() == list(range(COUNT))


def test_a_stopped_bank_goes_on_where_it_stopped(tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt):
        make_bank(tmp_path, Numbered(stop_at=50), COUNT, {})
    with pytest.raises(BankError, match="lacks 38 of 70"):
        PairBank(tmp_path)
    again = Numbered()
    bank = make_bank(tmp_path, again, COUNT, {})
    assert again.made == [0, *range(32, COUNT)]  # the first one tells the crop's size
    assert [int(bank[i].test_box[3]) for i in range(COUNT)] == list(range(COUNT))


def test_a_folder_with_other_pairs_is_refused(bank: PairBank, tmp_path: Path) -> None:
    with pytest.raises(BankError, match="holds other pairs"):
        make_bank(bank.folder, Numbered(), COUNT, {"seed": 2})
    with pytest.raises(BankError, match="no bank.json"):
        PairBank(tmp_path)


def test_every_epoch_shows_each_pair_once_in_an_order_of_its_own(bank: PairBank) -> None:
    draws = ShuffledPairs(bank, COUNT, 2 * COUNT, seed=3)
    numbers = [int(draws[i].test_box[3]) for i in range(2 * COUNT)]
    first, second = numbers[:COUNT], numbers[COUNT:]
    assert sorted(first) == sorted(second) == list(range(COUNT))
    assert first != second and first != list(range(COUNT))
    # Draw i alone decides: asked for backwards, the same.
    again = ShuffledPairs(bank, COUNT, 2 * COUNT, seed=3)
    assert [int(again[i].test_box[3]) for i in reversed(range(2 * COUNT))] == numbers[::-1]
    assert [int(ShuffledPairs(bank, COUNT, COUNT, seed=4)[i].test_box[3]) for i in range(COUNT)] != first


def test_half_of_the_draws_are_mirrored(bank: PairBank) -> None:
    draws = ShuffledPairs(bank, COUNT, 10 * COUNT, seed=0)
    # Box x 0.5, w 2 in a crop of 8: mirrored it starts at 7 - 2.5.
    left = np.array([float(draws[i].test_box[0]) for i in range(10 * COUNT)])
    assert set(left) == {0.5, 4.5}
    assert 0.42 < (left == 4.5).mean() < 0.58


def test_mirroring_moves_box_and_pixels_alike() -> None:
    image = torch.zeros(3, 10, 10, dtype=torch.uint8)
    image[:, 3:6, 1:4] = 255  # pixels 1..3: edges 0.5 and 3.5
    box = torch.tensor([0.5, 2.5, 3.0, 3.0])
    pair = mirrored(Pair(image, box, image, box))
    columns = pair.test_image[0].any(0).nonzero()[:, 0]
    assert (int(columns[0]) - 0.5, int(columns[-1]) + 0.5) == (5.5, 8.5)
    assert pair.test_box.tolist() == [5.5, 2.5, 3.0, 3.0] and torch.equal(pair.reference_box, pair.test_box)
    assert all(torch.equal(a, b) for a, b in zip(mirrored(pair), Pair(image, box, image, box), strict=True))
