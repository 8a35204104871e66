"""A camera played by the demo clip over HTTP and RTSP, with the real tracker: it follows the face, also after a cut."""

from __future__ import annotations

import csv
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import torch

import ebm_tracker
from ebm_tracker.boxes import iou_xywh
from ebm_tracker.demo import DEMO_BOX_XYWH, find_demo_clip
from ebm_tracker.errors import VideoError
from ebm_tracker.live.session import LiveSession
from ebm_tracker.live.sources import open_source
from ebm_tracker.tracking import Status
from ebm_tracker.video import VideoFile

FRAMES = 40
PACE = 10  # frames/s, a third of the clip's, so that a busy machine sees the face often enough
KINDS = ("MjpegServer", "TsServer", "RtspServer")


@pytest.fixture(scope="module")
def clip() -> list[np.ndarray]:
    try:
        video = VideoFile(find_demo_clip())
    except VideoError as error:
        pytest.skip(str(error))
    return [frame for _, frame in zip(range(FRAMES), video, strict=False) if frame is not None]


@pytest.fixture(scope="module")
def truth(clip: list[np.ndarray]) -> np.ndarray:
    """The boxes of our runner on the file, which other tests compare with the reference."""
    tracker = ebm_tracker.load("default", device="cpu")
    tracker.initialize(clip[0], DEMO_BOX_XYWH)
    return np.array([DEMO_BOX_XYWH, *(tracker.track(frame).box_xywh for frame in clip[1:])])


def place(number: int) -> int:
    """The frame of the clip that is played as the n-th: forth and back, so that the face never jumps."""
    step = number % (2 * FRAMES - 2)
    return min(step, 2 * FRAMES - 2 - step)


@pytest.fixture
def camera(made_stream: ModuleType, clip: list[np.ndarray]) -> Callable[[str], Any]:
    """camera(kind) -> a server that plays the clip, each frame with its number in it."""

    def frame(number: int) -> np.ndarray:
        return np.asarray(made_stream.stamped(clip[place(number)], number))

    def make(kind: str) -> Any:
        if kind == "MjpegServer":
            return made_stream.MjpegServer(lambda number: made_stream.jpeg(frame(number)), PACE)
        return getattr(made_stream, kind)(frame, PACE)

    return make


def new_frames(source: Any, count: int, timeout: float = 120.0) -> Iterator[Any]:
    """The next frames that could be decoded."""
    end = time.monotonic() + timeout
    while count:
        assert time.monotonic() < end, f"{count} more frames did not come ({source.status or 'no status'})"
        grabbed = source.read(0.5)
        if grabbed is not None and grabbed.frame is not None:
            count -= 1
            yield grabbed


def wait_until(condition: Callable[[], Any], what: str, timeout: float = 120.0) -> None:
    end = time.monotonic() + timeout
    while not condition():
        assert time.monotonic() < end, f"waited {timeout:.0f} s for {what}"
        time.sleep(0.02)


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
def test_the_face_is_followed_through_a_cut(
    kind: str, camera: Callable[[str], Any], made_stream: ModuleType, truth: np.ndarray
) -> None:
    session = LiveSession(ebm_tracker.load_multi("default", device="cpu"))
    overlaps: list[float] = []
    numbers: list[int] = []

    def follow(source: Any, count: int) -> None:
        for grabbed in new_frames(source, count):
            frame = session.step(grabbed, source.dropped)
            assert frame is not None and frame.frame.shape == (144, 176, 3)
            numbers.append(made_stream.stamp_of(grabbed.frame))
            wanted = truth[place(numbers[-1])]
            if not session.ids:
                session.add(tuple(wanted), "face")
                continue
            output = frame.outputs["face"]
            assert output.status is not Status.LOST
            overlaps.append(float(iou_xywh(torch.tensor(output.box_xywh), torch.from_numpy(wanted).float())))

    with camera(kind) as server:
        source = open_source(server.url)
        try:
            assert source.is_live and source.name == "camera"
            follow(source, 10)
            server.cut()
            wait_until(lambda: "reconnecting" in source.status, "the cut to be noticed")
            for _ in range(3):  # what had come before it
                source.read(0.0)
            assert source.read(0.3) is None and not source.ended
            server.come_back()
            wait_until(lambda: source.reconnects == 1 and not source.status, "frames after the cut")
            follow(source, 10)
            assert (source.reconnects, source.size_changes, source.ended) == (1, 0, False)
        finally:
            source.close()
        assert server.connections >= 2
    assert numbers == sorted(set(numbers))  # never an older frame
    print(f"IoU with the file's boxes: least {min(overlaps):.3f}, mean {np.mean(overlaps):.3f}")
    # A tracker that sees few frames a second draws its boxes a little otherwise.
    assert min(overlaps) > 0.3 and np.mean(overlaps) > 0.6


