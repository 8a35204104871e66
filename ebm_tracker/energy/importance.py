"""Maximum likelihood with Monte Carlo importance sampling (Eq 3 and 4)."""

from __future__ import annotations

import math

from torch import Tensor


def log_partition(f_samples: Tensor, log_q_samples: Tensor) -> Tensor:
    """Estimate of log Z(x) = log of the integral of exp f(x, y) over y.

    ``f_samples`` (..., M): f at M draws from q; ``log_q_samples`` (..., M): log q there. Returns (...):
    log(1/M sum_m exp(f_m - log q_m)), computed as a log-sum-exp.
    """
    if f_samples.shape != log_q_samples.shape:
        raise ValueError(
            f"f_samples and log_q_samples must have one shape "
            f"(got {tuple(f_samples.shape)} and {tuple(log_q_samples.shape)})"
        )
    return (f_samples - log_q_samples).logsumexp(-1) - math.log(f_samples.shape[-1])


def importance_nll(f_samples: Tensor, log_q_samples: Tensor, f_true: Tensor) -> Tensor:
    """Negative log-likelihood -log p(y_i | x_i), the summand of Eq 3-4.

    ``f_samples`` and ``log_q_samples`` (..., M) as in :func:`log_partition`, ``f_true`` (...): f at the true
    target, which is *not* one of the M samples. Returns (...); the training loss is its mean over the batch.
    The gradient flows through both terms; a constant added to f changes nothing.
    """
    return log_partition(f_samples, log_q_samples) - f_true
