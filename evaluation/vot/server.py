"""The tracker's side of TraX: it is asked for frames, one after the other, and answers with boxes.

Our own instead of the vot-trax library: the protocol is a handful of lines, the library is GPL and a binary, and it
talks over the very stdout that anything imported may print to, which ends the session. Here the caller gives the
streams.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import BinaryIO

from ebm_tracker.evaluation.runner import Tracker
from ebm_tracker.evaluation.sequences import BoxXYWH
from ebm_tracker.evaluation.vot.messages import VERSION, Message, TraxError, format_message, parse_message
from ebm_tracker.evaluation.vot.regions import PolygonRule, format_region, image_path, parse_region
from ebm_tracker.version import __version__
from ebm_tracker.video import read_image


class TraxServer:
    """Serves one client until it quits.

    Args:
        requests, replies: the streams, unbuffered or flushed here.
        new_tracker: gives a tracker for an object.
        name: of the tracker.
        several_objects: whether more than one may be asked for.
        reuse: a second ``initialize`` makes a tracker as good as new, so those of a sequence serve the next one too.
        polygons: what box stands for a polygon. With HULL only rectangles are announced and the client makes them:
            vot-trax's turns masks into exact rectangles, but into polygons that miss a pixel on either axis.
    """

    def __init__(
        self,
        requests: BinaryIO,
        replies: BinaryIO,
        new_tracker: Callable[[], Tracker],
        name: str,
        *,
        several_objects: bool = False,
        reuse: bool = True,
        polygons: PolygonRule = PolygonRule.HULL,
    ) -> None:
        self._requests = requests
        self._replies = replies
        self._new_tracker = new_tracker
        self._name = name
        self._several = several_objects
        self._reuse = reuse
        self._polygons = polygons
        self._spare: list[Tracker] = []
        self._active: list[Tracker] = []

    def serve(self) -> None:
        """Greets, and answers until the client quits or has gone.

        Raises TraxError for what it cannot serve, and what the tracker raises; the client is told either way.
        """
        try:
            self._send(self._hello())
            self._answer_requests()
        except BrokenPipeError:
            return
        except Exception as error:
            self.quit(f"{type(error).__name__}: {error}")
            raise

    def quit(self, reason: str) -> None:
        """Tells the client that nothing more comes, and why."""
        try:
            self._send(Message("quit", (), {"trax.reason": " ".join(reason.split())[:500]}))
        except OSError:  # it has gone itself
            return

    def _hello(self) -> Message:
        area = self._polygons is PolygonRule.AREA
        named = {
            "trax.version": str(VERSION),
            "trax.name": self._name,
            "trax.description": f"ebm-tracker {__version__}: boxes, no masks",
            "trax.image": "path;",
            "trax.region": "rectangle;polygon;" if area else "rectangle;",
            "trax.channels": "color;",
        }
        if self._several:
            named["trax.multiobject"] = "1"
        return Message("hello", (), named)

    def _answer_requests(self) -> None:
        waiting: list[BoxXYWH] = []
        for line in iter(self._requests.readline, b""):
            message = parse_message(line.decode("utf-8", errors="surrogateescape"))
            if message is None:
                continue
            if message.name == "quit":
                return
            if message.name == "initialize":
                if not message.arguments or not self._several:  # without a region: a new sequence begins
                    self._spare += self._active if self._reuse else []
                    self._active, waiting = [], []
                waiting += [parse_region(region, self._polygons) for region in message.arguments[:1]]
            elif message.name == "frame":
                self._answer_frame(message, waiting)
                waiting = []
            else:
                raise TraxError(f"the client sent {message.name!r}, which is none of initialize, frame and quit")

    def _answer_frame(self, message: Message, waiting: list[BoxXYWH]) -> None:
        if not message.arguments or not (self._active or waiting):
            raise TraxError("the client sent a frame without an image, or without an object to track")
        path = image_path(message.arguments[0])
        frame = read_image(path)
        states = []
        for tracker in self._active:
            out = tracker.track(frame)
            states.append(_state(out.box_xywh, out.score))
        for box_xywh in waiting:
            if frame is None:
                raise TraxError(f"the first frame {path} cannot be decoded")
            tracker = self._spare.pop() if self._spare else self._new_tracker()
            tracker.initialize(frame, box_xywh)
            self._active.append(tracker)
            states.append(_state(box_xywh, 1.0))
        self._send(*states)

    def _send(self, *messages: Message) -> None:
        text = "".join(format_message(message) for message in messages)
        self._replies.write(text.encode("utf-8", errors="surrogateescape"))
        self._replies.flush()


def _state(box_xywh: BoxXYWH, confidence: float) -> Message:
    return Message("state", (format_region(box_xywh),), {"confidence": f"{confidence:.6f}"})
