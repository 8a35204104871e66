"""A script that tests run, signal and kill: the made benchmark into a folder.

run_made.py OUT [--workers K] [--pause SECONDS] [--engine ray] [--trap NUMBER=TRAP] [--log FILE]
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from made_benchmark import Wandering, made_benchmark

from ebm_tracker.errors import EbmError
from ebm_tracker.evaluation.benchmark import run_benchmark

LENGTHS = {"alpha": 40, "beta": 25, "gamma": 60, "delta": 10, "epsilon": 35}


class Printed:
    """Prints at once what a display is told."""

    def __init__(self) -> None:
        self.said_frames = False

    def show(self, tally) -> None:  # type: ignore[no-untyped-def]
        if tally.frames_done and not self.said_frames:
            self.said_frames = True
            print("frames are coming", flush=True)

    def say(self, text: str) -> None:
        print(text, flush=True)


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("out", type=Path)
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--pause", type=float, default=0.0)
    parser.add_argument("--engine", default="")
    parser.add_argument("--trap", default="")
    parser.add_argument("--log", type=Path)
    args = parser.parse_args()
    traps = dict([(1, args.trap)]) if args.trap else {}
    factory = Wandering(pause_s=args.pause, traps=traps, log=args.log)
    benchmark = made_benchmark(LENGTHS, {"gamma": 1})
    try:
        if args.engine == "ray":
            from ebm_tracker.evaluation.benchmark.ray_engine import RayEngine

            with RayEngine(factory, args.workers) as engine:
                summary = run_benchmark(
                    factory, benchmark, args.out, workers=args.workers, engine=engine, display=Printed()
                )
        else:
            summary = run_benchmark(factory, benchmark, args.out, workers=args.workers, display=Printed())
    except EbmError as error:
        print(error)
        return 2
    print(f"done {len(summary.done)}, skipped {summary.skipped}, failed {len(summary.failed)}, left {summary.left}")
    if summary.interrupted:
        return 130
    return 0 if summary.complete else 1


if __name__ == "__main__":
    sys.exit(main())
