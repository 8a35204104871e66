from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
from typing import Any, NamedTuple

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.utils.data import Dataset

from ebm_tracker.training.batches import Share, _leave_soon, load_batches, seed_everything, to_device


@pytest.mark.parametrize(("count", "parts"), [(1, 1), (2, 1), (1, 3), (2, 3), (4, 3)])
def test_shares_make_up_the_batch(count: int, parts: int) -> None:
    """Every sample of step 5 once, whatever the split."""
    shares = [Share(24, parts, rank, count) for rank in range(count)]
    numbers = [n for share in shares for part in range(parts) for n in share.numbers(5, part)]
    assert sorted(numbers) == list(range(120, 144))
    assert all(len(share.numbers(5, part)) == share.part_size for share in shares for part in range(parts))


def test_part_of_all_processes_is_in_one_piece() -> None:
    shares = [Share(8, 2, rank, 2) for rank in range(2)]
    assert [list(share.numbers(1, 0)) for share in shares] == [[8, 9], [10, 11]]
    assert [list(share.numbers(1, 1)) for share in shares] == [[12, 13], [14, 15]]


def test_uneven_shares_are_refused() -> None:
    with pytest.raises(ValueError, match=r"multiple of accumulation x processes = 3 x 2 \(got 16\)"):
        Share(16, 3, 0, 2)


class Draws(Dataset[Tensor]):
    """Sample: its number, then what the worker's own generators and threads are."""

    def __getitem__(self, index: int) -> Tensor:
        info = torch.utils.data.get_worker_info()
        handlers = [signal.getsignal(signal.SIGINT) == signal.SIG_IGN, signal.getsignal(signal.SIGTERM) is _leave_soon]
        threads = torch.get_num_threads() == 1 and os.environ.get("OPENCV_FOR_THREADS_NUM") == "1"
        drawn = [random.random(), float(np.random.rand()), float(torch.rand(1, dtype=torch.float64))]
        return torch.tensor([index, -1 if info is None else info.id, *drawn, all(handlers), threads]).double()


def drawn(workers: int, seed: int = 0, start: int = 0, rank: int = 0) -> Tensor:
    share = Share(4, 1, rank, 2)
    return torch.cat(list(load_batches(Draws(), share, range(start, start + 3), workers, seed, 2, pin=False)))


def test_workers_are_seeded_quiet_and_single_threaded() -> None:
    first = drawn(2)
    assert first[:, 0].tolist() == [0, 1, 4, 5, 8, 9]
    assert first[:, 1].tolist() == [0, 0, 1, 1, 0, 0]
    assert bool(first[:, 5:].all())
    assert torch.equal(first, drawn(2))
    for other in (drawn(2, seed=1), drawn(2, start=3), drawn(2, rank=1)):
        assert not (other[:, 2:5] == first[:, 2:5]).any()
    assert first[:, 2:5].unique().numel() == 18  # no two draws alike, over workers and generators


def test_workers_start_where_opencv_has_threads() -> None:
    """In a process of its own: workers that wait for OpenCV's threads wait for ever."""
    pytest.importorskip("cv2")
    code = """if True:
        import cv2, numpy, torch
        from torch.utils.data import Dataset
        from ebm_tracker.training.batches import Share, load_batches

        cv2.setNumThreads(4)
        cv2.cvtColor(numpy.zeros((1000, 1200, 3), numpy.uint8), cv2.COLOR_BGR2RGB)  # starts them

        class Threads(Dataset):
            def __getitem__(self, index):
                return torch.tensor(cv2.getNumThreads())

        print(torch.cat(list(load_batches(Threads(), Share(2), range(2), 1, 0, 2, pin=False))).tolist())
    """
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=100)
    assert (done.returncode, done.stdout) == (0, "[1, 1, 1, 1]\n"), done.stderr


def test_order_is_the_same_without_workers() -> None:
    assert torch.equal(drawn(0)[:, 0], drawn(2)[:, 0])


def test_key_decides_all_generators() -> None:
    def draw(*key: int) -> tuple[float, float, float]:
        seed_everything(*key)
        return random.random(), float(np.random.rand()), float(torch.rand(1))

    assert draw(1, 2) == draw(1, 2)
    assert all(a != b for a, b in zip(draw(1, 2), draw(2, 1), strict=True))
    assert all(a != b for a, b in zip(draw(0, 0), draw(0, 0, 1), strict=True))


class Inner(NamedTuple):
    values: Tensor
    name: str


class Outer(NamedTuple):
    inner: Inner
    number: Tensor


def test_nested_batches_move() -> None:
    outer = Outer(Inner(torch.ones(2), "a"), torch.tensor(1))
    batch: Any = {"outer": outer, "list": [torch.zeros(1), None], "pair": (torch.zeros(1), 5)}
    moved = to_device(batch, torch.device("meta"))
    assert isinstance(moved["outer"], Outer) and isinstance(moved["outer"].inner, Inner)
    tensors = [moved["outer"].inner.values, moved["outer"].number, moved["list"][0], moved["pair"][0]]
    assert [tensor.device.type for tensor in tensors] == ["meta"] * 4
    assert moved["outer"].inner.name == "a" and moved["list"][1] is None and moved["pair"][1] == 5
    assert batch["outer"].number.device.type == "cpu"
