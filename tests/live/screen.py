"""A virtual screen and a real mouse and keyboard on it."""

from __future__ import annotations

import os
import random
import select
import shutil
import subprocess
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
import pytest

Point = tuple[int, int]
PATIENCE_S = 120.0  # for what takes a second on a machine with nothing else to do


def missing_tools() -> str:
    lacking = [name for name in ("Xvfb", "xdotool") if shutil.which(name) is None]
    return f"not installed: {' and '.join(lacking)}" if lacking else ""


class Screen:
    """Xvfb. ``xdo``: one command of xdotool; ``pixels``: what is to be seen. Skips the test where no server starts."""

    def __init__(self, size_wh: Point = (1400, 900)) -> None:
        self.size_wh = size_wh
        self._folder = tempfile.TemporaryDirectory(prefix="ebm-screen-")
        # Not -displayfd: a server that took the number of one that had just ended was there without its socket, in a
        # container, 34 times of 40.
        for number in random.Random(os.getpid() + time.monotonic_ns()).sample(range(100, 9000), 5):
            self.environment = {**os.environ, "DISPLAY": f":{number}", "OMP_WAIT_POLICY": "passive"}
            self.environment.pop("SDL_VIDEODRIVER", None)
            self.environment.pop("WAYLAND_DISPLAY", None)
            size = f"{size_wh[0]}x{size_wh[1]}x24"
            command = ["Xvfb", f":{number}", "-screen", "0", size, "-nolisten", "tcp", "-noreset"]
            self._server = subprocess.Popen([*command, "-fbdir", self._folder.name], stderr=subprocess.DEVNULL)
            if self._answers(30.0):
                return
            self._server.kill()
            self._server.wait()
        pytest.skip("Xvfb does not start here")

    def _answers(self, timeout: float) -> bool:
        end = time.monotonic() + timeout
        while time.monotonic() < end and self._server.poll() is None:
            asked = subprocess.run(["xdotool", "getmouselocation"], env=self.environment, capture_output=True)
            if asked.returncode == 0:
                return True
            time.sleep(0.1)
        return False

    def __enter__(self) -> Screen:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.kill()
        self._server.wait()
        self._folder.cleanup()

    def xdo(self, *words: object) -> str:
        command = ["xdotool", *map(str, words)]
        return subprocess.run(command, env=self.environment, capture_output=True, text=True, check=True).stdout

    def pixels(self) -> np.ndarray:
        """(H, W, 3) uint8 RGB: the server keeps its screen in a file, as X's window dump (XWD, version 7)."""
        data = np.fromfile(Path(self._folder.name, "Xvfb_screen0"), np.uint8)
        head = data[:100].view(">u4")
        width, height, line, colors = (int(head[at]) for at in (4, 5, 12, 19))
        start = int(head[0]) + 12 * colors
        rows = data[start : start + line * height].reshape(height, line)[:, : 4 * width]
        return np.ascontiguousarray(rows.reshape(height, width, 4)[:, :, 2::-1])

    def wait_for(self, condition: Callable[[np.ndarray], Any], what: str) -> np.ndarray:
        """The first picture of the screen that meets the condition."""
        end = time.monotonic() + PATIENCE_S
        while time.monotonic() < end:
            pixels = self.pixels()
            if condition(pixels):
                return pixels
            time.sleep(0.05)
        raise AssertionError(f"the screen did not show {what} within {PATIENCE_S:.0f} s")

    def wait_for_changes(self, count: int, left: int, top: int, size_wh: Point) -> None:
        """Until the picture in that part of the screen has changed so many times."""
        part = np.s_[top : top + size_wh[1], left : left + size_wh[0]]
        last = self.pixels()[part]
        for n in range(count):
            what = f"the picture to change {count} times (did {n} times)"
            last = self.wait_for(lambda pixels, last=last: (pixels[part] != last).any(), what)[part]  # type: ignore[misc]

    def drag(self, start: Point, end: Point) -> None:
        """Events reach the window in this order, however late."""
        middle = ((start[0] + end[0]) // 2, (start[1] + end[1]) // 2)
        self.xdo("mousemove", *start, "mousedown", 1, "mousemove", *middle, "mousemove", *end, "mouseup", 1)

    def window_at(self) -> Point:
        """The top-left corner of the one window, once it shows something: the largest but for the root."""
        end = time.monotonic() + PATIENCE_S
        while time.monotonic() < end:
            found = subprocess.run(
                ["xdotool", "search", "--onlyvisible", "--class", "."],
                env=self.environment,
                capture_output=True,
                text=True,
            ).stdout.split()
            for window in found:
                asked = subprocess.run(
                    ["xdotool", "getwindowgeometry", "--shell", window],
                    env=self.environment,
                    capture_output=True,
                    text=True,
                )
                shown = {key: int(value) for key, value in (word.split("=") for word in asked.stdout.split())}
                if asked.returncode == 0 and 100 < shown["WIDTH"] < self.size_wh[0]:
                    x, y = shown["X"], shown["Y"]
                    inside = np.s_[y : y + shown["HEIGHT"], x : x + shown["WIDTH"]]
                    self.wait_for(lambda pixels, part=inside: pixels[part].std() > 5, "the window's picture")  # type: ignore[misc]
                    return x, y
            time.sleep(0.2)
        raise AssertionError(f"no window within {PATIENCE_S:.0f} s")


class Console:
    """The lines that a command prints, awaited one by one."""

    def __init__(self, command: list[str], environment: dict[str, str]) -> None:
        environment = {**environment, "PYTHONUNBUFFERED": "1", "COLUMNS": "400"}
        self.process = subprocess.Popen(
            command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL
        )
        self.text = ""
        self._seen = 0

    def wait_for(self, words: str, timeout: float = PATIENCE_S) -> str:
        """The rest of the next line that holds the words."""
        assert self.process.stdout is not None
        end = time.monotonic() + timeout
        while words not in self.text[self._seen :] or "\n" not in self.text[self.text.index(words, self._seen) :]:
            left = end - time.monotonic()
            ready, _, _ = select.select([self.process.stdout], [], [], max(left, 0))
            data = os.read(self.process.stdout.fileno(), 4096) if ready else b""
            assert data, f"{words!r} did not come within {timeout:.0f} s:\n{self.text}"
            self.text += data.decode()
        start = self.text.index(words, self._seen) + len(words)
        self._seen = self.text.index("\n", start)
        return self.text[start : self._seen]

    def rest(self) -> str:
        """What came after the last line awaited, of a process that has ended."""
        assert self.process.stdout is not None
        return self.process.stdout.read().decode()
