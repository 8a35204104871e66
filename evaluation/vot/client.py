"""The evaluator's side of TraX, as far as a check of a tracker needs it: one process, one object."""

from __future__ import annotations

import subprocess
import threading
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from types import TracebackType

from ebm_tracker.evaluation.sequences import BoxXYWH
from ebm_tracker.evaluation.vot.messages import Message, TraxError, format_message, parse_message
from ebm_tracker.evaluation.vot.regions import format_region, parse_region


class TraxClient:
    """Starts a tracker's process and greets it; as a context manager it ends the process.

    Args:
        command: the program and its arguments.
        timeout_s: the most that one answer may take, the greeting included.
        environment: None: the process's own.

    Raises TraxError when no greeting comes, with what the process printed.
    """

    def __init__(
        self, command: Sequence[str], timeout_s: float = 60.0, environment: Mapping[str, str] | None = None
    ) -> None:
        self._timeout_s = timeout_s
        self._printed: list[str] = []
        try:
            self._process = subprocess.Popen(
                list(command),
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                env=None if environment is None else dict(environment),
            )
        except OSError as error:
            raise TraxError(f"{command[0]} cannot be started ({error.strerror})") from error
        try:
            self.greeting = self._wait_for("hello")
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> TraxClient:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    @property
    def printed(self) -> str:
        """What the process printed besides its messages."""
        return "".join(self._printed)

    def initialize(self, image: Path, box_xywh: BoxXYWH) -> tuple[BoxXYWH, float]:
        """Begins a sequence; returns box and confidence of the answer."""
        self._send(Message("initialize"), Message("initialize", (format_region(box_xywh),)))
        return self.frame(image)

    def frame(self, image: Path) -> tuple[BoxXYWH, float]:
        """Sends the next frame; returns box and confidence of the answer."""
        self._send(Message("frame", (f"file://{image.absolute()}",)))
        state = self._wait_for("state")
        if len(state.arguments) != 1 or "confidence" not in state.named:
            raise TraxError(f"an answer must be one region and its confidence (got {format_message(state).strip()})")
        return parse_region(state.arguments[0]), float(state.named["confidence"])

    def close(self) -> int:
        """Asks the process to quit, ends it if it does not within 5 s, and returns its exit code."""
        if self._process.poll() is None:
            with suppress(TraxError):  # it may be on its way out
                self._send(Message("quit"))
            try:
                self._process.wait(5)
            except subprocess.TimeoutExpired:
                self._process.kill()
        for stream in (self._process.stdin, self._process.stdout):
            if stream is not None:
                try:
                    stream.close()
                except BrokenPipeError:  # what was buffered has nobody to read it
                    continue
        return self._process.wait()

    def _send(self, *messages: Message) -> None:
        assert self._process.stdin is not None
        try:
            self._process.stdin.write("".join(map(format_message, messages)).encode("utf-8"))
            self._process.stdin.flush()
        except OSError as error:
            raise TraxError(f"the tracker has gone{self._said()}") from error

    def _wait_for(self, name: str) -> Message:
        assert self._process.stdout is not None
        # Ending the process is the one way to end a read that waits, on every system.
        watchdog = threading.Timer(self._timeout_s, self._process.kill)
        watchdog.start()
        try:
            for line in iter(self._process.stdout.readline, b""):
                text = line.decode("utf-8", errors="replace")
                message = parse_message(text)
                if message is None:
                    self._printed.append(text)
                elif message.name == name:
                    return message
                else:
                    reason = message.named.get("trax.reason", "without a reason")
                    raise TraxError(f"the tracker sent {message.name!r} instead of {name!r}: {reason}{self._said()}")
        finally:
            late = not watchdog.is_alive()
            watchdog.cancel()
        why = f"did not answer within {self._timeout_s:g} s" if late else "ended without an answer"
        raise TraxError(f"the tracker {why}{self._said()}")

    def _said(self) -> str:
        last = " | ".join(self.printed.split("\n")[-6:]).strip(" |")
        return f"; it printed: {last}" if last else ""
