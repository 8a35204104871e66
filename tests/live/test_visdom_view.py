"""The visdom viewer: against a real server where visdom is installed, and against servers that are none."""

from __future__ import annotations

import json
import logging
import re
import socket
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from ebm_tracker.cli import main
from ebm_tracker.live import visdom_view
from ebm_tracker.live.visdom_view import VisdomError, VisdomView, parse_address
from ebm_tracker.tracking import Status, TrackOutput

FRAME = np.full((60, 80, 3), 90, np.uint8)
BOX = TrackOutput((10.0, 20.0, 30.0, 25.0), 0.75, Status.TRACKED)
OUTPUTS = {"<b>": BOX}
PATIENCE_S = 60.0


def details(*keys: Any) -> dict[Any, Any]:
    climb = SimpleNamespace(energies=torch.arange(10, dtype=torch.float32))
    scores = torch.zeros(288, 288)
    scores[40, 80] = 1.0  # sent as row 10, column 20
    return {key: SimpleNamespace(scores=scores, climb=climb) for key in keys}


def until(condition: Callable[[], Any]) -> None:
    end = time.monotonic() + PATIENCE_S
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.02)


@pytest.fixture(scope="module")
def servers(visdom_servers: ModuleType) -> ModuleType:
    pytest.importorskip("visdom", reason="visdom is not installed")
    return visdom_servers


