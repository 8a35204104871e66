"""The server by hand-written requests: who is let in, what can be named, what is let go."""

from __future__ import annotations

import csv
import gc
import io
import json
import threading
import time
import weakref
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import av
import numpy as np
import pytest
from PIL import Image

from ebm_tracker.errors import VideoError
from ebm_tracker.live.web.feeds import CUT
from ebm_tracker.live.web.settings import WebSettings
from ebm_tracker.live.web.sources import ServerSources

exceptions = pytest.importorskip("websockets.exceptions", reason="the page needs the extra web")
ConnectionClosed, InvalidStatus = exceptions.ConnectionClosed, exceptions.InvalidStatus
PAGES = ("/", "/page.css", "/page.js", "/stream.js", "/curves.js", "/icon.svg")


def picture_of(size_wh: tuple[int, int], kind: str) -> bytes:
    file = io.BytesIO()
    Image.new("RGB", size_wh, (100, 100, 100)).save(file, kind)
    return file.getvalue()


def jpeg_of(size_wh: tuple[int, int]) -> bytes:
    return picture_of(size_wh, "JPEG")


# Who is let in


@pytest.mark.parametrize("path", PAGES)
def test_the_page_and_its_headers(site: Any, path: str) -> None:
    status, body, headers = site.request("GET", path)
    assert status == 200 and body
    assert headers["x-content-type-options"] == "nosniff"
    policy = headers["content-security-policy"]
    assert "default-src 'none'" in policy and "frame-ancestors 'none'" in policy and "unsafe" not in policy
    assert not [word for word in (b"http://", b"https://") if word in body.replace(b"http://www.w3.org/2000/svg", b"")]


@pytest.mark.parametrize("host", ["evil.example", "evil.example:{port}", "127.0.0.1.evil.example", "192.168.0.1", "",
                                  "localhost@evil.example", "0.0.0.0"])  # fmt: skip
def test_a_name_that_is_not_ours_is_refused(site: Any, host: str) -> None:
    status, body, _ = site.request("GET", "/", {"Host": host.format(port=site.port)})
    assert status in (400, 421) and b"<html" not in body


@pytest.mark.parametrize("host", ["localhost:{port}", "127.0.0.1:{port}", "LOCALHOST", "[::1]:{port}", "127.0.0.1:9"])
def test_names_of_the_loopback_address_are_taken(site: Any, host: str) -> None:
    assert site.request("GET", "/", {"Host": host.format(port=site.port)})[0] == 200


@pytest.mark.parametrize("origin", ["http://evil.example", "null", "https://127.0.0.1:{port}", "http://127.0.0.1:1",
                                    "http://localhost:{port}"])  # fmt: skip
def test_a_foreign_origin_is_refused(site: Any, origin: str) -> None:
    origin = origin.format(port=site.port)
    assert site.request("GET", "/", {"Origin": origin})[0] == 403
    with pytest.raises(InvalidStatus) as refused, site.visitor(origin=origin):
        pass
    assert refused.value.response.status_code == 403
    assert site.server.visitors == {}


def test_a_foreign_name_gets_no_stream_although_origin_and_host_agree(site: Any) -> None:
    with pytest.raises(InvalidStatus) as refused:
        with site.visitor(host=f"evil.example:{site.port}", origin=f"http://evil.example:{site.port}"):
            pass
    assert refused.value.response.status_code == 403


def test_an_upload_needs_origin_and_an_open_page(site: Any) -> None:
    with site.visitor() as visitor:
        token = visitor.hello["token"]
        assert site.request("POST", "/upload", {"X-Visitor": token}, b"x")[0] == 403
        assert site.upload(token, b"x", "http://evil.example")[0] == 403
        assert site.upload("other", b"x")[0] == 403
        assert site.upload("", b"x")[0] == 403
        assert site.upload(token, b"x")[0] == 200


# What can be named


@pytest.mark.parametrize("path", [
    "/../../../../etc/passwd", "/..%2f..%2f..%2fetc/passwd", "/page/../app.py", "//etc/passwd", "/app.py",
    "/results/x/boxes.csv", "/results/../boxes.csv", "/results/%2e%2e/boxes.csv", "/static/page.js", "/page.js/",
])  # fmt: skip
def test_no_file_can_be_named_by_a_path(site: Any, path: str) -> None:
    status, body, _ = site.request("GET", path)
    assert status in (404, 307) and b"root:" not in body and b"import" not in body


