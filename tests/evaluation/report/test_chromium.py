"""The page in a real browser, from a disk and without a network: does the player draw, and nothing complain?"""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from html import unescape
from pathlib import Path
from typing import Any

import pytest

from ebm_tracker.evaluation.report.player import FrameUse
from ebm_tracker.evaluation.report.writer import write_report

pytest.importorskip("jinja2", reason="the page needs jinja2")
BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome")
COMPLAINT = re.compile(r"CONSOLE|Uncaught|ERR_FILE", re.I)


@pytest.fixture(scope="module")
def browser() -> str:
    for name in BROWSERS:
        if path := shutil.which(name):
            return path
    pytest.skip(f"no browser: none of {', '.join(BROWSERS)} is installed")


@pytest.fixture
def dump(browser: str, tmp_path: Path) -> Any:
    """dump(page, "#hash") -> the document after its scripts have run, and what the browser complained about."""

    def run(page: Path, fragment: str = "") -> tuple[str, list[str]]:
        command = [
            browser,
            "--headless",
            "--no-sandbox",
            "--disable-gpu",
            f"--user-data-dir={tmp_path / 'profile'}",
            "--enable-logging=stderr",
            "--window-size=1000,800",
            "--virtual-time-budget=9000",
            "--dump-dom",
            f"{page.absolute().as_uri()}{fragment}",
        ]
        result = subprocess.run(command, capture_output=True, text=True, timeout=120)
        assert "<html" in result.stdout, result.stderr
        return result.stdout, [line for line in result.stderr.splitlines() if COMPLAINT.search(line)]

    return run


def stage(document: str) -> dict[str, str]:
    """What the player says of what it has drawn."""
    (tag,) = re.findall(r'<div id="stage"[^>]*>', document)
    return {name: unescape(value) for name, value in re.findall(r'data-(\w+)="([^"]*)"', tag)}


@pytest.mark.usefixtures("quick_plots")
def test_the_player_shows_the_worst_sequence_over_its_frames(tiny: Any, dump: Any) -> None:
    out = tiny.root / "a #b%20c" / "report"
    write_report(tiny.report(), out)
    document, complaints = dump(out / "index.html")
    assert complaints == []
    # Worst mean: 71.4 for "car #1" and "dog", in the order of their names, before 95.2 for "kite".
    assert stage(document) == {"sequence": "car #1", "frame": "0", "count": "5", "boxes": "3", "picture": "drawn"}
    names = [unescape(name) for name in re.findall(r'<span class="name">(.*?)</span>', document)]
    assert names == ["car #1", "dog", "kite"]
    assert re.search(r'<output data-tracker="1"[^>]*>1.00</output>', document)


@pytest.mark.usefixtures("quick_plots")
def test_an_address_leads_to_a_frame(tiny: Any, dump: Any) -> None:
    out = tiny.root / "report"
    write_report(tiny.report(), out, FrameUse.COPY)
    shutil.move(tiny.root / "data set", tiny.root / "elsewhere")  # copies do not miss them
    document, complaints = dump(out / "index.html", "#play-1-3")
    assert complaints == []
    assert stage(document) == {"sequence": "dog", "frame": "3", "count": "5", "boxes": "3", "picture": "drawn"}
    assert re.search(r'<output data-tracker="1"[^>]*>0.50</output>', document)
    assert re.search(r'<canvas id="curves"[^>]* data-frame="3"', document)


HANDS = """
const said = [];
const stage = document.getElementById("stage"), slider = document.getElementById("slider");
const press = (key, shiftKey) => stage.dispatchEvent(new KeyboardEvent("keydown", { key, shiftKey, bubbles: true }));
const click = (selector) => document.querySelector(selector).click();
const steps = [
  () => press("ArrowRight"),
  () => press("ArrowRight", true), // ten on: stops at the last
  () => press("Home"),
  () => press("]"),
  () => click("#toggles input"),
  () => click("#list li:last-child button"),
  () => Object.assign(slider, { value: 2 }).dispatchEvent(new Event("input")),
  () => press(" "),
  () => click("#scores th:nth-child(2) button"),
  () => click("#scores th:nth-child(2) button"),
];
steps.forEach((step, i) => setTimeout(() => {
  step();
  setTimeout(() => said.push(`${stage.dataset.sequence} ${stage.dataset.frame} ${stage.dataset.boxes}`), 400);
}, 500 * (i + 1)));
setTimeout(() => {
  const first = document.querySelector("#scores tbody th").textContent.trim();
  document.title = JSON.stringify([said, first, document.getElementById("play").textContent]);
}, 500 * (steps.length + 3));
"""


@pytest.mark.usefixtures("quick_plots")
def test_keys_buttons_and_headings_do_what_they_say(tiny: Any, dump: Any) -> None:
    out = tiny.root / "report"
    write_report(tiny.report(), out)
    page = out / "index.html"
    page.write_text(page.read_text(encoding="utf-8").replace("</body>", f"<script>{HANDS}</script></body>"))
    document, complaints = dump(page)
    assert complaints == []
    said, first_row, play = json.loads(unescape(re.findall(r"<title>(.*?)</title>", document)[0]))
    assert said[:7] == [
        "car #1 1 3",
        "car #1 4 3",
        "car #1 0 3",
        "dog 0 3",
        "dog 0 2",  # the first tracker is hidden
        "kite 0 1",  # where the second has no result
        "kite 2 1",
    ]
    assert play == "Pause"  # it plays; frames go on only where a display asks for them
    assert first_row.startswith("ours half")  # the second click on a heading puts the lowest first


@pytest.mark.usefixtures("quick_plots")
def test_frames_that_were_moved_are_said_to_be_missing_and_boxes_stay(tiny: Any, dump: Any) -> None:
    out = tiny.root / "report"
    write_report(tiny.report(), out)
    shutil.move(tiny.root / "data set", tiny.root / "elsewhere")
    document, _ = dump(out / "index.html", "#play-2")
    assert stage(document) == {"sequence": "kite", "frame": "0", "count": "5", "boxes": "2", "picture": "missing"}
    assert "kite/0001.png" in document and "--frames copy" in document
    shutil.rmtree(out / "player")
    document, _ = dump(out / "index.html")
    assert "cannot be loaded: keep the folder" in document
