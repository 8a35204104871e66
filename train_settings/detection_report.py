"""What a detection experiment shows: tables beside the paper's, the step lengths that were tried, figures, coverage."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from rich.console import Console

from ebm_tracker.adapters.counting import open_counter
from ebm_tracker.adapters.detection.annotations import DetectionDataError
from ebm_tracker.adapters.detection.comparison import found_shares, objects_shown
from ebm_tracker.adapters.detection.coverage import LEVEL, EdgeCoverage, measure_coverage, spread
from ebm_tracker.adapters.detection.data import DetectionImages
from ebm_tracker.adapters.detection.figure import before_and_after, scores_and_coverage
from ebm_tracker.adapters.detection.steps import METHODS
from ebm_tracker.adapters.detection.study import DetectionStudy
from ebm_tracker.adapters.detection.temperature import TRIES, fit_temperature
from ebm_tracker.adapters.detection.variants import DIRECT, MATCHED, DetectionResult
from ebm_tracker.evaluation.detection import OURS, MethodScores, detection_table, gain_table
from ebm_tracker.evaluation.regression import over_runs
from ebm_tracker.evaluation.report.tables import Column, Figure, Row, Table, mark_best
from ebm_tracker.files import write_text_atomic
from ebm_tracker.train_settings.detection import DetectionRecipe, SmallRecipe, compose_shown

SHOWN = ("AP", "AP50", "AP75", MATCHED)
"""Figures of the tables."""
LEVELS = (0.5, 0.9, 0.95)
"""Of the intervals in the table of the coverage."""
FITTED = 100
"""Boxes of validation images that a temperature is fitted on."""
OBJECTS = 8
"""Whose boxes are drawn."""


def tables(
    recipe: DetectionRecipe | SmallRecipe, study: DetectionStudy, result: DetectionResult, remarks: Sequence[str]
) -> tuple[Table, ...]:
    """Ours beside the paper's; how far ours is above each of the others; and how often its density holds the truth.

    The last two where ours is among the variants."""
    methods = [
        MethodScores(name, {figure: result.values(name, figure) for figure in SHOWN}) for name in result.scores
    ]
    split = study.data.test.file.path.stem.removeprefix("instances_")
    where = "small scale" if isinstance(recipe, SmallRecipe) else f"{recipe.detector} on {split}"
    chosen = [_steps_sentence(name, result) for name in result.scores]
    notes = (*remarks, *(sentence for sentence in chosen if sentence))
    made = [detection_table(f"Detection, {where}: percent", methods, notes=notes)]
    if OURS in result.scores:
        said = ("Differences in points, within each training; the frozen detector is the same for all.",)
        made.append(gain_table("How far ours is above", methods, notes=said))
        found = coverage(recipe, study)
        if found is not None:
            made.append(_coverage_table(found))
        elif recipe.coverage:
            made[0] = replace(made[0], notes=(*made[0].notes, "No detection matched an object: no coverage."))
    return tuple(made)


def draw(
    recipe: DetectionRecipe | SmallRecipe, study: DetectionStudy, out: Path, show: Path | None = None
) -> list[Path]:
    """``detection``: what each variant found, and the coverage; ``boxes``: before and after; each .png and .pdf.

    ``show``: photos and masks that the images of the second are composed of, in ``out``; None: the test images."""
    test, names = study.data.test, (DIRECT, *study.settings.methods)
    found = {
        name: np.stack([found_shares(test, study.detections(run, name)) for run, own in study.jobs if own == name])
        for name in names
    }
    held = coverage(recipe, study) if OURS in names else None
    pits = {}
    if held is not None:
        pits["as trained"] = held.plain.pit.numpy()
        if held.tempered is not None:
            pits[f"with T = {held.temperature:.2f}"] = held.tempered.pit.numpy()
    pictures = {"detection": scores_and_coverage(found, pits)}
    refined = [name for name in names if name in METHODS]
    if refined:
        best = OURS if OURS in refined else refined[-1]
        if show is not None and isinstance(recipe, SmallRecipe):
            images = compose_shown(recipe, show, out)
            before, after = (study.detect(0, name, images) for name in (DIRECT, best))
        else:
            images = test
            before, after = (study.detections(0, name) for name in (DIRECT, best))
        shown = objects_shown(images, before, after, OBJECTS)
        if shown:
            pictures["boxes"] = before_and_after(shown)
    return [path for name, picture in pictures.items() for path in picture.write(out / name)]


@dataclass(frozen=True)
class CoverageResult:
    """Of ours in the first run: ``plain`` as trained, and ``tempered`` with the ``temperature`` that validation images
    chose; both None without such images."""

    plain: EdgeCoverage
    temperature: float | None = None
    tempered: EdgeCoverage | None = None


def coverage(recipe: DetectionRecipe | SmallRecipe, study: DetectionStudy) -> CoverageResult | None:
    """Kept beside its detections; None where none is wanted, or nothing was found."""
    count = min(recipe.coverage, sum(len(objects.labels) for objects in study.data.test.objects))
    if not count:
        return None
    path = study.folder_of(0, OURS) / "coverage.json"
    scores = json.loads((path.parent / "scores.json").read_text(encoding="utf-8"))["settings"]
    fitted_on = _temperature_images(study)
    decides = {"scores": scores, "count": count, "validation": 0 if fitted_on is None else len(fitted_on)}
    try:
        stored = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
    except ValueError as error:
        raise DetectionDataError(f"{path.absolute()} is damaged ({error}); remove it") from error
    if not isinstance(stored, dict) or stored.get("settings") != decides:
        stored = {"settings": decides, **_measured(study, fitted_on, count)}
        write_text_atomic(path, json.dumps(stored) + "\n")
    plain, tempered = (None if stored[name] is None else _edges(stored[name]) for name in ("plain", "tempered"))
    return CoverageResult(plain, stored["temperature"], tempered) if plain is not None and len(plain) else None


def _temperature_images(study: DetectionStudy) -> DetectionImages | None:
    """Validation images that are not tested on."""
    val, test = study.data.val, study.data.test
    if val is None or val.file.path == test.file.path or not any(len(objects.labels) for objects in val.objects):
        return None
    return val


def _measured(study: DetectionStudy, fitted_on: DetectionImages | None, count: int) -> dict[str, Any]:
    model, seed = study.energy_detector(0, OURS), study.settings.seed
    found: dict[str, Any] = {"temperature": None, "tempered": None}
    console = Console(quiet=study.quiet)
    if fitted_on is not None:
        with open_counter("temperatures that were tried", TRIES, console) as show:
            fitted = fit_temperature(model, fitted_on, FITTED, seed=seed, on_try=lambda number: show(number + 1))
        found["temperature"] = fitted.value if fitted.boxes else None
    for name, temperature in (("plain", 1.0), ("tempered", found["temperature"])):
        if temperature is None:
            continue
        model.temperature = temperature
        generator = torch.Generator(study.device).manual_seed(seed)
        with open_counter(f"densities, T = {temperature:.2f}", len(spread(study.data.test, count)), console) as show:
            edges = measure_coverage(
                model, study.data.test, count, generator=generator, on_image=lambda number: show(number + 1)
            )
        found[name] = {key: value.tolist() for key, value in vars(edges).items()}
    return found


def _edges(columns: Mapping[str, Any]) -> EdgeCoverage:
    return EdgeCoverage(**{key: torch.tensor(values) for key, values in columns.items()})


def _coverage_table(found: CoverageResult) -> Table:
    kinds = [("T = 1", found.plain)]
    if found.tempered is not None:
        kinds.append((f"T = {found.temperature:.2f}", found.tempered))
    rows = [Row((f"{level:.0%}", *(_inside(edges, level) for _, edges in kinds))) for level in LEVELS]
    widths = [Figure(100 * float(edges.widths.median())) for _, edges in kinds]
    rows.append(Row((f"median width of {LEVEL:.0%} [% of the side]", *widths)))
    notes = [
        "Share of true edges, in percent, in central intervals of p(y | x) around detections of the first training: "
        f"{len(found.plain)} that were matched with an object (IoU of at least 0.5), chosen by lot; ± is a standard "
        "error, a box counting as one.",
    ]
    if found.tempered is not None:
        notes.append("T: temperature of exp(f / T) / Z, fitted on validation images; the boxes do not depend on it.")
    columns = (Column("Interval"), *(Column(title, 1) for title, _ in kinds))
    return Table("How often the density of ours holds the true edges", columns, tuple(rows), tuple(notes))


def _inside(edges: EdgeCoverage, level: float) -> Figure:
    error = edges.coverage_error(level)
    return Figure(100 * edges.coverage(level), None if np.isnan(error) else 100 * error)


def _steps_sentence(name: str, result: DetectionResult) -> str:
    settings = [scores.refine for scores in result.scores[name] if scores.refine is not None]
    if not settings:
        return ""
    texts = dict.fromkeys(f"{one.position_step:g} / {one.size_step:g}" for one in settings)
    return f"Step lengths of {name} (position / size): {', '.join(texts)}; {settings[0].steps} steps."


def search_tables(study: DetectionStudy) -> tuple[Table, ...]:
    """The step lengths that were tried for each energy method, with their AP on the validation images."""
    return tuple(_search_table(study, name) for name in study.settings.methods if study.searches(name))


def _search_table(study: DetectionStudy, name: str) -> Table:
    runs = [study.search(run, name) for run in range(study.settings.runs)]
    chosen = Counter(trials[0].settings for trials in runs)
    by_settings = [{trial.settings: trial.score for trial in trials} for trials in runs]
    rows = []
    for settings in sorted(by_settings[0], key=lambda one: (one.position_step, one.size_step)):
        scores = over_runs([scores[settings] for scores in by_settings])
        cells = (f"{settings.position_step:g}", f"{settings.size_step:g}", f"{settings.decay:g}", scores)
        rows.append(Row((*cells, f"{chosen[settings]} of {len(runs)}")))
    columns = (Column("Position step"), Column("Size step"), Column("Decay"), Column("AP", 2), Column("Chosen in"))
    title = f"Step lengths of {name} on {study.settings.search_images} validation images"
    return Table(title, columns, mark_best(rows, (3,)))
