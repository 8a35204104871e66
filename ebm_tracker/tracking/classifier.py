"""The online classifier: a learned projection followed by one filter, trained on the video itself (ATOM)."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from ebm_tracker.tracking.correlation import TapCorrelation
from ebm_tracker.tracking.memory import SampleMemory
from ebm_tracker.tracking.objective import FilterObjective, JointObjective, Targets
from ebm_tracker.tracking.solver import Beta, gauss_newton


@dataclass(frozen=True)
class ClassifierSettings:
    """Shape and optimisation of the classifier; the defaults are ATOM's.

    Args:
        projection_dim: channels after the projection.
        filter_size: side of the square filter in cells.
        filter_regularization: weight of the filter's squared norm.
        projection_regularization: weight of the projection's squared norm.
        activation_floor: negative responses saturate at minus this value.
        gauss_newton_steps: linearisations on the first frame.
        cg_iterations: conjugate gradient iterations per linearisation.
        update_iterations: conjugate gradient iterations of a later filter update.
        update_every: frames between two ordinary filter updates.
        label_sigma_factor: standard deviation of the labels, as a share of the target's geometric mean side.
    """

    projection_dim: int = 64
    filter_size: int = 4
    filter_regularization: float = 0.1
    projection_regularization: float = 1e-4
    activation_floor: float = 0.05
    gauss_newton_steps: int = 6
    cg_iterations: int = 10
    update_iterations: int = 5
    update_every: int = 10
    label_sigma_factor: float = 0.25

    def __post_init__(self) -> None:
        for name in ("projection_dim", "filter_size", "update_every"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1, received {getattr(self, name)}")
        # The regularisation weights are also the preconditioner, by which residuals are divided.
        for name in ("filter_regularization", "projection_regularization", "activation_floor"):
            if not getattr(self, name) > 0:
                raise ValueError(f"{name} must be positive, received {getattr(self, name)}")


def normalize_features(features: Tensor) -> Tensor:
    """Scale every sample of a batch (N, C, h, w) so that the mean of its squares is 1; zeros stay zero."""
    power = features.square().mean(dim=(1, 2, 3), keepdim=True)
    return features * torch.rsqrt(power + 1e-10)


def label_sigma(target_size_wh: tuple[float, float], cells_per_pixel: float, factor: float) -> float:
    """Standard deviation of a label in cells.

    Args:
        target_size_wh: target's size in crop pixels.
        cells_per_pixel: score cells per crop pixel, such as 18 / 288.
        factor: `ClassifierSettings.label_sigma_factor`.
    """
    return factor * math.sqrt(target_size_wh[0] * target_size_wh[1]) * cells_per_pixel


def gaussian_label(
    size_hw: tuple[int, int], sigma_xy: tuple[float, float], center_xy: Tensor, *, kernel_size: int = 4
) -> Tensor:
    """Wanted activations exp(-|k - c|^2 / (2 sigma^2)), with k counted from the middle of the map.

    An even kernel reaches one cell further to the left than to the right, which moves its response by half
    a cell.

    Args:
        size_hw: height and width of the score map.
        sigma_xy: standard deviations in cells, positive.
        center_xy: target's displacement from the centre of the crop in cells, (2,) or (N, 2). Its device and
            floating type become the labels'.
        kernel_size: side of the classifier's filter.

    Returns:
        Labels (h, w) or (N, h, w), in [0, 1].
    """
    even_shift = 0.5 if kernel_size % 2 == 0 else 0.0

    def profile(size: int, sigma: float, center: Tensor) -> Tensor:
        cells = torch.arange(size, device=center.device, dtype=center.dtype) - (size - 1) / 2
        return torch.exp((cells - center[..., None] - even_shift).square() / (-2.0 * sigma**2))  # (..., size)

    columns = profile(size_hw[1], sigma_xy[0], center_xy[..., 0])
    rows = profile(size_hw[0], sigma_xy[1], center_xy[..., 1])
    return rows[..., :, None] * columns[..., None, :]


def random_projection(settings: ClassifierSettings, channels: int, generator: torch.Generator) -> Tensor:
    """Projection (K, C) with standard deviation 1 / sqrt(C), float32 on the generator's device."""
    shape = (settings.projection_dim, channels)
    return torch.randn(shape, generator=generator, device=generator.device, dtype=torch.float32) / math.sqrt(channels)


def random_filter(settings: ClassifierSettings, generator: torch.Generator) -> Tensor:
    """Filter (K, k, k) with standard deviation 1 / (K k k), float32 on the generator's device."""
    shape = (settings.projection_dim, settings.filter_size, settings.filter_size)
    return torch.randn(shape, generator=generator, device=generator.device, dtype=torch.float32) / math.prod(shape)


