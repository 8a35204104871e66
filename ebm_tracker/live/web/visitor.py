"""One open page: its source, its objects and its thread."""

from __future__ import annotations

import logging
import math
import queue
import secrets
import shutil
import tempfile
import threading
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from ebm_tracker.errors import EbmError, VideoError, one_line
from ebm_tracker.frames import RgbFrame
from ebm_tracker.live.picture import id_color
from ebm_tracker.live.session import LiveFrame, LiveSession, ObjectsTracker
from ebm_tracker.live.sources import Grabbed
from ebm_tracker.live.web.feeds import Feed, FeedFrame, FileFeed, NewestFeed
from ebm_tracker.live.web.outbox import Outbox
from ebm_tracker.live.web.pictures import from_jpeg, to_jpeg
from ebm_tracker.live.web.recording import Recording
from ebm_tracker.live.web.settings import WebLimits
from ebm_tracker.live.web.sources import ServerSources
from ebm_tracker.live.web.tracking import TrackingEngine
from ebm_tracker.live.web.uploads import UploadedVideo
from ebm_tracker.video import DEFAULT_FPS

_WAIT_S = 0.1  # how long the thread sleeps before it looks for commands again
_COMMANDS = 64  # a page that sends more at once is not ours
_DENSITY_GRID = {True: 32, False: 64}  # while frames run, and on a frame that stands