def test_a_path_in_the_query_changes_nothing(site: Any, clip: Path) -> None:
    page = site.request("GET", "/")[1]
    for query in (f"?source={quote(str(clip))}", "?file=/etc/passwd", "?path=..%2f..%2fetc%2fpasswd"):
        assert site.request("GET", f"/{query}")[1] == page
    with site.visitor() as visitor:
        token = visitor.hello["token"]
        assert site.request("GET", f"/results/{token}/boxes.csv?name=/etc/passwd")[1].startswith(b"frame,object,x")
        for name in ("..%2frows.jsonl", "rows.jsonl", "upload", "%2e%2e", "boxes.csv%00.txt"):
            assert site.request("GET", f"/results/{token}/{name}")[0] == 404


@pytest.mark.parametrize("number", [-1, 1, 10**9, "0", "/etc/passwd", None, True, 0.0, [0]])
def test_a_source_is_named_by_its_number_only(site: Any, number: Any) -> None:
    with site.visitor() as visitor:
        visitor.send("source", number=number, path="/etc/passwd", source="/etc/passwd")
        text = visitor.event("error")["text"]
        assert "number" in text and "passwd" not in text and "secret" not in text


def test_the_page_is_not_told_folders(site: Any) -> None:
    with site.visitor() as visitor:
        visitor.send("source", number=0)
        visitor.event("state", source="walk.mp4", count=20)
        assert visitor.hello["sources"] == ["walk.mp4"]
        assert "secret" not in json.dumps(visitor.hello)


def test_a_source_that_has_gone_is_an_error_without_its_path(site: Any, clip: Path) -> None:
    clip.write_bytes(b"no video any more")
    with site.visitor() as visitor:
        visitor.send("source", number=0)
        text = visitor.event("error")["text"]
        assert "walk.mp4 cannot be opened" in text and "secret" not in text


@pytest.mark.parametrize("word", ["nosuch.mp4", "ftp://host/x.mp4", "", "nothing/*.png"])
def test_a_word_that_is_no_source_is_refused_before_the_page_is_there(word: str) -> None:
    with pytest.raises(VideoError):
        ServerSources((word,), None)  # type: ignore[arg-type]


# Tracking


def test_a_file_is_tracked_frame_by_frame_and_the_results_say_so(site: Any) -> None:
    with site.visitor() as visitor:
        token = visitor.hello["token"]
        visitor.send("source", number=0)
        first = visitor.frame()
        assert (first["index"], first["size"], first["objects"]) == (0, [64, 48], [])
        visitor.send("add", box=[5, 6, 20, 10])
        visitor.send("add", box=[30, 6, 8, 10])
        visitor.send("full_speed", on=True)
        visitor.send("play", on=True)
        visitor.event("state", ended=True, playing=False)
        last = visitor.frame(lambda frame: frame["index"] == 19)
        assert [(o["id"], o["box"]) for o in last["objects"]] == [(1, [43, 25, 20, 10]), (2, [68, 25, 8, 10])]
        assert last["dropped"] == last["bad"] == 0

        status, table, headers = site.request("GET", f"/results/{token}/boxes.csv")
        rows = list(csv.DictReader(io.StringIO(table.decode())))
        assert status == 200 and 'filename="ebm_boxes.csv"' in headers["content-disposition"]
        first, second = ([r for r in rows if r["object"] == key] for key in "12")
        assert [(int(r["frame"]), float(r["x"])) for r in first] == [(n, 5 + 2 * n) for n in range(20)]
        assert [(int(r["frame"]), float(r["y"])) for r in second] == [(n, 6 + n) for n in range(20)]
        assert {r["status"] for r in rows} == {"tracked"}

        result = json.loads(site.request("GET", f"/results/{token}/boxes.json")[1])
        assert result["preset"] == "stand-in" and result["source"] == "walk.mp4" and result["frames_per_second"] == 50
        assert result["objects"]["1"]["box_xywh"][3] == [11, 9, 20, 10]
        assert result["objects"]["2"]["frame"] == list(range(20))

        status, video, _ = site.request("GET", f"/results/{token}/video.mp4")
        assert status == 200
        with av.open(io.BytesIO(video)) as container:
            frames = [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]
        assert len(frames) == 20 and frames[0].shape[:2] == (48 * 4, 64 * 4)
        # Gray 10 n under the boxes; the first box's edge is coloured.
        assert abs(int(frames[10][180, 8].mean()) - 100) < 6
        assert np.ptp(frames[10][(6 + 10 + 5) * 4, (5 + 20) * 4].astype(int)) > 60