class OnlineClassifier:
    """Scores of a target against its surroundings.

    Use `fit_classifier` to train one on a first frame.

    Args:
        settings: shape and optimisation.
        projection: (K, C), fixed from here on.
        kernel: filter (K, k, k), changed by `update`.
    """

    def __init__(self, settings: ClassifierSettings, projection: Tensor, kernel: Tensor) -> None:
        _check_parameters(settings, projection, kernel)
        self.settings = settings
        self._projection = projection
        self._kernel = kernel

    @property
    def projection(self) -> Tensor:
        """Projection (K, C)."""
        return self._projection

    @property
    def kernel(self) -> Tensor:
        """Filter (K, k, k)."""
        return self._kernel

    @torch.no_grad()
    def project(self, features: Tensor) -> Tensor:
        """Project normalised features (N, C, h, w) to samples (N, K, h, w)."""
        count, _, height, width = features.shape
        return torch.matmul(self._projection, features.flatten(2)).reshape(count, -1, height, width)

    @torch.no_grad()
    def score(self, projected: Tensor) -> Tensor:
        """Raw responses (N, h, w) of samples (N, K, h, w) from `project`, without the activation.

        Zero displacement is at index (h / 2, w / 2) for an even kernel, (h - 1) / 2 for an odd one.
        """
        taps = self._kernel.flatten(1).t()  # (k * k, K)
        return TapCorrelation(projected, self.settings.filter_size).forward(taps)

    @torch.no_grad()
    def update(self, memory: SampleMemory, iterations: int | None = None) -> None:
        """Improve the filter on all samples of a memory, linearised once at the current filter.

        Args:
            memory: projected samples, their labels and weights.
            iterations: conjugate gradient iterations, `settings.update_iterations` if None.
        """
        targets = Targets.weighted(memory.labels, memory.weights, self.settings.activation_floor)
        objective = FilterObjective(
            memory.samples, targets, self.settings.filter_size, self.settings.filter_regularization
        )
        kernel = gauss_newton(
            objective,
            self._kernel.reshape(-1),
            steps=1,
            cg_iterations=self.settings.update_iterations if iterations is None else iterations,
            beta=Beta.POLAK_RIBIERE,
        )
        self._kernel = kernel.view_as(self._kernel)


@torch.no_grad()
def fit_classifier(
    samples: Tensor,
    labels: Tensor,
    settings: ClassifierSettings,
    *,
    init_projection: Tensor,
    init_filter: Tensor,
) -> OnlineClassifier:
    """Train projection and filter together on first-frame samples of equal weight.

    Args:
        samples: normalised features (N, C, h, w).
        labels: wanted activations (N, h, w).
        settings: shape and optimisation.
        init_projection: start (K, C), see `random_projection`.
        init_filter: start (K, k, k), see `random_filter`.

    Returns:
        The classifier, on the samples' device and in their dtype.

    Raises:
        ValueError: if shapes do not fit together.
    """
    count, channels = samples.shape[:2]
    if labels.shape != (count, *samples.shape[2:]):
        raise ValueError(
            f"labels must have shape {(count, *samples.shape[2:])}, received {tuple(labels.shape)}"
        )
    projection, kernel = init_projection.to(samples), init_filter.to(samples)
    _check_parameters(settings, projection, kernel, channels)
    objective = joint_objective(samples, labels, settings)
    solution = gauss_newton(
        objective,
        objective.pack(projection, kernel),
        steps=settings.gauss_newton_steps,
        cg_iterations=settings.cg_iterations,
        beta=Beta.FLETCHER_REEVES,
        preconditioner=objective.damping,
    )
    projection, kernel = objective.unpack(solution)
    return OnlineClassifier(settings, projection.contiguous(), kernel.contiguous())


def joint_objective(samples: Tensor, labels: Tensor, settings: ClassifierSettings) -> JointObjective:
    """First-frame objective: samples (N, C, h, w) with labels (N, h, w), each sample weighing 1 / N."""
    weights = samples.new_full((samples.shape[0],), 1.0 / samples.shape[0])
    return JointObjective(
        samples,
        Targets.weighted(labels, weights, settings.activation_floor),
        projected_channels=settings.projection_dim,
        kernel_size=settings.filter_size,
        filter_regularization=settings.filter_regularization,
        projection_regularization=settings.projection_regularization,
    )


def _check_parameters(
    settings: ClassifierSettings, projection: Tensor, kernel: Tensor, channels: int | None = None
) -> None:
    expected = (settings.projection_dim, projection.shape[-1] if channels is None else channels)
    if tuple(projection.shape) != expected:
        raise ValueError(f"the projection must have shape {expected}, received {tuple(projection.shape)}")
    expected_kernel = (settings.projection_dim, settings.filter_size, settings.filter_size)
    if tuple(kernel.shape) != expected_kernel:
        raise ValueError(f"the filter must have shape {expected_kernel}, received {tuple(kernel.shape)}")
