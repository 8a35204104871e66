"""The blocks that users of pytracking know, on a visdom server: tracking image, score map, status, box energies.

A thread of its own draws and sends them: whatever the server does, tracking goes on. Ten frames a second are shown at
most, and none while one is being sent. A server that cannot be reached, hangs or goes away is one line in the log.
"""

from __future__ import annotations

import html
import logging
import sys
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ebm_tracker.drawing import annotate
from ebm_tracker.errors import EbmError, one_line
from ebm_tracker.frames import RgbFrame
from ebm_tracker.live.picture import draw_objects
from ebm_tracker.tracking import TrackOutput
from ebm_tracker.tracking.tracker import FrameDetails

DEFAULT_PORT = 8097
ENVIRONMENT = "ebm"
PATIENCE_S = 5.0
"""A server that takes longer for one frame is said to hang; it gets the next frame when it is done."""
INSTALL = "pip install 'ebm-tracker[visdom]'"
OLD_INSTALL = "pip install 'setuptools<81' wheel && pip install --no-build-isolation visdom 'tornado<6.6'"
"""Before Python 3.12: the release for it is a source archive that later setuptools cannot build."""
ADVICE = (
    "start one by `visdom`. Its page needs tornado < 6.6, and scripts that the first start fetches from the internet:"
    " without internet, copy visdom's folder `static` from a machine where that has been done"
)
_INTERVAL_S = 0.1  # between two frames sent, at least: drawing and sending takes time from the tracker
_PICTURE_SIDE = 640  # pixels, at most
_SCORE_SIDE = 72  # cells of the score map that are sent, of 288
_STATUS_SIZE = {"width": 420, "height": 200}
_LOG = logging.getLogger(__name__)


class VisdomError(EbmError):
    """The address is none, or visdom is not installed."""


@dataclass(frozen=True)
class _Shown:
    """One frame, on the CPU and owned by nobody else."""

    frame: RgbFrame
    index: int
    outputs: Mapping[Any, TrackOutput]
    scores: Mapping[Any, NDArray[np.float32]]
    energies: Mapping[Any, NDArray[np.float32]]


class VisdomView:
    """Shows tracked frames on a visdom server; ``show`` never waits for it. A context manager.

    ``address``: "HOST:PORT", "HOST" or ":PORT"; ``connect``: makes the client, for tests.

    Raises VisdomError for an address that is none, or when visdom is not installed.
    """

    def __init__(self, address: str = "", connect: Callable[[str, int], Any] | None = None) -> None:
        self.host, self.port = parse_address(address)
        self._connect = connect or _client
        if connect is None:
            _require_visdom()
        self._waiting: _Shown | None = None
        self._since = 0.0  # when the one that waits came
        self._sent = 0
        self._failed = self._closed = self._said = False
        self._condition = threading.Condition()
        self._thread = threading.Thread(target=self._send_all, name="visdom", daemon=True)
        self._thread.start()

    @property
    def failed(self) -> bool:
        """Whether the server could not be reached or went away, after which nothing is sent."""
        return self._failed

    @property
    def sent(self) -> int:
        """How many frames the server has taken."""
        return self._sent

    def show(
        self,
        frame: RgbFrame | None,
        index: int,
        outputs: Mapping[Any, TrackOutput],
        details: Mapping[Any, FrameDetails],
    ) -> None:
        """Offers one frame; it is passed over while it is not time for one, and when the server has failed.

        ``outputs`` and ``details``: by object, the latter may lack any.
        """
        if frame is None or self._failed or self._closed:
            return
        if self._waiting is not None:
            if time.monotonic() - self._since > PATIENCE_S:
                self._say("does not answer; tracking goes on")
            return
        shown = _shown(frame, index, outputs, details)
        with self._condition:
            self._waiting, self._since = shown, time.monotonic()
            self._condition.notify()

    def close(self, timeout: float = 2.0) -> None:
        """Sends what waits, for at most ``timeout`` seconds."""
        with self._condition:
            self._closed = True
            self._condition.notify()
        self._thread.join(timeout)
        if self._thread.is_alive():
            self._say("does not answer; not all frames were shown")

    def __enter__(self) -> VisdomView:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def _send_all(self) -> None:
        try:
            client = self._connect(self.host, self.port)
            client.close(env=ENVIRONMENT)  # what an earlier run left would pass for this one's
            panes: dict[str, Any] = {}
            while True:
                with self._condition:
                    self._condition.wait_for(lambda: self._waiting is not None or self._closed)
                    shown = self._waiting
                    if shown is None:
                        return
                _send(client, shown, panes)
                self._sent += 1
                with self._condition:
                    rest = self._since + _INTERVAL_S - time.monotonic()
                    self._condition.wait_for(lambda: self._closed, max(rest, 0.0))
                    self._waiting = None
        except Exception as error:  # noqa: BLE001  (whatever a client throws: tracking does not depend on it)
            self._failed = True
            self._say(f"is {'gone' if self._sent else 'not there'}, it is left out ({one_line(error)[:200]}); {ADVICE}")

    def _say(self, what: str) -> None:
        """One line in all."""
        with self._condition:
            said, self._said = self._said, True
        if not said:
            _LOG.warning("visdom server at %s:%d %s", self.host, self.port, what)


