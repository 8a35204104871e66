"""Figures of regression experiments: errors before and after refinement, divergences, likelihoods; and their tables.

Spreads are standard deviations over runs (n - 1), as the paper's ± over repeated trainings. A difference is taken
within each run first, so that what the runs have in common does not blur it.
"""

from __future__ import annotations

import csv
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ebm_tracker.evaluation.report.formats import csv_text, markdown
from ebm_tracker.evaluation.report.tables import Cell, Column, Figure, Row, Table, mark_best
from ebm_tracker.files import write_text_atomic

Array = NDArray[np.float64]

METHOD_TITLES: Mapping[str, str] = {
    "direct_huber": "Direct - Huber",
    "direct_l2": "Direct - L2",
    "gaussian": "Gaussian",
    "laplace": "Laplace",
    "softmax_l2": "Softmax (CE, L2)",
    "softmax_l2_var": "Softmax (CE, L2, Var)",
}
"""Name of a head -> how the paper's tables call it."""

_PUBLISHED_COLUMNS = {"age": ("age",), "pose": ("yaw", "pitch", "roll", "mean")}


# Figures --------------------------------------------------------------------------------------------------------------


def mean_absolute_error(predicted: ArrayLike, truth: ArrayLike) -> Array:
    """MAE of every dimension: (N, D) and (N, D) -> (D,), in the unit of y. (N,) counts as (N, 1)."""
    rows = [np.asarray(values, dtype=np.float64) for values in (predicted, truth)]
    rows = [values[:, None] if values.ndim == 1 else values for values in rows]
    if rows[0].shape != rows[1].shape or rows[0].ndim != 2 or not rows[0].size:
        raise ValueError(
            f"predicted and truth must have one shape (N, D) with N >= 1 (got {np.shape(predicted)} and "
            f"{np.shape(truth)})"
        )
    result: Array = np.abs(rows[0] - rows[1]).mean(0)
    return result


def over_runs(values: ArrayLike) -> Figure:
    """Mean and standard deviation of the runs' values (R,); no spread for a single run."""
    runs = np.asarray(values, dtype=np.float64)
    if runs.ndim != 1 or not len(runs):
        raise ValueError(f"values must be one number for each of R >= 1 runs (got shape {runs.shape})")
    return Figure(float(runs.mean()), float(runs.std(ddof=1)) if len(runs) > 1 else None)


@dataclass(frozen=True)
class MethodErrors:
    """MAE of one method over repeated trainings.

    Attributes:
        method: name of the head ("gaussian") or any other text.
        base: (R, D), or (R,) for D = 1: the method's own predictions, in the unit of y.
        refined: the same shape: after refinement of these predictions on the learned density; None: not refined.
    """

    method: str
    base: Array
    refined: Array | None = None

    def __post_init__(self) -> None:
        for name in ("base", "refined"):
            values = getattr(self, name)
            if values is None:
                continue
            rows = np.asarray(values, dtype=np.float64)
            rows = rows[:, None] if rows.ndim == 1 else rows
            if rows.ndim != 2 or not rows.size:
                raise ValueError(f"{name} of {self.method} must have shape (R, D) (got {np.shape(values)})")
            object.__setattr__(self, name, rows)
        if self.refined is not None and self.refined.shape != self.base.shape:
            raise ValueError(
                f"base and refined of {self.method} must have one shape (got {self.base.shape} and "
                f"{self.refined.shape})"
            )

    @property
    def title(self) -> str:
        """As the paper calls it, where it does."""
        return METHOD_TITLES.get(self.method, self.method)

    @property
    def changes(self) -> Array:
        """(R,): refined minus base of each run, mean over the dimensions; negative where refinement helps."""
        if self.refined is None:
            raise ValueError(f"{self.method} was not refined")
        result: Array = (self.refined - self.base).mean(1)
        return result


def count_lowered(methods: Iterable[MethodErrors]) -> int:
    """How many methods have a lower mean error after refinement than before."""
    return sum(method.refined is not None and float(method.changes.mean()) < 0 for method in methods)


