"""The shipped network: EfficientNet-Lite0 and a narrow head, made for CPUs.

Its step lengths were tuned on 256 held-out pairs (``python -m ebm_tracker.train_settings.tune_steps``): the paper's
2e-4 and 1e-3 bring them from IoU 0.585 to 0.761, 6e-4 and 1.5e-3 to 0.773; longer or shorter ones to less.
"""

from ebm_tracker.tracking.config import RefinementSettings, TrackerConfig, WeightsSource

config = TrackerConfig(
    weights=WeightsSource(
        "default.safetensors", sha256="e200f236d05c5879b620ac6eab1a24fd928946b044f617a55fddbf862beaccad"
    ),
    refinement=RefinementSettings(step_length=(6e-4, 1.5e-3)),
)
