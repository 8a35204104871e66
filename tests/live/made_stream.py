"""A camera made of pictures: an HTTP server of motion JPEG that can be cut and comes back."""

from __future__ import annotations

import io
import socket
import threading
import time
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any

import numpy as np
from PIL import Image

BITS = 40


def jpeg(frame: np.ndarray) -> bytes:
    stream = io.BytesIO()
    Image.fromarray(frame).save(stream, "JPEG", quality=85)
    return stream.getvalue()


def stamped(frame: np.ndarray, number: int) -> np.ndarray:
    """A copy with a number of 40 bits in blocks of 8x8 along the lower edge, which JPEG leaves readable."""
    frame = frame.copy()
    for bit in range(BITS):
        frame[-8:, 8 * bit : 8 * bit + 8] = 255 * (number >> bit & 1)
    return frame


def stamp_of(frame: np.ndarray) -> int:
    return sum(int(frame[-6:-2, 8 * bit + 2 : 8 * bit + 6].mean() > 128) << bit for bit in range(BITS))


class MjpegServer:
    """``picture(n)`` gives the JPEG of the n-th frame since the server's start, or None: the stream ends here."""

    def __init__(self, picture: Callable[[int], bytes | None], frames_per_second: float) -> None:
        self.connections = 0
        self._sockets: list[socket.socket] = []
        server = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                server.connections += 1
                server._sockets.append(self.connection)
                self.send_response(200)
                self.send_header("Content-Type", "multipart/x-mixed-replace; boundary=frame")
                self.end_headers()
                try:
                    server._play(self.wfile)
                except OSError:
                    return

            def log_message(self, *args: Any) -> None:
                return

        self._picture, self._period = picture, 1 / frames_per_second
        self._start = time.monotonic()
        self._handler = Handler
        self._http = self._listen(0)
        self.port = self._http.server_address[1]
        self.url = f"http://127.0.0.1:{self.port}/camera.mjpg"

    def _listen(self, port: int) -> ThreadingHTTPServer:
        http = ThreadingHTTPServer(("127.0.0.1", port), self._handler)
        http.daemon_threads = True
        threading.Thread(target=http.serve_forever, args=(0.05,), daemon=True).start()
        return http

    def _play(self, file: Any) -> None:
        while True:
            n = int((time.monotonic() - self._start) / self._period) + 1
            time.sleep(max(self._start + n * self._period - time.monotonic(), 0))
            data = self._picture(n)
            if data is None:
                return
            head = f"--frame\r\nContent-Type: image/jpeg\r\nContent-Length: {len(data)}\r\n\r\n"
            file.write(head.encode() + data + b"\r\n")
            file.flush()

    def cut(self) -> None:
        """Every connection breaks and none can be made."""
        self._http.shutdown()
        self._http.server_close()
        for connection in self._sockets:
            try:
                connection.shutdown(socket.SHUT_RDWR)
            except OSError:
                continue  # was closed by the other side
        self._sockets.clear()

    def come_back(self) -> None:
        self._http = self._listen(self.port)

    def __enter__(self) -> MjpegServer:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.cut()
