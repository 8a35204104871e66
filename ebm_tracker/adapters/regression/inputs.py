"""From a user's x to the rows that a network learns from."""

from __future__ import annotations

from typing import Any, cast

import torch
from torch import Tensor, nn

from ebm_tracker.adapters.regression.arrays import Standard, read_array

BATCH = 64
"""Of a fixed extractor."""


class Inputs:
    """x -> rows (N, F) with mean 0 and spread 1 per column, after the extractor where that is a fixed one.

    An extractor that learns is part of the network instead: it gets x as it is.
    """

    def __init__(self, fixed: nn.Module | None, standard: Standard | None) -> None:
        self.fixed, self.standard = fixed, standard

    @classmethod
    def of(cls, x: Tensor, extractor: nn.Module | None) -> tuple[Inputs, Tensor]:
        """Fitted to the x of a training set, and the rows of that. Raises ValueError when x is no (N, F) and there is
        no extractor."""
        if extractor is not None and learns(extractor):
            return cls(None, None), x
        columns = _columns(_extracted(x, extractor), None)
        standard = Standard.of(columns)
        return cls(extractor, standard), standard.apply(columns)

    def __call__(self, x: Any) -> Tensor:
        """Rows for the network."""
        found = _extracted(read_array("x", x), self.fixed)
        if self.standard is None:
            return found
        return self.standard.apply(_columns(found, len(self.standard.center)))


def learns(extractor: nn.Module) -> bool:
    """Whether an extractor has anything to learn: a parameter that requires a gradient."""
    return any(parameter.requires_grad for parameter in extractor.parameters())


def _extracted(x: Tensor, extractor: nn.Module | None) -> Tensor:
    if extractor is None:
        return x
    extractor.eval()
    with torch.no_grad():
        return torch.cat([cast(Tensor, extractor(rows)) for rows in x.split(BATCH)]).float()


def _columns(rows: Tensor, size: int | None) -> Tensor:
    if rows.ndim != 2 or size not in (None, rows.shape[1]):
        wanted = "(N, F); images and the like need an extractor" if size is None else f"(N, {size}), as in training"
        raise ValueError(f"x must be {wanted} (got {tuple(rows.shape)})")
    return rows
