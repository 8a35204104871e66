"""Tables to learn p(y | x) from: real ones that scikit-learn's wheel ships, and CSV files.

Nothing is downloaded. Of scikit-learn's sets only ``diabetes`` is a regression problem as it comes; the other two are
made from its data so that p(y | x) is far from a Gaussian, as their descriptions say.
"""

from __future__ import annotations

import csv
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ebm_tracker.errors import EbmError

Array = NDArray[np.float64]
Numbers = NDArray[np.int64]

LEAST_ROWS = 50
MOST_TEXTS = 20
"""A column with more different texts than this is taken for a name, not for a kind."""


class DataError(EbmError):
    """A table cannot be had or is no regression problem."""


@dataclass(frozen=True)
class TableData:
    """A regression problem with one target.

    Attributes:
        name: short.
        description: one sentence, for the foot of a report.
        target: name and unit of y, for the axis of a figure.
        columns: F names of the features.
        x: (N, F).
        y: (N,).
        groups: (N,) rows with the same number must not be divided between training and test; None: all rows apart.
        notes: what was left out.
    """

    name: str
    description: str
    target: str
    columns: tuple[str, ...]
    x: Array
    y: Array
    groups: Numbers | None = None
    notes: tuple[str, ...] = ()


def load_set(name: str) -> TableData:
    """One of SETS. Raises DataError when scikit-learn is not installed, ValueError for another name."""
    if name not in SETS:
        raise ValueError(f"set must be one of {', '.join(SETS)} (got {name!r})")
    return SETS[name]()


def _scikit_learn() -> Any:
    try:
        from sklearn import datasets
    except ImportError as error:
        raise DataError("the data sets need scikit-learn: pip install 'ebm-tracker[examples]'") from error
    return datasets


def _diabetes() -> TableData:
    found = _scikit_learn().load_diabetes(scaled=False)
    return TableData(
        "diabetes",
        "442 patients: progression of the disease after a year, from age, sex, body mass, blood pressure and six blood "
        "values (Efron et al. 2004).",
        "progression of diabetes after a year",
        tuple(found.feature_names),
        np.asarray(found.data, dtype=np.float64),
        np.asarray(found.target, dtype=np.float64),
    )


TUMOUR_COLUMNS = ("mean texture", "mean smoothness", "mean symmetry", "mean fractal dimension")


def _tumour() -> TableData:
    found = _scikit_learn().load_breast_cancer()
    names = list(found.feature_names)
    return TableData(
        "tumour",
        "569 breast tumours: mean radius of the cell nuclei from texture, smoothness, symmetry and fractal dimension; "
        "whether it is malignant is not told, so p(y | x) may have two peaks (Wolberg et al. 1995).",
        "mean radius of the nuclei",
        TUMOUR_COLUMNS,
        np.asarray(found.data[:, [names.index(name) for name in TUMOUR_COLUMNS]], dtype=np.float64),
        np.asarray(found.data[:, names.index("mean radius")], dtype=np.float64),
    )


PHOTO_ROWS, PHOTO_REACH, PHOTO_TILE = 1000, 4, 32


