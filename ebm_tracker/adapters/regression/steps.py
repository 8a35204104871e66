"""What the training loop calls: a batch of examples -> its losses, for a head and for an energy network."""

from __future__ import annotations

from typing import cast

import torch
from torch import Tensor, nn

from ebm_tracker.adapters.regression.data import Example
from ebm_tracker.adapters.regression.heads import Head
from ebm_tracker.energy import GaussianMixture, importance_kl, importance_nll, nce

__all__ = ["OBJECTIVES", "EnergyStep", "Example", "HeadStep"]

OBJECTIVES = ("nll", "kl", "nce", "nce+")


class _Step(nn.Module):
    """An extractor with parameters that require a gradient is trained along, from the sample ``trained_from`` on.
    One without them is fixed: it computes in eval mode and belongs to no checkpoint."""

    def __init__(self, extractor: nn.Module, model: nn.Module) -> None:
        super().__init__()
        self.extractor, self.model = extractor, model
        self.is_fixed = not any(parameter.requires_grad for parameter in extractor.parameters())
        self.trained_from = 0

    @property
    def trained(self) -> nn.Module:
        """The part that is optimised."""
        return self.model if self.is_fixed else self

    def features(self, example: Example) -> Tensor:
        """(B, F)."""
        if isinstance(self.extractor, nn.Identity):
            return example.x
        held = self.is_fixed or (self.trained_from > 0 and int(example.number[0]) < self.trained_from)
        self.extractor.train(self.training and not held)
        with torch.set_grad_enabled(torch.is_grad_enabled() and not held):
            return cast(Tensor, self.extractor(example.x))


class HeadStep(_Step):
    """The loss of a head on an extractor's features (``nn.Identity()`` where x are features already)."""

    def __init__(self, extractor: nn.Module, head: nn.Module) -> None:
        super().__init__(extractor, head)

    @property
    def head(self) -> Head:
        return cast(Head, self.model)

    def forward(self, example: Example) -> Tensor:
        return self.head.loss(self.head(self.features(example)), example.y)


class EnergyStep(_Step):
    """The loss of an energy network, by ``samples`` draws around each true y from ``proposal``.

    ``objective``: "nll" (the paper's maximum likelihood), "kl" (divergence from a Gaussian label of ``label_sigma``,
    by default the proposal's narrowest), "nce" or "nce+" (entry 0 moved by noise of ``beta`` times the proposal's
    spreads). x goes through the extractor once, whatever the number of draws, which come from torch's own generator.
    """

    def __init__(
        self,
        extractor: nn.Module,
        energy: nn.Module,
        proposal: GaussianMixture,
        samples: int,
        objective: str = "nll",
        *,
        label_sigma: float | None = None,
        beta: float = 0.1,
    ) -> None:
        super().__init__(extractor, energy)
        if objective not in OBJECTIVES:
            raise ValueError(f"objective must be one of {', '.join(OBJECTIVES)} (got {objective!r})")
        if samples < 1:
            raise ValueError(f"samples must be at least 1 (got {samples})")
        self.proposal, self.samples, self.objective = proposal, samples, objective
        narrowest = proposal.sigmas[proposal.sigmas.sum(1).argmin()].tolist()
        self.label = GaussianMixture([narrowest] if label_sigma is None else [label_sigma])
        self.noise = proposal.scaled(beta)

    @property
    def energy(self) -> nn.Module:
        return self.model

    def forward(self, example: Example) -> Tensor:
        features, y = self.features(example), example.y
        drawn = self.proposal.sample(y, self.samples)
        if self.objective == "kl":
            log_q = self.proposal.log_density(drawn, y)
            return importance_kl(self.model(features, drawn), log_q, self.label.log_density(drawn, y))
        first = self.noise.sample(y, 1) if self.objective == "nce+" else y[:, None]
        targets = torch.cat((first, drawn), 1)
        f = self.model(features, targets)
        if self.objective == "nll":
            return importance_nll(f[:, 1:], self.proposal.log_density(drawn, y), f[:, 0])
        return nce(f, self.proposal.log_density(targets, y))
