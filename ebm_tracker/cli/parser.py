"""The command line's parser and its exit codes."""

from __future__ import annotations

import argparse
import io
import signal
import sys
import threading
import traceback
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from types import ModuleType
from typing import NoReturn

from ebm_tracker.cli import data, density, doctor, evaluate, experiment, live, plugin, speed, track, train, weights
from ebm_tracker.errors import EbmError, one_line
from ebm_tracker.version import __version__

# A module's docstring is its help. They import little: torch comes with run(), not with --help.
VERBS: dict[str, ModuleType] = {
    "track": track,
    "density": density,
    "live": live,
    "eval": evaluate,
    "train": train,
    "experiment": experiment,
    "data": data,
    "weights": weights,
    "plugin": plugin,
    "speed": speed,
    "doctor": doctor,
}

EXIT_USER_ERROR = 2  # as argparse's own
EXIT_INTERRUPTED = 130  # 128 + SIGINT, as shells have it


class OneLineParser(argparse.ArgumentParser):
    """Says what is wrong in one line; argparse would print the usage of every flag above it."""

    def error(self, message: str) -> NoReturn:
        self.exit(EXIT_USER_ERROR, f"{self.prog}: error: {message}\n")


def build_parser() -> argparse.ArgumentParser:
    """The parser of ``ebm``; the parsed arguments hold the verb's function as ``run``."""
    parser = OneLineParser(prog="ebm", description="Energy-based visual tracking.")
    parser.add_argument("--version", action="version", version=f"%(prog)s {__version__}")
    verbs = parser.add_subparsers(metavar="command", required=True)
    for name, module in VERBS.items():
        text = (module.__doc__ or "").strip()
        verb = verbs.add_parser(name, help=text.splitlines()[0], description=text)
        module.add_arguments(verb)
        verb.set_defaults(run=module.run)
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Runs ``ebm`` with these arguments (None: those of the process) and returns the exit code.

    0: done; 2: the user can put it right, one sentence on stderr says what; 130: stopped by Ctrl-C or SIGTERM.
    """
    return run_guarded(build_parser(), argv)


def run_guarded(parser: argparse.ArgumentParser, argv: Sequence[str] | None) -> int:
    """Parses, calls ``args.run(args)``, and turns errors into exit codes; ``--debug 1`` keeps tracebacks."""
    arguments = track.join_negative_values(sys.argv[1:] if argv is None else argv)
    try:
        args = parser.parse_args(arguments)
    except SystemExit as stop:  # --help, --version and errors
        return stop.code if isinstance(stop.code, int) else EXIT_USER_ERROR
    run: Callable[[argparse.Namespace], int] = args.run
    try:
        with _careful_process():
            return run(args)
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return EXIT_INTERRUPTED
    except (EbmError, ValueError, OSError) as error:
        if getattr(args, "debug", 0):
            traceback.print_exc()
        print(f"{parser.prog}: error: {one_line(error)}", file=sys.stderr)
        return EXIT_USER_ERROR


@contextmanager
def _careful_process() -> Iterator[None]:
    """SIGTERM ends the block as Ctrl-C does, which completes files; a name that the console cannot show is
    printed escaped."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper) and stream.errors == "strict":
            stream.reconfigure(errors="backslashreplace")
    if threading.current_thread() is not threading.main_thread():  # others may not set handlers
        yield
        return
    before = signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before or signal.SIG_DFL)
