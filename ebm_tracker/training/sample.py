"""What one element of a training batch is: a pair of frames with the boxes to score on it."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset

from ebm_tracker.training.candidates import Candidates, CandidateScheme
from ebm_tracker.training.pairs import Pair

STREAM = 1
"""Tells the candidates' random numbers from the pair's, which use the seed (seed, number) alone."""


class Sample(NamedTuple):
    """``number`` (): which sample of the run this is. torch's default_collate makes batches of it."""

    pair: Pair
    candidates: Candidates
    number: Tensor


class SampleDataset(Dataset[Sample]):
    """Pairs with candidates around their test boxes. Those of number i depend on ``seed`` and i alone: any worker,
    any order, any rank."""

    def __init__(self, pairs: Dataset[Pair], scheme: CandidateScheme, seed: int) -> None:
        self.pairs, self.scheme, self.seed = pairs, scheme, seed

    @property
    def faults(self) -> Any:
        """Those of the pairs, for the loop."""
        return getattr(self.pairs, "faults", None)

    def __len__(self) -> int:
        return len(self.pairs)  # type: ignore[arg-type]  # a Dataset with a length

    def __getitem__(self, index: int) -> Sample:
        pair = self.pairs[index]
        rng = np.random.default_rng((self.seed, index, STREAM))
        return Sample(pair, self.scheme.draw(pair.test_box, rng), torch.tensor(index))
