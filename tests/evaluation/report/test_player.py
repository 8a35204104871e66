"""The player's data: boxes, overlaps, and where the frames are."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urljoin, urlsplit

import numpy as np
import pytest
from PIL import Image

from ebm_tracker.evaluation.report.player import (
    COPY_SIDE,
    FrameFiles,
    FrameUse,
    file_stem,
    frame_files,
    player_content,
    relative_url,
    write_player_sequence,
)
from ebm_tracker.evaluation.sequences import TrackingSequence
from ebm_tracker.video import FrameFolder, VideoFile, VideoWriter


def written(out: Path, script: str) -> dict[str, Any]:
    text = (out / unquote(script)).read_text(encoding="ascii")
    assert text.startswith("ebmSequence({") and text.endswith("});\n")
    content: dict[str, Any] = json.loads(text[len("ebmSequence(") : -len(");\n")])
    return content


def file_of(page_folder: Path, url: str) -> Path:
    """What a browser finds at the URL on a page in that folder."""
    address = urljoin((page_folder.absolute() / "index.html").as_uri(), url)
    return Path(unquote(urlsplit(address).path))


def test_a_script_holds_boxes_truth_and_overlaps(tiny: Any) -> None:
    out = tiny.root / "out"
    script = write_player_sequence(tiny.benchmark.sequences[0], tiny.results, out, 7, FrameUse.LINK)
    content = written(out, script)
    assert (content["id"], content["name"], content["count"], content["fps"]) == (7, "car #1", 5, 25.0)
    assert content["truth"] == [10, 10, 20, 20] * 5
    assert content["boxes"] == [[10, 10, 20, 20] * 5, [10, 10, 20, 20] + [10, 10, 20, 10] * 4]
    assert content["overlaps"] == [[1] * 5, [1] + [0.5] * 4]
    assert content["size"] == [64, 48] and content["scale"] == 1


def test_a_tracker_without_a_result_has_no_boxes(tiny: Any) -> None:
    out = tiny.root / "out"
    content = written(out, write_player_sequence(tiny.benchmark.sequences[2], tiny.results, out, 2, FrameUse.NONE))
    assert content["boxes"][1] is None and content["overlaps"][1] is None
    assert content["images"] == [] and content["count"] == 5


def test_an_unreadable_first_run_gives_way_to_the_second(tiny: Any, write_result: Callable[..., None]) -> None:
    first, second = tiny.results[0].folders[0], tiny.results[1].folders[0]
    (first / "dog.txt").write_text("broken")
    results = replace(tiny.results[0], folders=(first, second))
    out = tiny.root / "out"
    content = written(out, write_player_sequence(tiny.benchmark.sequences[1], [results], out, 0, FrameUse.NONE))
    assert content["boxes"][0][4:8] == [10, 10, 20, 10]


def test_absent_targets_and_missing_boxes_are_null(tiny: Any) -> None:
    truth = np.array([(10.0, 10, 20, 20), (np.nan,) * 4, (5, 5, 0, 9), (10, 10, 20, 20), (10, 10, 20, 20)])
    visible = np.array([True, True, True, False, True])
    sequence = replace(tiny.benchmark.sequences[0], truth_xywh=truth, visible=visible)
    boxes = np.array([(10.0, 10, 20, 20), (1, 2, 3, 4), (np.nan,) * 4, (10.04, 10, 20, 20)])
    content = player_content(sequence, [boxes], FrameFiles())
    null = [None] * 4
    assert content["truth"] == [10, 10, 20, 20, *null, *null, *null, 10, 10, 20, 20]
    assert content["boxes"] == [[10, 10, 20, 20, 1, 2, 3, 4, *null, 10, 10, 20, 20]]
    assert content["overlaps"] == [[1, None, None, None]]
    json.dumps(content, allow_nan=False)


def test_secret_truth_gives_the_first_box_and_no_curve(tiny: Any) -> None:
    sequence = tiny.benchmark.sequences[0]
    content = player_content(replace(sequence, truth_xywh=sequence.truth_xywh[:1]), [np.ones((3, 4))], FrameFiles())
    assert content["truth"] == [10, 10, 20, 20]
    assert content["overlaps"] == [None] and content["count"] == 3


def test_linked_frames_are_found_from_the_page_whatever_the_names(tiny: Any) -> None:
    sequence = tiny.benchmark.sequences[0]  # in "data set/car #1"
    odd = sequence.frames.paths[1].rename(sequence.frames.paths[1].with_name("0002 #%41é.png"))
    sequence.frames.paths[1] = odd
    out = tiny.root / "a?b" / "rep%20ort"
    out.mkdir(parents=True)
    files = frame_files(sequence, out, "000_car", FrameUse.LINK)
    assert files.scale == 1 and len(files.names) == 5
    for name, path in zip(files.names, sequence.frames.paths, strict=True):
        assert name is not None and file_of(out, files.base + name) == path
    assert not (out / "player").exists()


def test_frames_in_several_folders_are_linked_one_by_one(tiny: Any, tmp_path: Path) -> None:
    frames = FrameFolder(tiny.root / "data set" / "dog")
    other = tiny.root / "data set" / "kite" / "0001.png"
    frames.paths[1] = other
    files = frame_files(replace(tiny.benchmark.sequences[1], frames=frames), tmp_path, "x", FrameUse.LINK)
    assert files.base == "" and file_of(tmp_path, str(files.names[1])) == other


def test_relative_urls_climb(tmp_path: Path) -> None:
    assert relative_url(tmp_path / "data" / "a b.jpg", tmp_path / "reports" / "uav") == "../../data/a%20b.jpg"


def test_copies_are_reduced_and_know_their_scale(tmp_path: Path) -> None:
    folder = tmp_path / "wide"
    folder.mkdir()
    for i in range(3):
        Image.new("RGB", (1600, 400), (10, 200, 30)).save(folder / f"{i}.png")
    (folder / "1.png").write_bytes(b"not an image")
    sequence = TrackingSequence("wide", FrameFolder(folder), (0, 0, 9, 9))
    (tmp_path / "player" / "000_wide").mkdir(parents=True)
    (tmp_path / "player" / "000_wide" / "stale.jpg").touch()
    done: list[int] = []
    files = frame_files(sequence, tmp_path, "000_wide", FrameUse.COPY, done.append)
    assert files == FrameFiles("player/000_wide/", ("000000.jpg", None, "000002.jpg"), COPY_SIDE / 1600)
    assert done == [1, 2, 3]
    assert sorted(p.name for p in (tmp_path / "player" / "000_wide").iterdir()) == ["000000.jpg", "000002.jpg"]
    with Image.open(tmp_path / "player" / "000_wide" / "000002.jpg") as image:
        assert image.size == (640, 160)


def test_what_browsers_do_not_show_is_copied_also_when_links_are_asked_for(tmp_path: Path) -> None:
    (tmp_path / "tif").mkdir()
    Image.new("RGB", (60, 40)).save(tmp_path / "tif" / "1.tif")
    with VideoWriter(tmp_path / "clip.mp4", 10) as writer:
        for _ in range(2):
            writer.write(np.zeros((40, 60, 3), np.uint8))
    for frames, count in ((FrameFolder(tmp_path / "tif"), 1), (VideoFile(tmp_path / "clip.mp4"), 2)):
        sequence = TrackingSequence("x", frames, (0, 0, 9, 9))
        files = frame_files(sequence, tmp_path, "000_x", FrameUse.LINK)
        assert files.base == "player/000_x/" and len(files.names) == count
        assert all((tmp_path / files.base / str(name)).is_file() for name in files.names)


@pytest.mark.parametrize(
    ("name", "stem"),
    [
        ("car1_s", "003_car1_s"),
        ("../../etc/passwd", "003_etc_passwd"),
        ("a b<i>#é", "003_a_b_i"),
        ("é", "003_sequence"),
        ("x" * 300, f"003_{'x' * 60}"),
    ],
)
def test_files_have_plain_names(name: str, stem: str) -> None:
    assert file_stem(3, name) == stem
