"""Pack results into the zip that TrackingNet's or GOT-10k's server takes, or check such a zip.

ebm eval pack trackingnet results/ebm/default; ebm eval pack got10k results/ebm/default (its runs _000 to _002);
ebm eval pack --verify FILE.zip. Everything is checked first; with any problem all are listed, nothing is written,
and the exit code is 1.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from rich.console import Console

from ebm_tracker.errors import one_line
from ebm_tracker.evaluation.datasets.benchmark import Benchmark, BenchmarkError
from ebm_tracker.evaluation.datasets.registry import dataset_of, open_benchmark
from ebm_tracker.evaluation.packing import (
    SERVER_NAMES,
    Findings,
    Server,
    prepare_submission,
    server_of,
    verify_archive,
    write_submission,
)
from ebm_tracker.evaluation.packing.verify import recognise_archive
from ebm_tracker.evaluation.result_tree import find_results
from ebm_tracker.settings import Settings

EXIT_PROBLEMS = 1


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The flags."""
    parser.add_argument("server", nargs="?", choices=SERVER_NAMES, help="whose format")
    parser.add_argument("results", nargs="?", type=Path, help="a run's folder, or the name before _000, _001, ...")
    parser.add_argument("--out", type=Path, metavar="ZIP", help="default: RESULTS_<server>.zip, beside RESULTS")
    parser.add_argument("--verify", type=Path, metavar="ZIP", help="check this zip, whoever made it; write nothing")
    parser.add_argument("--path", type=Path, metavar="DIR", help="the data set, to check lengths and first boxes")
    parser.add_argument(
        "--data", nargs="+", action="extend", default=[], metavar="NAME=PATH", help="the same, as got10k=DIR"
    )
    parser.add_argument(
        "--deterministic",
        action="store_true",
        help="GOT-10k wants three runs: the only one stands for all, as the tracker has no random parts",
    )
    parser.add_argument(
        "--partial",
        action="store_true",
        help="TrackingNet: leave out sequences with problems, which the server scores as zeros",
    )


def run(args: argparse.Namespace) -> int:
    """Packs or verifies. Returns 0, or 1 when there are problems."""
    console = Console(highlight=False)
    if args.verify is not None:
        if args.results is not None or args.out is not None or args.partial or args.deterministic:
            raise ValueError("--verify takes the zip and, if you like, the server, --path and --data; nothing else")
        return _verify(args, console)
    if args.server is None or args.results is None:
        raise ValueError(f"give the server ({' or '.join(SERVER_NAMES)}) and the results, or --verify ZIP")
    return _pack(args, console)


def _pack(args: argparse.Namespace, console: Console) -> int:
    server = server_of(args.server)
    results = find_results(args.results)
    submission = prepare_submission(
        server, results, _benchmark(args, server), deterministic=args.deterministic, partial=args.partial
    )
    findings = submission.findings
    _show_notes(findings)
    if findings.problems:
        _show_problems(findings, f"{args.results} cannot be packed for {server.title}, nothing was written")
        return EXIT_PROBLEMS
    name = args.results.absolute()
    path = args.out or name.with_name(f"{name.name}_{server.name}.zip")
    write_submission(submission, path)
    _say(
        console,
        f"{path}: {len(submission.members)} files for {server.title}, {findings.sequences} sequences, "
        f"{findings.rows} frames{f' x {server.repetitions} repetitions' if server.repetitions > 1 else ''}",
    )
    return 0


def _verify(args: argparse.Namespace, console: Console) -> int:
    server = server_of(args.server) if args.server else recognise_archive(args.verify)
    findings = verify_archive(args.verify, server, _benchmark(args, server))
    _show_notes(findings)
    if findings.problems:
        _show_problems(findings, f"{args.verify} is not a whole submission for {server.title}")
        return EXIT_PROBLEMS
    _say(
        console,
        f"{args.verify}: a whole submission for {server.title}, {findings.sequences} sequences, {findings.rows} frames"
        f"{f' x {server.repetitions} repetitions' if server.repetitions > 1 else ''}",
    )
    return 0


def _benchmark(args: argparse.Namespace, server: Server) -> Benchmark | None:
    """The server's data set, if it is at hand: --path or --data must be right, a path in the settings may be of the
    training part only."""
    if args.path is not None:
        return open_benchmark(server.dataset, args.path)
    key = dataset_of(server.dataset).setting
    setting = Settings.load(args.data).found.get(key)
    if setting is None:
        return None
    try:
        return open_benchmark(server.dataset, setting.path)
    except BenchmarkError as error:
        if setting.origin == "--data":
            raise
        print(f"note: {one_line(error)} ({setting.origin} names it)", file=sys.stderr)
        return None


def _show_notes(findings: Findings) -> None:
    for note in findings.notes:
        print(f"note: {note}", file=sys.stderr)


def _show_problems(findings: Findings, verdict: str) -> None:
    for problem in findings.problems:
        print(problem, file=sys.stderr)
    count = len(findings.problems)
    print(f"{verdict}: {count} problem{'' if count == 1 else 's'}", file=sys.stderr)


def _say(console: Console, text: str) -> None:
    console.print(text, markup=False, soft_wrap=True)
