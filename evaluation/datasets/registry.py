"""Benchmarks by the names that commands take."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from ebm_tracker.evaluation.datasets import folder, got10k, lasot, nfs, otb, uav, vot
from ebm_tracker.evaluation.datasets import trackingnet as tn
from ebm_tracker.evaluation.datasets.benchmark import Benchmark, BenchmarkError
from ebm_tracker.evaluation.datasets.reading import Reading
from ebm_tracker.evaluation.sequences import TrackingSequence
from ebm_tracker.splits import lasot_test_names, lasot_train_names


@dataclass(frozen=True)
class DatasetFacts:
    """What is known of a benchmark before anything is read.

    Attributes:
        name: as commands take it: "uav".
        title: as papers print it: "UAV123".
        official_count: how many sequences there should be; None where anything goes.
        runs: how many runs of a tracker with random parts the field averages.
        metrics: name of the flavour of scores that the field cites for it.
        setting: key of its path in ``ebm_tracker.settings``.
        layout: what its folder holds, for messages.
    """

    name: str
    title: str
    official_count: int | None
    runs: int
    metrics: str
    setting: str
    layout: str


_FACTS: Mapping[str, DatasetFacts] = {
    facts.name: facts
    for facts in (
        DatasetFacts("otb", "OTB-100", 100, 5, "pytracking", "data.otb", otb.LAYOUT),
        DatasetFacts("nfs", "NFS", 100, 5, "pytracking", "data.nfs", nfs.LAYOUT),
        DatasetFacts("uav", "UAV123", 123, 5, "pytracking", "data.uav", uav.LAYOUT),
        DatasetFacts("lasot", "LaSOT", 280, 5, "pytracking", "data.lasot", lasot.LAYOUT),
        DatasetFacts("lasot_train", "LaSOT train", 1120, 5, "pytracking", "data.lasot", lasot.LAYOUT),
        DatasetFacts("trackingnet", "TrackingNet", 511, 1, "trackingnet", "data.trackingnet", tn.TEST_LAYOUT),
        DatasetFacts(
            "trackingnet_train", "TrackingNet train", None, 1, "trackingnet", "data.trackingnet", tn.TRAIN_LAYOUT
        ),
        DatasetFacts("got10k_val", "GOT-10k val", 180, 3, "got10k", "data.got10k", got10k.got10k_layout("val")),
        DatasetFacts("got10k_test", "GOT-10k test", 180, 3, "got10k", "data.got10k", got10k.got10k_layout("test")),
        DatasetFacts("vot", "VOT", None, 15, "plain", "data.vot", vot.LAYOUT),
        DatasetFacts("folder", "Folder", None, 1, "plain", "data.folder", folder.LAYOUT),
    )
}
DATASET_NAMES: tuple[str, ...] = tuple(_FACTS)
ALIASES: Mapping[str, str] = {
    "otb100": "otb",
    "nfs30": "nfs",
    "uav123": "uav",
    "lasot_test": "lasot",
    "trackingnet_test": "trackingnet",
    "vot2018": "vot",
    "vot18": "vot",
}
"""Other names that are accepted."""
_READERS: Mapping[str, Callable[[Reading], tuple[TrackingSequence, ...]]] = {
    "otb": otb.open_otb,
    "nfs": nfs.open_nfs,
    "uav": uav.open_uav,
    "lasot": lambda reading: lasot.open_lasot(reading, lasot_test_names()),
    "lasot_train": lambda reading: lasot.open_lasot(reading, lasot_train_names()),
    "trackingnet": tn.open_trackingnet_test,
    "got10k_val": lambda reading: got10k.open_got10k(reading, "val"),
    "got10k_test": lambda reading: got10k.open_got10k(reading, "test"),
    "vot": vot.open_vot,
    "folder": folder.open_folder,
}


def dataset_of(name: str) -> DatasetFacts:
    """What is known of the benchmark, by its name or an alias; no disk is touched.

    Raises BenchmarkError, listing the known ones.
    """
    lowered = name.lower().replace("-", "_")
    facts = _FACTS.get(ALIASES.get(lowered, lowered))
    if facts is None:
        if lowered == "got10k":
            raise BenchmarkError(f"{name} has two parts: got10k_val is scored here, got10k_test by the server")
        raise BenchmarkError(f"dataset must be one of {', '.join(DATASET_NAMES)} (got {name!r})")
    return facts


def settings_key(name: str) -> str:
    """The key of the benchmark's path in ``ebm_tracker.settings``: "lasot_train" -> "data.lasot"."""
    return dataset_of(name).setting


def open_benchmark(name: str, root: Path, *, sets: tuple[int, ...] = tn.HELD_OUT_SETS) -> Benchmark:
    """Finds the sequences of a benchmark. Folders are listed and annotations read; no image is opened, except the
    first frame of each video of "folder".

    Args:
        name: one of DATASET_NAMES or an alias.
        root: its folder; for "folder" also a single sequence or a video file.
        sets: of "trackingnet_train", numbers of 0 to 11.

    Raises:
        BenchmarkError: an unknown name, or no sequence at all.
        ValueError: sets.
    """
    # Absolute, for workers whose working folder is another one.
    facts, root = dataset_of(name), Path(root).expanduser().absolute()
    title = facts.title
    if facts.name == "folder" and root.is_file():
        reading = Reading(root.parent, title)
        sequences = folder.open_video(root, reading)
    else:
        reading = Reading(root, title)
        if facts.name == "trackingnet_train":
            sequences = tn.open_trackingnet_train(reading, sets)
        else:
            sequences = _READERS[facts.name](reading)
    reading.refuse_empty(len(sequences), facts.layout)
    return Benchmark(
        name=facts.name,
        title=title,
        sequences=sequences,
        official_count=facts.official_count,
        runs=facts.runs,
        metrics=facts.metrics,
        problems=tuple(reading.problems),
        notes=tuple(reading.notes),
    )
