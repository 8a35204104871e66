"""Moving average of a module's weights, for evaluation and for shipping."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import torch
from torch import Tensor, nn


class MovingAverage:
    """a <- decay * a + (1 - decay) * w after every step, starting at the weights of the time of construction.

    Buffers with a fraction (running means of batch norm) are averaged like parameters, whole numbers are copied.
    """

    def __init__(self, module: nn.Module, decay: float) -> None:
        if not 0 <= decay < 1:
            raise ValueError(f"average_decay must be in [0, 1) (got {decay})")
        self.decay = decay
        self._values = {name: value.detach().clone() for name, value in module.state_dict().items()}

    @torch.no_grad()
    def update(self, module: nn.Module) -> None:
        """Takes in the weights as they are now."""
        for name, value in module.state_dict().items():
            average = self._values[name]
            if average.is_floating_point():
                average.lerp_(value, 1 - self.decay)
            else:
                average.copy_(value)

    @contextmanager
    def swapped_in(self, module: nn.Module) -> Iterator[None]:
        """``module`` holds the average inside the block and its own weights again after it, errors included."""
        own = {name: value.detach().clone() for name, value in module.state_dict().items()}
        try:
            module.load_state_dict(self._values)
            yield
        finally:
            module.load_state_dict(own)

    def state_dict(self) -> dict[str, Tensor]:
        """The averaged state, under the module's names."""
        return dict(self._values)

    def load_state_dict(self, state: Mapping[str, Tensor]) -> None:
        """Takes over a saved average. Raises ValueError when it is of another module."""
        if state.keys() != self._values.keys():
            raise ValueError(f"the saved average has other entries: {sorted(state.keys() ^ self._values.keys())}")
        for name, value in state.items():
            self._values[name].copy_(value)
