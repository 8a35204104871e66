from __future__ import annotations

from pathlib import Path

import pytest
from PIL import Image

from ebm_tracker.training.data.registry import SET_NAMES, open_set, option_names, parse_options
from ebm_tracker.training.data.sequence import DataSetError


def test_options_are_read_as_their_reader_takes_them() -> None:
    assert parse_options("trackingnet", ["set_ids=0,3"]) == {"set_ids": (0, 3)}
    assert parse_options("coco", ["year=2017", "split=val"]) == {"year": 2017, "split": "val"}
    assert parse_options("got10k", ["split=a=b", "pytracking_dir=x"]) == {"split": "a=b", "pytracking_dir": Path("x")}
    assert parse_options("folder", []) == {} and option_names("folder") == ()


@pytest.mark.parametrize(
    ("name", "text", "expected"),
    [
        ("lasot", "year=3", "lasot has no option 'year' .known: split."),
        ("folder", "x", "folder has no option 'x' .known: none."),
        ("coco", "year=old", "year takes a whole number .got 'old'"),
        ("trackingnet", "set_ids=0,x", "set_ids takes numbers such as 0,1,2"),
        ("otb", "x=1", f"no data set 'otb'; known: {', '.join(SET_NAMES)}"),
    ],
)
def test_errors_name_the_option(name: str, text: str, expected: str) -> None:
    with pytest.raises(DataSetError, match=expected):
        parse_options(name, [text])


@pytest.mark.parametrize("name", SET_NAMES)
def test_every_reader_opens_and_names_its_root(name: str, tmp_path: Path) -> None:
    with pytest.raises(DataSetError, match=tmp_path.name):
        open_set(name, tmp_path / "none")


def test_a_set_is_opened_with_its_options(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    Image.new("RGB", (9, 9)).save(tmp_path / "a/1.png")
    (tmp_path / "a/groundtruth.txt").write_text("1,1,3,3")
    assert open_set("folder", tmp_path, name="mine").name == "mine"
