"""Follow objects live: a camera, a stream or a video in a window; draw a box, see it follow.

Drag a box to add an object, right-click to remove it, h for help. Without a display it goes on without a window, writes
video and results, and needs --init. With --web the demo is a page in the browser.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from ebm_tracker.cli.loading import add_loading_flags
from ebm_tracker.cli.track import add_visdom_flag, parse_box, preset_help, thread_count
from ebm_tracker.live.web.flags import add_web_flags


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The flags and the preset's name."""
    parser.add_argument("preset", nargs="?", default="default", help=preset_help())
    parser.add_argument(
        "--source",
        action="append",
        metavar="SOURCE",
        help="a camera's number, a device, an rtsp or http address, a video file, a folder of frames, or a pattern "
        "such as 'shots/*.png' (default: camera 0); with --web it may be repeated",
    )
    parser.add_argument(
        "--init",
        action="append",
        type=parse_object,
        default=[],
        metavar="[ID=]X,Y,W,H",
        help="an object in the first frame; may be repeated; without ID they are numbered from 1",
    )
    parser.add_argument(
        "--out", type=Path, metavar="DIR", help="where results go (default: results/live/<preset>)"
    )
    parser.add_argument("--headless", action="store_true", help="no window, although there is a display")
    parser.add_argument(
        "--seconds", type=positive_seconds, metavar="S", help="without a window: end after so many seconds"
    )
    add_loading_flags(parser)
    parser.add_argument("--threads", type=thread_count, metavar="N", help="CPU threads (default: torch's choice)")
    add_visdom_flag(parser)
    parser.add_argument("--debug", type=int, default=0, metavar="LEVEL", help="1: tracebacks of errors")
    add_web_flags(parser)


def run(args: argparse.Namespace) -> int:
    """Follows; returns 0, or 130 after Ctrl-C."""
    if args.web:
        if args.visdom is not None:
            raise ValueError("--visdom goes with the window or --headless, not with --web")
        from ebm_tracker.live.web.serve import serve

        return serve(args)
    from ebm_tracker.cli.live_session import run_live  # imports PyAV and more, which --help needs not

    return run_live(args)


def parse_object(text: str) -> tuple[int | str | None, tuple[float, float, float, float]]:
    """``[ID=]x,y,w,h``; a number as ID is a number. Raises argparse.ArgumentTypeError."""
    name, equals, box = text.rpartition("=")
    name = name.strip()
    if equals and not name:
        raise argparse.ArgumentTypeError(f"the ID before '=' is empty (got {text!r})")
    return (int(name) if name.isdecimal() else name or None), parse_box(box)


def positive_seconds(text: str) -> float:
    """A number above 0. Raises argparse.ArgumentTypeError."""
    try:
        value = float(text)
    except ValueError:
        value = 0.0
    if not 0 < value < float("inf"):
        raise argparse.ArgumentTypeError(f"must be a number above 0 (got {text!r})")
    return value
