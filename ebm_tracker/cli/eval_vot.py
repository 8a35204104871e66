"""Make a tracker known to the vot toolkit: a section of DIR/trackers.ini, and the commands to run next.

ebm eval vot DIR; ebm eval vot DIR --selftest also tracks a few frames through that entry, as the toolkit would. The
toolkit belongs into an environment of its own: it starts the tracker with this one's interpreter. The tracker gives
boxes, not masks.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from PIL import Image
from rich.console import Console

from ebm_tracker.cli.trackers import add_tracker_flags, tracker_factory
from ebm_tracker.cli.vot_entry import add_entry_flags
from ebm_tracker.evaluation.metrics import overlaps
from ebm_tracker.evaluation.synthetic import MovingTexture
from ebm_tracker.evaluation.vot.client import TraxClient
from ebm_tracker.evaluation.vot.messages import TraxError
from ebm_tracker.evaluation.vot.workspace import (
    TrackerEntry,
    identifier_of,
    next_commands,
    read_command,
    write_entry,
)

SELFTEST_FRAMES = 12
# The last version whose supervised and multi-start experiments (VOT 2013 to 2022) run: in 0.8.1 and 0.9.0 these stop
# with "Tracker does not support multiple objects" and "ObjectQuery.state must be a Region", whatever the tracker; only
# unsupervised ones run. attributee 0.1.10 breaks the toolkit's import on Python 3.11.
TOOLKIT_INSTALL = 'pip install "vot-toolkit==0.7.4" "attributee<0.1.10" setuptools'
FORWARDED = ("device", "seed", "weights", "backbone_weights", "pytracking", "threads", "polygons")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The flags."""
    parser.add_argument("directory", type=Path, metavar="DIR", help="the toolkit's workspace, there or not yet")
    parser.add_argument("--tracker", default="ebm", help="as in `ebm eval run` (default: ebm)")
    parser.add_argument("--preset", default="default", help="as in `ebm eval run` (default: default)")
    parser.add_argument("--id", metavar="NAME", help="its name in the toolkit (default: TRACKER_PRESET)")
    parser.add_argument("--timeout", type=int, default=120, metavar="S", help="for one answer (default: 120)")
    parser.add_argument("--selftest", action="store_true", help="then track a few frames through the entry")
    add_tracker_flags(parser)
    add_entry_flags(parser)


def run(args: argparse.Namespace) -> int:
    """Writes the section, tests it if asked to, and prints what comes next. Returns 0, or 1 for a failed test."""
    console = Console(highlight=False)
    tracker_factory(args.tracker, args.preset, args)  # a mistyped name is better said now than in the toolkit's log
    directory = args.directory.absolute()
    identifier = args.id or identifier_of(args.tracker, args.preset)
    log = directory / f"{identifier}.log"
    entry = TrackerEntry(
        identifier,
        f"{args.tracker} {args.preset}",
        entry_command(args, log),
        timeout_s=args.timeout,
        restart=args.several_objects,
    )
    path = write_entry(directory, entry)
    _say(console, f"{path}: [{identifier}] {args.tracker} {args.preset}; it gives boxes, not masks; its log is {log}")
    if args.selftest and not selftest(console, read_command(directory, identifier), log, args.timeout):
        return 1
    _say(console, f"next, in the environment of the vot toolkit ({TOOLKIT_INSTALL}):")
    for purpose, command in next_commands(directory, identifier):
        _say(console, f"  {command}    # {purpose}")
    return 0


def entry_command(args: argparse.Namespace, log: Path) -> list[str]:
    """What the toolkit starts: this interpreter, with the same flags, all paths absolute."""
    command = [sys.executable, "-m", "ebm_tracker.cli.vot_tracker", args.tracker, args.preset, "--log", str(log)]
    values = {name: getattr(args, name, None) for name in FORWARDED}
    if args.tracker == "ebm" and args.backbone_weights is None and os.environ.get("EBM_BACKBONE_WEIGHTS"):
        values["backbone_weights"] = Path(os.environ["EBM_BACKBONE_WEIGHTS"])  # the toolkit's shell may lack it
    for name, value in values.items():
        if value is not None:
            command += [f"--{name}", str(value.absolute() if isinstance(value, Path) else value)]
    return [*command, *(["--several-objects"] if args.several_objects else [])]


def selftest(console: Console, command: list[str], log: Path, timeout_s: float) -> bool:
    """Tracks a made-up video through the entry, in a folder with blanks and signs in its name; says how it went."""
    video = MovingTexture((320, 240), SELFTEST_FRAMES)
    with tempfile.TemporaryDirectory(prefix="ebm 50% ") as folder:
        images = [Path(folder, f"{index:08d}.png") for index in range(SELFTEST_FRAMES)]
        for image, frame in zip(images, video, strict=True):
            Image.fromarray(frame).save(image)
        start = time.perf_counter()
        try:
            with TraxClient(command, timeout_s) as client:
                ready = time.perf_counter()
                answers = [client.initialize(images[0], video.box_xywh(0))]
                first = time.perf_counter()
                answers += [client.frame(image) for image in images[1:]]
                done = time.perf_counter()
        except TraxError as error:
            _say(console, f"the test failed: {error}; {log} has the whole story")
            return False
    boxes = np.array([box for box, _ in answers])
    truth = np.array([video.box_xywh(index) for index in range(SELFTEST_FRAMES)])
    overlap = float(overlaps(boxes, truth)[1:].mean())
    _say(
        console,
        f"tested: {client.greeting.named['trax.name']}, ready after {ready - start:.1f} s, {first - ready:.2f} s to "
        f"initialise, {1e3 * (done - first) / (SELFTEST_FRAMES - 1):.0f} ms a frame, mean overlap {overlap:.2f} on a "
        "made-up video",
    )
    return True


def _say(console: Console, text: str) -> None:
    console.print(text, markup=False, soft_wrap=True)
