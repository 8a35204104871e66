"""Strict reading of a submission's text, and what may be wrong with its numbers."""

from __future__ import annotations

import numpy as np
import pytest

from ebm_tracker.evaluation.packing.rows import box_problems, parse_rows, time_problems


def test_numbers_between_commas() -> None:
    rows, problem = parse_rows(b"1,2,3,4\r\n\n -1.5, 2e1,.5,4. \nnan,inf,-Infinity,1\n", (4,))
    assert problem is None and rows is not None
    np.testing.assert_array_equal(rows, [[1, 2, 3, 4], [-1.5, 20, 0.5, 4], [np.nan, np.inf, -np.inf, 1]])


@pytest.mark.parametrize(
    "data",
    [b"1,2,3,4\n5,6,7,8\n", b"1,2,3,4", b"1.5,-2,3e-1,4\r\n\r\n5,6,7,8\r\n", b" 1 , 2,3,4 \n"],
)
def test_what_is_accepted_is_what_loadtxt_reads(tmp_path, data: bytes) -> None:  # type: ignore[no-untyped-def]
    (tmp_path / "a.txt").write_bytes(data)
    rows, problem = parse_rows(data, (4,))
    assert problem is None
    np.testing.assert_array_equal(rows, np.loadtxt(tmp_path / "a.txt", delimiter=",", ndmin=2))


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"1,2,3,4\n1\t2\t3\t4\n", "line 2 has tabs between the numbers, where only commas may be"),
        (b"1 2 3 4\n", "line 1 has blanks between the numbers, where only commas may be"),
        (b"1;2;3;4\n", "line 1 has semicolons between the numbers, where only commas may be"),
        (b"1, 2 3, 4\n", "line 1 has blanks between the numbers, where only commas may be"),
        (b"1,2,3\n", "line 1 has 3 numbers, not 4"),
        (b"1,2,3,4,\n", "line 1 holds something that is no number ('1,2,3,4,')"),
        (b"x,y,w,h\n1,2,3,4\n", "line 1 holds something that is no number ('x,y,w,h')"),
        (b"1,2,3,0x1\n", "line 1 holds something that is no number ('1,2,3,0x1')"),
        (b"1,2,3,1_0\n", "line 1 holds something that is no number ('1,2,3,1_0')"),
        (b"\xef\xbb\xbf1,2,3,4\n", "holds signs that are not ASCII"),
        ("1,2,3,٤\n".encode(), "holds signs that are not ASCII"),
        (b"", "is empty"),
        (b"\n \n", "is empty"),
    ],
)
def test_one_problem_with_its_line(data: bytes, message: str) -> None:
    assert parse_rows(data, (4,)) == (None, message)


def test_columns_of_times() -> None:
    rows, problem = parse_rows(b"0.5,0.6,0.7\n0.1,0.1,0.1\n", (1, 3))
    assert problem is None and rows is not None and rows.shape == (2, 3)
    assert parse_rows(b"1,2\n", (1, 3)) == (None, "line 1 has 2 numbers, not 1 or 3")
    assert parse_rows(b"1\n1,2,3\n", (1, 3)) == (None, "line 2 has 3 numbers, the lines above 1")


def test_boxes() -> None:
    nan, inf = np.nan, np.inf
    boxes = np.array([[1, 2, 3, 4], [nan, 2, 3, 4], [1, 2, 0, 4], [1, inf, 3, 4], [1, 2, 3, -1], [-5, -5, 1, 1]])
    assert box_problems(boxes, 7, (1, 2, 3, 5)) == [
        "has 6 rows for 7 frames",
        "has 2 rows (the first is 2) with a NaN or an infinite number",
        "has 2 rows (the first is 3) with a width or height that is not above 0",
        "starts with 1,2,3,4, but the given box is 1,2,3,5",
    ]
    assert box_problems(boxes[:1], 1, (1.99, 2.99, 3.99, 4.99)) == []  # pytracking cuts to whole numbers
    assert box_problems(boxes[1:2], None, None) == ["has row 1 with a NaN or an infinite number"]


def test_times() -> None:
    assert time_problems(np.array([[0.1], [0.0]]), 2) == []
    assert time_problems(np.array([[0.1, np.nan], [-1, 0]]), 1) == [
        "has 2 rows for 1 frame",
        "has 2 rows (the first is 1) with a time that is not finite or below 0",
    ]
