"""Running trackers over sequences, keeping what they say, and judging it. Knows trackers by protocol only."""

from ebm_tracker.annotations import AnnotationError, AnnotationWarning, parse_boxes, read_boxes
from ebm_tracker.evaluation.metrics import Scores, overlaps, score_boxes
from ebm_tracker.evaluation.recorder import TrackRecorder
from ebm_tracker.evaluation.results import ResultPaths, TrackRecord, read_record, result_paths, write_record
from ebm_tracker.evaluation.runner import Step, Tracker, TrackerOutput, track_sequence
from ebm_tracker.evaluation.sequences import TrackingSequence, open_frame_folder

__all__ = [
    "AnnotationError",
    "AnnotationWarning",
    "ResultPaths",
    "Scores",
    "Step",
    "TrackRecord",
    "TrackRecorder",
    "Tracker",
    "TrackerOutput",
    "TrackingSequence",
    "open_frame_folder",
    "overlaps",
    "parse_boxes",
    "read_boxes",
    "read_record",
    "result_paths",
    "score_boxes",
    "track_sequence",
    "write_record",
]
