"""Run a tracker over a benchmark; stopped at any time, it goes on where it was.

Trackers: ebm PRESET; opencv csrt, kcf or mil; identity last_box; package.module:factory PARAMETER; with --pytracking
DIR pytracking's own. Results go to OUT/TRACKER/PRESET[_RUN]/SEQUENCE.txt, each file whole or not there; a sequence
that fails leaves SEQUENCE_failed.txt and is tried again next time. Several commands, also on machines that share a
disk, may work in the same OUT. Exit codes: 0 all done, 1 something failed or is missing, 130 stopped by Ctrl-C.
"""

from __future__ import annotations

import argparse
import os
import shlex
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ebm_tracker.cli.eval_datasets import open_dataset
from ebm_tracker.cli.track import positive_int, run_number, thread_count
from ebm_tracker.cli.trackers import add_tracker_flags, tracker_factory

if TYPE_CHECKING:
    from rich.console import Console

    from ebm_tracker.evaluation.benchmark import Engine, Summary, TrackerFactory
    from ebm_tracker.evaluation.datasets.benchmark import Benchmark

EXIT_INCOMPLETE = 1
EXIT_INTERRUPTED = 130
SERVERS = {"trackingnet": "trackingnet", "got10k_test": "got10k"}
"""Benchmark -> what `ebm eval pack` calls its server."""
_LISTED = 10  # problems or failures at the end


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The arguments of the command."""
    parser.add_argument("tracker", metavar="TRACKER", help="ebm, opencv, identity, or package.module:factory")
    parser.add_argument("preset", metavar="PRESET", help="the tracker's preset or parameter: default, csrt, ...")
    parser.add_argument("dataset", metavar="DATASET", help="a name that `ebm eval datasets` lists, or folder")
    add_run_flags(parser)
    add_tracker_flags(parser)


def add_run_flags(parser: argparse.ArgumentParser) -> None:
    """The flags that say where, how often and by how many, without those of the tracker."""
    where = parser.add_argument_group("data and results")
    where.add_argument("--path", type=Path, metavar="DIR", help="the benchmark's folder (default: ebm data paths)")
    where.add_argument("--data", nargs="+", action="extend", default=[], metavar="NAME=PATH", help="as --path, by name")
    where.add_argument(
        "--sets", type=int, nargs="+", metavar="K", help="of trackingnet_train, 0 to 11 (default: 11, held out)"
    )
    where.add_argument("--sequences", nargs="+", metavar="NAME", help="only these, by name or number from 0")
    where.add_argument("--out", type=Path, default=Path("results"), metavar="DIR", help="default: results")
    where.add_argument(
        "--format",
        choices=("precise", "pytracking"),
        default="precise",
        help="of the boxes: three decimals between commas (default), or pytracking's whole numbers between tabs",
    )
    work = parser.add_argument_group("work")
    work.add_argument(
        "--runs",
        type=positive_int,
        metavar="N",
        help="run r has seed + r (default: what the field averages; 1 for trackers without random parts)",
    )
    work.add_argument(
        "--first-run",
        type=run_number,
        metavar="R",
        help="number of the first run, to share runs out or to add some (default: 0, and a single run has no number)",
    )
    work.add_argument(
        "--workers", type=positive_int, metavar="K", help="processes (default: one per CUDA device, else 1)"
    )
    work.add_argument(
        "--threads", type=thread_count, metavar="N", help="CPU threads of each worker (default: cores / workers)"
    )
    work.add_argument(
        "--engine", choices=("processes", "ray"), default="processes", help="ray: workers on a Ray cluster"
    )
    work.add_argument(
        "--ray-address", metavar="ADDRESS", help="of the cluster's head, or auto (default: a cluster on this machine)"
    )


def run(args: argparse.Namespace) -> int:
    """Tracks and prints what became of it; returns the exit code."""
    from ebm_tracker.evaluation.datasets.registry import dataset_of

    dataset_of(args.dataset)  # a mistyped name is said before seconds of loading
    factory = tracker_factory(args.tracker, args.preset, args)
    benchmark = open_dataset(args.dataset, args)
    if args.sequences:
        benchmark = benchmark.only(args.sequences)
    return run_on(args, factory, benchmark)


def run_on(args: argparse.Namespace, factory: TrackerFactory, benchmark: Benchmark) -> int:
    """As ``run``, with the tracker and the benchmark at hand."""
    if args.engine == "ray":
        from ebm_tracker.evaluation.benchmark.ray_engine import RayEngine

        threads = args.threads or 1
        with RayEngine(factory, args.workers, args.device, threads, args.ray_address) as engine:
            return _track(args, factory, benchmark, Crew(engine.workers, threads, engine.devices, engine))
    return _track(args, factory, benchmark, local_crew(args, factory))


@dataclass(frozen=True)
class Crew:
    """Who works: how many, with how many CPU threads each, on which devices in turn, under which engine (None: this
    machine's processes)."""

    workers: int
    threads: int
    devices: tuple[str | None, ...]
    engine: Engine | None = None

    def __str__(self) -> str:
        places = ", ".join(sorted({device for device in self.devices if device})) or "cpu"
        each = f"{counted(self.threads, 'thread')}{' each' if self.workers > 1 else ''}"
        where = " of a Ray cluster" if self.engine is not None else ""
        return f"{counted(self.workers, 'worker')}{where} on {places}, {each}"


def local_crew(args: argparse.Namespace, factory: TrackerFactory) -> Crew:
    """Workers on this machine: as many as --workers says, else one per CUDA device, else one; the cores are divided
    among them, as far as OMP_NUM_THREADS allows."""
    devices = choose_devices(factory, args.device)
    on_gpus = sum(device is not None and device.startswith("cuda") for device in devices)
    workers = args.workers or on_gpus or 1
    threads = max(usable_cores() // workers, 1)
    allowed = os.environ.get("OMP_NUM_THREADS", "")
    if allowed.isdecimal() and int(allowed):
        threads = min(threads, int(allowed))
    return Crew(workers, args.threads or threads, devices)


def choose_devices(factory: TrackerFactory, device: str) -> tuple[str | None, ...]:
    """The devices that workers take in turn: the one that --device names, or all CUDA devices for "auto" and "cuda";
    None for a tracker that knows none."""
    if getattr(factory, "ignores_device", False):
        return (None,)
    if device not in ("auto", "cuda"):
        return (device,)
    import torch

    count = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if count:
        return tuple(f"cuda:{number}" for number in range(count))
    return (device,) if device == "cuda" or torch.backends.mps.is_available() else ("cpu",)


def _track(args: argparse.Namespace, factory: TrackerFactory, benchmark: Benchmark, crew: Crew) -> int:
    from rich.console import Console

    from ebm_tracker.evaluation.benchmark import default_runs, open_display, run_benchmark
    from ebm_tracker.evaluation.benchmark.jobs import flag
    from ebm_tracker.evaluation.result_tree import BoxFormat, run_folder

    console = Console(highlight=False)
    runs = args.runs or default_runs(factory, benchmark)
    folder = run_folder(args.out.absolute(), factory.tracker, factory.parameter)
    times = f" x {runs} runs" if runs > 1 else ""
    name = f"{factory.tracker} {factory.parameter}"
    _say(console, f"{name} on {benchmark.title}: {counted(len(benchmark.sequences), 'sequence')}{times}, {crew}")
    _say(console, f"results go to {folder}{run_suffixes(runs, args.first_run)}")
    print_problems(console, benchmark)
    with open_display(console) as display:
        summary = run_benchmark(
            factory,
            benchmark,
            args.out.absolute(),
            runs=runs,
            first_run=args.first_run,
            seed=args.seed,
            workers=crew.workers,
            devices=crew.devices,
            threads=crew.threads,
            box_format=BoxFormat(args.format),
            engine=crew.engine,
            display=display,
        )
    print_summary(console, summary)
    if summary.interrupted:
        _say(console, "stopped; the same command goes on where this one was")
        return EXIT_INTERRUPTED
    _say(console, f"next: {next_command(args, folder, benchmark, flag(factory, 'deterministic'))}")
    incomplete = not args.sequences and is_incomplete(benchmark)
    return 0 if summary.complete and not incomplete else EXIT_INCOMPLETE


def run_suffixes(runs: int, first: int | None) -> str:
    """What comes after the folder's name: nothing, ``_003``, or ``_000 to _004``."""
    if runs == 1:
        return "" if first is None else f"_{first:03d}"
    return f"_{first or 0:03d} to _{(first or 0) + runs - 1:03d}"


def usable_cores() -> int:
    """Cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def is_incomplete(benchmark: Benchmark) -> bool:
    """Whether sequences of the benchmark are missing on the disk."""
    short = benchmark.official_count is not None and len(benchmark.sequences) < benchmark.official_count
    return bool(benchmark.problems) or short


def print_problems(console: Console, benchmark: Benchmark) -> None:
    """What is missing of the benchmark, and what is odd about the rest."""
    for heading, lines in (
        (f"{benchmark.title} is not complete; this is left out:", benchmark.problems),
        ("used, but:", benchmark.notes),
    ):
        if not lines:
            continue
        _say(console, heading)
        for line in lines[:_LISTED]:
            _say(console, f"  {line}")
        if len(lines) > _LISTED:
            _say(console, f"  and {len(lines) - _LISTED} more; `ebm eval datasets` lists all")


def print_summary(console: Console, summary: Summary) -> None:
    """What became of the jobs, and where the results lie."""
    parts = [f"{counted(len(summary.done), 'sequence')} tracked"]
    parts += [f"{summary.skipped} done before"] if summary.skipped else []
    parts += [f"{len(summary.failed)} failed"] if summary.failed else []
    parts += [f"{len(summary.busy)} in the hands of another run"] if summary.busy else []
    rest = summary.left - len(summary.failed) - len(summary.busy)
    parts += [f"{rest} not done"] if rest > 0 else []
    _say(console, ", ".join(parts))
    if summary.failed:
        for name, message in list(summary.failed.items())[:_LISTED]:
            _say(console, f"  {name}: {message}")
        if len(summary.failed) > _LISTED:
            _say(console, f"  and {len(summary.failed) - _LISTED} more")
        _say(console, "their errors lie in SEQUENCE_failed.txt; the same command tries them again")
    if summary.busy:
        names = ", ".join(summary.busy[:_LISTED])
        _say(console, f"another run has {names}: when it has ended, the same command looks again")
    if summary.bad_frames:
        count = sum(summary.bad_frames.values())
        sequences = counted(len(summary.bad_frames), "sequence")
        _say(console, f"{counted(count, 'frame')} of {sequences} could not be decoded")
    for folder in summary.folders:
        _say(console, f"  {folder}")


def next_command(args: argparse.Namespace, folder: Path, benchmark: Benchmark, deterministic: bool) -> str:
    """The command that scores the results, or packs them where only a server can."""
    secret = benchmark.truth_is_secret and benchmark.name in SERVERS
    words = ["ebm", "eval", *(("pack", SERVERS[benchmark.name]) if secret else ("report", args.dataset)), str(folder)]
    words += ["--path", str(args.path)] if args.path else []
    words += ["--data", *args.data] if args.data else []
    if secret:
        return shlex.join([*words, *(["--deterministic"] if deterministic and benchmark.runs > 1 else [])])
    words += ["--sets", *map(str, args.sets)] if args.sets else []
    words += ["--sequences", *args.sequences] if args.sequences else []
    return shlex.join(words)


def counted(count: int, noun: str) -> str:
    """``1 worker``, ``2 workers``."""
    return f"{count} {noun}{'' if count == 1 else 's'}"


def _say(console: Console, text: str) -> None:
    # Paths must come out as they are: not wrapped, and their brackets not taken for markup.
    options: dict[str, Any] = {"markup": False, "soft_wrap": True}
    console.print(text, **options)
