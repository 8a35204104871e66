"""Cameras made of pictures, over real sockets: motion JPEG and MPEG-TS over HTTP, H.264 over RTSP. Each can be cut and
comes back."""

from __future__ import annotations

import io
import socket
import struct
import threading
import time
from collections.abc import Callable, Iterator
from types import TracebackType
from typing import Any

import av
import numpy as np
import pytest
from PIL import Image

BITS = 22  # fit into the demo clip's 176 pixels
Frame = np.ndarray


def jpeg(frame: Frame) -> bytes:
    stream = io.BytesIO()
    Image.fromarray(frame).save(stream, "JPEG", quality=85)
    return stream.getvalue()


def stamped(frame: Frame, number: int) -> Frame:
    """A copy with a number in blocks of 8x8 along the lower edge, which JPEG and H.264 leave readable."""
    frame = frame.copy()
    for bit in range(BITS):
        frame[-8:, 8 * bit : 8 * bit + 8] = 255 * (number >> bit & 1)
    return frame


def stamp_of(frame: Frame) -> int:
    return sum(int(frame[-6:-2, 8 * bit + 2 : 8 * bit + 6].mean() > 128) << bit for bit in range(BITS))


class Server:
    """Plays frames at a pace of its own to whoever connects, as a camera does.

    The n-th frame since the start is due at n / ``frames_per_second``, whether anybody watches or not.
    """

    scheme, path = "http", "/camera"

    def __init__(self, frames_per_second: float) -> None:
        self.connections = 0
        self._connected: set[socket.socket] = set()
        self._lock = threading.Lock()
        self._period, self._start = 1 / frames_per_second, time.monotonic()
        self._listener = self._listen(0)
        self.port = int(self._listener.getsockname()[1])
        self.url = f"{self.scheme}://127.0.0.1:{self.port}{self.path}"

    def seconds_since(self, number: int) -> float:
        """How long ago the frame was due."""
        return time.monotonic() - self._start - number * self._period

    def serve(self, connection: socket.socket) -> None:
        """One connection, in its own thread; OSError ends it."""
        raise NotImplementedError

    def numbers(self) -> Iterator[int]:
        """The frames' numbers from now on, each when it is due."""
        while True:
            n = int((time.monotonic() - self._start) / self._period) + 1
            time.sleep(max(-self.seconds_since(n), 0))
            yield n

    def cut(self) -> None:
        """Every connection breaks and none can be made."""
        # Not close alone: a listener that another thread waits at would go on.
        with self._lock:
            for one in (self._listener, *self._connected):
                try:
                    one.shutdown(socket.SHUT_RDWR)
                except OSError:
                    continue  # was closed by the other side
            self._connected.clear()
        self._listener.close()

    def come_back(self) -> None:
        """The same address answers again."""
        self._listener = self._listen(self.port)

    def _listen(self, port: int) -> socket.socket:
        listener = socket.create_server(("127.0.0.1", port))
        threading.Thread(target=self._accept, args=(listener,), daemon=True).start()
        return listener

    def _accept(self, listener: socket.socket) -> None:
        while True:
            try:
                connection, _ = listener.accept()
            except OSError:
                return  # cut
            with self._lock:
                self.connections += 1
                self._connected.add(connection)
            threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, connection: socket.socket) -> None:
        try:
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self.serve(connection)
        except (OSError, av.FFmpegError):
            pass  # cut, or the other side has gone
        finally:
            with self._lock:
                self._connected.discard(connection)
            connection.close()

    def __enter__(self) -> Server:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.cut()


def request_of(reader: io.BufferedIOBase) -> tuple[str, dict[str, str]]:
    """The first line of an HTTP or RTSP request, and its headers in lower case. OSError when there is none."""
    lines = []
    while (line := reader.readline().decode("latin-1")).strip():
        lines.append(line.strip())
    if not lines:
        raise ConnectionError("no request")
    headers = (line.partition(":") for line in lines[1:])
    return lines[0], {name.strip().lower(): value.strip() for name, _, value in headers}


def answer_http(connection: socket.socket, kind: str) -> None:
    request_of(connection.makefile("rb"))
    connection.sendall(f"HTTP/1.1 200 OK\r\nContent-Type: {kind}\r\nConnection: close\r\n\r\n".encode())


class MjpegServer(Server):
    """``picture(n)`` gives the JPEG of the n-th frame, or None: the stream ends here."""

    path = "/camera.mjpg"

    def __init__(self, picture: Callable[[int], bytes | None], frames_per_second: float) -> None:
        self._picture = picture
        super().__init__(frames_per_second)

    def serve(self, connection: socket.socket) -> None:
        answer_http(connection, "multipart/x-mixed-replace; boundary=frame")
        for n in self.numbers():
            data = self._picture(n)
            if data is None:
                return
            head = f"--frame\r\nContent-Type: image/jpeg\r\nContent-Length: {len(data)}\r\n\r\n"
            connection.sendall(head.encode() + data + b"\r\n")