def parse_address(address: str) -> tuple[str, int]:
    """Host and port of "HOST:PORT", either may be missing. Raises VisdomError."""
    host, _, port = address.partition(":")
    if port and not (port.isdecimal() and 0 < int(port) < 65536):
        raise VisdomError(f"visdom's address must be HOST:PORT such as localhost:8097 (got {address!r})")
    return host or "localhost", int(port or DEFAULT_PORT)


def _require_visdom() -> None:
    import importlib.util

    if importlib.util.find_spec("visdom") is None:
        raise VisdomError(f"visdom is not installed: {INSTALL if sys.version_info >= (3, 12) else OLD_INSTALL}")


def _client(host: str, port: int) -> Any:
    import visdom

    # Its own log repeats every failure with a traceback.
    logging.getLogger("visdom").setLevel(logging.CRITICAL)
    return visdom.Visdom(
        server=f"http://{host}", port=port, env=ENVIRONMENT, use_incoming_socket=False, raise_exceptions=True
    )


def _shown(
    frame: RgbFrame, index: int, outputs: Mapping[Any, TrackOutput], details: Mapping[Any, FrameDetails]
) -> _Shown:
    scores, energies = {}, {}
    for key, found in details.items():
        step = max(found.scores.shape[-1] // _SCORE_SIDE, 1)
        scores[key] = found.scores[::step, ::step].float().cpu().numpy().copy()
        if found.climb is not None:
            energies[key] = found.climb.energies.float().cpu().numpy().copy()
    return _Shown(np.array(frame), index, dict(outputs), scores, energies)


def _picture(shown: _Shown) -> RgbFrame:
    """The frame with its boxes, made smaller if it is large."""
    scale = min(1.0, _PICTURE_SIDE / max(shown.frame.shape[:2]))
    if len(shown.outputs) == 1:
        (output,) = shown.outputs.values()
        return annotate(shown.frame, output.box_xywh, output.status.value, output.score, shown.index, scale=scale)
    return draw_objects(shown.frame, shown.outputs, scale)


def _status(shown: _Shown) -> str:
    """A table as HTML, a row per object."""
    rows = []
    for key, output in shown.outputs.items():
        box = " ".join(f"{value:.1f}" for value in output.box_xywh)
        rows.append((str(key), output.status.value, f"{output.score:.2f}", box))
    head = "".join(f"<th>{name}</th>" for name in ("object", "status", "score", "x y w h"))
    body = "".join("<tr>" + "".join(f"<td>{html.escape(cell)}</td>" for cell in row) + "</tr>" for row in rows)
    style = "border-collapse: separate; border-spacing: 12px 2px; white-space: nowrap"
    return f'<p>frame {shown.index}</p><table style="{style}"><tr>{head}</tr>{body}</table>'


def _send(client: Any, shown: _Shown, panes: dict[str, Any]) -> None:
    """Sends one frame. ``panes``: the objects' panes by name with the object's id, which it keeps; those of objects
    that are gone are closed."""
    picture = _picture(shown).transpose(2, 0, 1)
    client.image(picture, win="tracking", opts={"title": "Tracking", "jpgquality": 85})
    client.text(_status(shown), win="status", opts={"title": "Status", **_STATUS_SIZE})
    for key, scores in shown.scores.items():
        options = {"title": f"Score Map {key}".strip(), "colormap": "Viridis"}
        panes[f"score_map_{key}"] = key
        client.heatmap(scores[::-1], win=f"score_map_{key}", opts=options)  # plotly draws row 0 at the bottom
    for key, energies in shown.energies.items():
        panes[f"energies_{key}"] = key
        # Energies have no zero: bars from 0 would all look the same.
        low, high = float(energies.min()), float(energies.max())
        margin = max(0.25 * (high - low), 0.05)
        scale = {"ytickmin": low - margin, "ytickmax": high + margin}
        client.bar(energies, win=f"energies_{key}", opts={"title": f"Box Energies {key}".strip(), **scale})
    for pane in [pane for pane, key in panes.items() if key not in shown.outputs]:
        client.close(win=pane)
        del panes[pane]
