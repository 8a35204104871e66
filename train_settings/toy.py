"""The 1-D illustration (Figure 2, Appendix A): Gaussian and energy models on two data sets with known density.

    ebm experiment toy --workers 2                              # 20 trainings of five models on two data sets
    ebm experiment toy --models gaussian nll --sets mixture     # the paper's figure alone
    ebm experiment toy --small                                  # a look

``FULL`` has the paper's sizes and schedule: 2,000 pairs, 75 epochs of batches of 32, Adam, M = 1,024 draws with
standard deviations 0.1 and 0.8. The paper gives no learning rate (ours: 1e-3) and no activations (ReLU throughout).

KL(truth || model) of 20 trainings, mean of the best five (and of all): data set 1 Gaussian 0.718 (0.724), EBM 0.038
(0.056); data set 2, whose truth is a Gaussian for every x, Gaussian 0.058 (0.126), EBM 0.105 (0.364). One EBM takes
about 36 s of one CPU core, one Gaussian 9 s.
"""

from __future__ import annotations

from ebm_tracker.adapters.regression import FitSettings
from ebm_tracker.adapters.toy import ToySettings

FULL = ToySettings()

SMALL = ToySettings(runs=3, samples=128, fit=FitSettings(epochs=15, checkpoint_epochs=15))
"""Enough for the modes to show; its divergences are not those of the full schedule."""