class Visitor:
    """Everything of one page; ``close`` frees all of it.

    Commands come from the server's loop through ``command`` and ``camera_picture``, which return at once; all work is
    done in a thread of the visitor's own, tracker steps in the engine's.
    """

    def __init__(self, engine: TrackingEngine, sources: ServerSources, outbox: Outbox, limits: WebLimits) -> None:
        self.token = secrets.token_urlsafe(24)
        self.folder = Path(tempfile.mkdtemp(prefix="ebm-web-"))
        self.upload_path, self.part_path = self.folder / "upload", self.folder / "upload.part"
        self.recording = Recording(self.folder, limits.recording_bytes)
        self.source_name = ""
        self.frames_per_second: float | None = None
        self.uploading = False
        self._one_video = threading.Lock()
        self._engine, self._sources, self._outbox, self._limits = engine, sources, outbox, limits
        self._is_playing, self._is_held, self._at_full_speed = False, False, False
        self._commands: queue.Queue[Mapping[str, Any]] = queue.Queue(_COMMANDS)
        self._gone = threading.Event()
        self._session = self._new_session()
        self._reopen: Callable[[], Feed] | None = None
        self._feed: Feed | None = None
        self._camera: NewestFeed | None = None
        self._jpeg = b""
        self._bad = 0
        self._told_status = ""
        self._stamp: int | None = None
        self._due_s = 0.0
        self._density_id: int | None = None
        self._thread = threading.Thread(target=self._work, name="ebm-web-visitor", daemon=True)
        self._thread.start()

    # From the server's loop --------------------------------------------------------------------------------------

    def command(self, message: Mapping[str, Any]) -> bool:
        """Queues a command; False when the page sends more than is ever needed."""
        try:
            self._commands.put_nowait(message)
        except queue.Full:
            return False
        return True

    def camera_picture(self, data: bytes) -> None:
        """A frame of the visitor's own camera: four bytes that come back with it, then a JPEG."""
        camera = self._camera
        if camera is not None and len(data) > 4:
            camera.put(data[4:], int.from_bytes(data[:4], "little"))

    def leave(self) -> None:
        """Tells the thread to end; ``close`` waits for it."""
        self._gone.set()

    def close(self) -> None:
        """Ends the thread after its step and removes what it kept. Blocks for as long as a step takes."""
        self.leave()
        self._thread.join()
        shutil.rmtree(self.folder, ignore_errors=True)

    # Results, from any thread --------------------------------------------------------------------------------------

    def csv_text(self) -> str:
        """The boxes as CSV."""
        return self.recording.csv_text()

    def json_text(self) -> str:
        """The boxes as JSON, with where they come from."""
        facts = {**self._engine.facts, "source": self.source_name, "frames_per_second": self.frames_per_second}
        return self.recording.json_text(facts)

    def video(self) -> bytes:
        """The annotated video as an MP4 file; raises VideoError when there is nothing to write."""
        path = self.folder / "video.mp4"
        with self._one_video:
            frames = self.recording.write_video(path, self.frames_per_second or self._pace() or DEFAULT_FPS)
            if not frames:
                raise VideoError("nothing has been tracked yet")
            try:
                return path.read_bytes()
            finally:
                path.unlink()

    def _pace(self) -> float:
        current = self._session.current
        return current.frames_per_second if current is not None else 0.0

    # The thread --------------------------------------------------------------------------------------------------

    def _work(self) -> None:
        try:
            while not self._gone.is_set():
                self._one_turn()
        except Exception:
            # Ours to repair: into the server's log, and the page must not wait for ever.
            logging.getLogger(__name__).exception("a visitor's thread failed")
            self._say("failed", text="the server failed at this; its log says why")
        finally:
            self._drop_feed()
            self.recording.close()
            del self._session

    def _one_turn(self) -> None:
        try:
            message = self._commands.get(block=not self._runs, timeout=_WAIT_S)
        except queue.Empty:
            message = None
        try:
            if message is not None:
                self._obey(message)
            elif self._runs:
                self._advance(_WAIT_S)
        except (EbmError, ValueError) as error:
            self._refuse(one_line(error), was_playing=message is None)
        except OSError as error:
            # Its message names files of the server.
            logging.getLogger(__name__).warning("%s", one_line(error))
            reason = error.strerror or type(error).__name__
            self._refuse(f"the server cannot do that ({reason})", was_playing=message is None)

    def _refuse(self, text: str, was_playing: bool) -> None:
        if was_playing:
            self._is_playing = False  # or the same would be said again at every frame
        self._say("error", text=text)
        self._state()

    @property
    def _runs(self) -> bool:
        return self._feed is not None and self._is_playing and not self._is_held

    def _obey(self, message: Mapping[str, Any]) -> None:
        do = message.get("do")
        if do == "source":
            number = _whole(message.get("number"), "number")
            self._use(lambda: self._sources.open(number))
        elif do == "camera":
            self._use(self._own_camera)
        elif do == "upload":
            self._use(self._uploaded(str(message.get("name", ""))))
        elif do == "add":
            self._add(message.get("box"))
        elif do == "remove":
            self._remove(_whole(message.get("id"), "id"))
        elif do == "restart":
            if self._reopen is not None:
                self._use(self._reopen)
        elif do == "step":
            self._is_playing = False
            self._advance(1.0)
            self._state()
        elif do == "density":
            self._density_id = None if message.get("id") is None else _whole(message.get("id"), "id")
            self._redraw()
        elif do in ("play", "hold", "full_speed"):
            self._switch(str(do), message.get("on") is True)
        else:
            raise ValueError(f"the command {str(do):.20} is not known")

    def _switch(self, name: str, on: bool) -> None:
        if name == "hold":
            self._is_held = on  # while a box is drawn the picture stands
        elif name == "full_speed":
            self._at_full_speed = on
        else:
            self._is_playing = on
        self._due_s = 0.0
        self._state()
        if not self._runs:
            self._redraw()

    # Sources -----------------------------------------------------------------------------------------------------

    def _use(self, reopen: Callable[[], Feed]) -> None:
        """Starts over with the source: no objects, no results; a file stands at its first frame."""
        self._drop_feed()
        self._reopen = None
        feed = reopen()
        self._feed, self._reopen = feed, reopen
        self.source_name, self.frames_per_second = feed.name, feed.frames_per_second
        self._session, self._density_id = self._new_session(), None
        self.recording.clear()
        self._jpeg, self._bad, self._told_status = b"", 0, ""
        self._is_playing, self._is_held, self._due_s = feed.is_live, False, 0.0
        if not feed.is_live:
            self._advance(1.0)
        self._state()

    def _own_camera(self) -> Feed:
        self._camera = NewestFeed("Your camera")
        return self._camera

    def _uploaded(self, name: str) -> Callable[[], Feed]:
        label = name.replace("\\", "/").rpartition("/")[2][:60] or "Your video"

        def reopen() -> Feed:
            video = UploadedVideo(self.upload_path, self._limits)
            return FileFeed(label, iter(video), video.frames_per_second, video.frame_count)

        return reopen

    def _drop_feed(self) -> None:
        feed, self._feed, self._camera = self._feed, None, None
        if feed is not None:
            feed.close()

    # Objects -----------------------------------------------------------------------------------------------------

    def _new_session(self) -> LiveSession:
        return LiveSession(self._engine.call(self._engine.make_tracker), self._density)

    def _density(self, tracker: ObjectsTracker, frame: RgbFrame, key: Any) -> RgbFrame:
        return self._engine.density(tracker, frame, key, _DENSITY_GRID[self._runs])

    def _add(self, box: Any) -> None:
        if self._session.current is None:
            raise ValueError("there is no picture to draw a box on yet")
        if len(self._session.ids) >= self._limits.objects:
            raise ValueError(f"at most {self._limits.objects} objects can be tracked at once")
        if not isinstance(box, list) or len(box) != 4 or not all(_is_number(value) for value in box):
            raise ValueError("a box is four finite numbers x, y, w, h")
        self._engine.call(self._session.add, (float(box[0]), float(box[1]), float(box[2]), float(box[3])))
        self._is_held = False
        self._record()
        self._redraw()
        self._state()

    def _remove(self, key: int) -> None:
        self._engine.call(self._session.remove, key)
        if self._density_id == key:
            self._density_id = None
        self._redraw()
        self._state()

    # Frames ------------------------------------------------------------------------------------------------------

    def _advance(self, timeout: float) -> None:
        feed = self._feed
        if feed is None or self._has_ended() or self._wait_for_pace(feed):
            return
        item = feed.next(timeout)
        if feed.status != self._told_status:
            self._told_status = feed.status
            self._state()
        if item is None:
            if self._has_ended():
                self._is_playing = False
                self._state()
                self._redraw()
            return
        frame = self._decoded(item)
        self._stamp = item.stamp
        step = self._engine.start(self._session.step, Grabbed(frame, item.arrived, item.index), feed.dropped)
        if frame is not None:
            self._jpeg = to_jpeg(frame)  # while the tracker computes
        if step.result() is None:
            return  # nothing to show yet
        if self._density_id is not None:
            self._encode(self._shown.frame)
        if self._session.ids or self.recording.frame_count:
            self._record()
        self._send()

    @property
    def _shown(self) -> LiveFrame:
        current = self._session.current
        assert current is not None
        return current

    def _record(self) -> None:
        current = self._shown
        self.recording.add(current.index, current.outputs, current.latency_s * 1e3, self._jpeg)

    def _has_ended(self) -> bool:
        return self._feed is not None and self._feed.ended

    def _wait_for_pace(self, feed: Feed) -> bool:
        """Whether a file's next frame is not due yet; sleeps a part of the time."""
        if feed.is_live or self._at_full_speed or not self._is_playing or not feed.frames_per_second:
            return False
        now = time.perf_counter()
        wait = self._due_s - now
        if self._due_s and wait > 0:
            self._gone.wait(min(wait, _WAIT_S))
            if wait > _WAIT_S:
                return True
        # A tracker that is slower than the file does not hurry afterwards.
        self._due_s = max(self._due_s, now) + 1 / feed.frames_per_second
        return False

    def _decoded(self, item: FeedFrame) -> RgbFrame | None:
        frame: Any = item.frame
        if isinstance(frame, bytes):
            try:
                frame = from_jpeg(frame, self._limits.frame_pixels)
            except EbmError:
                frame = None
        self._bad += frame is None
        return frame

    def _encode(self, picture: RgbFrame) -> None:
        if self._density_id in self._session.ids:
            try:
                picture = self._engine.call(self._session.density, self._density_id)
            except (EbmError, ValueError) as error:
                self._density_id = None
                self._say("error", text=one_line(error))
        self._jpeg = to_jpeg(picture)

    def _redraw(self) -> None:
        if self._session.current is not None:
            self._encode(self._shown.frame)
            self._send()

    def _send(self) -> None:
        current = self._shown
        height, width = current.frame.shape[:2]
        objects = [
            {
                "id": key,
                "box": [round(float(value), 2) for value in output.box_xywh],
                "score": round(float(output.score), 4),
                "status": output.status.value,
                "color": "#{:02x}{:02x}{:02x}".format(*id_color(key)),
            }
            for key, output in current.outputs.items()
        ]
        header = {
            "index": current.index, "size": [width, height], "objects": objects,
            "latency_ms": round(current.latency_s * 1e3, 1), "fps": round(current.frames_per_second, 1),
            "bad": self._bad, "dropped": current.dropped, "stamp": self._stamp, "density": self._density_id,
        }
        self._outbox.post_frame(header, self._jpeg)

    # Messages ----------------------------------------------------------------------------------------------------

    def _state(self) -> None:
        feed = self._feed
        self._say(
            "state",
            source=self.source_name if feed else None,
            live=bool(feed and feed.is_live),
            camera=feed is not None and feed is self._camera,
            playing=self._is_playing and feed is not None,
            ended=self._has_ended(),
            status=feed.status if feed else "",
            count=feed.frame_count if feed else None,
            fps=feed.frames_per_second if feed else None,
            objects=list(self._session.ids),
            recorded=self.recording.frame_count,
            full=self.recording.is_full,
            full_speed=self._at_full_speed,
        )

    def _say(self, kind: str, **values: Any) -> None:
        self._outbox.post_event({"event": kind, **values})


def _is_number(value: Any) -> bool:
    if not isinstance(value, int | float) or isinstance(value, bool):
        return False
    try:
        return math.isfinite(value)
    except OverflowError:  # a whole number beyond floats
        return False


def _whole(value: Any, name: str) -> int:
    if not isinstance(value, int) or isinstance(value, bool):
        raise ValueError(f"{name} must be a whole number")
    return value