def test_step_restart_remove_and_density(site: Any) -> None:
    with site.visitor() as visitor:
        visitor.send("source", number=0)
        visitor.send("add", box=[5, 6, 20, 10])
        visitor.send("step")
        assert visitor.frame(lambda frame: frame["index"] == 1)["objects"][0]["box"] == [7, 7, 20, 10]
        visitor.send("density", id=1)
        visitor.frame(lambda frame: frame["density"] == 1)
        with Image.open(io.BytesIO(visitor.jpeg)) as image:
            assert np.asarray(image)[20, 20, 0] > 200  # as the stand-in paints it
        visitor.send("density", id=None)
        visitor.frame(lambda frame: frame["density"] is None)
        visitor.send("remove", id=1)
        assert visitor.frame(lambda frame: not frame["objects"])["index"] == 1
        visitor.send("remove", id=1)
        assert "no object" in visitor.event("error")["text"]
        visitor.send("restart")
        assert visitor.frame(lambda frame: frame["index"] == 0)["objects"] == []
        assert visitor.event("state", recorded=0)["playing"] is False


@pytest.mark.parametrize(
    "box", [[1, 2, 3], "1,2,3,4", [1, 2, 3, "4"], None, [1, 2, 0, 4], [1, 2, 3, 1e999], [True] * 4]
)
def test_a_bad_box_is_an_error_and_changes_nothing(site: Any, box: Any) -> None:
    with site.visitor() as visitor:
        visitor.send("source", number=0)
        visitor.event("state", source="walk.mp4")
        visitor.send("add", box=box)
        assert "box" in visitor.event("error")["text"]
        visitor.send("add", box=[5, 6, 20, 10])
        assert visitor.event("state", source="walk.mp4", recorded=1)["objects"] == [1]


def test_objects_are_limited(site: Any) -> None:
    with site.visitor() as visitor:
        visitor.send("source", number=0)
        for _ in range(4):
            visitor.send("add", box=[5, 6, 20, 10])
        assert "at most 3" in visitor.event("error")["text"]


def test_the_visitors_camera_newest_first_and_bad_pictures_counted(site: Any) -> None:
    with site.visitor() as visitor:
        visitor.send("camera")
        visitor.event("state", camera=True, live=True, playing=True)
        send = lambda stamp, data: visitor.socket.send(stamp.to_bytes(4, "little") + data)  # noqa: E731
        send(7, jpeg_of((160, 120)))
        frame = visitor.frame(lambda frame: frame["stamp"] == 7)
        assert frame["size"] == [160, 120]
        visitor.send("add", box=[5, 6, 20, 10])
        visitor.frame(lambda frame: frame["objects"])
        send(8, picture_of((160, 120), "GIF"))  # sound, but no JPEG
        lost = visitor.frame(lambda frame: frame["stamp"] == 8)
        assert (lost["bad"], lost["objects"][0]["status"]) == (1, "lost")
        send(9, jpeg_of((2000, 200)))  # a small file of too many pixels
        assert visitor.frame(lambda frame: frame["stamp"] == 9)["bad"] == 2
        send(10, jpeg_of((160, 120)))
        assert visitor.frame(lambda frame: frame["stamp"] == 10)["objects"][0]["status"] == "tracked"


def test_frames_that_are_not_shown_are_dropped_not_queued(site: Any) -> None:
    with site.visitor() as visitor:
        visitor.send("source", number=0)
        visitor.send("full_speed", on=True)
        visitor.frame()
        visitor.frames.clear()
        visitor.send("play", on=True)
        got: list[int] = []
        while not any(event.get("ended") for event in visitor.events):
            visitor.receive(acknowledge=False)
        got = [frame["index"] for frame in visitor.frames]
        assert len(got) <= 2
        visitor.send("shown")
        visitor.send("shown")
        assert visitor.frame(lambda frame: frame["index"] == 19)


# What ends a connection


def test_a_message_beyond_the_limit_ends_the_connection(site: Any) -> None:
    with site.visitor() as visitor:
        visitor.socket.send(bytes(70_000))
        with pytest.raises(ConnectionClosed) as closed:
            while True:
                visitor.receive()
        assert closed.value.rcvd is not None and closed.value.rcvd.code == 1009
    wait_for_nobody(site)


