"""Videos from visitors: what is refused, and that little of FFmpeg is ever asked."""

from __future__ import annotations

import io
import socket
import struct
import zipfile
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest

from ebm_tracker.errors import VideoError
from ebm_tracker.live.web.settings import WebLimits
from ebm_tracker.live.web.uploads import UploadedVideo, container_of

LIMITS = WebLimits(upload_seconds=2.0, upload_frames=60, frame_pixels=320 * 240)


def encoded(
    count: int = 5, size_wh: tuple[int, int] = (64, 48), kind: str = "mp4", codec: str = "libx264", rate: int = 25
) -> bytes:
    """A video whose n-th frame is gray 20 n."""
    file = io.BytesIO()
    with av.open(file, "w", format=kind) as container:
        stream: Any = container.add_stream(codec, rate=rate)
        stream.width, stream.height = size_wh
        stream.pix_fmt = "yuvj420p" if codec == "mjpeg" else "yuv420p"
        for n in range(count):
            frame = np.full((size_wh[1], size_wh[0], 3), min(20 * n, 255), np.uint8)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(frame, format="rgb24")))
        container.mux(stream.encode(None))
    return file.getvalue()


def sound_only() -> bytes:
    file = io.BytesIO()
    with av.open(file, "w", format="mp4") as container:
        stream: Any = container.add_stream("aac", rate=8000)
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 1024), np.float32), format="fltp", layout="mono")
        frame.sample_rate = 8000
        container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return file.getvalue()


def zip_file() -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("a.txt", "x")
    return file.getvalue()


HLS = b"#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:1,\nfile:///etc/passwd\n#EXT-X-ENDLIST\n"
BAD = {
    "empty": b"",
    "text": b"hello" * 1000,
    "playlist": HLS,
    "concat script": b"ffconcat version 1.0\nfile '/etc/passwd'\n",
    "dash": b'<?xml version="1.0"?><MPD xmlns="urn:mpeg:dash:schema:mpd:2011"></MPD>',
    "svg": b'<svg xmlns="http://www.w3.org/2000/svg"><image href="/etc/passwd"/></svg>',
    "zip": zip_file(),
    "png": b"\x89PNG\r\n\x1a\n" + bytes(100),
    "mp4 by its first bytes only": b"\x00\x00\x00\x18ftypisom" + bytes(range(256)) * 20,
    "playlist behind mp4's first bytes": b"\x00\x00\x00\x10ftypisom\x00\x00\x00\x00" + HLS,
    "webm by its first bytes only": b"\x1a\x45\xdf\xa3" + b"\xff" * 500,
    "avi by its first bytes only": b"RIFF\xff\xff\xff\xffAVI " + b"\xff" * 500,
    "cut off": encoded(20)[:300],
    "no pictures": sound_only(),
    "too many frames": encoded(61, rate=60),
    "too long": encoded(3, rate=1),
    "too large": encoded(2, (640, 480)),
    "another container": encoded(5, kind="mpegts"),
    "another codec": encoded(5, kind="matroska", codec="ffv1"),
}


@pytest.mark.parametrize("name", BAD)
def test_a_bad_upload_is_refused_with_a_sentence(name: str, tmp_path: Path) -> None:
    path = tmp_path / "upload"
    path.write_bytes(BAD[name])
    with pytest.raises(VideoError) as refused:
        list(UploadedVideo(path, LIMITS))
    assert str(tmp_path) not in str(refused.value)  # the visitor need not know


@pytest.mark.parametrize(("kind", "codec"), [("mp4", "libx264"), ("mov", "mpeg4"), ("webm", "libvpx-vp9"),
                                             ("matroska", "libx264"), ("avi", "mjpeg")])  # fmt: skip
def test_the_usual_kinds_are_read(kind: str, codec: str, tmp_path: Path) -> None:
    if codec not in av.codecs_available:
        pytest.skip(f"this PyAV cannot write {codec}")
    path = tmp_path / "upload"
    try:
        path.write_bytes(encoded(5, kind=kind, codec=codec))
    except av.FFmpegError as error:
        pytest.skip(f"this PyAV cannot write {codec} ({error})")
    frames = list(UploadedVideo(path, LIMITS))
    assert [frame is not None and abs(int(frame.mean()) - 20 * n) < 8 for n, frame in enumerate(frames)] == [True] * 5
    assert len(frames) == 5


