"""The official lists: counts and sums that the benchmarks state, and the reference data row by row."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from ebm_tracker.evaluation.datasets.otb import otb_aliases
from ebm_tracker.evaluation.datasets.tables import table_of


@pytest.mark.parametrize(
    ("name", "sequences", "folders", "frames"),
    [("otb", 100, 98, 59_035), ("nfs", 100, 100, 47_953), ("uav", 123, 91, 112_578)],
)
def test_counts(name: str, sequences: int, folders: int, frames: int) -> None:
    rows = table_of(name)
    assert len(rows) == len({row.name for row in rows}) == sequences
    assert len({row.folder for row in rows}) == folders
    assert sum(row.count for row in rows) == frames
    assert all(0 < row.first <= row.last for row in rows)


@pytest.mark.parametrize("name", ["otb", "nfs", "uav"])
def test_rows_are_those_of_the_reference_data(name: str, shared_dir: Path) -> None:
    listed = json.loads((shared_dir / "docs/sequences.json").read_text())[name]
    for row, expected in zip(table_of(name), listed, strict=True):
        assert row.name == expected["name"]
        assert row.folder in expected["path"].split("/")
        assert (row.first, row.last, row.digits) == (expected["startFrame"], expected["endFrame"], expected["nz"])
        assert row.omitted == expected.get("initOmit", 0)
        assert row.truth == expected["anno_path"].split("/")[-1]


def test_parts_of_a_uav_video_share_the_image_at_their_border() -> None:
    rows = {row.name: row for row in table_of("uav")}
    borders = [
        (rows[f"uav_{video}_{k}"].last, rows[f"uav_{video}_{k + 1}"].first)
        for video, parts in (("car1", 3), ("car6", 5), ("group1", 4), ("person19", 3), ("truck4", 2))
        for k in range(1, parts)
    ]
    assert len(borders) == 12 and all(last == first for last, first in borders)
    assert (rows["uav_bird1_1"].last, rows["uav_bird1_2"].first) == (253, 775)  # a gap


def test_aliases() -> None:
    assert otb_aliases("Jogging_1") == ("Jogging.1", "Jogging-1", "Jogging1")
    assert otb_aliases("Human4_2") == ("Human4.2", "Human4-2", "Human42", "Human4")
    assert otb_aliases("David3") == ()
