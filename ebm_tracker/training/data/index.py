"""All names, boxes and visibility flags of a data set, in arrays that can be mapped from files."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from rich.progress import track

MAX_NOTES = 200
ARRAYS = ("names", "places", "starts", "visible_counts", "boxes_xywh", "visible")

T = TypeVar("T")


class IndexBuilder:
    """What a reader fills: sequences, and what it left out."""

    def __init__(self, title: str, show_progress: bool) -> None:
        self.left_out: Counter[str] = Counter()
        self.notes: list[str] = []
        self._title = title
        self._show_progress = show_progress
        self._names: list[str] = []
        self._places: list[str] = []
        self._boxes: list[NDArray[np.float32]] = []
        self._visible: list[NDArray[np.bool_]] = []

    def add(self, name: str, place: str, boxes_xywh: NDArray[np.floating[Any]], visible: NDArray[np.bool_]) -> None:
        """One sequence: (T, 4) and (T,), and where its frames lie, in the reader's own terms."""
        assert boxes_xywh.shape == (*visible.shape, 4), (boxes_xywh.shape, visible.shape)
        self._names.append(name)
        self._places.append(place)
        self._boxes.append(boxes_xywh.astype(np.float32))
        self._visible.append(visible.astype(np.bool_))

    def leave_out(self, reason: str, note: str = "", count: int = 1) -> None:
        """Counts what is not used. ``note`` says which; the first 200 are kept."""
        self.left_out[reason] += count
        if note and len(self.notes) < MAX_NOTES:
            self.notes.append(note)

    def progress(self, items: Sequence[T]) -> Iterable[T]:
        """The items, with a progress bar on a terminal's error stream."""
        console = Console(stderr=True)
        hidden = not (self._show_progress and console.is_terminal)
        return track(items, f"indexing {self._title}", console=console, disable=hidden)

    def finish(self) -> SequenceIndex:
        lengths = np.array([len(v) for v in self._visible], dtype=np.int64)
        return SequenceIndex(
            names=_as_bytes(self._names),
            places=_as_bytes(self._places),
            starts=np.concatenate(([0], np.cumsum(lengths))).astype(np.int64),
            visible_counts=np.array([v.sum() for v in self._visible], dtype=np.int64),
            boxes_xywh=np.concatenate([np.zeros((0, 4), np.float32), *self._boxes]),
            visible=np.concatenate([np.zeros(0, np.bool_), *self._visible]),
            left_out=dict(self.left_out),
            notes=tuple(self.notes),
        )


def _as_bytes(texts: list[str]) -> NDArray[np.bytes_]:
    return np.array([text.encode("utf-8", "surrogateescape") for text in texts] or [b""], dtype=np.bytes_)[: len(texts)]


@dataclass(eq=False)
class SequenceIndex:
    """S sequences of N frames in all. With a ``folder`` the arrays are mapped from there, and mapped anew where a
    pickled index arrives, so that workers share them and nothing is copied.

    Attributes:
        names, places: (S,) UTF-8 bytes.
        starts: (S + 1,) int64; sequence i has the frames starts[i] to starts[i + 1].
        visible_counts: (S,) int64.
        boxes_xywh: (N, 4) float32.
        visible: (N,) bool.
        left_out: reason -> count.
        notes: which ones, a line each, 200 at most.
    """

    names: NDArray[np.bytes_]
    places: NDArray[np.bytes_]
    starts: NDArray[np.int64]
    visible_counts: NDArray[np.int64]
    boxes_xywh: NDArray[np.float32]
    visible: NDArray[np.bool_]
    left_out: dict[str, int]
    notes: tuple[str, ...]
    folder: Path | None = None

    def __len__(self) -> int:
        return len(self.names)

    def name(self, index: int) -> str:
        return bytes(self.names[index]).decode("utf-8", "surrogateescape")

    def place(self, index: int) -> str:
        return bytes(self.places[index]).decode("utf-8", "surrogateescape")

    def frames(self, index: int) -> slice:
        """The rows of ``boxes_xywh`` and ``visible`` that belong to a sequence."""
        return slice(int(self.starts[index]), int(self.starts[index + 1]))

    def __getstate__(self) -> dict[str, Any]:
        state = dict(self.__dict__)
        if self.folder is not None:
            for name in ARRAYS:
                del state[name]
        return state

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        if self.folder is not None:
            self.__dict__.update(map_arrays(self.folder))


def map_arrays(folder: Path) -> dict[str, Any]:
    """name.npy for each of ARRAYS. Raises OSError, ValueError or EOFError when one is missing or does not fit."""
    arrays: dict[str, Any] = {}
    for name in ARRAYS:
        path = folder / f"{name}.npy"
        # An empty file cannot be mapped.
        empty = np.load(path, allow_pickle=False) if path.stat().st_size < 4096 else None
        arrays[name] = empty if empty is not None else np.load(path, mmap_mode="r", allow_pickle=False)
    sequences, frames = len(arrays["names"]), len(arrays["visible"])
    sizes = [len(arrays["places"]), len(arrays["visible_counts"]), len(arrays["starts"]) - 1]
    if sizes != [sequences] * 3 or arrays["boxes_xywh"].shape != (frames, 4) or arrays["starts"][-1] != frames:
        raise ValueError(f"the arrays in {folder} do not fit each other")
    return arrays
