"""One run of ``ebm live`` in a window or without: open, load, follow, keep, report."""

from __future__ import annotations

import argparse
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from rich.console import Console

from ebm_tracker.frames import RgbFrame
from ebm_tracker.live.picture import draw_objects, fit_scale
from ebm_tracker.live.recorder import LiveRecorder, RecordError, require_folder
from ebm_tracker.live.session import BoxXYWH, LiveFrame, LiveSession, ObjectId, ObjectsTracker
from ebm_tracker.live.sources import Source, counted, open_source
from ebm_tracker.live.viewer import LiveViewer
from ebm_tracker.live.window import NoDisplay, open_display, run_window
from ebm_tracker.video import IMAGE_FOLDERS

EXIT_INTERRUPTED = 130
Objects = Sequence[tuple[ObjectId | None, BoxXYWH]]


def run_live(args: argparse.Namespace) -> int:
    """Follows as the arguments of ``ebm live`` say.

    Returns 0, or 130 when Ctrl-C ended it; the files are complete then too. Raises EbmError, ValueError or OSError
    with one sentence for what the user can put right.
    """
    console = Console(highlight=False)

    def say(text: str) -> None:
        console.print(text, markup=False, soft_wrap=True)

    sources = args.source or ["0"]
    if len(sources) > 1:
        raise ValueError(f"a window shows one --source (got {len(sources)}); --web offers several")
    pygame = display_or_none(args, say)
    directory = (args.out or Path("results", "live", args.preset)).resolve()
    require_folder(directory)
    refuse_own_frames(sources[0], directory)
    source = open_source(sources[0])
    try:
        session = LiveSession(load_objects_tracker(args), density_picture)
        recorder = LiveRecorder(directory, source.name, source.frames_per_second, source.is_live)
        interrupted = False
        try:
            with recorder, shown_by_visdom(session, args.visdom):
                end = time.monotonic() + (args.seconds if pygame is None and args.seconds else float("inf"))
                add_first_objects(session, source, recorder, args.init, end)
                if pygame is None:
                    follow_headless(session, source, recorder, end, say)
                else:
                    viewer = LiveViewer(session, source, recorder, say)
                    if args.init:
                        viewer.paused = False
                    run_window(pygame, viewer)
        except KeyboardInterrupt:
            interrupted = True
        report(session, source, recorder, interrupted, say)
    finally:
        source.close()
    return EXIT_INTERRUPTED if interrupted else 0


@contextmanager
def shown_by_visdom(session: LiveSession, address: str | None) -> Iterator[None]:
    """Shows the session's frames on that visdom server; None: does nothing."""
    if address is None:
        yield
        return
    from ebm_tracker.live.visdom_view import VisdomView

    tracker: Any = session.tracker
    with VisdomView(address) as view:

        def show(frame: LiveFrame) -> None:
            view.show(frame.frame, frame.index, frame.outputs, tracker.details)

        session.watch = show
        yield


def display_or_none(args: argparse.Namespace, say: Any) -> Any:
    """pygame, or None for a run without a window, which needs --init. Raises WindowError and ValueError."""
    if not args.headless:
        try:
            return open_display()
        except NoDisplay as error:
            if args.init:
                say(f"{error}: going on without a window, writing video and results")
            else:
                raise ValueError(f"{error}: give objects by --init X,Y,W,H, or use --web") from error
    if not args.init:
        raise ValueError("--headless needs --init X,Y,W,H, the object in the first frame")
    return None


def load_objects_tracker(args: argparse.Namespace) -> ObjectsTracker:
    """The tracker of several objects that the flags ask for."""
    from ebm_tracker.cli.loading import load_tracker
    from ebm_tracker.tracking import MultiTracker

    one: Any = load_tracker(args, profile=False)
    # The density needs the details.
    several: Any = MultiTracker(one.network, one.config, device=one.device, seed=args.seed, keep_details=True)
    tracker: ObjectsTracker = several
    return tracker


def density_picture(tracker: Any, frame: RgbFrame, object_id: ObjectId) -> RgbFrame:
    """The frame with the density of the object's top-right corner over it."""
    from ebm_tracker.density import corner_density, overlay

    return overlay(frame, corner_density(tracker, object_id))


def refuse_own_frames(word: str, directory: Path) -> None:
    """Raises RecordError when snapshots would come among the images that are the source."""
    folder = Path(word)
    if folder.is_dir() and directory in [(folder / name).resolve() for name in ("", *IMAGE_FOLDERS)]:
        raise RecordError(f"results would come among the frames in {directory}: name another folder by --out")


def add_first_objects(
    session: LiveSession, source: Source, recorder: LiveRecorder, objects: Objects, end: float = float("inf")
) -> None:
    """The objects of --init in the first frame, which is waited for until ``end``. Raises ValueError for a box outside
    it, or without a frame."""
    if not objects:
        return
    while session.current is None:
        grabbed = source.read(1.0)
        if grabbed is not None:
            session.step(grabbed, source.dropped)
        elif source.ended or time.monotonic() > end:
            raise ValueError(f"no frame came: {source.end_reason or source.status or 'the time is over'}")
    for object_id, box in objects:
        session.add(box, object_id)
    recorder.add(session.current)


def follow_headless(
    session: LiveSession, source: Source, recorder: LiveRecorder, end: float, say: Any
) -> None:
    """Follows to the end of the source, or to that time, writing rows and video."""
    current = session.current
    assert current is not None
    scale = fit_scale((current.frame.shape[1], current.frame.shape[0]))
    picture = draw_objects(current.frame, current.outputs, scale)
    recorder.start_video((picture.shape[1], picture.shape[0]))
    recorder.show(picture, current.arrived)
    say(f"{source.name}: follows {counted(len(session.ids), 'object')}, results go to {recorder.directory}")
    status = ""
    while time.monotonic() < end:
        grabbed = source.read(0.5)
        now = source.status
        if now != status:
            status = now
            say(status or f"{source.name}: frames come again")
        if grabbed is None:
            if source.ended:
                return
            continue
        frame = session.step(grabbed, source.dropped)
        if frame is not None:
            recorder.add(frame)
            recorder.show(draw_objects(frame.frame, frame.outputs, scale), frame.arrived)


def report(session: LiveSession, source: Source, recorder: LiveRecorder, interrupted: bool, say: Any) -> None:
    """Prints what was done and where every file lies."""
    current = session.current
    if current is None:
        say(f"{source.name}: no frame came")
        return
    counts = [counted(current.index + 1, "frame")]
    for count, word in (
        (source.dropped, "dropped"),
        (source.bad_frames, "could not be decoded"),
    ):
        counts += [f"{count} {word}"] if count else []
    for count, word in ((source.size_changes, "size change"), (source.reconnects, "reconnection")):
        counts += [counted(count, word)] if count else []
    say(f"{'interrupted' if interrupted else 'done'}: {source.name}, {', '.join(counts)}")
    for path in recorder.files:
        say(f"  {path}")
