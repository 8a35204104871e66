"""Put this tracker into a checkout of pytracking, take it out again, or say what a run there lacks.

ebm plugin install DIR [--ltr]; ebm plugin check DIR [--ltr]; ebm plugin remove DIR. DIR is what `git clone` made of
visionml/pytracking. Then, in DIR/pytracking: python run_tracker.py ebm default --dataset_name otb --sequence Crossing
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any

_INSTALL = """Write the few files by which stock pytracking finds this tracker and its presets.

Each is an import under a line that says whose it is. Nothing of pytracking's own is changed; a second call changes
nothing, and files of another version of the plugin are updated."""
_REMOVE = """Take away what `install` wrote, of whatever version, and nothing else."""
_CHECK = """Import what a run would import, step by step, and list everything that is missing with what mends it.

Nothing is written. Exits with 1 when something blocks a run. A local.py that fails is reported before pytracking sees
it: pytracking would overwrite it."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The sub-commands and their flags."""
    commands = parser.add_subparsers(metavar="command", required=True, dest="plugin_command")
    install = _command(commands, "install", _INSTALL)
    install.add_argument("--ltr", action="store_true", help="also the recipes for ltr/run_training.py")
    _command(commands, "remove", _REMOVE)
    check = _command(commands, "check", _CHECK)
    check.add_argument("--ltr", action="store_true", help="also what ltr/run_training.py needs")
    check.add_argument(
        "--python", default=sys.executable, metavar="FILE", help="interpreter that is to run pytracking (default: this)"
    )


def _command(commands: Any, name: str, text: str) -> argparse.ArgumentParser:
    parser: argparse.ArgumentParser = commands.add_parser(name, help=text.splitlines()[0], description=text)
    parser.add_argument("directory", metavar="DIR", type=Path, help="the checkout of pytracking")
    parser.add_argument("--debug", type=int, default=0, metavar="LEVEL", help="1: tracebacks of errors")
    return parser


def run(args: argparse.Namespace) -> int:
    """Runs the sub-command; 0, or 1 when `check` found something that blocks a run."""
    if args.plugin_command == "check":
        return _check(args)
    from ebm_tracker.plugin.install import install, remove

    removing = args.plugin_command == "remove"
    changes = remove(args.directory) if removing else install(args.directory, args.ltr)
    _say(f"in {args.directory.resolve()}:")
    for change in changes:
        _say(f"  {change}")
    if not removing:
        _say(f"next: ebm plugin check {args.directory}" + (" --ltr" if args.ltr else ""))
    elif not changes:
        _say("  nothing of this plugin was there")
    return 0


def _check(args: argparse.Namespace) -> int:
    from ebm_tracker.plugin.check import check

    findings = check(args.directory, args.ltr, args.python)
    for finding in findings:
        _say(str(finding))
    blocking = sum(finding.blocks for finding in findings)
    what = "a run or a training" if args.ltr else "a run"
    _say(f"{blocking} of these block {what}" if blocking else f"nothing blocks {what} in {args.directory.resolve()}")
    return 1 if blocking else 0


def _say(text: str) -> None:
    from rich.console import Console

    # Paths and commands must come out as they are: not wrapped, and their brackets not taken for markup.
    Console(highlight=False).print(text, markup=False, soft_wrap=True)