def test_a_file_that_lies_about_its_length_ends_at_the_limit(tmp_path: Path) -> None:
    # Matroska written to a pipe holds neither a number of frames nor a duration.
    class Pipe(io.BytesIO):
        def seekable(self) -> bool:
            return False

    path, file = tmp_path / "upload", Pipe()
    with av.open(file, "w", format="matroska", options={"live": "1"}) as container:
        stream: Any = container.add_stream("libx264", rate=25)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        for _ in range(80):
            picture = av.VideoFrame.from_ndarray(np.zeros((48, 64, 3), np.uint8), format="rgb24")
            container.mux(stream.encode(picture))
        container.mux(stream.encode(None))
    path.write_bytes(file.getvalue())
    video = UploadedVideo(path, LIMITS)
    assert video.frame_count is None
    seen = 0
    with pytest.raises(VideoError, match="60 frames"):
        for _ in video:
            seen += 1
    assert seen == 60


def test_an_external_reference_of_a_mov_is_not_followed(tmp_path: Path) -> None:
    """QuickTime tracks may keep their samples in another file, by a path (data reference 'alis' or 'url ')."""
    target = tmp_path / "other.mp4"
    target.write_bytes(encoded(5))
    data = bytearray(encoded(5))
    at = data.find(b"url ")
    assert at > 0 and data[at + 7] == 1  # flag: the samples are in this file
    data[at + 7] = 0
    path = tmp_path / "upload"
    path.write_bytes(bytes(data))
    frames = list(UploadedVideo(path, LIMITS))  # FFmpeg reads the samples of this file
    assert len(frames) == 5


def test_containers_are_told_by_their_first_bytes() -> None:
    assert container_of(encoded(1)[:16]) == "mov"
    assert container_of(encoded(1, kind="avi", codec="mjpeg")[:16]) == "avi"
    assert container_of(encoded(1, kind="matroska")[:16]) == "matroska"
    assert container_of(b"") is None and container_of(HLS[:16]) is None


# Through the server


def test_an_upload_is_played_and_replaced(site: Any) -> None:
    with site.visitor() as visitor:
        token = visitor.hello["token"]
        assert site.upload(token, encoded(5))[0] == 200
        visitor.send("upload", name="C:\\fakepath\\../../etc/my clip.mp4")
        state = visitor.event("state", source="my clip.mp4")
        assert (state["count"], state["live"]) == (5, False)
        visitor.send("add", box=[5, 6, 20, 10])
        visitor.send("full_speed", on=True)
        visitor.send("play", on=True)
        visitor.event("state", ended=True)
        assert site.upload(token, encoded(8))[0] == 200
        visitor.send("upload", name="")
        assert visitor.event("state", source="Your video")["count"] == 8


def test_a_bad_upload_is_told_and_the_page_goes_on(site: Any) -> None:
    with site.visitor() as visitor:
        for name in ("playlist", "mp4 by its first bytes only", "too large"):
            assert site.upload(visitor.hello["token"], BAD[name])[0] == 200
            visitor.send("upload", name="x.mp4")
            assert "ebm-web" not in visitor.event("error")["text"]
        visitor.send("source", number=0)
        visitor.event("state", source="walk.mp4")


def test_playing_an_upload_that_is_not_there_is_an_error(site: Any) -> None:
    with site.visitor() as visitor:
        visitor.send("upload", name="x.mp4")
        text = visitor.event("error")["text"]
        assert "ebm-web" not in text and text


def test_an_upload_beyond_the_limit_is_refused_by_its_length_and_by_its_bytes(site: Any) -> None:
    with site.visitor() as visitor:
        token = visitor.hello["token"]
        assert site.upload(token, bytes(200_001))[0] == 413
        head = (
            f"POST /upload HTTP/1.1\r\nHost: {site.at}\r\nOrigin: http://{site.at}\r\nX-Visitor: {token}\r\n"
            "Transfer-Encoding: chunked\r\n\r\n"
        )
        chunk = b"ffff\r\n" + bytes(0xFFFF) + b"\r\n"
        with socket.create_connection(("127.0.0.1", site.port), 30) as plain:
            plain.sendall(head.encode() + chunk * 4 + b"0\r\n\r\n")
            assert plain.recv(100).startswith(b"HTTP/1.1 413")
        folder = site.server.visitors[token].folder
        assert not [path for path in folder.iterdir() if path.name.startswith("upload")]


def test_an_upload_that_is_cut_off_leaves_the_earlier_one(site: Any) -> None:
    with site.visitor() as visitor:
        token = visitor.hello["token"]
        assert site.upload(token, encoded(5))[0] == 200
        head = (
            f"POST /upload HTTP/1.1\r\nHost: {site.at}\r\nOrigin: http://{site.at}\r\nX-Visitor: {token}\r\n"
            "Content-Length: 5000\r\n\r\n"
        )
        plain = socket.create_connection(("127.0.0.1", site.port), 30)
        plain.sendall(head.encode() + bytes(100))
        plain.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        plain.close()
        visitor.send("upload", name="x.mp4")
        assert visitor.event("state", source="x.mp4")["count"] == 5
