"""Whose a folder of results is."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from ebm_tracker.cli.experiment_folder import NAME, at_work, check, claim
from ebm_tracker.errors import EbmError


def test_a_folder_is_kept_for_its_experiment(tmp_path: Path) -> None:
    out = tmp_path / "results" / "age"
    check(out, "age")
    assert not out.exists()
    claim(out, "age")
    assert json.loads((out / NAME).read_text()) == {"experiment": "age"}
    claim(out, "age")  # goes on
    with pytest.raises(EbmError, match="holds the experiment age, not age small: choose another --out"):
        check(out, "age small")
    (tmp_path / "older").mkdir()
    claim(tmp_path / "older", "toy")  # results from before these notes were written
    assert (tmp_path / "older" / NAME).is_file()


def test_what_is_no_folder_of_results(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(EbmError, match="--out must name a folder"):
        claim(tmp_path / "file", "toy")
    (tmp_path / NAME).write_text("{}")
    with pytest.raises(EbmError, match="is damaged"):
        claim(tmp_path, "toy")


def test_one_process_at_a_time(tmp_path: Path) -> None:
    out = tmp_path / "out"
    with at_work(out):
        with pytest.raises(EbmError, match="another process is at work in"), at_work(out):
            pytest.fail("two at once")
        with at_work(out, is_first=False):  # of the same run
            pass
    assert not out.exists()  # nothing came of it
    with at_work(out):
        (out / "table.md").write_text("")
    with at_work(out):
        assert (out / "table.md").is_file()
    (tmp_path / "file").write_text("")
    with pytest.raises(EbmError, match="--out must name a folder"), at_work(tmp_path / "file"):
        pytest.fail("a file")
