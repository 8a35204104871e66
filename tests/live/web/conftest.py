"""A web server with a stand-in tracker, a WebSocket client, and a real browser driven by the DevTools protocol."""

from __future__ import annotations

import argparse
import base64
import itertools
import json
import shutil
import socket
import struct
import subprocess
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from http.client import HTTPConnection
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ebm_tracker.live.web.app import WebServer
from ebm_tracker.live.web.serve import density_picture, listen, run_server, tracker_maker
from ebm_tracker.live.web.settings import WebLimits, WebSettings
from ebm_tracker.live.web.sources import ServerSources
from ebm_tracker.live.web.tracking import TrackingEngine
from ebm_tracker.tracking import Status, TrackOutput
from ebm_tracker.video import VideoWriter

BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome")
PATIENCE_S = 120.0  # for what takes milliseconds on a machine with nothing else to do

pytest.importorskip("starlette", reason="the page needs the extra web")
pytest.importorskip("uvicorn", reason="the page needs the extra web")
pytest.importorskip("websockets", reason="the page needs the extra web")


def until(condition: Callable[[], Any], what: str | Callable[[], str] = "it") -> Any:
    """The first true value of the condition; ``what``: named when it does not come."""
    end = time.monotonic() + PATIENCE_S
    while time.monotonic() < end:
        value = condition()
        if value:
            return value
        time.sleep(0.02)
    raise AssertionError(f"waited {PATIENCE_S:g} s for {what() if callable(what) else what}")


class StandInTracker:
    """Objects that move by (2, 1) a frame."""

    def __init__(self) -> None:
        self.boxes: dict[int, tuple[float, ...]] = {}

    @property
    def ids(self) -> tuple[int, ...]:
        return tuple(self.boxes)

    def initialize(self, frame: np.ndarray, boxes: Mapping[int, tuple[float, ...]]) -> None:
        self.boxes = {}
        for key, box in boxes.items():
            self.add(frame, key, box)

    def add(self, frame: np.ndarray, object_id: int, box_xywh: tuple[float, ...]) -> None:
        if min(box_xywh[2:]) <= 0:
            raise ValueError("box: width and height must be > 0")
        self.boxes[object_id] = box_xywh

    def remove(self, object_id: int) -> None:
        del self.boxes[object_id]

    def track(self, frame: np.ndarray | None) -> dict[int, Any]:
        if frame is not None:
            self.boxes = {key: (x + 2, y + 1, w, h) for key, (x, y, w, h) in self.boxes.items()}
        status = Status.LOST if frame is None else Status.TRACKED
        return {key: TrackOutput(box, 0.75, status) for key, box in self.boxes.items()}


def stand_in_density(tracker: Any, frame: np.ndarray, object_id: Any, grid: int) -> np.ndarray:
    red = frame.copy()
    red[:, :, 0] = 255
    return red


def write_clip(path: Path, count: int = 20, size_wh: tuple[int, int] = (64, 48), fps: float = 50) -> Path:
    """A video whose n-th frame is gray 10 n."""
    with VideoWriter(path, fps) as writer:
        for n in range(count):
            writer.write(np.full((size_wh[1], size_wh[0], 3), min(10 * n, 255), np.uint8))
    return path


@pytest.fixture
def clip(tmp_path: Path) -> Path:
    folder = tmp_path / "secret folder"
    folder.mkdir()
    return write_clip(folder / "walk.mp4")


@dataclass
class Site:
    """A running server. ``at``: host and port."""

    server: WebServer
    port: int

    @property
    def at(self) -> str:
        return f"127.0.0.1:{self.port}"

    def request(
        self, method: str, path: str, headers: Mapping[str, str] | None = None, body: bytes | None = None
    ) -> tuple[int, bytes, dict[str, str]]:
        """Status, body and headers; the path is sent as it is. A Host header is added unless one is given."""
        connection = HTTPConnection("127.0.0.1", self.port, timeout=PATIENCE_S)
        headers = {"Host": self.at, **(headers or {})}
        try:
            connection.putrequest(method, path, skip_host=True, skip_accept_encoding=True)
            for name, value in headers.items():
                connection.putheader(name, value)
            if body is not None:
                connection.putheader("Content-Length", str(len(body)))
            connection.endheaders(body)
            answer = connection.getresponse()
            return answer.status, answer.read(), {key.lower(): value for key, value in answer.getheaders()}
        finally:
            connection.close()

    def upload(self, token: str, data: bytes, origin: str | None = None) -> tuple[int, bytes]:
        headers = {"Origin": origin or f"http://{self.at}", "X-Visitor": token}
        return self.request("POST", "/upload", headers, data)[:2]

    @contextmanager
    def visitor(self, **keywords: Any) -> Iterator[Client]:
        client = Client(self, **keywords)
        try:
            yield client
        finally:
            client.socket.close()


