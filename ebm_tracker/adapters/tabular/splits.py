"""Repeated cross-validation: who is trained on, who decides when to stop, who is tested."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Numbers = NDArray[np.int64]

VALIDATION_SHARE = 0.2
"""Of the rows that are not tested."""


@dataclass(frozen=True)
class Split:
    """Row numbers, in order; together they are all rows, each once."""

    train: Numbers
    validation: Numbers
    test: Numbers


def make_splits(count: int, folds: int, repeats: int, seed: int, groups: Numbers | None = None) -> list[Split]:
    """``folds`` x ``repeats`` splits of ``count`` rows; in every repeat each row is tested once.

    ``groups`` (count,): rows with the same number come into the same part, and the parts are as equal as that allows.
    Raises ValueError when there are fewer than 2 folds, fewer than 1 repeat, or too few rows or groups.
    """
    if folds < 2 or repeats < 1:
        raise ValueError(f"folds must be at least 2 and repeats at least 1 (got {folds} and {repeats})")
    of_row = np.arange(count) if groups is None else np.unique(groups, return_inverse=True)[1]
    kinds = int(of_row.max()) + 1 if count else 0
    if kinds < 2 * folds:
        raise ValueError(f"there must be at least 2 x {folds} rows or groups to divide (got {kinds})")
    splits = []
    for repeat in range(repeats):
        part = _parts(of_row, kinds, folds, np.random.default_rng((seed, repeat)))
        for fold in range(folds):
            test = part[of_row] == fold
            order = np.random.default_rng((seed, repeat, fold)).permutation(np.unique(of_row[~test]))
            sizes = np.bincount(of_row, minlength=kinds)[order].cumsum()
            wanted = VALIDATION_SHARE * sizes[-1]
            chosen = order[: max(1, int(np.searchsorted(sizes, wanted, side="right")))]
            validation = np.isin(of_row, chosen) & ~test
            splits.append(Split(*(np.flatnonzero(rows) for rows in (~test & ~validation, validation, test))))
    return splits


def _parts(of_row: Numbers, kinds: int, folds: int, rng: np.random.Generator) -> Numbers:
    """The fold of each group: in random order, each goes where there are fewest rows so far."""
    sizes = np.bincount(of_row, minlength=kinds)
    part, filled = np.zeros(kinds, dtype=np.int64), np.zeros(folds, dtype=np.int64)
    for group in rng.permutation(kinds):
        part[group] = filled.argmin()
        filled[part[group]] += sizes[group]
    return part
