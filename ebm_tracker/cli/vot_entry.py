"""What runs in the process that the vot toolkit starts (``vot_tracker``): it loads a tracker and answers TraX requests
with boxes.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
import traceback
from collections.abc import Sequence
from pathlib import Path
from typing import BinaryIO

from ebm_tracker.cli.trackers import add_tracker_flags, tracker_factory
from ebm_tracker.errors import one_line
from ebm_tracker.evaluation.benchmark.jobs import TrackerFactory, flag
from ebm_tracker.evaluation.runner import Tracker
from ebm_tracker.evaluation.synthetic import MovingTexture
from ebm_tracker.evaluation.vot import PolygonRule, TraxServer

WARM_UP_FRAMES = 3
DESCRIPTION = "A tracker for the vot toolkit, over TraX. `ebm eval vot` writes the toolkit's file that calls this."


def build_parser() -> argparse.ArgumentParser:
    """The flags of the entry."""
    parser = argparse.ArgumentParser(prog="python -m ebm_tracker.cli.vot_tracker", description=DESCRIPTION)
    parser.add_argument("tracker", help="as in `ebm eval run`")
    parser.add_argument("preset", help="as in `ebm eval run`")
    add_tracker_flags(parser)
    add_entry_flags(parser)
    parser.add_argument("--log", type=Path, metavar="FILE", help="where everything goes that would be printed")
    return parser


def add_entry_flags(parser: argparse.ArgumentParser) -> None:
    """The flags that `ebm eval vot` passes on as they are."""
    parser.add_argument("--threads", type=int, metavar="N", help="CPU threads (default: torch's choice)")
    parser.add_argument("--several-objects", action="store_true", help="take experiments with more than one object")
    parser.add_argument(
        "--polygons",
        choices=[rule.value for rule in PolygonRule],
        default=PolygonRule.HULL.value,
        help="box of a turned rectangle: hull, all around it; area, of its size, as entries of VOT 2016 to 2019 had it",
    )


def main(argv: Sequence[str] | None = None) -> int:
    """Serves until the client quits. Returns 0, or 1 after an error, which the client and the log are told."""
    args = build_parser().parse_args(argv)
    requests, replies = take_streams(args.log)
    print(f"{time.strftime('%Y-%m-%d %H:%M:%S')} process {os.getpid()}: {sys.argv[1:] if argv is None else argv}")
    server: TraxServer | None = None
    try:
        factory = tracker_factory(args.tracker, args.preset, args)
        reuse = not flag(factory, "fresh_per_sequence")
        ready = [warm_up(_build(factory, args))]  # before the greeting, for which the toolkit waits as long as it takes
        if not reuse:
            ready = []
        server = TraxServer(
            requests,
            replies,
            lambda: ready.pop() if ready else _build(factory, args),
            f"{factory.tracker} {factory.parameter}",
            several_objects=args.several_objects,
            reuse=reuse,
            polygons=PolygonRule(args.polygons),
        )
        server.serve()
    except Exception as error:
        _tell(error, replies, args.log, greeted=server is not None)
        return 1
    return 0


def take_streams(log: Path | None) -> tuple[BinaryIO, BinaryIO]:
    """The process's stdin and stdout for the protocol alone: all that is printed from now on, by whatever library,
    goes to the log, or to stderr without one."""
    requests = os.fdopen(os.dup(0), "rb")
    replies = os.fdopen(os.dup(1), "wb")
    sys.stdout.flush()
    if log is not None:
        log.parent.mkdir(parents=True, exist_ok=True)
        file = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
        os.dup2(file, 2)
        os.close(file)
    os.dup2(2, 1)
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    os.close(nothing)
    sys.stdout.reconfigure(line_buffering=True)  # type: ignore[union-attr]
    return requests, replies


def warm_up(tracker: Tracker) -> Tracker:
    """The tracker, after a few frames of a made-up video: what is slow the first time is over."""
    video = MovingTexture((320, 240), WARM_UP_FRAMES)
    start = time.perf_counter()
    for index, frame in enumerate(video):
        if index == 0:
            tracker.initialize(frame, video.box_xywh(0))
        else:
            tracker.track(frame)
    print(f"warmed up in {time.perf_counter() - start:.2f} s")
    return tracker


def _build(factory: TrackerFactory, args: argparse.Namespace) -> Tracker:
    device = None if args.device == "auto" else args.device
    return factory.build(args.seed, device, args.threads)


def _tell(error: Exception, replies: BinaryIO, log: Path | None, greeted: bool) -> None:
    """The whole story to the log, and to the toolkit, which keeps lines that are no messages in a log of its own; it
    says no more than "unable to connect" of a tracker that ends before its greeting."""
    traceback.print_exc()
    if greeted:  # the server has sent the reason
        return
    lines = [*traceback.format_exc().splitlines(), f"the tracker could not be loaded: {one_line(error)}"]
    lines += [f"its log is {log}"] if log is not None else []
    try:
        replies.write("".join(f"{line}\n" for line in lines).encode("utf-8", errors="replace"))
        replies.flush()
    except OSError:
        print("the client has gone")
