"""Kullback-Leibler divergence from a label density, by importance sampling.

Danelljan, Van Gool, Timofte, "Probabilistic Regression for Visual Tracking" (PrDiMP), CVPR 2020; KLD-IS in
Gustafsson et al., "How to Train Your Energy-Based Model for Regression", BMVC 2020. The label y_i is taken for
uncertain: a density p(y | y_i) around it, usually a Gaussian.
"""

from __future__ import annotations

from torch import Tensor


def importance_kl(f_samples: Tensor, log_q_samples: Tensor, log_label_samples: Tensor) -> Tensor:
    """KL(p(. | y_i) || p(. | x_i)) with the model's p(y | x) = exp f(x, y) / Z(x).

    ``f_samples``, ``log_q_samples`` and ``log_label_samples`` (..., M): f, log q and log p(. | y_i) at M draws from q.
    Returns (...):

        log Z - E_p[f] + E_p[log p]  with  E_p[g] = sum_m w_m g_m,  w = softmax(log p - log q),

    and both normalisers estimated from the same draws. That is the divergence between two distributions over the
    draws, softmax(log p - log q) and softmax(f - log q): never negative, zero exactly where f = log p + constant, and
    unchanged by a constant added to f.

    PrDiMP's estimator takes w_m = p_m / (M q_m) instead, which is unbiased. But its weights do not sum to one for
    finite M: adding c to f adds c (1 - sum w), noise in the very direction that the density does not depend on. The
    self-normalised weights have a bias of order 1/M in its place (Owen, "Monte Carlo theory, methods and examples",
    ch. 9.2). The entropy of p adds no gradient; with it a perfect fit reads 0.
    """
    if not f_samples.shape == log_q_samples.shape == log_label_samples.shape:
        raise ValueError(
            f"f_samples, log_q_samples and log_label_samples must have one shape (got {tuple(f_samples.shape)}, "
            f"{tuple(log_q_samples.shape)} and {tuple(log_label_samples.shape)})"
        )
    log_label = (log_label_samples - log_q_samples).log_softmax(-1)
    log_model = (f_samples - log_q_samples).log_softmax(-1)
    return (log_label.exp() * (log_label - log_model)).sum(-1)
