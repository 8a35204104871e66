"""ATOM*, the paper's second baseline: IoU prediction trained on the mixture proposals, T = 10 relative steps of 1e-2
and 5e-2.

Its head is not shipped: pass a network trained that way with ``load("atom_star", weights=FILE)``.
"""

from ebm_tracker.tracking.config import RefinementSettings, TrackerConfig, WeightsSource

config = TrackerConfig(
    weights=WeightsSource(
        "atom_star_head.safetensors", advice="it is not shipped: train one and pass weights=FILE or --weights FILE"
    ),
    refinement=RefinementSettings(steps=10, step_length=(1e-2, 5e-2)),
)
