from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from ebm_tracker.evaluation.benchmark.manifest import (
    MANIFEST_NAME,
    Manifest,
    ManifestError,
    Session,
    check_folder,
    join_folder,
    mark_shared,
    read_manifest,
)

MANIFEST = Manifest("ebm", "default", 3, "precise", {"weights": "aa11", "code version": "1"})
SESSION = Session("here", "a CPU", "cpu", 2, 1, 1, {"numpy": "2.0"})


def test_it_comes_back_as_written(tmp_path: Path) -> None:
    assert read_manifest(tmp_path) is None
    assert join_folder(tmp_path, MANIFEST, SESSION) == []
    assert read_manifest(tmp_path) == replace(MANIFEST, sessions=(SESSION,))
    assert [path.name for path in tmp_path.iterdir()] == [MANIFEST_NAME]


def test_the_same_session_is_listed_once(tmp_path: Path) -> None:
    for _ in range(3):
        assert join_folder(tmp_path, MANIFEST, SESSION) == []
    found = read_manifest(tmp_path)
    assert found is not None and found.sessions == (SESSION,)


@pytest.mark.parametrize(
    ("other", "words"),
    [
        (replace(MANIFEST, seed=4), ["seed 3", "seed 4"]),
        (replace(MANIFEST, tracker="atom"), ["tracker ebm", "tracker atom"]),
        (replace(MANIFEST, parameter="fast"), ["preset default", "preset fast"]),
        (replace(MANIFEST, box_format="pytracking"), ["format precise", "format pytracking"]),
        (replace(MANIFEST, facts={"weights": "bb22"}), ["weights aa11", "weights bb22"]),
        (replace(MANIFEST, facts={}), ["weights aa11", "weights unknown"]),
    ],
)
def test_results_of_something_else_are_refused(tmp_path: Path, other: Manifest, words: list[str]) -> None:
    join_folder(tmp_path, MANIFEST, SESSION)
    before = (tmp_path / MANIFEST_NAME).read_bytes()
    for refused in (lambda: check_folder(tmp_path, other, True), lambda: join_folder(tmp_path, other, SESSION)):
        with pytest.raises(ManifestError) as caught:
            refused()
        message = str(caught.value)
        assert all(word in message for word in [*words, str(tmp_path), "another --out"]) and "\n" not in message
    assert (tmp_path / MANIFEST_NAME).read_bytes() == before


def test_only_what_differs_is_named(tmp_path: Path) -> None:
    join_folder(tmp_path, MANIFEST, SESSION)
    with pytest.raises(ManifestError) as caught:
        check_folder(tmp_path, replace(MANIFEST, seed=4), True)
    assert "weights" not in str(caught.value) and "preset" not in str(caught.value)


@pytest.mark.parametrize(
    ("manifest", "session", "words"),
    [
        (MANIFEST, replace(SESSION, threads=4), "begun with 2 CPU threads, now 4"),
        (MANIFEST, replace(SESSION, device="cuda"), "begun on cpu, now cuda"),
        (MANIFEST, replace(SESSION, versions={"numpy": "2.1"}), "numpy 2.0 -> 2.1"),
        (replace(MANIFEST, facts={"weights": "aa11", "code version": "2"}), SESSION, "code version 1 -> 2"),
    ],
)
def test_what_may_differ_is_said(tmp_path: Path, manifest: Manifest, session: Session, words: str) -> None:
    join_folder(tmp_path, MANIFEST, SESSION)
    (warning,) = join_folder(tmp_path, manifest, session)
    assert words in warning


def test_results_without_a_manifest_are_not_ours(tmp_path: Path) -> None:
    check_folder(tmp_path, MANIFEST, has_results=False)
    with pytest.raises(ManifestError, match="another program"):
        check_folder(tmp_path, MANIFEST, has_results=True)


@pytest.mark.parametrize("text", ["", "{", "[]", '{"tracker": "ebm"}', '{"sessions": 5}', "\x00"])
def test_a_damaged_one_is_named(tmp_path: Path, text: str) -> None:
    (tmp_path / MANIFEST_NAME).write_text(text)
    with pytest.raises(ManifestError, match=f"{MANIFEST_NAME} is damaged"):
        read_manifest(tmp_path)


def test_times_are_valid_with_one_worker_on_a_device_all_along(tmp_path: Path) -> None:
    join_folder(tmp_path, MANIFEST, SESSION)
    assert json.loads((tmp_path / MANIFEST_NAME).read_text())["times_valid"] is True
    join_folder(tmp_path, MANIFEST, replace(SESSION, workers=2, workers_per_device=2))
    assert json.loads((tmp_path / MANIFEST_NAME).read_text())["times_valid"] is False


def test_times_are_not_valid_when_another_process_was_at_work(tmp_path: Path) -> None:
    join_folder(tmp_path, MANIFEST, replace(SESSION, workers=2))  # two GPUs
    found = read_manifest(tmp_path)
    assert found is not None and found.times_valid
    mark_shared(tmp_path, SESSION)
    found = read_manifest(tmp_path)
    assert found is not None and not found.times_valid
