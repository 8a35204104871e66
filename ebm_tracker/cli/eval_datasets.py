"""Say which benchmarks are known and where each is looked for, check one, or write a tree to rehearse with.

Without NAME: a table of all, those opened whose path is set. With NAME: opens it and lists everything that is
missing, short or odd; the exit code is 1 when there is any. Paths come from --path or --data NAME=PATH, from
environment variables such as EBM_DATA_UAV, or from the settings file.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ebm_tracker.settings import Settings, variable_of

if TYPE_CHECKING:
    from rich.console import Console

    from ebm_tracker.evaluation.datasets.benchmark import Benchmark
    from ebm_tracker.evaluation.datasets.registry import DatasetFacts

EXIT_PROBLEMS = 1


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The flags."""
    parser.add_argument("name", metavar="NAME", nargs="?", help="the benchmark to check (default: a table of all)")
    add_data_flags(parser)
    parser.add_argument(
        "--dry-tree",
        metavar="NAME",
        help="write a full-size tree of tiny made-up images: uav, trackingnet or got10k_test; or folder: three short "
        "drawn sequences to try things with; needs --out",
    )
    parser.add_argument("--out", type=Path, metavar="DIR", help="a new or empty folder for --dry-tree")


def add_data_flags(parser: argparse.ArgumentParser) -> None:
    """Where a benchmark lies: --path, --data, and --sets of trackingnet_train. For all commands that read one."""
    parser.add_argument("--path", type=Path, metavar="DIR", help="the benchmark's folder")
    parser.add_argument(
        "--data", nargs="+", action="extend", default=[], metavar="NAME=PATH", help="the same as uav=DIR and the like"
    )
    parser.add_argument(
        "--sets", type=int, nargs="+", metavar="K", help="of trackingnet_train, 0 to 11 (default: 11, held out)"
    )


def open_dataset(name: str, args: argparse.Namespace) -> Benchmark:
    """The benchmark at the place that the flags of ``add_data_flags`` or the settings name.

    Raises BenchmarkError or SettingsError.
    """
    from ebm_tracker.evaluation.datasets.registry import dataset_of, open_benchmark
    from ebm_tracker.evaluation.datasets.trackingnet import HELD_OUT_SETS

    facts = dataset_of(name)
    root = args.path
    if root is None:
        key = facts.setting.partition(".")[2]
        root = Settings.load(args.data).require(facts.setting, flag=f"--path DIR or --data {key}=DIR")
    return open_benchmark(facts.name, root, sets=tuple(args.sets or HELD_OUT_SETS))


def run(args: argparse.Namespace) -> int:
    """0, or 1 when the benchmark that was named has problems."""
    from rich.console import Console

    console = Console(highlight=False)
    if args.dry_tree is not None:
        return _dry_tree(console, args)
    if args.out is not None:
        raise ValueError("--out is for --dry-tree")
    if args.name is not None:
        return _check(console, args)
    if args.path is not None:
        raise ValueError("--path needs the NAME of the benchmark that lies there")
    return _overview(console, args)


def _check(console: Console, args: argparse.Namespace) -> int:
    with console.status(f"opening {args.name}"):
        benchmark = open_dataset(args.name, args)
    frames = [sequence.frames.frame_count for sequence in benchmark.sequences]
    total = f"{sum(count or 0 for count in frames):,} frames"
    _say(console, f"{benchmark.title}: {_of(len(benchmark.sequences), benchmark)} sequences, {total}")
    if benchmark.truth_is_secret:
        _say(console, "only the first box of each is public: a server scores the results")
    for problem in benchmark.problems:
        _say(console, f"  {problem}")
    for note in benchmark.notes:
        _say(console, f"  {note}")
    if not benchmark.problems and not benchmark.notes:
        _say(console, "nothing is missing or short")
        return 0
    _say(console, f"{len(benchmark.problems)} sequences or files left out, {len(benchmark.notes)} used but odd")
    return EXIT_PROBLEMS


def _overview(console: Console, args: argparse.Namespace) -> int:
    from rich.table import Table

    from ebm_tracker.evaluation.datasets.registry import DATASET_NAMES, dataset_of

    settings = Settings.load(args.data)
    table = Table(title="Benchmarks", title_justify="left")
    for column in ("name", "found"):
        table.add_column(column, no_wrap=True)
    table.add_column("looked for in (set by)", overflow="fold")
    notes: list[str] = []
    with console.status("") as status:
        for facts in (dataset_of(name) for name in DATASET_NAMES):
            status.update(f"opening {facts.name}")
            setting = settings.found.get(facts.setting)
            if setting is None:
                table.add_row(facts.name, f"[dim]{_of(0, facts)}[/]", f"[dim]not set ({variable_of(facts.setting)})[/]")
                continue
            found, note = _state(facts, setting.path, args)
            notes += [note] if note else []
            table.add_row(facts.name, found, _plain(f"{setting.path} ({setting.origin})"))
    console.print(table)
    for note in notes:
        _say(console, note)
    return 0


def _state(facts: DatasetFacts, root: Path, args: argparse.Namespace) -> tuple[str, str]:
    """The cell that says what was found there, and a line for below the table when there is something wrong."""
    from ebm_tracker.evaluation.datasets.benchmark import BenchmarkError
    from ebm_tracker.evaluation.datasets.registry import open_benchmark
    from ebm_tracker.evaluation.datasets.trackingnet import HELD_OUT_SETS

    try:
        benchmark = open_benchmark(facts.name, root, sets=tuple(args.sets or HELD_OUT_SETS))
    except BenchmarkError as error:
        return f"[red]{_of(0, facts)}[/]", f"{facts.name}: {error}"
    lines = [*benchmark.problems, *benchmark.notes]
    if not lines:
        return f"[green]{_of(len(benchmark.sequences), benchmark)}[/]", ""
    more = f" (the first of {len(lines)}; `ebm eval datasets {facts.name}` lists all)"
    return f"[yellow]{_of(len(benchmark.sequences), benchmark)}[/]", f"{facts.name}: {lines[0]}{more}"


def _of(count: int, known: DatasetFacts | Benchmark) -> str:
    return f"{count:,}" if known.official_count is None else f"{count:,} of {known.official_count:,}"


def _dry_tree(console: Console, args: argparse.Namespace) -> int:
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

    from ebm_tracker.evaluation.datasets.dry_tree import dry_tree
    from ebm_tracker.evaluation.datasets.registry import dataset_of

    if args.out is None:
        raise ValueError("--dry-tree needs --out, a new or empty folder")
    name = dataset_of(args.dry_tree).name
    columns = (TextColumn("sequences"), BarColumn(), MofNCompleteColumn())
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as progress:
        task = progress.add_task("", total=None)
        frames = dry_tree(name, args.out, lambda _, done, of: progress.update(task, completed=done, total=of))
    _say(console, f"{frames:,} images in {args.out.absolute()}")
    return 0


def _plain(text: object) -> str:
    """For a table's cell: rich reads [words] as styles."""
    return str(text).replace("[", r"\[")


def _say(console: Console, text: str) -> None:
    # Paths must come out as they are: not wrapped, and their brackets not taken for markup.
    options: dict[str, Any] = {"markup": False, "soft_wrap": True}
    console.print(text, **options)
