"""Regions and image names."""

from __future__ import annotations

from math import hypot, sqrt
from pathlib import Path

import pytest

from ebm_tracker.evaluation.vot.messages import TraxError
from ebm_tracker.evaluation.vot.regions import PolygonRule, format_region, image_path, parse_region

TURNED = "30,10,50,30,30,50,10,30"  # a square with sides of sqrt(800), standing on a corner


def test_rectangle() -> None:
    assert parse_region("1.5,-2,3,4.25") == (1.5, -2, 3, 4.25)
    assert parse_region(format_region((1.5, -2, 3, 4.25))) == (1.5, -2, 3, 4.25)
    assert format_region((1 / 3, 0, 10, 1e-9)) == "0.3333,0.0000,10.0000,0.0000"


def test_polygons() -> None:
    assert parse_region(TURNED) == (10, 10, 40, 40)
    assert parse_region("0,0,4,1,2,6") == (0, 0, 4, 6)
    assert parse_region("0,0,4,1,2,6", PolygonRule.AREA) == (0, 0, 4, 6)  # only for four corners


def test_area_of_a_turned_square() -> None:
    # Its own area is 800, that of the hull 1600: sides sqrt(1/2) of the hull's, and one more (BENCHMARKS section 10).
    side = 40 * sqrt(0.5) + 1
    x, y, w, h = parse_region(TURNED, PolygonRule.AREA)
    assert (w, h) == pytest.approx((side, side)) and (x + w / 2, y + h / 2) == pytest.approx((30, 30))


def test_area_of_a_sheared_one() -> None:
    # The rule takes two adjacent sides, as if the corners were square.
    x, y, w, h = parse_region("0,0,10,0,16,8,6,8", PolygonRule.AREA)
    scale = sqrt(10 * hypot(6, 8) / (16 * 8))
    assert (w, h) == pytest.approx((16 * scale + 1, 8 * scale + 1)) and (x + w / 2, y + h / 2) == pytest.approx((8, 4))


def test_a_flat_polygon_stays_finite() -> None:
    assert parse_region("1,1,5,1,5,1,1,1", PolygonRule.AREA) == (0.5, 0.5, 5, 1)


@pytest.mark.parametrize("text", ["", "1,2,3", "1,2,3,4,5", "1,2,3,nan", "1,2,3,inf", "mask:1,2,3,4", "0,0,1,1,2,nan"])
def test_what_is_no_region(text: str) -> None:
    with pytest.raises(TraxError, match="regions must be a rectangle"):
        parse_region(text)


@pytest.mark.parametrize("name", ["a.jpg", "a b.jpg", "50%.jpg", "a%20b.jpg", "é.jpg", "a=b.jpg"])
def test_names_as_they_are_and_decoded(tmp_path: Path, name: str) -> None:
    (tmp_path / name).touch()
    assert image_path(f"file://{tmp_path}/{name}") == tmp_path / name
    assert image_path((tmp_path / name).as_uri()) == tmp_path / name  # percent-encoded
    assert image_path(f"file://localhost{tmp_path}/{name}") == tmp_path / name
    assert image_path(str(tmp_path / name)) == tmp_path / name


def test_the_name_as_it_stands_goes_first(tmp_path: Path) -> None:
    for name in ("a%20b.jpg", "a b.jpg"):
        (tmp_path / name).touch()
    assert image_path(f"file://{tmp_path}/a%20b.jpg").name == "a%20b.jpg"


@pytest.mark.parametrize("name", ["b.jpg", "b\0.jpg", "b" * 5000])
def test_no_such_image(tmp_path: Path, name: str) -> None:
    with pytest.raises(TraxError, match="there is no image file://"):
        image_path(f"file://{tmp_path}/{name}")
