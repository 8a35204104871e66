"""The page alone, without the rest of ``ebm live``: ``python -m ebm_tracker.live.web --source clip.mp4``."""

from __future__ import annotations

import sys

from ebm_tracker.cli.loading import add_loading_flags
from ebm_tracker.cli.parser import OneLineParser, run_guarded
from ebm_tracker.cli.track import preset_help, thread_count
from ebm_tracker.live.web.flags import add_web_flags
from ebm_tracker.live.web.serve import serve


def main() -> int:
    """Serves the page; returns the exit code."""
    parser = OneLineParser(prog="ebm_tracker.live.web", description="Track in the browser.")
    parser.add_argument("preset", nargs="?", default="default", help=preset_help())
    parser.add_argument("--source", action="append", help="camera, address, file or folder; may be repeated")
    parser.add_argument("--threads", type=thread_count, metavar="N", help="CPU threads (default: torch's choice)")
    add_loading_flags(parser)
    add_web_flags(parser, switch=False)
    parser.set_defaults(run=serve)
    return run_guarded(parser, None)


if __name__ == "__main__":
    sys.exit(main())
