"""A virtual screen and a real mouse and keyboard on it."""

from __future__ import annotations

import os
import random
import select
import shutil
import subprocess
import time
from types import TracebackType

import pytest

Point = tuple[int, int]


def missing_tools() -> str:
    lacking = [name for name in ("Xvfb", "xdotool") if shutil.which(name) is None]
    return f"not installed: {' and '.join(lacking)}" if lacking else ""


class Screen:
    """Xvfb. ``xdo``: one command of xdotool. Skips the test where no server starts."""

    def __init__(self, size_wh: Point = (1400, 900)) -> None:
        self.size_wh = size_wh
        # Not -displayfd: a server that took the number of one that had just ended was there without its socket, in a
        # container, 34 times of 40.
        for number in random.Random(os.getpid() + time.monotonic_ns()).sample(range(100, 9000), 5):
            self.environment = {**os.environ, "DISPLAY": f":{number}", "OMP_WAIT_POLICY": "passive"}
            self.environment.pop("SDL_VIDEODRIVER", None)
            size = f"{size_wh[0]}x{size_wh[1]}x24"
            command = ["Xvfb", f":{number}", "-screen", "0", size, "-nolisten", "tcp", "-noreset"]
            self._server = subprocess.Popen(command, stderr=subprocess.DEVNULL)
            if self._answers(10.0):
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
        self._server.terminate()
        self._server.wait(10)

    def xdo(self, *words: object) -> str:
        command = ["xdotool", *map(str, words)]
        return subprocess.run(command, env=self.environment, capture_output=True, text=True, check=True).stdout

    def drag(self, start: Point, end: Point) -> None:
        middle = ((start[0] + end[0]) // 2, (start[1] + end[1]) // 2)
        self.xdo("mousemove", *start, "mousedown", 1)
        time.sleep(0.15)
        self.xdo("mousemove", *middle)
        time.sleep(0.1)
        self.xdo("mousemove", *end)
        time.sleep(0.15)
        self.xdo("mouseup", 1)

    def window_at(self, timeout: float = 60.0) -> Point:
        """The top-left corner of the one window, once it is there: the largest but for the root."""
        end = time.monotonic() + timeout
        while time.monotonic() < end:
            found = subprocess.run(
                ["xdotool", "search", "--onlyvisible", "--class", "."],
                env=self.environment,
                capture_output=True,
                text=True,
            ).stdout.split()
            for window in found:
                words = self.xdo("getwindowgeometry", "--shell", window).split()
                shown = {key: int(value) for key, value in (word.split("=") for word in words)}
                if 100 < shown["WIDTH"] < self.size_wh[0]:
                    return shown["X"], shown["Y"]
            time.sleep(0.2)
        raise AssertionError(f"no window within {timeout:.0f} s")


class Console:
    """The lines that a command prints, awaited one by one."""

    def __init__(self, command: list[str], environment: dict[str, str]) -> None:
        environment = {**environment, "PYTHONUNBUFFERED": "1", "COLUMNS": "400"}
        self.process = subprocess.Popen(
            command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL
        )
        self.text = ""
        self._seen = 0

    def wait_for(self, words: str, timeout: float = 60.0) -> str:
        """The rest of the next line that holds the words."""
        assert self.process.stdout is not None
        end = time.monotonic() + timeout
        while words not in self.text[self._seen :] or "\n" not in self.text[self.text.index(words, self._seen) :]:
            left = end - time.monotonic()
            ready, _, _ = select.select([self.process.stdout], [], [], max(left, 0))
            data = os.read(self.process.stdout.fileno(), 4096) if ready else b""
            assert data, f"{words!r} did not come:\n{self.text}"
            self.text += data.decode()
        start = self.text.index(words, self._seen) + len(words)
        self._seen = self.text.index("\n", start)
        return self.text[start : self._seen]

    def rest(self) -> str:
        """What came after the last line awaited, of a process that has ended."""
        assert self.process.stdout is not None
        return self.process.stdout.read().decode()
