from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch.utils.data import DataLoader, Dataset

from ebm_tracker.training.candidates import First, MixtureCandidates
from ebm_tracker.training.pairs import Pair
from ebm_tracker.training.sample import Sample, SampleDataset


class Boxes(Dataset[Pair]):
    """Pairs of empty images; boxes number i come from the generator seeded by (0, i), as in a run of seed 0."""

    def __init__(self, length: int) -> None:
        self.length = length

    def __len__(self) -> int:
        return self.length

    def __getitem__(self, index: int) -> Pair:
        boxes = torch.from_numpy(np.random.default_rng((0, index)).uniform(20, 60, (2, 4))).float()
        image = torch.zeros(3, 2, 2, dtype=torch.uint8)
        return Pair(image, boxes[0], image + 1, boxes[1])


def samples(length: int = 12, seed: int = 0) -> SampleDataset:
    return SampleDataset(Boxes(length), MixtureCandidates(samples=8, first=First.TRUTH), seed)


def batches(workers: int, order: Sequence[int]) -> list[Sample]:
    loader = DataLoader(samples(), batch_size=4, sampler=order, num_workers=workers)
    return list(loader)


def test_a_batch_is_the_same_for_any_number_of_workers_and_any_order() -> None:
    here = batches(0, range(12))
    for other in (batches(1, range(12)), batches(2, range(12))):
        for a, b in zip(here, other, strict=True):
            assert torch.equal(a.candidates.boxes_xywh, b.candidates.boxes_xywh)
            assert torch.equal(a.candidates.log_q, b.candidates.log_q)
            assert torch.equal(a.number, b.number)
    backwards = batches(0, range(11, -1, -1))
    assert torch.equal(backwards[0].candidates.boxes_xywh, here[2].candidates.boxes_xywh.flip(0))


def test_collation_keeps_the_names_and_shapes() -> None:
    batch = batches(0, range(12))[1]
    assert isinstance(batch, Sample) and isinstance(batch.pair, Pair)
    assert batch.candidates.boxes_xywh.shape == (4, 9, 4) and batch.candidates.log_q.shape == (4, 9)
    assert batch.number.tolist() == [4, 5, 6, 7]
    assert torch.equal(batch.candidates.boxes_xywh[:, 0], batch.pair.test_box)


def test_candidates_differ_between_samples_and_seeds_and_from_the_pair_s_own_numbers() -> None:
    dataset = samples()
    assert len(dataset) == 12
    offsets = [(s.candidates.boxes_xywh[1:, 2:] / s.pair.test_box[2:]).log() for s in (dataset[0], dataset[1])]
    assert not torch.allclose(offsets[0], offsets[1])
    assert not torch.equal(dataset[0].candidates.boxes_xywh, samples(seed=1)[0].candidates.boxes_xywh)
    scheme = dataset.scheme
    same_stream = scheme.draw(dataset[3].pair.test_box, np.random.default_rng((0, 3)))
    assert not torch.equal(same_stream.boxes_xywh, dataset[3].candidates.boxes_xywh)
