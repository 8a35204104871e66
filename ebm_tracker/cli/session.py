"""One run of ``ebm track``: open, load, track, keep, report."""

from __future__ import annotations

import argparse
import sys
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from ebm_tracker.annotations import AnnotationWarning
from ebm_tracker.cli.loading import load_tracker
from ebm_tracker.cli.memory import peak_memory_mb, resident_memory_mb
from ebm_tracker.cli.progress import open_progress
from ebm_tracker.demo import DEMO_BOX_XYWH, DEMO_NAME, find_demo_clip
from ebm_tracker.errors import EbmError
from ebm_tracker.evaluation.recorder import TrackRecorder
from ebm_tracker.evaluation.results import result_paths
from ebm_tracker.evaluation.runner import Step, track_sequence
from ebm_tracker.evaluation.sequences import TrackingSequence, open_frame_folder
from ebm_tracker.files import part_path
from ebm_tracker.tracking import Status, TrackOutput
from ebm_tracker.video import FrameFolder, VideoFile

EXIT_INTERRUPTED = 130


class OutputError(EbmError):
    """The folder for the results cannot be used."""


def run_session(args: argparse.Namespace) -> int:
    """Tracks as the arguments of ``ebm track`` say.

    Returns 0, or 130 when Ctrl-C ended it; the files then hold the frames that were done. Raises EbmError,
    ValueError or OSError with one sentence for what the user can put right.
    """
    console = Console(highlight=False)
    sequence = open_sequence(args)
    directory = (args.out or Path("results", "ebm", args.preset)).resolve()
    refuse_own_frames(sequence, directory)
    _say(console, f"{sequence.name}: tracking with ebm {args.preset}, results go to {directory}")
    memory_at_start = memory_after_torch() if args.debug > 0 else None
    visdom = getattr(args, "visdom", None)
    tracker = load_tracker(args, profile=args.debug > 0, keep_details=visdom is not None)
    make_usable(directory, sequence.name)  # after loading: a mistyped preset leaves no folder
    recorder = TrackRecorder(sequence, directory, f"ebm {args.preset}", args.save_video)
    interrupted = False
    try:
        # The progress line ends before the recorder completes its files.
        with recorder, open_viewer(visdom) as show, open_progress(console, sequence) as progress:
            for step in track_sequence(tracker, sequence):
                recorder.add(step)
                show(tracker, step)
                progress.show(step, recorder.record.frames_per_second)
    except KeyboardInterrupt:
        interrupted = True
    report(console, recorder, sequence, interrupted)
    if args.debug > 0:
        print_stage_times(console, getattr(tracker, "stage_times", None) or {}, len(recorder.record))
        print_memory(console, memory_at_start)
    return EXIT_INTERRUPTED if interrupted else 0


@contextmanager
def open_viewer(address: str | None) -> Iterator[Callable[[Any, Step], None]]:
    """A function that shows a step of a tracker on that visdom server; None: it does nothing."""
    if address is None:
        yield lambda tracker, step: None
        return
    from ebm_tracker.live.visdom_view import VisdomView

    with VisdomView(address) as view:

        def show(tracker: Any, step: Step) -> None:
            output = TrackOutput(step.box_xywh, step.score, Status(step.status))
            details = tracker.details
            view.show(step.frame, step.index, {"": output}, {} if details is None else {"": details})

        yield show


def open_sequence(args: argparse.Namespace) -> TrackingSequence:
    """What --video, --frames and --init name, or the demo; prints warnings about ground-truth files."""
    if args.video is not None:
        if args.init is None:
            raise ValueError("--video needs --init x,y,w,h, the object in the first frame")
        video = VideoFile(args.video)
        return TrackingSequence(video.name, video, args.init)
    if args.frames is not None:
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always", AnnotationWarning)
            sequence = open_frame_folder(args.frames, args.init)
        for warning in caught:
            print(f"warning: {warning.message}", file=sys.stderr)
        return sequence
    return TrackingSequence(DEMO_NAME, VideoFile(find_demo_clip()), args.init or DEMO_BOX_XYWH)


def refuse_own_frames(sequence: TrackingSequence, directory: Path) -> None:
    """Raises OutputError when results there would replace the video or come among the images."""
    frames = sequence.frames
    if isinstance(frames, VideoFile):
        video = result_paths(directory, sequence.name).video
        if video.exists() and video.samefile(frames.path):
            raise OutputError(f"the annotated video would replace the input {video}: name another folder by --out")
    if isinstance(frames, FrameFolder) and frames.paths[0].parent.resolve() == directory:
        raise OutputError(f"results would come among the frames in {directory}: name another folder by --out")


def make_usable(directory: Path, name: str) -> None:
    """Makes the folder if need be; raises OutputError when the results of that name cannot be written there."""
    paths = result_paths(directory, name)
    try:
        directory.mkdir(parents=True, exist_ok=True)
        probe = part_path(paths.scores)  # the longest name of all
        probe.touch()
        probe.unlink()
    except OSError as error:
        raise OutputError(f"results cannot be written to {directory} ({error.strerror})") from error
    for path in vars(paths).values():
        if path.is_dir():
            raise OutputError(f"results cannot be written to {path} (Is a directory)")


def report(console: Console, recorder: TrackRecorder, sequence: TrackingSequence, interrupted: bool) -> None:
    """Prints what was done, the scores if the truth is known, and where every file lies."""
    record = recorder.record
    if not len(record):
        _say(console, "interrupted before the first frame, nothing was written")
        return
    statuses = record.statuses
    counts = ", ".join(f"{statuses.count(name)} {name}" for name in ("tracked", "uncertain", "lost"))
    bad = sequence.frames.bad_frames
    _say(
        console,
        f"{'interrupted after' if interrupted else 'done:'} {len(record)} frames"
        f"{f' ({bad} could not be decoded)' if bad else ''}, {record.frames_per_second:.1f} frames/s after"
        f" {record.seconds[0]:.2f} s to initialise; {counts}",
    )
    scores = recorder.scores
    if scores is not None:
        _say(
            console,
            f"AUC {scores.auc:.3f}  OP50 {scores.op50:.3f}  OP75 {scores.op75:.3f}"
            f"  precision {scores.precision:.3f}  over {scores.frames} frames after the first",
        )
    for path in vars(recorder.paths).values():
        if path.exists():
            _say(console, f"  {path}")


def print_stage_times(console: Console, stage_times: Mapping[str, Sequence[float]], frames: int) -> None:
    """A table of the tracker's stages: calls, milliseconds per call and per frame."""
    table = Table(title="stages, initialisation included")
    for heading in ("stage", "calls", "ms per call", "ms per frame"):
        table.add_column(heading, justify="left" if heading == "stage" else "right")
    for name, seconds in stage_times.items():
        total = 1e3 * sum(seconds)
        table.add_row(
            name, str(len(seconds)), f"{total / max(len(seconds), 1):.2f}", f"{total / max(frames, 1):.2f}"
        )
    console.print(table)


def memory_after_torch() -> float | None:
    """Resident memory in MB once torch is imported, which the tracker cannot be blamed for."""
    import torch  # noqa: F401

    return resident_memory_mb()


def print_memory(console: Console, at_start: float | None) -> None:
    """The peak so far, above the memory at the start."""
    peak = peak_memory_mb()
    if peak is not None and at_start is not None:
        _say(console, f"peak memory {peak:.0f} MB, {peak - at_start:.0f} MB above importing torch")


def _say(console: Console, text: str) -> None:
    # Paths must come out as they are: not wrapped, and their brackets not taken for markup.
    options: dict[str, Any] = {"markup": False, "soft_wrap": True}
    console.print(text, **options)
