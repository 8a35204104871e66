"""Trackers for the vot toolkit: the TraX protocol, spoken over two streams, and what the toolkit is told in files."""

from ebm_tracker.evaluation.vot.client import TraxClient
from ebm_tracker.evaluation.vot.messages import TraxError
from ebm_tracker.evaluation.vot.regions import PolygonRule
from ebm_tracker.evaluation.vot.server import TraxServer

__all__ = ["PolygonRule", "TraxClient", "TraxError", "TraxServer"]
