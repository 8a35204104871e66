"""The paper's network (ResNet18, 256-channel head) and its settings: T = 10, steps 2e-4 and 1e-3."""

from ebm_tracker.tracking.config import TrackerConfig, WeightsSource

config = TrackerConfig(
    weights=WeightsSource(
        "resnet18_head.safetensors",
        advice="its head is not shipped yet: train one with ebm_tracker.train_settings.lite, --set backbone=resnet18 "
        "reference=128,256 maps=256,256 ship_backbone=false, and pass weights=FILE or --weights FILE",
    )
)