class Client:
    """A page, as far as the server sees it. ``hello``: the first event."""

    def __init__(self, site: Site, origin: str | None = None, host: str | None = None) -> None:
        from websockets.sync.client import connect

        plain = socket.create_connection(("127.0.0.1", site.port), PATIENCE_S)
        self.socket = connect(
            f"ws://{host or site.at}/stream", sock=plain, origin=origin or f"http://{site.at}", compression=None,
            max_size=2**24, open_timeout=PATIENCE_S,
        ).__enter__()  # fmt: skip
        self.events: list[dict[str, Any]] = []
        self.frames: list[dict[str, Any]] = []
        self.jpeg = b""
        self.hello = self.event("hello")

    def send(self, do: str, **values: Any) -> None:
        self.socket.send(json.dumps({"do": do, **values}))

    def receive(self, acknowledge: bool = True) -> None:
        item = self.socket.recv(PATIENCE_S)
        if isinstance(item, str):
            self.events.append(json.loads(item))
            return
        (length,) = struct.unpack("<I", item[:4])
        self.frames.append(json.loads(item[4 : 4 + length]))
        self.jpeg = item[4 + length :]
        if acknowledge:
            self.send("shown")

    def event(self, kind: str, **wanted: Any) -> dict[str, Any]:
        """Waits for an event with these values; earlier ones are dropped."""
        while True:
            while self.events:
                event = self.events.pop(0)
                if event["event"] == kind and all(event.get(name) == value for name, value in wanted.items()):
                    return event
            self.receive()

    def frame(self, condition: Callable[[dict[str, Any]], Any] = lambda _: True) -> dict[str, Any]:
        """Waits for a frame; earlier ones are dropped."""
        while True:
            while self.frames:
                frame = self.frames.pop(0)
                if condition(frame):
                    return frame
            self.receive()


@contextmanager
def running(
    engine: TrackingEngine, words: tuple[str, ...], settings: WebSettings, opener: Any = None
) -> Iterator[Site]:
    """A server in a thread, on a free port."""
    server = WebServer(engine, ServerSources(words, opener), settings)
    listener = listen(settings)
    holder: list[Any] = []
    thread = threading.Thread(target=run_server, args=(server, listener, holder.append), daemon=True)
    thread.start()
    try:
        until(lambda: holder and holder[0].started, "the server's start")
        yield Site(server, listener.getsockname()[1])
    finally:
        holder[0].should_exit = True
        thread.join(PATIENCE_S)
        engine.close()
    assert not thread.is_alive()


@pytest.fixture
def limits() -> WebLimits:
    """Small ones; a test module may override it."""
    return WebLimits(
        visitors=2, objects=3, upload_bytes=200_000, upload_seconds=2.0, upload_frames=60, frame_pixels=320 * 240,
        message_bytes=60_000,
    )  # fmt: skip


@pytest.fixture
def site(clip: Path, limits: WebLimits) -> Iterator[Site]:
    """A server with the clip as its only source."""
    engine = TrackingEngine(StandInTracker, stand_in_density, {"preset": "stand-in"})
    with running(engine, (str(clip),), WebSettings(port=0, limits=limits)) as site:
        yield site


@pytest.fixture
def running_site() -> Callable[..., Any]:
    """running_site(words, settings, open_source=None) -> a context that gives a Site with the stand-in tracker."""

    def run(words: tuple[str, ...], settings: WebSettings, opener: Any = None) -> Any:
        engine = TrackingEngine(StandInTracker, stand_in_density, {"preset": "stand-in"})
        return running(engine, words, settings, opener)

    return run


