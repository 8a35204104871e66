"""The blocks that users of pytracking know, on a visdom server: tracking image, score map, status, box energies.

A thread of its own sends them: whatever the server does, tracking goes on. Frames that come while it sends are passed
over. A server that cannot be reached is one line in the log, and nothing is sent any more.
"""

from __future__ import annotations

import html
import logging
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ebm_tracker.drawing import annotate
from ebm_tracker.errors import EbmError
from ebm_tracker.frames import RgbFrame
from ebm_tracker.tracking import TrackOutput
from ebm_tracker.tracking.tracker import FrameDetails

DEFAULT_PORT = 8097
ENVIRONMENT = "ebm"
ADVICE = (
    "start one by `visdom`; without internet that command fails at its first start, because it fetches its page's"
    " scripts from the net: start it once on a machine that has internet and copy visdom's folder `static`"
)
_SCORE_SIDE = 72  # cells of the score map that are sent, of 288
_LOG = logging.getLogger(__name__)


class VisdomError(EbmError):
    """The address is none, or visdom is not installed."""


@dataclass(frozen=True)
class _Blocks:
    """One frame's contents, on the CPU and owned by nobody else."""

    picture: RgbFrame
    status: str
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
        self._waiting: _Blocks | None = None
        self._failed = self._closed = False
        self._condition = threading.Condition()
        self._thread = threading.Thread(target=self._send_all, name="visdom", daemon=True)
        self._thread.start()

    @property
    def failed(self) -> bool:
        """Whether the server could not be reached, after which nothing is sent."""
        return self._failed

    def show(
        self,
        frame: RgbFrame | None,
        index: int,
        outputs: Mapping[Any, TrackOutput],
        details: Mapping[Any, FrameDetails],
    ) -> None:
        """Offers one frame; it is passed over while another waits, and when the server has failed.

        ``outputs`` and ``details``: by object, the latter may lack any.
        """
        if frame is None or self._failed or self._closed or self._waiting is not None:
            return
        blocks = _blocks(frame, index, outputs, details)
        with self._condition:
            self._waiting = blocks
            self._condition.notify()

    def close(self, timeout: float = 2.0) -> None:
        """Sends what waits, for at most ``timeout`` seconds."""
        with self._condition:
            self._closed = True
            self._condition.notify()
        self._thread.join(timeout)

    def __enter__(self) -> VisdomView:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def _send_all(self) -> None:
        try:
            client = self._connect(self.host, self.port)
            while True:
                with self._condition:
                    self._condition.wait_for(lambda: self._waiting is not None or self._closed)
                    blocks = self._waiting
                    if blocks is None:
                        return
                _send(client, blocks)
                self._waiting = None
        except Exception as error:  # noqa: BLE001  (whatever a client throws: tracking does not depend on it)
            self._failed = True
            reason = (str(error).splitlines() or [""])[0][:200] or type(error).__name__
            _LOG.warning("no visdom server at %s:%d, it is left out (%s); %s", self.host, self.port, reason, ADVICE)


def parse_address(address: str) -> tuple[str, int]:
    """Host and port of "HOST:PORT", either may be missing. Raises VisdomError."""
    host, _, port = address.partition(":")
    if port and not (port.isdecimal() and 0 < int(port) < 65536):
        raise VisdomError(f"visdom's address must be HOST:PORT such as localhost:8097 (got {address!r})")
    return host or "localhost", int(port or DEFAULT_PORT)


def _require_visdom() -> None:
    import importlib.util

    if importlib.util.find_spec("visdom") is None:
        raise VisdomError("visdom is not installed: pip install 'ebm-tracker[visdom]'")


def _client(host: str, port: int) -> Any:
    import visdom

    # Its own log repeats every failure with a traceback.
    logging.getLogger("visdom").setLevel(logging.CRITICAL)
    return visdom.Visdom(
        server=f"http://{host}", port=port, env=ENVIRONMENT, use_incoming_socket=False, raise_exceptions=True
    )


def _blocks(
    frame: RgbFrame, index: int, outputs: Mapping[Any, TrackOutput], details: Mapping[Any, FrameDetails]
) -> _Blocks:
    picture, rows = frame, []
    for key, output in outputs.items():
        picture = annotate(picture, output.box_xywh, output.status.value, output.score, index)
        box = " ".join(f"{value:.1f}" for value in output.box_xywh)
        cells = (str(key), output.status.value, f"{output.score:.2f}", box)
        rows.append("".join(f"<td>{html.escape(cell)}</td>" for cell in cells))
    head = "".join(f"<th>{name}</th>" for name in ("object", "status", "score", "x y w h"))
    body = "".join(f"<tr>{row}</tr>" for row in rows)
    status = f"<p>frame {index}</p><table><tr>{head}</tr>{body}</table>"
    scores, energies = {}, {}
    for key, found in details.items():
        step = max(found.scores.shape[-1] // _SCORE_SIDE, 1)
        scores[key] = found.scores[::step, ::step].float().cpu().numpy().copy()
        if found.climb is not None:
            energies[key] = found.climb.energies.float().cpu().numpy().copy()
    return _Blocks(np.array(picture), status, scores, energies)


def _send(client: Any, blocks: _Blocks) -> None:
    client.image(
        blocks.picture.transpose(2, 0, 1), win="tracking", opts={"title": "Tracking", "jpgquality": 85}
    )
    client.text(blocks.status, win="status", opts={"title": "Status"})
    for key, scores in blocks.scores.items():
        title = f"Score Map {key}".strip()
        # plotly draws row 0 at the bottom
        client.heatmap(scores[::-1], win=f"score_map_{key}", opts={"title": title, "colormap": "Viridis"})
    for key, energies in blocks.energies.items():
        client.bar(energies, win=f"energies_{key}", opts={"title": f"Box Energies {key}".strip()})
