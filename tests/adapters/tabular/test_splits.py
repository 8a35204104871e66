"""Splits: every row once, groups together, sizes as asked for, the same every time."""

from __future__ import annotations

import numpy as np
import pytest

from ebm_tracker.adapters.tabular.splits import make_splits


def test_every_row_is_tested_once_in_each_repeat() -> None:
    splits = make_splits(103, folds=5, repeats=2, seed=3)
    assert len(splits) == 10
    for repeat in (splits[:5], splits[5:]):
        assert sorted(np.concatenate([split.test for split in repeat]).tolist()) == list(range(103))
    for split in splits:
        rows = np.concatenate([split.train, split.validation, split.test])
        assert sorted(rows.tolist()) == list(range(103))
        assert len(split.test) in (20, 21)
        assert len(split.validation) == int(0.2 * (103 - len(split.test)))
        assert (np.diff(split.train) > 0).all()
    assert splits[0].test.tolist() != splits[5].test.tolist()


def test_splits_follow_from_the_seed() -> None:
    first, again, other = (make_splits(50, 5, 1, seed) for seed in (0, 0, 1))
    assert [split.test.tolist() for split in first] == [split.test.tolist() for split in again]
    assert [split.test.tolist() for split in first] != [split.test.tolist() for split in other]


def test_groups_stay_together() -> None:
    groups = np.random.default_rng(0).integers(100, 130, 300)
    for split in make_splits(300, folds=4, repeats=2, seed=0, groups=groups):
        parts = [set(groups[rows].tolist()) for rows in (split.train, split.validation, split.test)]
        assert not parts[0] & parts[1] and not parts[0] & parts[2] and not parts[1] & parts[2]
        assert 60 <= len(split.test) <= 90 and 25 <= len(split.validation) <= 50 and len(split.train) > 150


@pytest.mark.parametrize(("count", "folds", "repeats"), [(9, 5, 1), (50, 1, 1), (50, 5, 0), (0, 2, 1)])
def test_what_cannot_be_divided_is_refused(count: int, folds: int, repeats: int) -> None:
    with pytest.raises(ValueError, match="at least"):
        make_splits(count, folds, repeats, seed=0)
