"""Names of benchmarks and what is known of each."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import pytest

from ebm_tracker.evaluation.datasets.benchmark import BenchmarkError
from ebm_tracker.evaluation.datasets.registry import (
    ALIASES,
    DATASET_NAMES,
    dataset_of,
    open_benchmark,
    settings_key,
)
from ebm_tracker.settings import KEYS


def test_every_name_has_its_facts_and_its_setting() -> None:
    assert len(DATASET_NAMES) == 11
    for name in (*DATASET_NAMES, *ALIASES):
        facts = dataset_of(name)
        assert facts.name in DATASET_NAMES and settings_key(name) == facts.setting in KEYS
    assert settings_key("uav") == "data.uav"
    assert settings_key("lasot_train") == settings_key("lasot") == "data.lasot"
    assert settings_key("got10k_test") == "data.got10k" and settings_key("folder") == "data.folder"


def test_runs_and_metrics_are_those_of_the_field() -> None:
    runs = {name: dataset_of(name).runs for name in DATASET_NAMES}
    assert [runs[n] for n in ("otb", "nfs", "uav", "lasot", "lasot_train")] == [5] * 5
    assert [runs[n] for n in ("trackingnet", "got10k_val", "got10k_test", "vot", "folder")] == [1, 3, 3, 15, 1]
    counts = {name: dataset_of(name).official_count for name in DATASET_NAMES}
    assert [counts[n] for n in ("otb", "nfs", "uav", "lasot", "lasot_train")] == [100, 100, 123, 280, 1120]
    assert [counts[n] for n in ("trackingnet", "got10k_val", "got10k_test", "vot")] == [511, 180, 180, None]
    metrics = {dataset_of(n).metrics for n in ("otb", "nfs", "uav", "lasot", "lasot_train")}
    assert metrics == {"pytracking"}


def test_aliases_and_spelling() -> None:
    assert [dataset_of(n).name for n in ("UAV123", "otb100", "NFS30", "lasot-train")] == [
        "uav", "otb", "nfs", "lasot_train"
    ]  # fmt: skip


@pytest.mark.parametrize(("name", "message"), [("uav12", "must be one of otb, nfs, uav"), ("got10k", "got10k_val")])
def test_unknown_names(name: str, message: str) -> None:
    with pytest.raises(BenchmarkError, match=message):
        dataset_of(name)
    with pytest.raises(BenchmarkError, match=message):
        open_benchmark(name, Path("/nowhere"))


@pytest.mark.parametrize("name", DATASET_NAMES)
def test_an_empty_folder_says_what_is_needed(tree: Any, name: str) -> None:
    with pytest.raises(BenchmarkError, match="holds no sequence of") as error:
        tree.open(name)
    assert str(tree.root) in str(error.value) and dataset_of(name).layout in str(error.value)
    assert "\n" not in str(error.value)


def test_a_benchmark_goes_to_other_processes(tree: Any) -> None:
    tree.images("data_seq/UAV123/uav6", "%06d.jpg", range(1, 110))
    tree.boxes("anno/UAV123/uav6.txt", 109)
    benchmark = tree.open("uav")
    copy = pickle.loads(pickle.dumps(benchmark))
    assert copy.sequences[0].frames.paths == benchmark.sequences[0].frames.paths
    assert copy.problems == benchmark.problems


def test_frames_are_found_from_any_working_folder(tree: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    tree.picture("a/0.png", 70)
    tree.boxes("a/groundtruth.txt", 1)
    monkeypatch.chdir(tree.root.parent)
    benchmark = open_benchmark("folder", Path("set"))
    monkeypatch.chdir("/")
    assert next(iter(benchmark.sequences[0].frames)) is not None
