"""Tracking of one or several targets: ATOM's online classifier with the energy network's boxes, step by step."""

from ebm_tracker.tracking.config import (
    BoxSpace,
    RefinementSettings,
    TrackerConfig,
    WeightsSource,
)
from ebm_tracker.tracking.multi import MultiTracker, ObjectId
from ebm_tracker.tracking.state import Status, TrackOutput
from ebm_tracker.tracking.tracker import Tracker

__all__ = [
    "BoxSpace",
    "MultiTracker",
    "ObjectId",
    "RefinementSettings",
    "Status",
    "TrackOutput",
    "Tracker",
    "TrackerConfig",
    "WeightsSource",
]
