"""p(y | x) of real tables: an energy network against Gaussian and Laplace heads of the same size.

    ebm experiment regression --workers 2                                   # the three sets of scikit-learn's wheel
    ebm experiment regression --csv houses.csv --target price               # a table of yours

None of this is in the paper. ``FULL``: 5 folds x 2 repeats, 60 epochs of batches of 32, two weight decays to choose
from, layers of 32 units, M = 64 draws with spreads of 0.1 and 1 standard deviations of y. Eight minutes of one core for
the three sets. To expect, mean over the ten test splits (docs/regression.png has the densities):

    NLL         EBM     Gaussian   Laplace     90 % interval of the EBM holds
    diabetes    5.390   5.425      5.473       87.5 %
    tumour      2.279   2.368      2.373       87.8 %
    photo       3.655   6.422      3.689       90.9 %    (against Laplace lower in 4 of 10 splits only)
"""

from __future__ import annotations

from ebm_tracker.adapters.tabular.study import TabularSettings

FULL = TabularSettings()

SMALL = TabularSettings(repeats=1, decays=(1e-3,), epochs=30)
"""A look."""
