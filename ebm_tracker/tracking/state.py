"""What a tracker knows of its target, and what it tells its user."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from ebm_tracker.boxes import BoxXYWH


class Status(Enum):
    """How far the box of a frame can be trusted."""

    TRACKED = "tracked"
    """The target was found."""
    UNCERTAIN = "uncertain"
    """Something else looks almost as much like the target; the box is the better guess."""
    LOST = "lost"
    """The target was not found; the box is the last one known."""


@dataclass(frozen=True)
class TrackOutput:
    """Result for one frame.

    ``box_xywh``: top-left corner and size in pixels of the frame, finite, sides > 0, touching the frame.
    ``score``: the classifier's highest response, clipped to [0, 1]; about 1 on the first frames, below 0.25 when
    the target is not found. ``status``: see :class:`Status`.
    """

    box_xywh: BoxXYWH
    score: float
    status: Status


@dataclass(frozen=True)
class TargetState:
    """``center_xy``: pixel index in the frame; ``size_wh``: pixels; ``scale``: frame pixels per crop pixel."""

    center_xy: tuple[float, float]
    size_wh: tuple[float, float]
    scale: float

    @property
    def box_xywh(self) -> BoxXYWH:
        """Corner and size; the centre of a box x, w is the pixel index x + (w - 1) / 2."""
        (cx, cy), (w, h) = self.center_xy, self.size_wh
        return cx - (w - 1) / 2, cy - (h - 1) / 2, w, h

    def resized(self, ratio_xy: tuple[float, float]) -> TargetState:
        """The same target in a frame whose sides changed by these ratios."""
        rx, ry = ratio_xy
        center = ((self.center_xy[0] + 0.5) * rx - 0.5, (self.center_xy[1] + 0.5) * ry - 0.5)
        return TargetState(center, (self.size_wh[0] * rx, self.size_wh[1] * ry), self.scale * (rx * ry) ** 0.5)
