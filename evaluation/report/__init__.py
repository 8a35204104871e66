"""Reports: tables, plots and a page of what trackers reached on a benchmark."""

from ebm_tracker.evaluation.report.content import Report, ReportError, gather_report
from ebm_tracker.evaluation.report.player import FrameUse
from ebm_tracker.evaluation.report.writer import Written, write_report

__all__ = ["FrameUse", "Report", "ReportError", "Written", "gather_report", "write_report"]