def add_h264(container: Any, frame: Frame, rate: int) -> Any:
    """A stream as cameras encode: no frames held back, a key frame every second or so."""
    options = {"preset": "ultrafast", "tune": "zerolatency", "crf": "16", "g": str(rate), "threads": "1"}
    stream = container.add_stream("libx264", rate=rate, options=options)
    stream.height, stream.width = frame.shape[:2]
    stream.pix_fmt = "yuv420p"
    return stream


class H264Server(Server):
    """``frame(n)``: the n-th frame, (H, W, 3) uint8 RGB."""

    def __init__(self, frame: Callable[[int], Frame], frames_per_second: int) -> None:
        if "libx264" not in av.codecs_available:
            pytest.skip("this PyAV cannot write H.264")
        self._frame, self._rate = frame, frames_per_second
        super().__init__(frames_per_second)

    def pictures(self) -> Iterator[Any]:
        first = None
        for n in self.numbers():
            first = n if first is None else first
            picture = av.VideoFrame.from_ndarray(self._frame(n), format="rgb24")
            picture.pts = n - first
            yield picture


class _Wire(io.RawIOBase):
    """A socket for PyAV to write to, as a pipe: nothing is sought."""

    def __init__(self, connection: socket.socket) -> None:
        self._connection = connection

    def writable(self) -> bool:
        return True

    def write(self, data: Any) -> int:
        self._connection.sendall(data)
        return len(data)


class TsServer(H264Server):
    """MPEG-TS over HTTP."""

    path = "/camera.ts"

    def serve(self, connection: socket.socket) -> None:
        answer_http(connection, "video/mp2t")
        options = {"flush_packets": "1", "muxdelay": "0"}
        container: Any = av.open(_Wire(connection), "w", format="mpegts", container_options=options)
        stream = add_h264(container, self._frame(0), self._rate)
        for picture in self.pictures():
            container.mux(stream.encode(picture))


class RtspServer(H264Server):
    """RTSP 1.0 (RFC 2326) with H.264 in RTP packets (RFC 6184) between the requests of the same connection."""

    scheme, path = "rtsp", "/camera"
    _SDP = (
        "v=0\r\no=- 0 0 IN IP4 127.0.0.1\r\ns=camera\r\nc=IN IP4 0.0.0.0\r\nt=0 0\r\na=control:*\r\n"
        "m=video 0 RTP/AVP 96\r\na=rtpmap:96 H264/90000\r\na=fmtp:96 packetization-mode=1\r\na=control:track1\r\n"
    )

    def serve(self, connection: socket.socket) -> None:
        reader, send_lock, playing = connection.makefile("rb"), threading.Lock(), False
        while True:
            line, headers = request_of(reader)
            method = line.split()[0]
            extra, body = "", b""
            if method == "OPTIONS":
                extra = "Public: OPTIONS, DESCRIBE, SETUP, PLAY, TEARDOWN, GET_PARAMETER\r\n"
            elif method == "DESCRIBE":
                body = self._SDP.encode()
                extra = f"Content-Type: application/sdp\r\nContent-Base: {self.url}/\r\n"
            elif method == "SETUP":
                extra = f"Transport: {headers['transport'].split(',')[0]}\r\n"
            answer = (
                f"RTSP/1.0 200 OK\r\nCSeq: {headers.get('cseq', '0')}\r\nSession: 1;timeout=60\r\n{extra}"
                f"Content-Length: {len(body)}\r\n\r\n"
            )
            with send_lock:
                connection.sendall(answer.encode() + body)
            if method == "TEARDOWN":
                return
            if method == "PLAY" and not playing:
                playing = True
                threading.Thread(target=self._play, args=(connection, send_lock), daemon=True).start()

    def _play(self, connection: socket.socket, send_lock: threading.Lock) -> None:
        # A container only because PyAV gives its streams an encoder; its own output goes nowhere.
        container: Any = av.open(io.BytesIO(), "w", format="h264")
        stream = add_h264(container, self._frame(0), self._rate)
        sequence = 0
        try:
            for picture in self.pictures():
                for packet in stream.encode(picture):
                    units = [unit for unit in bytes(packet).replace(b"\0\0\0\1", b"\0\0\1").split(b"\0\0\1") if unit]
                    for unit in units:
                        mark = 128 * (unit is units[-1])
                        clock = int(90_000 * picture.pts / self._rate)
                        head = struct.pack(">BBHII", 128, 96 | mark, sequence % 65536, clock, 1)
                        framed = struct.pack(">BBH", 0x24, 0, len(head) + len(unit)) + head + unit
                        with send_lock:
                            connection.sendall(framed)
                        sequence += 1
        except OSError:
            return  # cut, or the other side has gone