@pytest.mark.parametrize("number", ["1e400", "NaN", "9" * 400, "true", "null", '"5"', "[5]", "-Infinity"])
def test_a_number_that_is_none_is_an_error_and_the_page_goes_on(site: Any, number: str) -> None:
    with site.visitor() as visitor:
        visitor.send("source", number=0)
        visitor.socket.send(f'{{"do": "add", "box": [5, 6, 20, {number}]}}')
        assert "a box is four finite numbers" in visitor.event("error")["text"]
        for do, name in (("remove", "id"), ("density", "id"), ("source", "number")):
            visitor.socket.send(f'{{"do": "{do}", "{name}": {number}}}')
        visitor.send("source", number=0)
        visitor.send("add", box=[5, 6, 20, 10])
        visitor.event("state", recorded=1)


# A full disk


def test_a_full_disk_ends_the_video_and_not_the_tables(site: Any, full_device: Path) -> None:
    with site.visitor() as visitor:
        token = visitor.hello["token"]
        pictures = site.server.visitors[token].folder / "pictures.bin"
        visitor.send("source", number=0)
        visitor.event("state", source="walk.mp4")
        pictures.unlink()
        pictures.symlink_to(full_device)
        visitor.send("source", number=0)
        visitor.send("add", box=[5, 6, 20, 10])
        visitor.event("state", recorded=1, full=True)
        visitor.send("step")
        visitor.event("state", recorded=2)
        assert site.request("GET", f"/results/{token}/boxes.csv")[1].count(b"\n") == 3
        assert site.request("GET", f"/results/{token}/video.mp4")[0] == 404


def test_a_disk_without_any_space_is_told_and_the_page_can_start_over(site: Any, full_device: Path) -> None:
    with site.visitor() as visitor:
        rows = site.server.visitors[visitor.hello["token"]].folder / "rows.jsonl"
        visitor.send("source", number=0)
        visitor.event("state", source="walk.mp4")
        rows.unlink()
        rows.symlink_to(full_device)
        visitor.send("source", number=0)
        visitor.send("add", box=[5, 6, 20, 10])
        assert visitor.event("error")["text"] == "the server cannot do that (No space left on device)"
        rows.unlink()
        visitor.send("source", number=0)
        visitor.send("add", box=[5, 6, 20, 10])
        visitor.event("state", recorded=1)


def test_an_upload_that_the_disk_does_not_hold_is_told(site: Any, full_device: Path) -> None:
    with site.visitor() as visitor:
        token = visitor.hello["token"]
        site.server.visitors[token].part_path.symlink_to(full_device)
        status, body = site.upload(token, bytes(100_000))
        assert status == 507 and b"No space left on device" in body and b"ebm-web" not in body
        assert site.upload(token, bytes(100))[0] == 200


@pytest.fixture
def full_device() -> Path:
    if not Path("/dev/full").is_char_device():
        pytest.skip("no /dev/full here")
    return Path("/dev/full")


@pytest.mark.parametrize("text", ["{", "[]", "7", "[" * 1500, '{"do": "shown", "x": "' + 2000 * "y" + '"}'])
def test_what_is_no_command_ends_the_connection(site: Any, text: str) -> None:
    with site.visitor() as visitor:
        visitor.socket.send(text)
        with pytest.raises(ConnectionClosed) as closed:
            visitor.receive()
        assert closed.value.rcvd is not None and closed.value.rcvd.code == 4000


def test_an_unknown_command_is_an_error(site: Any) -> None:
    with site.visitor() as visitor:
        visitor.send("format_disk")
        assert "format_disk" in visitor.event("error")["text"]


# Several visitors


def wait_for_nobody(site: Any) -> None:
    end = time.monotonic() + 120
    while site.server.visitors:
        assert time.monotonic() < end, "a visitor was not freed"
        time.sleep(0.02)