@pytest.fixture
def waiting() -> Callable[..., Any]:
    """waiting(condition, what) -> the first true value of the condition."""
    return until


@pytest.fixture
def running_with() -> Callable[..., Any]:
    """running_with(engine, words, settings) -> a context that gives a Site."""
    return running


@pytest.fixture
def real_engine() -> TrackingEngine:
    """The preset `default` on the CPU."""
    arguments = argparse.Namespace(
        preset="default", device="cpu", seed=0, threads=None, weights=None, backbone_weights=None
    )
    return TrackingEngine(tracker_maker(arguments), density_picture, {"preset": "default"})


class Tab:
    """A page in headless Chromium."""

    def __init__(self, command: str, folder: Path, url: str, size: str, flags: tuple[str, ...]) -> None:
        from websockets.sync.client import connect

        self.downloads = folder / "downloads"
        self.downloads.mkdir()
        self.log = folder / "chromium.log"
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(
                [
                    command, "--headless=new", "--no-sandbox", "--disable-gpu", "--remote-debugging-port=0",
                    "--no-first-run", "--disable-background-networking", "--hide-scrollbars",
                    "--disable-dev-shm-usage",  # containers have little of it
                    f"--user-data-dir={folder / 'profile'}", f"--window-size={size}", *flags, "about:blank",
                ],
                stdin=subprocess.DEVNULL, stdout=log, stderr=log,
            )  # fmt: skip
        try:
            pages = until(self._pages, "Chromium's first page")
            self.socket = connect(
                pages[0]["webSocketDebuggerUrl"], max_size=2**26, compression=None, open_timeout=PATIENCE_S,
                ping_interval=None,
            ).__enter__()  # fmt: skip
        except BaseException:
            self.process.kill()
            raise
        self.numbers = itertools.count(1)
        self.complaints: list[str] = []
        self.requests: list[str] = []
        for domain in ("Page", "Runtime", "Network", "Log"):
            self.call(f"{domain}.enable")
        self.call("Browser.setDownloadBehavior", behavior="allow", downloadPath=str(self.downloads))
        self.call("Page.navigate", url=url)

    def _pages(self) -> list[dict[str, Any]]:
        """The pages that the browser has, none while it starts."""
        if self.process.poll() is not None:
            tail = self.log.read_text(errors="replace")[-2000:]
            raise AssertionError(f"the browser ended with {self.process.returncode}:\n{tail}")
        port_file = self.log.parent / "profile" / "DevToolsActivePort"
        lines = port_file.read_text().splitlines() if port_file.exists() else []
        if len(lines) < 2:  # being written
            return []
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{lines[0]}/json/list", timeout=PATIENCE_S) as answer:
                return [target for target in json.load(answer) if target["type"] == "page"]
        except OSError:
            return []

    def call(self, method: str, **parameters: Any) -> dict[str, Any]:
        number = next(self.numbers)
        self.socket.send(json.dumps({"id": number, "method": method, "params": parameters}))
        while True:
            try:
                message = json.loads(self.socket.recv(PATIENCE_S))
            except TimeoutError as error:
                raise AssertionError(f"the browser did not answer {method} within {PATIENCE_S:g} s") from error
            self._note(message)
            if message.get("id") == number:
                assert "error" not in message, message
                return dict(message["result"])

    def _note(self, message: dict[str, Any]) -> None:
        method, values = message.get("method"), message.get("params", {})
        if method == "Runtime.exceptionThrown":
            self.complaints.append(json.dumps(values["exceptionDetails"]))
        elif method == "Log.entryAdded" and values["entry"]["level"] == "error":
            self.complaints.append(values["entry"]["text"] + " " + values["entry"].get("url", ""))
        elif method == "Runtime.consoleAPICalled" and values["type"] in ("error", "warning"):
            self.complaints.append(json.dumps(values["args"]))
        elif method == "Network.requestWillBeSent":
            self.requests.append(values["request"]["url"])

    def run(self, script: str) -> Any:
        """The value of a JavaScript expression."""
        result = self.call("Runtime.evaluate", expression=script, returnByValue=True, awaitPromise=True)
        assert "exceptionDetails" not in result, result
        return result["result"].get("value")

    def until(self, script: str) -> Any:
        """Waits until the expression is true; an error, as of a document that still loads, counts as false."""
        attempt = f"(() => {{ try {{ return {script}; }} catch {{ return false; }} }})()"
        return until(lambda: self.run(attempt), lambda: f"{script}\nThe page: {self._shown()}")

    def _shown(self) -> str:
        """For a test that fails: what the page says and knows."""
        script = "JSON.stringify([{...document.getElementById('stage')?.dataset}, document.body.innerText])"
        return f"{self.run(script)} {self.complaints}"

    def click(self, selector: str) -> None:
        x, y = self.run(
            f"(() => {{ const e = document.querySelector({selector!r}); e.scrollIntoView({{block: 'center'}});"
            " const r = e.getBoundingClientRect(); return [r.x + r.width / 2, r.y + r.height / 2]; })()"
        )
        for kind in ("mousePressed", "mouseReleased"):
            self.call("Input.dispatchMouseEvent", type=kind, x=x, y=y, button="left", clickCount=1)

    def on_picture(self, x: float, y: float) -> tuple[float, float]:
        """Of a point in frame pixels its place in the window."""
        script = (
            "(() => { const b = document.getElementById('boxes').getBoundingClientRect();"
            " return [b.x, b.y, b.width / document.getElementById('picture').width]; })()"
        )
        left, top, scale = self.run(script)
        return left + x * scale, top + y * scale

    def drag(self, box_xywh: tuple[float, float, float, float], finger: bool = False) -> None:
        x, y, w, h = box_xywh
        self.run("document.getElementById('stage').scrollIntoView()")
        start, middle, end = (self.on_picture(x + w * t, y + h * t) for t in (0, 0.5, 1))
        if finger:
            steps = (("touchStart", [start]), ("touchMove", [middle]), ("touchMove", [end]), ("touchEnd", []))
            for kind, points in steps:
                touches = [{"x": px, "y": py} for px, py in points]
                self.call("Input.dispatchTouchEvent", type=kind, touchPoints=touches)
            return
        for kind, (px, py), held in (("mousePressed", start, 1), ("mouseMoved", middle, 1), ("mouseMoved", end, 1),
                                     ("mouseReleased", end, 0)):  # fmt: skip
            self.call("Input.dispatchMouseEvent", type=kind, x=px, y=py, button="left", buttons=held, clickCount=1)

    def press(self, key: str, shift: bool = False) -> None:
        text = {"text": key} if len(key) == 1 else {"text": "\r"} if key == "Enter" else {}
        for kind in ("keyDown", "keyUp"):
            self.call("Input.dispatchKeyEvent", type=kind, key=key, modifiers=8 if shift else 0,
                      **(text if kind == "keyDown" else {}))  # fmt: skip

    def objects(self) -> list[dict[str, Any]]:
        return list(json.loads(self.run("document.getElementById('stage').dataset.objects || '[]'")))

    def screenshot(self, path: Path) -> None:
        path.write_bytes(base64.b64decode(self.call("Page.captureScreenshot", format="png")["data"]))

    def download(self, selector: str, name: str) -> bytes:
        self.click(selector)
        path = self.downloads / name
        until(lambda: path.exists() and path.stat().st_size and not list(self.downloads.glob("*.crdownload")), name)
        return path.read_bytes()

    def close(self) -> None:
        self.socket.close()
        self.process.terminate()
        try:
            self.process.wait(10)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()


@pytest.fixture
def open_tab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[..., Tab]]:
    """open_tab(url, size="1200,900", flags=()) -> Tab."""
    command = next((path for name in BROWSERS if (path := shutil.which(name))), None)
    if command is None:
        pytest.skip(f"no browser: none of {', '.join(BROWSERS)} is installed")
    tabs: list[Tab] = []

    def open_one(url: str, size: str = "1200,900", flags: tuple[str, ...] = ()) -> Tab:
        tabs.append(Tab(command, tmp_path_factory.mktemp("chromium"), url, size, flags))
        return tabs[-1]

    yield open_one
    for tab in tabs:
        tab.close()
