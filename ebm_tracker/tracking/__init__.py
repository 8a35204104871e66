"""Tracking one target: settings, state, and the steps of ATOM's online part with the energy network's boxes."""

from ebm_tracker.tracking.config import (
    BoxSpace,
    RefinementSettings,
    TrackerConfig,
    WeightsSource,
)
from ebm_tracker.tracking.state import Status, TrackOutput
from ebm_tracker.tracking.tracker import Tracker

__all__ = ["BoxSpace", "RefinementSettings", "Status", "TrackOutput", "Tracker", "TrackerConfig", "WeightsSource"]
