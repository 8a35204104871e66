"""ATOM, the paper's first baseline: the same network trained to predict IoU from ATOM's candidates, T = 5 steps of
length 1 on x, y, w, h.

Its head is not shipped: pass a network trained that way with ``load("atom", weights=FILE)``.
"""

from ebm_tracker.tracking.config import BoxSpace, RefinementSettings, TrackerConfig, WeightsSource

config = TrackerConfig(
    weights=WeightsSource(
        "atom_head.safetensors", advice="it is not shipped: train one and pass weights=FILE or --weights FILE"
    ),
    refinement=RefinementSettings(steps=5, step_length=(1.0, 1.0), space=BoxSpace.IMAGE),
)
