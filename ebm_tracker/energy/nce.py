"""Noise contrastive estimation: tell the true target from M draws of noise.

Gustafsson et al., "How to Train Your Energy-Based Model for Regression", BMVC 2020 (NCE and NCE+), after Gutmann and
Hyvarinen, AISTATS 2010, in the ranking form (Ma and Collins, EMNLP 2018).
"""

from __future__ import annotations

from torch import Tensor


def nce(f: Tensor, log_q: Tensor) -> Tensor:
    """-log softmax(f - log q) at entry 0: the cross-entropy of the question "which of these is the true target?".

    ``f`` (..., 1 + M): f at the true target (entry 0) and at M draws from q; ``log_q`` (..., 1 + M): log q at all of
    them. Returns (...), at least 0; M + 1 equal entries give log(M + 1). A constant added to f changes nothing.

    NCE+ is the same function of other entries: entry 0 is the true target plus noise, as uncertain labels are
    (:meth:`GaussianMixture.scaled` with 0.1 in that paper), and log q is taken where the entry then lies.
    """
    if f.shape != log_q.shape:
        raise ValueError(f"f and log_q must have one shape (got {tuple(f.shape)} and {tuple(log_q.shape)})")
    logits = f - log_q
    return logits.logsumexp(-1) - logits[..., 0]
