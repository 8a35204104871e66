"""The paper's network: ResNet18 and the 256-channel head; the most accurate of those that ship, for a GPU or patience.

The paper's settings, T = 10, except for the step lengths, which were tuned for this head on 256 held-out pairs
(``python -m ebm_tracker.train_settings.tune_steps``): the paper's 2e-4 and 1e-3 bring them from IoU 0.585 to 0.782,
twice as much to 0.792. Only the head ships; the backbone comes from torchvision at first use, or from a file.
"""

from ebm_tracker.tracking.config import RefinementSettings, TrackerConfig, WeightsSource

config = TrackerConfig(
    weights=WeightsSource(
        "resnet18_head.safetensors", sha256="5141f982ebf52cbb2917fbb0085afdfd59ac60836f64719c3a7e37bed685f6db"
    ),
    refinement=RefinementSettings(step_length=(4e-4, 2e-3)),
)