@pytest.fixture(scope="module")
def server(servers: ModuleType, tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    """The port of a real server without its page's scripts, which it would have to download."""
    with servers.running(servers.WITHOUT_SCRIPTS, tmp_path_factory.mktemp("visdom")) as running:
        yield running.port


@pytest.fixture
def warnings(caplog: pytest.LogCaptureFixture) -> Callable[[], list[str]]:
    caplog.set_level(logging.WARNING)

    def ours() -> list[str]:
        return [record.getMessage() for record in caplog.records if record.name.startswith("ebm_tracker")]

    return ours


class Client:
    """Remembers the panes that it is told to draw and close."""

    def __init__(self) -> None:
        self.panes: dict[str, tuple[Any, Any]] = {}
        self.pictures: list[Any] = []
        self.cleared: list[str] = []

    def image(self, picture: Any, win: str, opts: Any) -> None:
        self.pictures.append(picture)
        self.text(picture, win, opts)

    def text(self, content: Any, win: str, opts: Any) -> None:
        self.panes[win] = content, opts

    heatmap = bar = text

    def close(self, win: str | None = None, env: str | None = None) -> None:
        if win is None:
            self.cleared.append(str(env))
            return
        del self.panes[win]


def window(port: int, name: str) -> dict[str, Any]:
    body = json.dumps({"win": name, "eid": "ebm"}).encode()
    request = urllib.request.Request(f"http://127.0.0.1:{port}/win_data", body)
    with urllib.request.urlopen(request, timeout=PATIENCE_S) as answer:
        found: dict[str, Any] = json.loads(answer.read())
    return found


def exists(port: int, name: str) -> bool:
    body = json.dumps({"win": name, "eid": "ebm"}).encode()
    request = urllib.request.Request(f"http://127.0.0.1:{port}/win_exists", body)
    with urllib.request.urlopen(request, timeout=PATIENCE_S) as answer:
        return bool(json.loads(answer.read()))


def test_the_blocks_arrive_at_a_real_server(server: int) -> None:
    with VisdomView(f"127.0.0.1:{server}") as view:
        view.show(FRAME, 5, OUTPUTS, details("<b>"))
        view.close(PATIENCE_S)
        assert not view.failed and view.sent == 1
    image = window(server, "tracking")
    assert image["title"] == "Tracking" and image["content"]["src"].startswith("data:image/jpeg;base64,")
    status = window(server, "status")["content"]
    assert "frame 5" in status and "0.75" in status and "10.0 20.0 30.0 25.0" in status
    assert "&lt;b&gt;" in status and "<b>" not in status
    (heat,) = window(server, "score_map_<b>")["content"]["data"]
    assert np.shape(heat["z"]) == (72, 72) and heat["z"][71 - 10][20] == 1.0 and np.sum(heat["z"]) == 1.0
    assert exists(server, "energies_<b>") and not exists(server, "energies_")
    (bars,) = window(server, "energies_<b>")["content"]["data"]
    assert bars["y"] == list(range(10))


@pytest.fixture
def frames(tmp_path: Path) -> Path:
    folder = tmp_path / "frames"
    folder.mkdir()
    for i in range(30):  # frames are passed over while one is being sent, which a busy machine takes its time for
        noise = np.random.default_rng(0).integers(0, 255, (40, 30, 3))
        frame = np.full((120, 160, 3), 90, np.uint8)
        frame[50:90, 70 + i // 4 : 100 + i // 4] = noise
        Image.fromarray(frame).save(folder / f"{i}.png")
    return folder


def test_ebm_track_shows_its_frames(server: int, frames: Path, tmp_path: Path) -> None:
    command = ["track", "--frames", str(frames), "--init", "70,50,30,40", "--out", str(tmp_path / "out")]
    assert main([*command, "--device", "cpu", "--no-save_video", "--visdom", f"127.0.0.1:{server}"]) == 0
    assert "tracked" in window(server, "status")["content"] and exists(server, "energies_")
    assert not exists(server, "score_map_<b>")  # of another run


def test_ebm_live_shows_every_object(server: int, frames: Path, tmp_path: Path) -> None:
    objects = ["--init", "70,50,30,40", "--init", "post=10,20,20,30"]
    command = ["live", "--headless", "--source", str(frames), *objects, "--out", str(tmp_path / "out")]
    assert main([*command, "--device", "cpu", "--visdom", f"127.0.0.1:{server}"]) == 0
    assert "<td>1</td>" in (status := window(server, "status")["content"]) and "<td>post</td>" in status


def test_the_web_page_goes_without_visdom(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["live", "--web", "--source", "x.mp4", "--visdom"]) != 0
    assert "not with --web" in capsys.readouterr().err


def test_no_server_is_one_line_and_holds_up_nothing(servers: ModuleType, warnings: Callable[[], list[str]]) -> None:
    with VisdomView(f"127.0.0.1:{servers.free_port()}") as view:
        for index in range(50):
            view.show(FRAME, index, OUTPUTS, details("<b>"))
        view._thread.join(PATIENCE_S)
        assert view.failed
        view.show(FRAME, 51, OUTPUTS, details("<b>"))
    (line,) = warnings()
    assert "visdom server at 127.0.0.1" in line and "is not there" in line and "`static`" in line


def test_a_server_that_dies_is_one_line(servers: ModuleType, tmp_path: Path, warnings: Callable[[], list[str]]) -> None:
    with servers.running(servers.WITHOUT_SCRIPTS, tmp_path) as running:
        with VisdomView(f"127.0.0.1:{running.port}") as view:
            view.show(FRAME, 0, OUTPUTS, {})
            until(lambda: view.sent == 1)
            assert not warnings()
            running.process.kill()
            running.process.wait()
            index = iter(range(1, 1_000_000))
            until(lambda: view.show(FRAME, next(index), OUTPUTS, {}) or view.failed)
    (line,) = warnings()
    assert "is gone" in line


def test_a_server_that_accepts_and_never_answers(
    servers: ModuleType, monkeypatch: pytest.MonkeyPatch, warnings: Callable[[], list[str]]
) -> None:
    monkeypatch.setattr(visdom_view, "PATIENCE_S", 0.2)
    with socket.create_server(("127.0.0.1", 0)) as mute:
        view = VisdomView(f"127.0.0.1:{mute.getsockname()[1]}")
        for index in range(200):
            view.show(FRAME, index, OUTPUTS, details("<b>"))
        until(lambda: view.show(FRAME, 200, OUTPUTS, {}) or warnings())
        view.close(timeout=0.1)  # comes back although nothing was taken
        assert view._thread.is_alive() and view.sent == 0 and not view.failed
        (line,) = warnings()
        assert "does not answer" in line
    # The connection that was never accepted ends with the socket, and so does the thread; no second line.
    view._thread.join(PATIENCE_S)
    assert not view._thread.is_alive() and len(warnings()) == 1


def test_frames_pass_by_while_one_is_sent(warnings: Callable[[], list[str]]) -> None:
    release, client = threading.Event(), Client()
    text = client.text

    def slow(*args: Any) -> None:
        release.wait(PATIENCE_S)
        text(*args)

    client.text = slow  # type: ignore[method-assign]
    view = VisdomView(":1", connect=lambda host, port: client)
    for index in range(200):
        view.show(FRAME, index, OUTPUTS, {})
    view.close(timeout=0.1)
    assert view._thread.is_alive() and len(client.pictures) <= 1 and not view.failed
    assert len(warnings()) == 1  # a frame was not shown
    release.set()
    view._thread.join(PATIENCE_S)
    assert not view._thread.is_alive()


def test_ten_frames_a_second_at_most() -> None:
    client = Client()
    start = time.monotonic()
    with VisdomView(":1", connect=lambda host, port: client) as view:
        end = start + 0.45
        while time.monotonic() < end:
            view.show(FRAME, 0, OUTPUTS, {})
        until(lambda: client.pictures)
    assert 1 <= len(client.pictures) <= 1 + (time.monotonic() - start) / 0.1


def test_panes_of_objects_that_are_gone_are_closed() -> None:
    client = Client()
    with VisdomView(":1", connect=lambda host, port: client) as view:
        view.show(FRAME, 0, {1: BOX, 2: BOX}, details(1, 2))
        until(lambda: view.sent == 1)
        assert set(client.panes) == {"tracking", "status", "score_map_1", "energies_1", "score_map_2", "energies_2"}
        until(lambda: view._waiting is None)
        view.show(FRAME, 1, {1: BOX}, {})  # 1 keeps its last ones
        until(lambda: view.sent == 2)
    assert set(client.panes) == {"tracking", "status", "score_map_1", "energies_1"}
    assert client.cleared == ["ebm"]


def test_a_large_frame_is_made_smaller() -> None:
    client = Client()
    frame, box = np.full((720, 1280, 3), 90, np.uint8), TrackOutput((200, 200, 400, 300), 0.5, Status.TRACKED)
    with VisdomView(":1", connect=lambda host, port: client) as view:
        view.show(frame, 0, {"": box}, {})
        until(lambda: view.sent == 1)
    (picture,) = client.pictures
    assert picture.shape == (3, 360, 640)
    differs = np.abs(picture[:, 150:200].astype(int) - 90).max(axis=(0, 1)) > 20
    assert set(np.flatnonzero(differs)) <= {*range(96, 105), *range(296, 305)}  # the box's two sides
    assert differs[96:105].any() and differs[296:305].any()


@pytest.mark.parametrize(("version", "command"), [((3, 12), "'ebm-tracker[visdom]'"), ((3, 11), "'setuptools<81'")])
def test_without_visdom_the_command_is_named(
    version: tuple[int, int], command: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    monkeypatch.setattr("sys.version_info", version)
    with pytest.raises(VisdomError, match=re.escape(f"visdom is not installed: pip install {command}")):
        VisdomView()


def test_addresses() -> None:
    assert parse_address("") == ("localhost", 8097)
    assert parse_address("box") == ("box", 8097)
    assert parse_address(":9000") == ("localhost", 9000)
    for wrong in ("box:port", "box:0", "box:70000"):
        with pytest.raises(VisdomError, match="HOST:PORT"):
            parse_address(wrong)
