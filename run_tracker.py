"""Tracks an object: ``python run_tracker.py ebm default`` runs the demo, ``--help`` lists the rest."""

import sys

from ebm_tracker.cli.track import build_run_tracker_parser as build_parser
from ebm_tracker.cli.track import run_tracker_main

__all__ = ["build_parser"]

if __name__ == "__main__":
    sys.exit(run_tracker_main())
