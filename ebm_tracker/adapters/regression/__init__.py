"""Regression with any features of x and any number D of targets: energy networks, and the heads they are compared with.

On your own arrays, in a few lines:

    from ebm_tracker.adapters.regression import EnergyRegressor

    model = EnergyRegressor.fit(x_train, y_train)
    y, intervals = model.predict(x_test), model.interval(x_test, 0.9)
    density = model.density(x_test[:1])        # p(y | x) on a grid: log_prob, mean, mode, quantile, region, draw

The parts, for an experiment of your own (``age`` and ``pose`` are made of them):

    energy = RegressionEnergy(feature_size, target_size)
    step = EnergyStep(extractor, energy, GaussianMixture(sigmas), samples=1024)
    fit(step, EpochDataset(x, y, settings.epochs, settings.seed), settings, folder)
    refined = refine(energy, features, predictions, RefineSettings(step=3.0)).y
"""

from ebm_tracker.adapters.regression.calibration import (
    LogScore,
    calibration_curve,
    coverage,
    interval_score,
    log_score,
    mean_width,
    pit_distance,
)
from ebm_tracker.adapters.regression.data import EpochDataset, Example
from ebm_tracker.adapters.regression.density import GridDensity, SampledDensity
from ebm_tracker.adapters.regression.estimator import EnergyRegressor, HeadRegressor
from ebm_tracker.adapters.regression.fitting import FitSettings, fit, seeded
from ebm_tracker.adapters.regression.heads import (
    HEADS,
    DirectHead,
    GaussianHead,
    Head,
    JointLaplaceHead,
    LaplaceHead,
    SoftmaxHead,
)
from ebm_tracker.adapters.regression.losses import (
    direct_huber,
    direct_l2,
    gaussian_loss,
    joint_laplace_loss,
    laplace_loss,
    softmax_loss,
)
from ebm_tracker.adapters.regression.networks import RegressionEnergy, given, mlp, on_columns
from ebm_tracker.adapters.regression.refinement import RefineSettings, refine
from ebm_tracker.adapters.regression.steps import OBJECTIVES, EnergyStep, HeadStep

__all__ = [
    "HEADS",
    "OBJECTIVES",
    "DirectHead",
    "EnergyRegressor",
    "EnergyStep",
    "EpochDataset",
    "Example",
    "FitSettings",
    "GaussianHead",
    "GridDensity",
    "Head",
    "HeadRegressor",
    "HeadStep",
    "JointLaplaceHead",
    "LaplaceHead",
    "LogScore",
    "RefineSettings",
    "RegressionEnergy",
    "SampledDensity",
    "SoftmaxHead",
    "calibration_curve",
    "coverage",
    "direct_huber",
    "direct_l2",
    "fit",
    "gaussian_loss",
    "given",
    "interval_score",
    "joint_laplace_loss",
    "laplace_loss",
    "log_score",
    "mean_width",
    "mlp",
    "on_columns",
    "pit_distance",
    "refine",
    "seeded",
    "softmax_loss",
]