def _photo() -> TableData:
    """Draws pixels by a fixed seed. Tiles are the groups: test pixels lie in other parts of the picture."""
    colour = np.asarray(_scikit_learn().load_sample_image("china.jpg"), dtype=np.float64)
    rng = np.random.default_rng(0)
    # Grey levels are counts of thirds. A little noise below one count keeps a density from growing without bound there.
    grey = (colour.sum(2) + rng.uniform(0, 1, colour.shape[:2])) / 3
    reach = PHOTO_REACH
    inner = tuple(size - 2 * reach for size in grey.shape)
    drawn = rng.choice(inner[0] * inner[1], PHOTO_ROWS, replace=False)
    rows, columns = (part + reach for part in np.unravel_index(drawn, inner))
    around = ((-reach, 0), (reach, 0), (0, -reach), (0, reach))
    x = np.stack([grey[rows + down, columns + right] for down, right in around], 1)
    tiles = (rows // PHOTO_TILE) * (grey.shape[1] // PHOTO_TILE + 1) + columns // PHOTO_TILE
    return TableData(
        "photo",
        f"{PHOTO_ROWS} pixels of a photograph (china.jpg, by danielbuechele, CC BY 2.0): grey level from those of the "
        f"four pixels {reach} above, below, left and right; at an edge it is either that of one side or of the other. "
        f"Test pixels lie in other tiles of {PHOTO_TILE} x {PHOTO_TILE} than training pixels.",
        "grey level",
        ("above", "below", "left", "right"),
        x,
        grey[rows, columns],
        groups=tiles.astype(np.int64),
    )


SETS: Mapping[str, Callable[[], TableData]] = {"diabetes": _diabetes, "tumour": _tumour, "photo": _photo}


# CSV ------------------------------------------------------------------------------------------------------------------


def read_csv(path: Path, target: str, group: str | None = None) -> TableData:
    """A CSV file with a header as a regression problem: ``target`` from all other columns.

    A column of numbers is a feature. A column with at most MOST_TEXTS different texts gives a 0/1 feature for each
    but the first; other columns are left out. So are rows in which a number or the target is missing. ``group``: a
    column whose rows of equal text stay together when the table is divided (one patient, one place). ``notes`` say what
    was left out. Raises DataError with one sentence when the file is not such a table.
    """
    header, rows = _cells(path)
    for name in filter(None, (target, group)):
        if name not in header:
            raise DataError(f"{path} must have a column {name!r}; it has {', '.join(header)}")
    table = {name: [row[i] for row in rows] for i, name in enumerate(header)}
    y = _numbers(table[target])
    if y is None:
        raise DataError(f"column {target!r} of {path} must hold numbers only")
    features, left_out = _features({name: cells for name, cells in table.items() if name not in (target, group)})
    if not features:
        raise DataError(f"{path} must have a column of numbers, or of few different texts, besides {target!r}")
    x = np.stack(list(features.values()), 1)
    whole = np.isfinite(x).all(1) & np.isfinite(y)
    if whole.sum() < LEAST_ROWS:
        raise DataError(f"{path} must have at least {LEAST_ROWS} rows without gaps (got {whole.sum()})")
    groups = None if group is None else np.unique(table[group], return_inverse=True)[1][whole].astype(np.int64)
    notes = [f"left out, for too many different texts: {', '.join(left_out)}"] if left_out else []
    if not whole.all():
        notes.append(f"left out, for gaps: {len(whole) - int(whole.sum())} of {len(whole)} rows")
    said = f"{int(whole.sum())} rows of {path.name}: {target} from {', '.join(features)}."
    return TableData(path.stem, said, target, tuple(features), x[whole], y[whole], groups, tuple(notes))


def _cells(path: Path) -> tuple[list[str], list[list[str]]]:
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            reader = csv.reader(file)
            # The number of the line that a row ends on: empty ones count, as in an editor.
            lines = [(reader.line_num, [cell.strip() for cell in row]) for row in reader if row]
    except (UnicodeDecodeError, csv.Error) as error:
        raise DataError(f"{path} must be a CSV file in UTF-8 ({error})") from error
    if len(lines) < 2:
        raise DataError(f"{path} must have a header and rows (got {len(lines)} lines)")
    header, rows = lines[0][1], lines[1:]
    if len(set(header)) < len(header):
        raise DataError(f"{path} must have different names in its header (got {', '.join(header)})")
    for number, row in rows:
        if len(row) != len(header):
            raise DataError(f"line {number} of {path} must have {len(header)} cells as its header (got {len(row)})")
    return header, [row for _, row in rows]


def _features(table: Mapping[str, Sequence[str]]) -> tuple[dict[str, Array], list[str]]:
    features: dict[str, Array] = {}
    left_out: list[str] = []
    for name, cells in table.items():
        numbers = _numbers(cells)
        texts = sorted(set(cells))
        if numbers is not None:
            if np.isfinite(numbers).any() and np.nanmin(numbers) < np.nanmax(numbers):
                features[name] = numbers
        elif len(texts) > MOST_TEXTS:
            left_out.append(name)
        else:
            for text in texts[1:]:  # the first one is where all others are 0
                features[f"{name}={text}"] = np.array([cell == text for cell in cells], dtype=np.float64)
    return features, left_out


def _numbers(cells: Sequence[str]) -> Array | None:
    """The column with NaN for gaps; None when a cell is no number."""
    try:
        values = [math.nan if cell in ("", "NA", "NaN", "nan") else float(cell) for cell in cells]
    except ValueError:
        return None
    return np.array(values)
