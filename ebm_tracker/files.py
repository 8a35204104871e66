"""Files that are complete or absent: written beside their place, then renamed into it."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


def part_path(path: str | Path) -> Path:
    """Where ``path`` is written before it is complete: same folder, same ending, hidden name."""
    path = Path(path)
    return path.with_name(f".{path.stem}.{os.getpid()}.part{path.suffix}")


@contextmanager
def atomic_path(path: str | Path) -> Iterator[Path]:
    """Gives a path to write to; when the block ends well it takes the name ``path``, else it is removed.

    The folder must exist. The ending stays the same, for writers that choose the format by it.

        with atomic_path("sheet.png") as part:
            image.save(part)
    """
    part = part_path(path)
    try:
        yield part
        os.replace(part, path)
    finally:
        part.unlink(missing_ok=True)


def write_text_atomic(path: str | Path, text: str) -> None:
    """Writes UTF-8 text with the line ends it has; the file is never seen half written."""
    with atomic_path(path) as part:
        part.write_bytes(text.encode("utf-8"))