# Published figures ----------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class PublishedErrors:
    """One row of the paper's Table S1 (age) or S2 (head pose).

    Attributes:
        source: where it is printed.
        head: our name of the method; "" for those of others.
        method: as it is called there.
        base: one figure for age; yaw, pitch, roll and their mean for pose. Spread None where none is printed.
        refined: the same with the paper's refinement; None where there is none.
    """

    source: str
    head: str
    method: str
    base: tuple[Figure, ...]
    refined: tuple[Figure, ...] | None


def published_errors(experiment: str) -> tuple[PublishedErrors, ...]:
    """The paper's rows of "age" or "pose", in its order. Raises ValueError for another name."""
    if experiment not in _PUBLISHED_COLUMNS:
        raise ValueError(f"experiment must be one of {', '.join(_PUBLISHED_COLUMNS)} (got {experiment!r})")
    text = files("ebm_tracker.evaluation").joinpath("published_regression.csv").read_text(encoding="utf-8")
    fields = [row for row in csv.DictReader(text.splitlines()) if row["experiment"] == experiment]
    names = _PUBLISHED_COLUMNS[experiment]
    refined = {row["method"]: row for row in fields if row["refined"] == "yes"}
    return tuple(
        PublishedErrors(
            row["source"],
            row["head"],
            row["method"],
            _figures(row, names),
            _figures(refined[row["method"]], names) if row["method"] in refined else None,
        )
        for row in fields
        if row["refined"] == "no"
    )


def _figures(row: Mapping[str, str], names: Sequence[str]) -> tuple[Figure, ...]:
    spreads = (row[f"{name} spread"] for name in names)
    return tuple(
        Figure(float(row[name]), float(spread) if spread else None)
        for name, spread in zip(names, spreads, strict=True)
    )


# Tables ---------------------------------------------------------------------------------------------------------------


def refinement_table(
    title: str,
    methods: Sequence[MethodErrors],
    *,
    dimensions: Sequence[str] = ("MAE",),
    decimals: int = 2,
    published: str | None = None,
    notes: Sequence[str] = (),
) -> Table:
    """Errors of each method before and after refinement (Tables S1 and S2 of the paper).

    Args:
        title: above the table; names what was measured on.
        methods: at least one, all with D = len(dimensions).
        dimensions: headings of y's dimensions; with more than one, their mean follows.
        decimals: of every figure.
        published: "age" or "pose": the paper's figures stand beside, and its rows of other methods below.
        notes: sentences below; how many methods refinement helps is said by itself.

    One line a method for D = 1; for more, one line before and one after refinement. "Change" is the mean of the runs'
    own differences with their spread, "Runs lower" in how many runs refinement lowered the error.
    """
    if not methods:
        raise ValueError("methods must hold at least one method (got none)")
    for method in methods:
        if method.base.shape[1] != len(dimensions):
            raise ValueError(
                f"{method.method} must have {len(dimensions)} dimensions: {', '.join(dimensions)} "
                f"(got {method.base.shape[1]})"
            )
    paper = published_errors(published) if published else ()
    build = _one_dimension if len(dimensions) == 1 else _many_dimensions
    columns, rows = build(methods, dimensions, decimals, paper)
    refined = [method for method in methods if method.refined is not None]
    said = [*notes, _runs_sentence(methods)]
    if refined:
        said.append(f"Refinement lowers the mean error of {count_lowered(refined)} of {len(refined)} methods.")
    if paper:
        said.append(f"Columns and rows named paper: {paper[0].source}, trained and tested by its authors.")
    return Table(title, columns, rows, tuple(said))


def _runs_sentence(methods: Sequence[MethodErrors]) -> str:
    runs = _count_text([method.base for method in methods])
    if runs == "1":
        return "One training: no spread."
    return f"Mean ± standard deviation over {runs} trainings; changes are taken within each training first."


def _count_text(runs: Sequence[Array]) -> str:
    return " or ".join(map(str, sorted({len(values) for values in runs})))


_Layout = tuple[tuple[Column, ...], tuple[Row, ...]]


