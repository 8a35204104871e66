"""Ground-truth files in every form that benchmarks have them (T12)."""

from __future__ import annotations

import warnings
from pathlib import Path

import numpy as np
import pytest

from ebm_tracker import annotations
from ebm_tracker.annotations import (
    AnnotationError,
    AnnotationWarning,
    find_truth_file,
    is_present,
    parse_boxes,
    read_boxes,
    split_numbers,
    warn_if_lengths_differ,
)

ROWS = [(10 + i, 20 + i, 30, 40) for i in range(5)]
EXPECTED = np.array(ROWS, dtype=np.float64)


def joined(separator: str, end: str = "\n") -> str:
    return end.join(separator.join(str(value) for value in row) for row in ROWS) + end


MIXED = "10,20\t30 40\n11 21 ,30;40\n\n  12\t22\t30\t40  \n13;23;30;40\n   \t\n14, 24 ,30,\t40"
FORMS = {
    "comma": joined(","),
    "tab": joined("\t"),
    "spaces": joined("   "),
    "comma and space": joined(", "),
    "semicolon": joined(";"),
    "mixed and blank lines": MIXED,
    "CRLF and byte-order mark": "\ufeff" + joined(",", "\r\n"),
    "old Mac": joined(",", "\r"),
    "trailing comma": joined(",", ",\n"),
    "no end of line": joined(",").rstrip("\n"),
    "decimals": joined(",").replace("30", "30.0000").replace("40", "4e1"),
    "polygon": "\n".join(f"{x},{y},{x + w},{y},{x + w},{y + h},{x},{y + h}" for x, y, w, h in ROWS),
    "some polygons": f"10,20,40,20,40,60,10,60\n{chr(10).join(joined(',').splitlines()[1:])}",
}


@pytest.mark.parametrize("form", FORMS)
def test_all_forms_give_the_same_boxes(tmp_path: Path, form: str) -> None:
    np.testing.assert_array_equal(parse_boxes(FORMS[form]), EXPECTED)
    path = tmp_path / "groundtruth.txt"
    path.write_bytes(FORMS[form].encode("utf-8"))
    np.testing.assert_array_equal(read_boxes(path), EXPECTED)


@pytest.mark.parametrize("row", ["NaN,NaN,NaN,NaN", "nan nan nan nan", "12,nan,30,40", ",".join(["NaN"] * 8)])
def test_nan_row_is_absent(row: str) -> None:
    lines = joined(",").splitlines()
    boxes = parse_boxes("\n".join([*lines[:2], row, *lines[3:]]))
    assert np.isnan(boxes[2]).all()
    np.testing.assert_array_equal(np.delete(boxes, 2, 0), np.delete(EXPECTED, 2, 0))
    assert is_present(boxes).tolist() == [True, True, False, True, True]


def test_absent_also_by_size() -> None:
    boxes = np.array([[1, 1, 0, 5], [1, 1, 5, 0], [-3, -3, 5, 5], [1, 1, np.inf, 5]])
    assert is_present(boxes).tolist() == [False, False, True, False]


def test_polygon_hull() -> None:
    (box,) = parse_boxes("334.02,128.36,438.19,188.78,396.39,260.83,292.23,200.41")
    np.testing.assert_allclose(box, (292.23, 128.36, 145.96, 132.47))


def test_empty_file_has_no_boxes() -> None:
    assert parse_boxes("").shape == (0, 4)
    assert parse_boxes("\n \n").shape == (0, 4)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("1,2,3,4\n1,2,3\n", r"gt\.txt, line 2: needs 4 numbers .*\(got 3\)"),
        ("1,2,3,4,5", r"line 1: .*\(got 5\)"),
        ("\n\n1,2,x,4", r"line 3: not only numbers \(got '1,2,x,4'\)"),
        ("x y w h\n1,2,3,4", "line 1: not only numbers"),
    ],
)
def test_errors_name_file_and_line(text: str, message: str) -> None:
    with pytest.raises(AnnotationError, match=message):
        parse_boxes(text, "gt.txt")


def test_unreadable_files(tmp_path: Path) -> None:
    with pytest.raises(AnnotationError, match="nowhere.txt cannot be read"):
        read_boxes(tmp_path / "nowhere.txt")
    (tmp_path / "a.txt").write_bytes(b"\xff\xfe1\x00")
    with pytest.raises(AnnotationError, match="a.txt is not a text file"):
        read_boxes(tmp_path / "a.txt")


@pytest.mark.parametrize(("boxes", "frames", "compared"), [(4, 5, 4), (6, 5, 5), (0, 5, 0)])
def test_length_warning_names_file_and_both_counts(boxes: int, frames: int, compared: int) -> None:
    with pytest.warns(AnnotationWarning, match=rf"gt\.txt has {boxes} boxes for {frames} frames.*first {compared} "):
        warn_if_lengths_differ("gt.txt", boxes, frames)


@pytest.mark.parametrize("boxes", [5, 1])
def test_no_warning_when_lengths_fit(boxes: int) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        warn_if_lengths_differ("gt.txt", boxes, 5)


@pytest.mark.parametrize(
    "text",
    [
        "1,2,3,4\n",
        " 1.50,  2 ,3e1,\t4\r\n\r\n5,nan,7,8",
        "1,2,3,4\n,,,\n5,6,7,8",
        "1,2,3,",
        "",
        "1\t-2\t3.125\t4\r\r5\t6\t7\t8\r",
        "1,2,3,4\n\xa0\n \t\n5,6,7,8\n",
        "1_0,2,3,inf\n",
        "1,2,3,4,5\n1,2,3,4,5\n",
        "1,2,3,4\n#,6,7,8\n",
        "1,2,3,4 5\n",
    ],
)
def test_the_short_way_for_plain_lines_gives_the_same(text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def boxes_or_error() -> np.ndarray | str:
        try:
            return parse_boxes(text)
        except AnnotationError as error:
            return str(error)

    short = boxes_or_error()
    monkeypatch.setattr(annotations, "_parse_plain", lambda lines: None)
    np.testing.assert_array_equal(short, boxes_or_error())


def test_split_numbers() -> None:
    assert split_numbers(" 1,2;3\t-4.5,, ") == [1, 2, 3, -4.5]
    assert split_numbers("") == []


def test_find_truth_file(tmp_path: Path) -> None:
    assert find_truth_file(tmp_path) is None
    (tmp_path / "groundtruth_rect.txt").touch()
    assert find_truth_file(tmp_path) == tmp_path / "groundtruth_rect.txt"
    (tmp_path / "groundtruth.txt").touch()
    assert find_truth_file(tmp_path) == tmp_path / "groundtruth.txt"


def test_the_real_sequences(shared_dir: Path) -> None:
    files = sorted((shared_dir / "sequences").glob("*/groundtruth.txt"))
    assert len(files) >= 6
    for path in files:
        boxes = read_boxes(path)
        assert len(boxes) == len(list((path.parent / "img").iterdir()))
        assert is_present(boxes).all()
