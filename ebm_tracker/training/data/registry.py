"""The readers by name: ``open_set("lasot", "/data/lasot", split="train")``."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ebm_tracker.training.data.sequence import DataSetError, SequenceSet


def _numbers(text: str) -> tuple[int, ...]:
    return tuple(int(part) for part in text.split(","))


@dataclass(frozen=True)
class _Reader:
    """``options``: name -> how its text is read."""

    module: str
    function: str
    options: Mapping[str, Callable[[str], Any]] = field(default_factory=dict)


# Modules by name, so that asking for one does not import the others.
_READERS: Mapping[str, _Reader] = {
    "trackingnet": _Reader("trackingnet", "open_trackingnet", {"set_ids": _numbers}),
    "lasot": _Reader("lasot", "open_lasot", {"split": str}),
    "got10k": _Reader("got10k", "open_got10k", {"split": str, "pytracking_dir": Path}),
    "coco": _Reader("coco", "open_coco", {"year": int, "split": str}),
    "folder": _Reader("folder", "FolderSet"),
}
SET_NAMES = tuple(_READERS)


def open_set(name: str, root: str | Path, /, **options: Any) -> SequenceSet:
    """Opens a set with its reader; ``options`` are the reader's own arguments.

    Raises DataSetError: no such name, or what the reader finds wrong with ``root``.
    """
    reader = _reader(name)
    module = importlib.import_module(f"ebm_tracker.training.data.{reader.module}")
    opened: SequenceSet = getattr(module, reader.function)(root, **options)
    return opened


def option_names(name: str) -> tuple[str, ...]:
    """The options of a set that ``parse_options`` knows."""
    return tuple(_reader(name).options)


def parse_options(name: str, texts: Sequence[str]) -> dict[str, Any]:
    """``["set_ids=0,1"]`` -> ``{"set_ids": (0, 1)}``, for ``open_set``. Raises DataSetError, naming the text."""
    known = _reader(name).options
    options = {}
    for text in texts:
        key, _, value = text.partition("=")
        if key not in known:
            raise DataSetError(f"{name} has no option {key!r} (known: {', '.join(known) or 'none'})")
        try:
            options[key] = known[key](value)
        except ValueError:
            kind = {_numbers: "numbers such as 0,1,2", int: "a whole number"}[known[key]]
            raise DataSetError(f"{name}'s option {key} takes {kind} (got {value!r})") from None
    return options


def _reader(name: str) -> _Reader:
    if name not in _READERS:
        raise DataSetError(f"there is no data set {name!r}; known: {', '.join(SET_NAMES)}")
    return _READERS[name]
