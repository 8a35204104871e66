"""The tracker that a command asks for."""

from __future__ import annotations

from ebm_tracker.evaluation.runner import Tracker


def load_tracker(preset: str, device: str, seed: int, threads: int | None, profile: bool) -> Tracker:
    """``ebm_tracker.load`` after setting the number of CPU threads; None leaves torch's choice.

    Raises PresetError, WeightsError and ValueError as it does.
    """
    import torch  # seconds, which commands that end at a user's mistake need not spend

    from ebm_tracker.build import load

    if threads is not None:
        torch.set_num_threads(threads)
    return load(preset, device=device, seed=seed, profile=profile)
