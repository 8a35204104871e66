"""Arrays of a user -> tensors that a network likes, and back."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

Array = NDArray[Any]


def read_array(name: str, values: Any) -> Tensor:
    """float32 of numbers in a tensor, an array, a table or nested lists. Raises ValueError naming what is wrong."""
    if isinstance(values, Tensor):
        found = values.detach().to("cpu", torch.float32)
    else:
        try:
            found = torch.from_numpy(np.array(values, dtype=np.float32))
        except (TypeError, ValueError) as error:
            raise ValueError(f"{name} must be an array of numbers ({error})") from None
    if found.ndim == 0 or not len(found):
        raise ValueError(f"{name} must have at least one row (got shape {tuple(found.shape)})")
    broken = (~found.isfinite()).reshape(len(found), -1).any(1).nonzero()
    if len(broken):
        which = f"row {int(broken[0])} is not"
        if len(broken) > 1:
            which = f"{len(broken)} rows are not, the first is row {int(broken[0])}"
        raise ValueError(f"{name} must be finite ({which})")
    return found


def read_targets(name: str, values: Any, rows: int, size: int | None = None) -> Tensor:
    """(N, D), from (N,) too; ``size``: the D that is wanted."""
    found = read_array(name, values)
    if found.ndim == 1:
        found = found[:, None]
    if found.ndim != 2 or len(found) != rows or size not in (None, found.shape[1]):
        wanted = f"({rows},) or ({rows}, {'D' if size is None else size})"
        raise ValueError(f"{name} must be {wanted}, one row for each of x (got {tuple(found.shape)})")
    return found


@dataclass(frozen=True)
class Standard:
    """Columns with mean 0 and standard deviation 1: ``center`` and ``scale`` (F,). A constant column keeps scale 1."""

    center: Tensor
    scale: Tensor

    def __post_init__(self) -> None:
        if self.center.ndim != 1 or self.center.shape != self.scale.shape:
            shapes = f"{tuple(self.center.shape)} and {tuple(self.scale.shape)}"
            raise ValueError(f"center and scale must be (F,) (got {shapes})")

    @classmethod
    def of(cls, rows: Tensor) -> Standard:
        """From rows (N, F)."""
        spread = rows.std(0, correction=0)
        tiny = 1e-6 * rows.abs().amax(0)
        return cls(rows.mean(0), torch.where(spread > tiny, spread, torch.ones_like(spread)))

    def apply(self, rows: Tensor) -> Tensor:
        """Units of the user -> standard ones."""
        return (rows - self.center) / self.scale

    def undo(self, rows: Tensor) -> Tensor:
        """Standard units -> those of the user; (..., F)."""
        return rows * self.scale + self.center


def digest(*tensors: Tensor) -> str:
    """Names data by its content."""
    found = hashlib.sha256()
    for tensor in tensors:
        found.update(str(tuple(tensor.shape)).encode())
        found.update(tensor.contiguous().numpy().tobytes())
    return found.hexdigest()[:16]
