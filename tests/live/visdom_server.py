"""A real visdom server, a process of its own."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

WITHOUT_SCRIPTS = ("-c", "from visdom.server.run_server import main; main()")
COMMAND = ("-m", "visdom.server")
START_S = 90.0


@dataclass
class Server:
    """``log``: what it prints."""

    process: subprocess.Popen[bytes]
    port: int
    log: Path


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextmanager
def running(arguments: Sequence[str], folder: Path, environment: Mapping[str, str] | None = None) -> Iterator[Server]:
    """``arguments``: of the interpreter; ``folder``: for its state. Raises RuntimeError when it does not start."""
    port, log = free_port(), folder / "visdom.log"
    command = [sys.executable, *arguments, "-port", str(port), "-env_path", str(folder / "envs"), "-bind_local"]
    with log.open("wb") as output:
        process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=output, stderr=output, env={**os.environ, **(environment or {})}
        )
    try:
        _await(process, port, log)
        yield Server(process, port, log)
    finally:
        process.terminate()
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _await(process: subprocess.Popen[bytes], port: int, log: Path) -> None:
    end = time.monotonic() + START_S
    while process.poll() is None and time.monotonic() < end:
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
            return
        except OSError:
            time.sleep(0.1)
    raise RuntimeError(f"visdom's server does not start: {log.read_text(errors='replace')[-2000:]}")
