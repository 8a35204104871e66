"""The visdom viewer: against a real server where visdom is installed, and against servers that are none."""

from __future__ import annotations

import json
import logging
import socket
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from ebm_tracker.live.visdom_view import VisdomError, VisdomView, parse_address
from ebm_tracker.tracking import Status, TrackOutput

FRAME = np.full((60, 80, 3), 90, np.uint8)
OUTPUTS = {"<b>": TrackOutput((10.0, 20.0, 30.0, 25.0), 0.75, Status.TRACKED)}


def details() -> dict[str, Any]:
    climb = SimpleNamespace(energies=torch.arange(10, dtype=torch.float32))
    scores = torch.zeros(288, 288)
    scores[40, 80] = 1.0  # sent as row 10, column 20
    return {"<b>": SimpleNamespace(scores=scores, climb=climb)}


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@pytest.fixture
def server(tmp_path: Path) -> Iterator[int]:
    """A real visdom server without the download of its page's scripts, which fails without internet."""
    pytest.importorskip("visdom")
    port = free_port()
    code = "from visdom.server.run_server import main; main()"
    command = [sys.executable, "-c", code, "-port", str(port), "-env_path", str(tmp_path), "--hostname", "127.0.0.1"]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        for _ in range(150):
            try:
                socket.create_connection(("127.0.0.1", port), timeout=1).close()  # the page itself needs the scripts
                break
            except OSError:
                time.sleep(0.2)
        yield port
    finally:
        process.terminate()
        process.wait(10)


def window(port: int, name: str) -> dict[str, Any]:
    body = json.dumps({"win": name, "eid": "ebm"}).encode()
    request = urllib.request.Request(f"http://127.0.0.1:{port}/win_data", body)
    with urllib.request.urlopen(request, timeout=5) as answer:
        found: dict[str, Any] = json.loads(answer.read())
    return found


def test_the_blocks_arrive_at_a_real_server(server: int) -> None:
    with VisdomView(f"127.0.0.1:{server}") as view:
        view.show(FRAME, 5, OUTPUTS, details())
        view.close(20)
        assert not view.failed
    image = window(server, "tracking")
    assert image["title"] == "Tracking" and image["content"]["src"].startswith("data:image/jpeg;base64,")
    status = window(server, "status")["content"]
    assert "frame 5" in status and "0.75" in status and "10.0 20.0 30.0 25.0" in status
    assert "&lt;b&gt;" in status and "<b>" not in status
    (heat,) = window(server, "score_map_<b>")["content"]["data"]
    assert np.shape(heat["z"]) == (72, 72) and heat["z"][71 - 10][20] == 1.0 and np.sum(heat["z"]) == 1.0
    (bars,) = window(server, "energies_<b>")["content"]["data"]
    assert bars["y"] == list(range(10))


def test_no_server_is_one_line_and_holds_up_nothing(caplog: pytest.LogCaptureFixture) -> None:
    pytest.importorskip("visdom")
    with caplog.at_level(logging.WARNING), VisdomView(f"127.0.0.1:{free_port()}") as view:
        for index in range(50):
            view.show(FRAME, index, OUTPUTS, details())
        view._thread.join(20)
        assert view.failed
        view.show(FRAME, 51, OUTPUTS, details())
    ours = [record for record in caplog.records if record.name.startswith("ebm_tracker")]
    assert len(ours) == 1 and "no visdom server at 127.0.0.1" in ours[0].getMessage()


def test_a_server_that_hangs_lets_frames_pass_and_close_return() -> None:
    release, sent = threading.Event(), []

    def image(*args: Any, **options: Any) -> None:
        sent.append(args)
        release.wait(20)

    client = SimpleNamespace(image=image, text=print, heatmap=print, bar=print)
    view = VisdomView(":1", connect=lambda host, port: client)
    for index in range(200):
        view.show(FRAME, index, OUTPUTS, {})
    view.close(timeout=0.1)
    assert view._thread.is_alive() and len(sent) <= 1 and not view.failed
    release.set()
    view._thread.join(10)
    assert not view._thread.is_alive()


def test_addresses() -> None:
    assert parse_address("") == ("localhost", 8097)
    assert parse_address("box") == ("box", 8097)
    assert parse_address(":9000") == ("localhost", 9000)
    for wrong in ("box:port", "box:0", "box:70000"):
        with pytest.raises(VisdomError, match="HOST:PORT"):
            parse_address(wrong)


def test_ebm_track_shows_its_frames(server: int, tmp_path: Path) -> None:
    from PIL import Image

    from ebm_tracker.cli import main

    folder = tmp_path / "frames"
    folder.mkdir()
    for i in range(3):
        noise = np.random.default_rng(0).integers(0, 255, (40, 30, 3))
        frame = np.full((120, 160, 3), 90, np.uint8)
        frame[50:90, 70 + i : 100 + i] = noise
        Image.fromarray(frame).save(folder / f"{i}.png")
    command = ["track", "--frames", str(folder), "--init", "70,50,30,40", "--out", str(tmp_path / "out")]
    assert main([*command, "--device", "cpu", "--no-save_video", "--visdom", f"127.0.0.1:{server}"]) == 0
    assert "<table>" in window(server, "status")["content"]