def test_visitors_do_not_share_trackers(site: Any) -> None:
    with site.visitor() as one, site.visitor() as other:
        assert one.hello["token"] != other.hello["token"]
        for visitor, box in ((one, [5, 6, 20, 10]), (other, [30, 20, 8, 8])):
            visitor.send("source", number=0)
            visitor.send("add", box=box)
            visitor.event("state", recorded=1)
        one.send("step")
        assert one.frame(lambda frame: frame["index"] == 1)["objects"][0]["box"] == [7, 7, 20, 10]
        other.send("density", id=1)
        still = other.frame(lambda frame: frame["density"] == 1)
        assert (still["index"], still["objects"][0]["box"]) == (0, [30, 20, 8, 8])
        tables = [site.request("GET", f"/results/{v.hello['token']}/boxes.csv")[1].count(b"\n") for v in (one, other)]
        assert tables == [3, 2]


def test_more_visitors_than_allowed_are_told(site: Any) -> None:
    with site.visitor(), site.visitor():
        with pytest.raises(ConnectionClosed) as closed, site.visitor():
            pass
        assert closed.value.rcvd is not None and closed.value.rcvd.code == 4003
        assert "2 pages" in closed.value.rcvd.reason
    wait_for_nobody(site)
    with site.visitor():
        assert len(site.server.visitors) == 1


def test_who_goes_away_leaves_nothing(site: Any) -> None:
    before = threading.active_count()
    with site.visitor() as visitor:
        token = visitor.hello["token"]
        visitor.send("source", number=0)
        visitor.send("add", box=[5, 6, 20, 10])
        visitor.event("state", recorded=1)
        kept = site.server.visitors[token]
        folder, tracker = kept.folder, weakref.ref(kept._session.tracker)
        assert folder.is_dir() and tracker() is not None
        visitor.socket.socket.close()  # no goodbye, as of a browser that is killed
        del kept
    wait_for_nobody(site)
    gc.collect()
    assert not folder.exists() and tracker() is None
    assert site.request("GET", f"/results/{token}/boxes.csv")[0] == 404
    assert site.upload(token, b"x")[0] == 403
    names = [thread.name for thread in threading.enumerate()]
    assert "ebm-web-visitor" not in names and threading.active_count() <= before + 8


def test_the_end_of_the_server_frees_a_visitor_who_stays(clip: Path, running_site: Any) -> None:
    with running_site((str(clip),), WebSettings(port=0)) as site:
        visitor = site.visitor()
        folder = site.server.visitors[visitor.__enter__().hello["token"]].folder
        assert folder.is_dir()
    assert not folder.exists()


def test_a_live_source_is_opened_once_for_all_and_closed_after_the_last(open_site: Any) -> None:
    site, camera = open_site
    with site.visitor() as one:
        one.send("source", number=0)
        one.event("state", live=True, playing=True, source="Camera 0")
        with site.visitor() as other:
            other.send("source", number=0)
            assert other.frame()["size"] == [64, 48]
            assert one.frame()["size"] == [64, 48]
            assert (camera.opened, camera.closed) == (1, 0)
    wait_for_nobody(site)
    end = time.monotonic() + 120
    while not camera.closed and time.monotonic() < end:
        time.sleep(0.02)
    assert (camera.opened, camera.closed) == (1, 1)
    with site.visitor() as again:
        again.send("source", number=0)
        again.frame()
        assert camera.opened == 2


def test_a_stream_that_was_cut_is_told_and_that_it_is_back(open_site: Any) -> None:
    site, camera = open_site
    with site.visitor() as visitor:
        visitor.send("source", number=0)
        visitor.event("state", live=True, status="")
        visitor.frame()
        camera.status = "rtsp://user:secret@host: reconnecting"
        told = visitor.event("state", playing=True)
        while not told["status"]:
            told = visitor.event("state", playing=True)
        assert told["status"] == CUT and "secret" not in json.dumps(told)
        camera.status = ""
        visitor.event("state", status="")
        visitor.frame()


class Camera:
    name, is_live, dropped, bad_frames, ended, status = "0", True, 0, 0, False, ""

    def __init__(self) -> None:
        self.opened = self.closed = 0

    def open(self, word: str) -> Camera:
        assert word == "0"
        self.opened += 1
        return self

    def read(self, timeout: float) -> Any:
        from types import SimpleNamespace

        threading.Event().wait(0.01)
        if self.status:
            return None
        return SimpleNamespace(frame=np.zeros((48, 64, 3), np.uint8), time=0.0, index=0)

    def close(self) -> None:
        self.closed += 1


@pytest.fixture
def open_site(limits: Any, running_site: Any) -> Iterator[Any]:
    camera = Camera()
    with running_site(("0",), WebSettings(port=0, limits=limits), camera.open) as site:
        yield site, camera
