"""Files, folders, patterns, and a camera played over HTTP with a cut."""

from __future__ import annotations

import os
import time
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from PIL import Image

from ebm_tracker.errors import VideoError
from ebm_tracker.live.reader import LiveReader
from ebm_tracker.live.sources import FileSource, hidden, open_source, source_kind
from ebm_tracker.video import VideoWriter


def picture(number: int, size_wh: tuple[int, int] = (352, 96)) -> np.ndarray:
    width, height = size_wh
    return np.full((height, width, 3), 60 + number % 100, np.uint8)


def wait_until(condition: Any, timeout: float = 120.0) -> None:
    end = time.monotonic() + timeout
    while not condition():
        assert time.monotonic() < end, "it did not come to pass"
        time.sleep(0.02)


def read_all(source: Any) -> list[Any]:
    grabbed = []
    while (one := source.read(1.0)) is not None:
        grabbed.append(one)
    return grabbed


@pytest.fixture
def shots(tmp_path: Path) -> Path:
    for number in range(12):
        size = (64, 48) if number < 8 else (32, 24)
        Image.fromarray(picture(5 * number, size)).save(tmp_path / f"shot{number}.png")
    (tmp_path / "shot5.png").write_bytes(b"no image")
    return tmp_path


@pytest.mark.parametrize("what", ["folder", "pattern"])
def test_a_folder_gives_every_frame_in_order(shots: Path, what: str) -> None:
    source = open_source(str(shots) if what == "folder" else str(shots / "shot*.png"))
    grabbed = read_all(source)
    assert not source.is_live and source.frame_count == 12 and source.dropped == 0
    assert [one.index for one in grabbed] == list(range(12))
    values = [None if one.frame is None else int(one.frame[0, 0, 0]) for one in grabbed]
    assert values == [60 + 5 * n if n != 5 else None for n in range(12)]
    assert (source.bad_frames, source.size_changes) == (1, 1)
    assert source.ended and "ends after 12 frames" in source.end_reason


def test_a_file_waits_for_its_reader(shots: Path) -> None:
    source = open_source(str(shots))
    first = source.read(1.0)
    time.sleep(0.2)
    second = source.read(1.0)
    assert first is not None and second is not None
    assert (first.index, second.index, source.dropped) == (0, 1, 0)
    source.close()
    assert source.read(0.0) is None


@pytest.mark.parametrize(
    ("word", "expected"),
    [
        ("nothing/here.mp4", "none of them"),
        ("nothing/*.png", "no file is named like"),
        ("97", "camera 97 cannot be opened"),
        ("http://user:secret@127.0.0.1:9/x.mjpg", r"http://127.0.0.1:9/x.mjpg cannot be opened"),
    ],
)
def test_what_cannot_be_opened_is_named(word: str, expected: str) -> None:
    with pytest.raises(VideoError, match=expected) as caught:
        open_source(word)
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize("word", ["", "٣", "ftp://me:secret@host/x.mp4", "file", "x" * 5000, "a\0b"])
def test_what_can_be_no_source_is_refused_at_once(word: str, tmp_path: Path) -> None:
    if word == "file":
        word = str(tmp_path / "fifo")  # would wait for a writer for ever
        os.mkfifo(word)
    for refuse in (source_kind, open_source):
        with pytest.raises(VideoError, match="--source ") as caught:
            refuse(word)
        assert "secret" not in str(caught.value) and len(str(caught.value)) < 5300


def test_a_pattern_may_name_one_video(tmp_path: Path) -> None:
    path = tmp_path / "odd [1] : name.mp4"
    with VideoWriter(path, 25) as writer:
        writer.write(picture(0))
    source = open_source(str(tmp_path / "odd*.mp4"))
    assert source.frame_count == 1 and len(read_all(source)) == 1
    assert source.end_reason == "odd [1] : name ends after 1 frame"
    assert len(read_all(open_source(str(path)))) == 1  # a name with a pattern's signs is that file


@pytest.mark.parametrize("pace", [1 / 3600, 1000.0])
def test_a_pace_that_nobody_could_watch_is_not_taken(pace: float, tmp_path: Path) -> None:
    with VideoWriter(tmp_path / "x.mp4", pace) as writer:
        for number in range(3):
            writer.write(picture(number))
    assert open_source(str(tmp_path / "x.mp4")).frames_per_second == 25.0


