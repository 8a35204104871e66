"""The files of a report, with everything installed and with parts missing."""

from __future__ import annotations

import csv
import datetime
import json
import re
from collections.abc import Callable
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

from ebm_tracker.evaluation.report import page, plots, writer
from ebm_tracker.evaluation.report.content import gather_report
from ebm_tracker.evaluation.report.page import PageError, page_html
from ebm_tracker.evaluation.report.player import FrameUse
from ebm_tracker.evaluation.report.writer import WriteError, write_report

NOW = datetime.datetime(2030, 1, 2, 3, 4)
pytest.importorskip("matplotlib", reason="plots need matplotlib")
pytest.importorskip("jinja2", reason="the page needs jinja2")


class Page(HTMLParser):
    """What a test asks of a page: its tags with attributes, and its text."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str]]] = []
        self.text = ""
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, {name: value or "" for name, value in attrs}))

    def handle_data(self, data: str) -> None:
        self.text += data


def names(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


TABLES = {"report.md", "scores.csv", "scores.tex", "sequences.csv", "sequences.md", "attributes.csv", "speed.csv"}


def test_everything_is_written(tiny: Any) -> None:
    out = tiny.root / "new" / "report"
    told: list[str] = []
    written = write_report(tiny.report(), out, now=NOW, on_progress=told.append)
    pictures = {f"{stem}.{kind}" for stem in ("success", "precision", "attributes", "speed") for kind in ("png", "pdf")}
    assert names(out) == TABLES | pictures | {"index.html", "player"}
    assert {path.name for path in written.files} == TABLES | pictures | {"index.html"}
    assert written.left_out == ()
    assert names(out / "player") == {"000_car_1.js", "001_dog.js", "002_kite.js"}
    assert any("player 2/3: dog" in text for text in told)
    with (out / "scores.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [(row["Metrics"], row["Tracker"], row["AUC"]) for row in rows] == [
        ("plain", "ours exact", "95.2381"),
        ("plain", "ours half", "47.619"),
    ]
    text = (out / "report.md").read_text()
    assert "2 of 3" in text and "plain rules" in text and "worst 2 of 2 sequences" in text
    assert "kite" in text.split("## Problems")[1]


@pytest.mark.usefixtures("quick_plots")
def test_several_flavours_have_files_of_their_own(tiny: Any) -> None:
    out = tiny.root / "report"
    write_report(tiny.report("plain", "pytracking"), out, FrameUse.NONE)
    found = names(out)
    assert {"scores_plain.csv", "scores_pytracking.csv"} <= found
    assert {"success_plain.pdf", "normalized_precision_pytracking.png"} <= found
    assert "scores.csv" not in found and "success.png" not in found
    assert {row["Metrics"] for row in csv.DictReader((out / "scores_pytracking.csv").open())} == {"pytracking"}


@pytest.fixture
def html(tiny: Any, quick_plots: None) -> str:
    benchmark = replace(tiny.benchmark, problems=("boat: <script>alert(1)</script> & more",))
    results = (replace(tiny.results[0], name="<b>x</b>"), replace(tiny.results[1], name='a"b</script>'))
    report = gather_report(benchmark, results, ("pytracking",))
    out = tiny.root / "report"
    write_report(report, out, now=NOW)
    return (out / "index.html").read_text(encoding="utf-8")


def test_the_page_needs_nothing_from_elsewhere(html: str) -> None:
    for tag, attributes in Page(html).tags:
        for name in ("src", "href"):
            address = attributes.get(name, "")
            assert not re.match(r"(https?:)?//", address), (tag, address)
    assert "http://" not in re.sub(r"http://www\.w3\.org/2000/svg", "", html) and "https://" not in html
    assert "@import" not in html and "fetch(" not in html


def test_names_and_problems_are_escaped(html: str) -> None:
    page = Page(html)
    assert "<script>alert(1)" not in html and "<b>x</b>" not in html and '"b</script>' not in html
    assert "boat: <script>alert(1)</script> & more" in page.text
    (data,) = re.findall(r'<script id="player-data" type="application/json">(.*?)</script>', html, re.S)
    assert [tracker["name"] for tracker in json.loads(data)["trackers"]] == ["<b>x</b>", 'a"b</script>']


def test_the_page_holds_tables_plots_rules_and_provenance(html: str) -> None:
    page = Page(html)
    captions = [a["aria-label"] for tag, a in page.tags if tag == "table"]
    assert captions[0] == "Tiny<1> (pytracking toolkit)"
    images = [a for tag, a in page.tags if tag == "img"]
    assert len(images) == 5 and all(a["src"].startswith("data:image/png;base64,") for a in images)
    assert images[0]["alt"].startswith("Success on Tiny<1>") and "<b>x</b> 95.2" in images[0]["alt"]
    links = {a["href"] for tag, a in page.tags if tag == "a"}
    assert {"success.png", "success.pdf", "#player", "#play-0", "#play-2"} <= links
    assert "published" in page.text and "partial" in page.text
    assert "on 2030-01-02 at 03:04" in page.text
    assert "No manifest lies beside these results." in page.text
    assert page.text.count("Strict thresholds") >= 4


@pytest.mark.usefixtures("quick_plots")
def test_the_list_of_the_player_has_each_trackers_score(tiny: Any) -> None:
    out = tiny.root / "report"
    write_report(tiny.report(), out, FrameUse.NONE)
    html = (out / "index.html").read_text(encoding="utf-8")
    (data,) = re.findall(r'<script id="player-data" type="application/json">(.*?)</script>', html, re.S)
    player = json.loads(data)
    assert player["figure"] == "AUC"
    assert player["sequences"][0] == {
        "id": 0,
        "name": "car #1",
        "script": "player/000_car_1.js",
        "scores": [95.2381, 47.619],
    }
    assert player["sequences"][2]["scores"] == [95.2381, None]


def missing(name: str) -> Callable[[str], object | None]:
    return lambda asked: None if asked == name else object()


def test_without_matplotlib_tables_and_page_are_still_made(tiny: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(plots, "find_spec", missing("matplotlib"))
    out = tiny.root / "report"
    written = write_report(tiny.report(), out, FrameUse.NONE)
    assert names(out) == TABLES | {"index.html", "player"}
    assert written.left_out == ("no plots: plots need matplotlib: pip install 'ebm-tracker[eval]'",)
    assert written.left_out[0] in Page((out / "index.html").read_text()).text


@pytest.mark.usefixtures("quick_plots")
def test_without_jinja2_tables_and_plots_are_still_made(tiny: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(page, "find_spec", missing("jinja2"))
    out = tiny.root / "report"
    written = write_report(tiny.report(), out)
    assert TABLES | {"success.png"} <= names(out) and not names(out) & {"index.html", "player"}
    assert written.left_out == ("no page: the HTML page needs jinja2: pip install 'ebm-tracker[eval]'",)
    with pytest.raises(PageError, match="jinja2"):
        page_html(tiny.report(), {}, (), "")


@pytest.mark.usefixtures("quick_plots")
def test_an_interruption_leaves_whole_files(tiny: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupt(*args: object) -> str:
        raise KeyboardInterrupt

    monkeypatch.setattr(writer, "write_player_sequence", interrupt)
    out = tiny.root / "report"
    with pytest.raises(KeyboardInterrupt):
        write_report(tiny.report(), out)
    assert TABLES | {"success.pdf"} <= names(out)
    assert "index.html" not in names(out) and not [name for name in names(out) if ".part" in name]


def test_a_folder_that_cannot_be_made_is_named(tiny: Any) -> None:
    (tiny.root / "file").touch()
    with pytest.raises(WriteError, match="file"):
        write_report(tiny.report(), tiny.root / "file" / "report")
