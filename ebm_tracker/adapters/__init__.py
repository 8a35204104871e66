"""Regression with energy networks beyond tracking: the paper's other experiments, and your own problem.

- ``regression``: networks, losses, training, refinement and densities for any features and any number of targets;
  :class:`~ebm_tracker.adapters.regression.EnergyRegressor` does it on your own arrays
- ``toy``: the paper's one-dimensional illustration
- ``age``, ``pose``: its age and head pose experiments
- ``tabular``: the energy network against Gaussian and Laplace heads on tables
- ``features``: features of images by backbones that stay as they are

They add data and settings: energies, proposals and ascent come from ``ebm_tracker.energy``, the training loop from
``ebm_tracker.training``.
"""
