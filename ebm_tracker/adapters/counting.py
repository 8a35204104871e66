"""How far a long preparation is: a bar on a terminal, a plain line now and then in a file or a pipe."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import Progress

PLAIN_SECONDS = 10.0


@contextmanager
def open_counter(title: str, total: int, console: Console) -> Iterator[Callable[[int], None]]:
    """Gives a function that takes how many are done; ``title`` says what they are: "rendering heads"."""
    if console.is_terminal:
        with Progress(console=console, transient=True) as bar:
            task = bar.add_task(title, total=total)
            yield lambda done: bar.update(task, completed=done)
        return
    said = time.monotonic()

    def line(done: int) -> None:
        nonlocal said
        if done == total or time.monotonic() - said >= PLAIN_SECONDS:
            said = time.monotonic()
            show(done)

    def show(done: int) -> None:
        console.print(f"{title}: {done} of {total}", markup=False, highlight=False, soft_wrap=True)
        console.file.flush()

    show(0)
    yield line