def test_animations_and_16_bit_images_are_read(tmp_path: Path) -> None:
    grays = [Image.fromarray(picture(30 * number, (64, 48))) for number in range(3)]
    grays[0].save(tmp_path / "a.gif", save_all=True, append_images=grays[1:], duration=80)
    frames = [one.frame for one in read_all(open_source(str(tmp_path / "a.gif")))]
    assert [round(float(frame.mean())) for frame in frames] == [60, 90, 120]
    folder = tmp_path / "deep"
    folder.mkdir()
    for number, value in enumerate((0, 25_700, 65_535)):
        Image.fromarray(np.full((48, 64), value, np.uint16)).save(folder / f"{number}.png")
        Image.fromarray(np.full((48, 64), value, np.int32)).save(folder / f"{number}.tif")
    for ending in ("png", "tif"):
        frames = [one.frame for one in read_all(open_source(str(folder / f"*.{ending}")))]
        assert [frame.shape for frame in frames] == [(48, 64, 3)] * 3
        assert [int(frame.mean()) for frame in frames] == [0, 100, 255], ending


def test_users_and_passwords_are_hidden() -> None:
    assert hidden("rtsp://me:p@ss@cam.lan:554/live?x=1") == "rtsp://cam.lan:554/live?x=1"


def test_a_live_source_gives_the_newest_frame_and_counts_the_dropped(made_stream: ModuleType) -> None:
    server = made_stream.MjpegServer(lambda n: made_stream.jpeg(made_stream.stamped(picture(n), n)), 30)
    with server:
        source = open_source(server.url)
        try:
            assert isinstance(source, LiveReader) and source.is_live
            first = source.read(60.0)
            assert first is not None and first.frame is not None
            time.sleep(0.8)  # a slow tracker
            second = source.read(60.0)
            third = source.read(60.0)
            assert second is not None and third is not None
            steps = [made_stream.stamp_of(one.frame) for one in (first, second, third)]
            # 24 frames were due in between (a busy machine may have sent fewer); the one given is of the last few.
            assert steps[1] - steps[0] >= 10
            assert 1 < second.index - first.index <= steps[1] - steps[0]
            assert source.dropped >= third.index + 1 - 3
            assert source.bad_frames == 0
        finally:
            source.close()
    assert source.ended and source.read(0.0) is None


def test_cut_and_come_back(made_stream: ModuleType) -> None:
    server = made_stream.MjpegServer(lambda n: made_stream.jpeg(made_stream.stamped(picture(n), n)), 30)
    with server:
        source = open_source(server.url)
        try:
            before = source.read(60.0)
            server.cut()
            wait_until(lambda: "reconnecting" in source.status)
            read_one = source.read(0.0)  # what had come before the cut
            assert read_one is None or read_one.frame is not None
            assert source.read(0.3) is None and not source.ended
            server.come_back()
            wait_until(lambda: source.reconnects == 1 and source.status == "")
            after = source.read(60.0)
            assert before is not None and after is not None
            assert made_stream.stamp_of(after.frame) > made_stream.stamp_of(before.frame)
            assert server.connections >= 2
        finally:
            source.close()


def test_a_source_that_stays_away_has_ended(made_stream: ModuleType) -> None:
    import av

    server = made_stream.MjpegServer(lambda n: made_stream.jpeg(picture(n)), 30)
    with server:
        source = LiveReader(
            "cam", lambda: av.open(server.url), av.open(server.url), back_off_s=(0.05,), patience_s=0.5
        )
        assert source.read(60.0) is not None
        server.cut()
        wait_until(lambda: source.ended)
        assert source.end_reason.startswith("cam has ended: ") and "no frame came for" in source.end_reason
        server.come_back()


def test_damaged_frames_and_changes_of_size_are_counted(made_stream: ModuleType) -> None:
    def send(n: int) -> bytes:
        if n % 5 == 3:
            return b"\xff\xd8\xff\xe0 this is no picture"
        return bytes(made_stream.jpeg(picture(n, (352, 96) if n % 40 < 20 else (176, 144))))

    with made_stream.MjpegServer(send, 60) as server:
        source = open_source(server.url)
        try:
            seen = set()
            end = time.monotonic() + 60
            while len(seen) < 2 and time.monotonic() < end:
                one = source.read(1.0)
                if one is not None and one.frame is not None:
                    seen.add(one.frame.shape)
            assert seen == {(96, 352, 3), (144, 176, 3)}
            wait_until(lambda: source.bad_frames >= 3)
            assert source.size_changes >= 1
        finally:
            source.close()


def test_file_source_is_the_demo_clip() -> None:
    from ebm_tracker.demo import find_demo_clip

    try:
        source = open_source(str(find_demo_clip()))
    except VideoError as error:
        pytest.skip(str(error))
    assert isinstance(source, FileSource)
    assert len(read_all(source)) == 120
