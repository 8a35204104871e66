"""The shipped network: EfficientNet-Lite0 and a narrow head, made for CPUs."""

from ebm_tracker.tracking.config import RefinementSettings, TrackerConfig, WeightsSource

config = TrackerConfig(
    weights=WeightsSource("default.safetensors"),
    refinement=RefinementSettings(step_length=(4e-4, 2e-3)),
)