def _one_dimension(
    methods: Sequence[MethodErrors], dimensions: Sequence[str], decimals: int, paper: Sequence[PublishedErrors]
) -> _Layout:
    heading = dimensions[0]
    columns = [Column("Method"), *(Column(text, decimals) for text in (heading, "+ refinement"))]
    columns += [Column("Change", decimals, signed=True), Column("Runs lower")]
    if paper:
        columns += [Column("Paper", decimals), Column("Paper + refinement", decimals)]
        columns.append(Column("Paper change", decimals, signed=True))
    by_head = {row.head: row for row in paper if row.head}
    rows = []
    for method in methods:
        cells: list[Cell] = [method.title, over_runs(method.base[:, 0]), *_after(method)]
        rows.append(Row((*cells, *(_paper_cells(by_head.get(method.method)) if paper else ()))))
    for row in paper:
        if not row.head:
            rows.append(Row((f"{row.method} (paper)", None, None, None, None, row.base[0], None, None), published=True))
    return tuple(columns), tuple(rows)


def _after(method: MethodErrors) -> list[Cell]:
    if method.refined is None:
        return [None, None, None]
    return [over_runs(method.refined[:, 0]), over_runs(method.changes), _lower_text(method)]


def _lower_text(method: MethodErrors) -> str:
    return f"{int((method.changes < 0).sum())} of {len(method.changes)}"


def _paper_cells(row: PublishedErrors | None) -> list[Cell]:
    if row is None:
        return [None, None, None]
    if row.refined is None:
        return [row.base[0], None, None]
    return [row.base[0], row.refined[0], Figure(round(row.refined[0].value - row.base[0].value, 6))]


def _many_dimensions(
    methods: Sequence[MethodErrors], dimensions: Sequence[str], decimals: int, paper: Sequence[PublishedErrors]
) -> _Layout:
    names = (*dimensions, "Mean")
    columns = [Column("Method"), *(Column(name, decimals) for name in names)]
    columns += [Column("Change of mean", decimals, signed=True), Column("Runs lower")]
    if paper:
        columns += [Column(f"Paper {name.lower()}", decimals) for name in names]
    by_head = {row.head: row for row in paper if row.head}
    nothing: tuple[Cell, ...] = (None,) * len(names)
    rows = []
    for method in methods:
        known = by_head.get(method.method)
        beside = (known.base if known else nothing) if paper else ()
        rows.append(Row((method.title, *_with_mean(method.base), None, None, *beside)))
        if method.refined is None:
            continue
        beside = (known.refined or nothing if known else nothing) if paper else ()
        facts = (over_runs(method.changes), _lower_text(method))
        rows.append(Row((f"{method.title} + refinement", *_with_mean(method.refined), *facts, *beside)))
    for row in paper:
        if not row.head:
            rows.append(Row((f"{row.method} (paper)", *nothing, None, None, *row.base), published=True))
    return tuple(columns), tuple(rows)


def _with_mean(errors: Array) -> list[Figure]:
    return [*(over_runs(column) for column in errors.T), over_runs(errors.mean(1))]


def published_table(experiment: str) -> Table:
    """The paper's Table S1 ("age") or S2 ("pose") alone."""
    rows_in = published_errors(experiment)
    names = ("MAE",) if experiment == "age" else ("Yaw", "Pitch", "Roll", "Mean")
    columns = (Column("Method"), *(Column(name, 2) for name in names))
    rows: list[Row] = []
    for row in rows_in:
        rows.append(Row((row.method, *row.base), published=True))
        if row.refined is not None:
            rows.append(Row((f"{row.method} + refinement", *row.refined), published=True))
    return Table(f"Published figures ({rows_in[0].source})", columns, tuple(rows))


@dataclass(frozen=True)
class Divergences:
    """KL(truth || model) of one model over repeated trainings. ``data_set`` and ``model`` are texts; ``values`` (R,)
    are in nats."""

    data_set: str
    model: str
    values: Array

    def best(self, count: int) -> float:
        """Mean of the ``count`` lowest (of all, where there are fewer)."""
        return float(np.sort(np.asarray(self.values, dtype=np.float64))[:count].mean())


