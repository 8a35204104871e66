"""A branch of your own on your own detector: trained in a folder, and loaded from it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from ebm_tracker.adapters.detection.base import FrozenDetector
from ebm_tracker.adapters.detection.branch import ConfidenceBranch
from ebm_tracker.adapters.detection.data import DetectionImages, TrainingImages
from ebm_tracker.adapters.detection.steps import METHODS, ConfidenceStep
from ebm_tracker.adapters.detection.variants import BASE
from ebm_tracker.adapters.regression.fitting import seeded
from ebm_tracker.adapters.run_folder import FINAL, load_final, train_or_load
from ebm_tracker.errors import WeightsError
from ebm_tracker.training.checkpoint import load_state
from ebm_tracker.training.display import Display
from ebm_tracker.training.loop import LoopSettings

SHORT = LoopSettings(
    steps=2_000,
    batch_size=8,
    learning_rate=1e-3,
    schedule="cosine",
    warmup=50,
    workers=0,  # others need the guard of a script's main module where processes are spawned
    checkpoint_every=100,
    tensorboard=False,
)
"""A short training to begin with. The paper's has 60,000 steps of 16 images: ``train_settings.detection.FULL``."""


def fit_branch(
    detector: FrozenDetector,
    images: DetectionImages,
    folder: Path,
    *,
    method: str = "ours",
    loop: LoopSettings = SHORT,
    steps: int | None = None,
    samples: int = 128,
    display: Display | None = None,
) -> ConfidenceBranch:
    """Trains the confidence branch on ``images`` (opened with ``training=True`` and ``outputs=detector.classes``) in
    ``folder``, goes on with what was begun there, or loads what is finished.

    ``method``: "ours" (a density, by maximum likelihood), "iou_net" or "iou_net_star" (the overlap, by regression).
    ``samples``: candidates for each object. ``loop``: its seed draws the first weights, too; ``steps``: instead of the
    loop's, whose 2,000 take an hour or more on a CPU. It runs on the detector's device.

    Raises ValueError for an unknown method, images of other classes than the detector's, and a folder that was begun
    with other settings.
    """
    if method not in METHODS:
        raise ValueError(f"method must be one of {', '.join(METHODS)} (got {method!r})")
    if images.classes.labels != images.file.classes.fitting(detector.classes).labels:
        raise ValueError(
            "images must have the detector's labels: open them with outputs=detector.classes "
            f"(got labels up to {max(images.classes.labels)} for {detector.classes} outputs)"
        )
    loss, scheme = METHODS[method](samples)
    if steps is not None:
        loop = replace(loop, steps=steps)
    device = detector.device
    with seeded(loop.seed):
        branch = ConfidenceBranch.of_detector(detector)
    step = ConfidenceStep(branch, detector, loss=loss, scheme=scheme)
    train_or_load(
        step,
        branch,
        TrainingImages(images, loop.steps * loop.batch_size, loop.seed),
        replace(loop, evaluate_every=0),
        Path(folder),
        fingerprint={"method": method, "samples": samples, "images": images.digest, BASE: detector.digest},
        device=device,
        display=display,
    )
    return branch


def load_branch(detector: FrozenDetector, folder: Path) -> ConfidenceBranch:
    """The branch that ``fit_branch`` (or an experiment) finished in ``folder``, on the detector's device.

    Raises WeightsError when there is none, or it belongs to another detector.
    """
    path = folder / FINAL
    if not path.is_file():
        raise WeightsError(f"{folder.absolute()} holds no finished training: {FINAL} is missing")
    branch = ConfidenceBranch.of_detector(detector)
    load_final(path, branch)
    trained_on = load_state(path)["settings"].get(BASE)
    if trained_on != repr(detector.digest):
        raise WeightsError(f"{path.absolute()} belongs to another detector: its weights are not those of this one")
    return branch.eval()
