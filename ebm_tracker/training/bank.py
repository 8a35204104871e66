"""Ready-made pairs on disk, so that many runs (or many epochs) share the work of making them.

A bank is a folder: ``images.npy`` (P, 2, 3, S, S) uint8 (reference, test), ``boxes.npy`` (P, 2, 4) float32,
``done.npy`` (P,) bool, and ``bank.json`` with the facts about its pairs. Half a megabyte a pair at S = 288.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.lib.format import open_memmap
from torch.utils.data import DataLoader, Dataset

from ebm_tracker.errors import EbmError
from ebm_tracker.files import write_text_atomic
from ebm_tracker.training.pairs import Pair

CHUNK = 32
"""Pairs that one worker makes at a time."""


class BankError(EbmError):
    """A folder is not a complete bank of pairs, or holds other pairs than those asked for."""


class PairBank(Dataset[Pair]):
    """The pairs of a bank, by number. Raises BankError when the folder is not a complete one."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        path = folder / "bank.json"
        if not path.is_file():
            raise BankError(f"{folder.absolute()} holds no bank of pairs (no bank.json)")
        described = json.loads(path.read_text())
        self.count, self.crop_size = int(described["pairs"]), int(described["crop_size"])
        self.facts: Mapping[str, Any] = described["facts"]
        missing = self.count - int(np.load(folder / "done.npy", mmap_mode="r", allow_pickle=False).sum())
        if missing:
            raise BankError(f"{folder.absolute()} lacks {missing} of {self.count} pairs; make the bank again")
        self._open()

    def _open(self) -> None:
        try:
            self._images = np.load(self.folder / "images.npy", mmap_mode="r", allow_pickle=False)
            self._boxes = np.load(self.folder / "boxes.npy", mmap_mode="r", allow_pickle=False)
        except ValueError as error:  # numpy's for a file that was cut short
            raise BankError(f"{self.folder.absolute()} is damaged ({error}); make the bank again") from error

    def __len__(self) -> int:
        return self.count

    def __getitem__(self, index: int) -> Pair:
        images, boxes = np.array(self._images[index]), np.array(self._boxes[index])
        return Pair(*map(torch.from_numpy, (images[0], boxes[0], images[1], boxes[1])))

    # A memory map would travel to spawned workers by value.
    def __getstate__(self) -> dict[str, Any]:
        return {key: value for key, value in self.__dict__.items() if key not in ("_images", "_boxes")}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._open()


class ShuffledPairs(Dataset[Pair]):
    """``length`` draws from a bank: every pair once per epoch in an order of its own, half of them mirrored.

    Draw i depends on (seed, i) alone.
    """

    def __init__(self, bank: Dataset[Pair], count: int, length: int, seed: int) -> None:
        self.bank, self.count, self.length, self.seed = bank, count, length, seed
        self._epoch, self._order = -1, np.arange(0)

    def __len__(self) -> int:
        return self.length

    def __getitem__(self, index: int) -> Pair:
        epoch, place = divmod(index, self.count)
        if epoch != self._epoch:
            order = np.random.default_rng((self.seed, epoch, 1)).permutation(self.count)
            self._epoch, self._order = epoch, order
        pair = self.bank[int(self._order[place])]
        return mirrored(pair) if np.random.default_rng((self.seed, index, 2)).random() < 0.5 else pair


def mirrored(pair: Pair) -> Pair:
    """Both crops with left and right exchanged: pixel x becomes S - 1 - x, so a box's left edge S - 1 - x - w."""
    last = pair.test_image.shape[-1] - 1

    def box(xywh: torch.Tensor) -> torch.Tensor:
        x, y, w, h = xywh.unbind(-1)
        return torch.stack((last - x - w, y, w, h), -1)

    return Pair(
        pair.reference_image.flip(-1), box(pair.reference_box), pair.test_image.flip(-1), box(pair.test_box)
    )


class _Chunks(Dataset[int]):
    """Item i writes the pairs of chunk i that are not done yet, in whichever process asks for it."""

    def __init__(self, folder: Path, pairs: Dataset[Pair], count: int, chunks: list[int]) -> None:
        self.folder, self.pairs, self.count, self.chunks = folder, pairs, count, chunks

    def __len__(self) -> int:
        return len(self.chunks)

    def __getitem__(self, index: int) -> int:
        images, boxes, done = (
            np.load(self.folder / f"{name}.npy", mmap_mode="r+", allow_pickle=False)
            for name in ("images", "boxes", "done")
        )
        first = self.chunks[index] * CHUNK
        numbers = range(first, min(first + CHUNK, self.count))
        for number in numbers:
            pair = self.pairs[number]
            images[number] = torch.stack((pair.reference_image, pair.test_image)).numpy()
            boxes[number] = torch.stack((pair.reference_box, pair.test_box)).numpy()
        done[numbers.start : numbers.stop] = True
        return len(numbers)


def make_bank(
    folder: Path,
    pairs: Dataset[Pair],
    count: int,
    facts: Mapping[str, Any],
    workers: int = 0,
    progress: Callable[[int, int], None] | None = None,
) -> PairBank:
    """Writes the first ``count`` of ``pairs``; a stopped bank is gone on with, a finished one only opened.

    ``facts``: what the pairs are made from (JSON); raises BankError when the folder holds a bank with others.
    ``progress(done, count)`` is called as chunks come in.
    """
    size = int(pairs[0].test_image.shape[-1])
    described = {"pairs": count, "crop_size": size, "facts": json.loads(json.dumps(facts))}
    path = folder / "bank.json"
    if path.is_file():
        found = json.loads(path.read_text())
        if found != described:
            raise BankError(f"{folder.absolute()} holds other pairs ({found}, asked for {described})")
    else:
        folder.mkdir(parents=True, exist_ok=True)
        for name, shape, dtype in (
            ("images", (count, 2, 3, size, size), np.uint8),
            ("boxes", (count, 2, 4), np.float32),
            ("done", (count,), np.bool_),
        ):
            open_memmap(folder / f"{name}.npy", mode="w+", dtype=dtype, shape=shape).flush()
        write_text_atomic(path, json.dumps(described, indent=1) + "\n")
    done = np.load(folder / "done.npy", mmap_mode="r", allow_pickle=False)
    chunks = [i for i in range(-(-count // CHUNK)) if not done[i * CHUNK : (i + 1) * CHUNK].all()]
    finished = int(done.sum())
    if progress:
        progress(finished, count)
    writer = _Chunks(folder, pairs, count, chunks)
    for written in DataLoader(writer, batch_size=None, num_workers=workers, worker_init_fn=_one_thread):
        finished += int(written)
        if progress:
            progress(min(finished, count), count)
    return PairBank(folder)


def _one_thread(_: int) -> None:
    torch.set_num_threads(1)
