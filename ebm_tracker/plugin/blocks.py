"""What the tracker shows in pytracking's visdom viewer: score map, refined boxes, status, and the tracked box."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ebm_tracker.tracking import MultiTracker, Tracker, TrackOutput
from ebm_tracker.tracking.tracker import FrameDetails


def show_frame(
    visdom: Any,
    tracker: Tracker | MultiTracker,
    output: TrackOutput,
    frame_number: int,
    label: str = "",
    *,
    details: FrameDetails | None = None,
) -> None:
    """Hands one frame's pictures to the viewer: ``Status`` from debug level 1, ``Score Map`` from 2, ``Boxes`` (two of
    them at the start and the end of the refinement, with their energies, on the crop) from 3.

    ``label``: after a title, to tell objects apart; ``details``: the object's, None before its first tracked frame.
    """
    visdom.register(_status(tracker, output, frame_number, details), "info_dict", 1, f"Status{label}")
    if details is None:
        return
    # Copies: pytracking's viewer changes in place, which torch refuses for tensors of inference mode.
    visdom.register(details.scores.cpu().clone(), "heatmap", 2, f"Score Map{label}")
    if details.climb is not None:
        climb, two = details.climb, shown_boxes(details.climb.energies)
        shown = (details.patch[0], climb.start_xywh[two], climb.final_xywh[two], climb.energies[two])
        visdom.register(tuple(tensor.cpu().clone() for tensor in shown), "bbreg", 3, f"Boxes{label}")


def shown_boxes(energies: Tensor) -> Tensor:
    """Indices of the boxes to show: the classifier's own, which is the first, and the one that climbed highest of the
    others. pytracking's viewer has check boxes for two and fails with more."""
    if len(energies) == 1:
        return torch.zeros(1, dtype=torch.long)
    return torch.tensor([0, 1 + int(energies[1:].argmax())])


def _status(
    tracker: Tracker | MultiTracker, output: TrackOutput, number: int, details: FrameDetails | None
) -> dict[str, Any]:
    found: dict[str, Any] = {
        "frame_num": number,
        "max_score": output.score,
        "flag": output.status.value if details is None else details.location.outcome.value,
        "status": output.status.value,
        "seed": tracker.seed,
    }
    if details is not None:
        found["second_score"] = details.location.second
        found["best_energy"] = None if details.climb is None else float(details.climb.energies.max())
    return found


def flat_boxes(boxes: Any) -> list[list[float]]:
    """Boxes as pytracking passes them for drawing: None, one box, a list of boxes, or either by object id."""
    if boxes is None:
        return []
    if isinstance(boxes, Mapping):
        return [box for value in boxes.values() for box in flat_boxes(value)]
    values = boxes.tolist() if hasattr(boxes, "tolist") else boxes
    if len(values) == 4 and all(np.isscalar(v) or getattr(v, "ndim", None) == 0 for v in values):
        return [[float(v) for v in values]]
    return [box for value in values for box in flat_boxes(value)]
