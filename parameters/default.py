"""The shipped network: EfficientNet-Lite0 and a narrow head, made for CPUs.

Its step lengths were tuned on 256 held-out pairs (``python -m ebm_tracker.train_settings.tune_steps``): the paper's
2e-4 and 1e-3 bring them from IoU 0.586 to 0.728, twice as much to 0.744; longer or shorter ones to less.
"""

from ebm_tracker.tracking.config import RefinementSettings, TrackerConfig, WeightsSource

config = TrackerConfig(
    weights=WeightsSource(
        "default.safetensors", sha256="c1a00ff48601999f8aecdea5350f2fe64f6b0d7cde4957807c3111a535c25b5e"
    ),
    refinement=RefinementSettings(step_length=(4e-4, 2e-3)),
)