@pytest.mark.slow
def test_the_command_says_what_happens_to_its_stream(
    camera: Callable[[str], Any], screens: ModuleType, tmp_path: Path
) -> None:
    with camera("TsServer") as server:
        flags = ["--headless", "--init", "face=64,33,51,69", "--out", str(tmp_path), "--threads", "1"]
        command = [sys.executable, "-m", "ebm_tracker.cli", "live", "--source", server.url, *flags]
        console = screens.Console(command, {**os.environ, "OMP_WAIT_POLICY": "passive"})
        try:
            console.wait_for("camera: follows 1 object")
            server.cut()
            assert console.wait_for("camera: ").endswith("; reconnecting")
            server.come_back()
            console.wait_for("camera: frames come again")
            console.process.send_signal(signal.SIGTERM)  # as Ctrl-C, which a job in the background may not see
            assert "1 reconnection" in console.wait_for("interrupted: camera, ")
            assert console.process.wait(60) == 130
        finally:
            console.process.kill()
            print(console.text, console.rest())  # shown when the test fails
    with (tmp_path / "camera_objects_001.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert {row["id"] for row in rows} == {"face"} and rows[0]["x"] == "64.000"
    assert list(VideoFile(tmp_path / "camera_live_001.mp4"))


# Another's server, where there is one: GStreamer's, in Debian gir1.2-gst-rtsp-server-1.0.

GSTREAMER = """
import sys, gi
gi.require_version("Gst", "1.0")
gi.require_version("GstRtspServer", "1.0")
from gi.repository import GLib, Gst, GstRtsp, GstRtspServer
Gst.init(None)
wanted = ("qtdemux", "decodebin", "videoconvert", "x264enc", "rtph264pay")
assert all(Gst.ElementFactory.find(name) for name in wanted), "an element is missing"
transport, clip = sys.argv[1:]
server = GstRtspServer.RTSPServer()
server.set_address("127.0.0.1")
server.set_service("0")
factory = GstRtspServer.RTSPMediaFactory()
factory.set_launch(
    f'( filesrc location="{clip}" ! qtdemux ! decodebin ! videoconvert ! video/x-raw,format=I420 !'
    " x264enc tune=zerolatency speed-preset=ultrafast key-int-max=15 ! rtph264pay name=pay0 pt=96 config-interval=1 )"
)
factory.set_protocols(getattr(GstRtsp.RTSPLowerTrans, transport))
server.get_mount_points().add_factory("/camera", factory)
server.attach(None)
print(server.get_bound_port(), flush=True)
GLib.MainLoop().run()
"""


@pytest.mark.screen
@pytest.mark.parametrize("transport", ["TCP", "UDP"])
def test_an_rtsp_server_of_others_is_understood(transport: str) -> None:
    python = "/usr/bin/python3"  # Debian's, which has Debian's bindings
    if shutil.which(python) is None:
        pytest.skip(f"no GStreamer: there is no {python}")
    try:
        clip = find_demo_clip()
    except VideoError as error:
        pytest.skip(str(error))
    process = subprocess.Popen(
        [python, "-c", GSTREAMER, transport, str(clip)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    assert process.stdout is not None and process.stderr is not None
    try:
        port = process.stdout.readline().strip()
        if not port:
            pytest.skip(f"no RTSP server of GStreamer: {process.stderr.read().strip().splitlines()[-1:]}")
        source = open_source(f"rtsp://127.0.0.1:{port}/camera")
        try:
            assert source.is_live and source.frames_per_second == pytest.approx(29.97, abs=0.1)
            frames = [grabbed.frame for grabbed in new_frames(source, 20)]
            assert {frame.shape for frame in frames} == {(144, 176, 3)} and min(f.std() for f in frames) > 20
            process.kill()
            wait_until(lambda: "reconnecting" in source.status, "the end of the server to be noticed")
        finally:
            source.close()
    finally:
        process.kill()
        process.wait()
