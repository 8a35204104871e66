"""Strict reading of a submission's text files: what a server's ``loadtxt(..., delimiter=",")`` takes."""

from __future__ import annotations

import re

import numpy as np
from numpy.typing import NDArray

from ebm_tracker.evaluation.sequences import BoxXYWH

Rows = NDArray[np.float64]
Mask = NDArray[np.bool_]
# pytracking cuts the given box to whole numbers, which moves it by less than this, in pixels.
FIRST_BOX_TOLERANCE = 1.0
_NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?|[+-]?(nan|inf|infinity)", re.IGNORECASE)
_SEPARATORS = {"\t": "tabs", ";": "semicolons", " ": "blanks"}


def parse_rows(data: bytes, columns: tuple[int, ...]) -> tuple[Rows | None, str | None]:
    """The numbers of a text with commas between them, as many in each line as ``columns`` allows.

    Returns the rows (n, one of ``columns``) and None, or None and what is wrong, with the line counted from 1.
    Blank lines are skipped, as the servers do.
    """
    if not data.isascii():
        return None, "holds signs that are not ASCII"
    rows: list[list[float]] = []
    for number, line in enumerate(data.decode("ascii").splitlines(), start=1):
        if not line.strip():
            continue
        fields = [field.strip() for field in line.split(",")]
        problem = _line_problem(line, fields, columns)
        if problem is None and rows and len(fields) != len(rows[0]):
            problem = f"has {len(fields)} numbers, the lines above {len(rows[0])}"
        if problem is not None:
            return None, f"line {number} {problem}"
        rows.append([float(field) for field in fields])
    return (np.array(rows, np.float64), None) if rows else (None, "is empty")


def _line_problem(line: str, fields: list[str], columns: tuple[int, ...]) -> str | None:
    if all(_NUMBER.fullmatch(field) for field in fields):
        if len(fields) in columns:
            return None
        return f"has {len(fields)} numbers, not {' or '.join(map(str, columns))}"
    for sign, name in _SEPARATORS.items():
        parts = [part.strip(",") for part in line.strip().split(sign) if part.strip(",")]
        if len(parts) > 1 and all(_NUMBER.fullmatch(part) for part in parts):
            return f"has {name} between the numbers, where only commas may be"
    return f"holds something that is no number ({line.strip()[:60]!r})"


def box_problems(boxes_xywh: Rows, frames: int | None, init_box_xywh: BoxXYWH | None) -> list[str]:
    """What is wrong with a sequence's boxes, as ends of a sentence; rows are counted from 1.

    ``boxes_xywh``: (n, 4). ``frames``, ``init_box_xywh``: None leaves that out.
    """
    problems = []
    if frames is not None and len(boxes_xywh) != frames:
        problems.append(f"has {_counted(len(boxes_xywh), 'row')} for {_counted(frames, 'frame')}")
    finite = np.asarray(np.isfinite(boxes_xywh).all(axis=1))
    if not finite.all():
        problems.append(f"has {_where(~finite)} with a NaN or an infinite number")
    flat: Mask = finite & (boxes_xywh[:, 2:] <= 0).any(axis=1)
    if flat.any():
        problems.append(f"has {_where(flat)} with a width or height that is not above 0")
    if init_box_xywh is not None and finite[0]:
        off = np.abs(boxes_xywh[0] - np.asarray(init_box_xywh)).max()
        if off >= FIRST_BOX_TOLERANCE:
            given, got = (",".join(f"{v:g}" for v in box) for box in (init_box_xywh, boxes_xywh[0]))
            problems.append(f"starts with {got}, but the given box is {given}")
    return problems


def time_problems(times: Rows, frames: int | None) -> list[str]:
    """What is wrong with a sequence's times, (n, repetitions) or (n, 1), in seconds."""
    problems = []
    if frames is not None and len(times) != frames:
        problems.append(f"has {_counted(len(times), 'row')} for {_counted(frames, 'frame')}")
    bad = np.asarray(~np.isfinite(times).all(axis=1) | (times < 0).any(axis=1))
    if bad.any():
        problems.append(f"has {_where(bad)} with a time that is not finite or below 0")
    return problems


def _where(bad: Mask) -> str:
    numbers = np.flatnonzero(bad) + 1
    return f"row {numbers[0]}" if len(numbers) == 1 else f"{len(numbers)} rows (the first is {numbers[0]})"


def _counted(number: int, noun: str) -> str:
    return f"{number} {noun}{'' if number == 1 else 's'}"
