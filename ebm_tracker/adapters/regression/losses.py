"""Losses of the baselines (D.4 and E.4 of the paper's supplement): raw outputs of a head and y -> one loss per row.

Targets y are (B, D) and the losses (B,), summed over the D dimensions. Variances and scales come as logarithms.
"""

from __future__ import annotations

from torch import Tensor
from torch.nn import functional


def direct_huber(prediction: Tensor, y: Tensor) -> Tensor:
    """Huber loss of the error d: d^2 / 2 where |d| <= 1, |d| - 1/2 elsewhere. Both (B, D); returns (B,)."""
    _same(prediction, y)
    return functional.huber_loss(prediction, y, reduction="none").sum(-1)


def direct_l2(prediction: Tensor, y: Tensor) -> Tensor:
    """Squared error. Both (B, D); returns (B,)."""
    _same(prediction, y)
    return (prediction - y).square().sum(-1)


def gaussian_loss(mean: Tensor, log_variance: Tensor, y: Tensor) -> Tensor:
    """(y - mean)^2 / variance + log variance (S4, S8): twice the negative log-likelihood of independent Gaussians,
    without its constant D log(2 pi). All (B, D); returns (B,)."""
    _same(mean, log_variance, y)
    return ((y - mean).square() * (-log_variance).exp() + log_variance).sum(-1)


def laplace_loss(location: Tensor, log_scale: Tensor, y: Tensor) -> Tensor:
    """|y - location| / b + log b with scale b (S6): the negative log-likelihood of independent Laplace densities,
    without its constant D log 2. All (B, D); returns (B,)."""
    _same(location, log_scale, y)
    return ((y - location).abs() * (-log_scale).exp() + log_scale).sum(-1)


def joint_laplace_loss(location: Tensor, log_beta: Tensor, y: Tensor, eps: float = 1e-10) -> Tensor:
    """sqrt(sum_k d_k^2 / beta_k) + sum_k log beta_k (S10): twice the negative log-likelihood, without its constant, of

        p(y) proportional to prod_k beta_k^(-1/2) exp(-1/2 sqrt(sum_k d_k^2 / beta_k))     (S9).

    beta_k is like a variance, and the density is no product of Laplace densities; with D = 1 it is one of scale
    2 sqrt(beta). ``eps`` stands inside the root, whose slope at 0 would be infinite. All (B, D); returns (B,).
    """
    _same(location, log_beta, y)
    return ((y - location).square() * (-log_beta).exp()).sum(-1).add(eps).sqrt() + log_beta.sum(-1)


def softmax_loss(logits: Tensor, y: Tensor, values: Tensor, l2: float = 0.1, var: float = 0.0) -> Tensor:
    """Cross-entropy to the nearest class, plus ``l2`` times the squared error of the expected value, plus ``var`` times
    the variance over the classes (Pan et al., CVPR 2018; they write half of each).

    ``logits`` (B, D, K), ``y`` (B, D), ``values`` (K,): what each class stands for. A y beyond the classes counts as
    the outermost one in the cross-entropy. Returns (B,).
    """
    if logits.shape != (*y.shape, len(values)):
        raise ValueError(f"logits must be {(*y.shape, len(values))} (got {tuple(logits.shape)})")
    log_p = logits.log_softmax(-1)
    nearest = (y[..., None] - values).abs().argmin(-1, keepdim=True)
    loss = -log_p.gather(-1, nearest)[..., 0]
    p = log_p.exp()
    expected = (p * values).sum(-1)
    loss = loss + l2 * (expected - y).square()
    if var:
        loss = loss + var * (p * (values - expected[..., None]).square()).sum(-1)
    return loss.sum(-1)


def _same(*tensors: Tensor) -> None:
    """A (B,) beside a (B, 1) would broadcast to (B, B), which is an old way to train nothing."""
    shapes = [tuple(tensor.shape) for tensor in tensors]
    if len(set(shapes)) > 1 or len(shapes[0]) != 2:
        raise ValueError(f"outputs and y must have one shape (B, D) (got {', '.join(map(str, shapes))})")