def divergence_table(
    title: str,
    divergences: Sequence[Divergences],
    *,
    best: int = 5,
    reference: str = "Gaussian",
    decimals: int = 3,
    notes: Sequence[str] = (),
) -> Table:
    """Divergences of the 1-D models: mean of the ``best`` lowest, mean of all, least and greatest.

    The last column divides the best-of figure of the model named ``reference`` on the same data set by this one's:
    how many times closer to the truth it is.
    """
    if not divergences:
        raise ValueError("divergences must hold at least one model (got none)")
    columns = [Column("Data set"), Column("Model"), Column(f"Best {best}", decimals), Column("All", decimals)]
    columns += [Column("Least", decimals), Column("Greatest", decimals), Column("Trainings")]
    columns.append(Column(f"{reference} / this", 1))
    of_reference = {item.data_set: item.best(best) for item in divergences if item.model == reference}
    rows = []
    for item in divergences:
        values = np.asarray(item.values, dtype=np.float64)
        known = of_reference.get(item.data_set)
        ratio = None if known is None or item.model == reference else Figure(known / item.best(best))
        figures = (Figure(item.best(best)), over_runs(values), Figure(float(values.min())), Figure(float(values.max())))
        rows.append(Row((item.data_set, item.model, *figures, str(len(values)), ratio)))
    said = f"KL(truth || model) in nats. Best {best}: mean of the {best} lowest; All: mean ± standard deviation."
    return Table(title, tuple(columns), tuple(rows), (said, *notes))


@dataclass(frozen=True)
class DensityScores:
    """How one model's p(y | x) did on held-out data, once for each of R splits.

    Attributes:
        data_set: text.
        model: text.
        nll: (R,) mean of -log p(y | x) over the split's test rows, nats in the unit of y.
        coverage: (R,) share of test rows within the interval, 0..1.
        width: (R,) mean length of the interval, unit of y.
        mae: (R,) mean absolute error, unit of y.
    """

    data_set: str
    model: str
    nll: Array
    coverage: Array
    width: Array
    mae: Array


def density_table(
    title: str,
    scores: Sequence[DensityScores],
    *,
    reference: str = "EBM",
    level: float = 0.9,
    decimals: int = 3,
    notes: Sequence[str] = (),
) -> Table:
    """Likelihood, coverage, width and error of the models on each data set, lowest NLL and MAE marked.

    "NLL above REFERENCE" is the mean of the splits' own differences with their spread: positive where the model named
    ``reference`` has the better likelihood.
    """
    if not scores:
        raise ValueError("scores must hold at least one model (got none)")
    columns = (
        Column("Data set"),
        Column("Model"),
        Column("NLL", decimals),
        Column(f"NLL above {reference}", decimals, signed=True),
        Column("Splits above"),
        Column(f"Within {level:.0%} interval [%]", 1),
        Column("Width", decimals),
        Column("MAE", decimals),
    )
    of_reference = {item.data_set: item for item in scores if item.model == reference}
    groups: dict[str, list[Row]] = {}
    for item in scores:
        known = of_reference.get(item.data_set)
        above: Cell = None
        lower: Cell = None
        if known is not None and item is not known:
            difference = np.asarray(item.nll) - np.asarray(known.nll)
            above, lower = over_runs(difference), f"{int((difference > 0).sum())} of {len(difference)}"
        figures = (over_runs(100 * np.asarray(item.coverage)), over_runs(item.width), over_runs(item.mae))
        row = Row((item.data_set, item.model, over_runs(item.nll), above, lower, *figures))
        groups.setdefault(item.data_set, []).append(row)
    rows = tuple(row for group in groups.values() for row in mark_best(group, (2, 7), lowest=True))
    splits = _count_text([item.nll for item in scores])
    said = (
        f"Mean ± standard deviation over {splits} test splits. NLL: nats in the unit of y, lower is better; the "
        f"difference to the {reference} is taken within each split, and Splits above says in how many it is positive. "
        f"Width: mean length of the {level:.0%} interval."
    )
    return Table(title, columns, rows, (said, *notes))


def write_tables(folder: Path, tables: Sequence[Table]) -> tuple[Path, ...]:
    """Writes ``table.md`` with all tables, and each as a CSV file: ``table.csv``, ``table_2.csv``, ..."""
    folder.mkdir(parents=True, exist_ok=True)
    paths = [folder / "table.md"]
    write_text_atomic(paths[0], "\n".join(markdown(table) for table in tables))
    for number, table in enumerate(tables, start=1):
        paths.append(folder / ("table.csv" if number == 1 else f"table_{number}.csv"))
        write_text_atomic(paths[-1], csv_text(table))
    return tuple(paths)
