"""Keeps a track as it is made: rows, annotated video and contact sheet."""

from __future__ import annotations

from pathlib import Path
from types import TracebackType

from PIL.Image import Image

from ebm_tracker.drawing import BoxXYWH, annotate, blank_frame, enlargement
from ebm_tracker.evaluation.contact_sheet import Snapshots, contact_sheet
from ebm_tracker.evaluation.metrics import Scores, score_boxes
from ebm_tracker.evaluation.results import ResultPaths, TrackRecord, result_paths, write_record
from ebm_tracker.evaluation.runner import Step
from ebm_tracker.evaluation.sequences import TrackingSequence
from ebm_tracker.files import atomic_path
from ebm_tracker.video import VideoWriter


class TrackRecorder:
    """Takes steps and leaves result files.

    Use it as a context manager around the loop: the files are completed when the block ends, by an exception
    or Ctrl-C too, and hold the frames that were done. Without any step no file is made.

    Args:
        sequence: what is tracked; its true boxes are drawn and scored.
        directory: where the files go; must exist.
        tracker_name: for the heading of the sheet.
        save_video: whether the annotated video is written.
    """

    def __init__(
        self, sequence: TrackingSequence, directory: str | Path, tracker_name: str, save_video: bool = True
    ) -> None:
        self.record = TrackRecord()
        self.paths: ResultPaths = result_paths(directory, sequence.name)
        self._sequence = sequence
        self._tracker_name = tracker_name
        self._save_video = save_video
        self._snapshots = Snapshots()
        self._video: VideoWriter | None = None
        self._scale = 1
        self._size_wh = (0, 0)

    def __enter__(self) -> TrackRecorder:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def add(self, step: Step) -> None:
        """Keeps one step."""
        self.record.append(step.box_xywh, step.score, step.status, step.seconds)
        truth = self._truth_of(step.index)
        self._snapshots.add(step, truth)
        if self._save_video:
            self._write_video(step, truth)

    def close(self) -> None:
        """Completes the files, the rows first, because they cannot fail for the video's reasons."""
        video, self._video = self._video, None
        try:
            if len(self.record):
                write_record(self.record, self.paths)
                with atomic_path(self.paths.sheet) as part:
                    self.sheet().save(part)
        finally:
            if video is not None:
                video.close()

    @property
    def scores(self) -> Scores | None:
        """Figures against the true boxes; None when there are none to judge by."""
        truth = self._sequence.truth_xywh
        if truth is None:
            return None
        try:
            return score_boxes(self.record.boxes_xywh, truth)
        except ValueError:  # the true boxes end with the first frame, or the target is never there
            return None

    def sheet(self) -> Image:
        """The contact sheet of what was kept so far."""
        record = self.record
        facts = [self._tracker_name, f"{len(record)} frames"]
        if record.frames_per_second:
            facts.append(f"{record.frames_per_second:.1f} frames/s")
        statuses = record.statuses
        facts += [f"{statuses.count(name)} {name}" for name in ("uncertain", "lost") if name in statuses]
        scores = self.scores
        if scores is not None:
            facts.append(f"AUC {scores.auc:.3f}, OP50 {scores.op50:.3f}, OP75 {scores.op75:.3f}")
        return contact_sheet(
            self._snapshots.spread(),
            record.scores,
            statuses,
            title=self._sequence.name,
            subtitle="  \u00b7  ".join(facts),
            has_truth=self._sequence.truth_xywh is not None,
        )

    def _truth_of(self, index: int) -> BoxXYWH | None:
        truth = self._sequence.truth_xywh
        if truth is None or index >= len(truth):
            return None
        x, y, w, h = truth[index].tolist()
        return x, y, w, h

    def _write_video(self, step: Step, truth: BoxXYWH | None) -> None:
        if self._video is None:
            assert step.frame is not None  # the loop refuses a sequence without a first frame
            height, width = step.frame.shape[:2]
            self._scale = enlargement((width, height))
            self._size_wh = (width * self._scale, height * self._scale)
            fps = self._sequence.frames.frames_per_second
            self._video = VideoWriter(self.paths.video, fps, self._size_wh)
        if step.frame is None:
            picture = blank_frame(self._size_wh, step.index)
        else:
            picture = annotate(
                step.frame, step.box_xywh, step.status, step.score, step.index, truth, self._scale
            )
        self._video.write(picture)
