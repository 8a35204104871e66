"""Submissions for the servers of TrackingNet and GOT-10k: put together, checked, written, verified."""

from ebm_tracker.evaluation.packing.check import Findings
from ebm_tracker.evaluation.packing.servers import SERVER_NAMES, PackingError, Server, server_of
from ebm_tracker.evaluation.packing.submission import Submission, prepare_submission, write_submission
from ebm_tracker.evaluation.packing.verify import verify_archive

__all__ = [
    "SERVER_NAMES",
    "Findings",
    "PackingError",
    "Server",
    "Submission",
    "prepare_submission",
    "server_of",
    "verify_archive",
    "write_submission",
]
