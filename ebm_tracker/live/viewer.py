"""What a viewer does with mouse and keys, whatever draws it: the window's behaviour without a window."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace

from ebm_tracker.errors import EbmError, one_line
from ebm_tracker.frames import RgbFrame
from ebm_tracker.live.picture import HELP, draw_objects, fit_scale
from ebm_tracker.live.recorder import LiveRecorder
from ebm_tracker.live.session import LiveFrame, LiveSession, ObjectId, drawn_box
from ebm_tracker.live.sources import Source

_NOTE_S = 4.0  # how long a message stays on screen
_WAIT_S = 0.02  # for a frame, before mouse and keys are looked at again


class LiveViewer:
    """Frames in, pictures out, and the reactions to mouse and keys.

    A file starts paused on its first frame, to draw on it. While a box is drawn the picture stands still, so that the
    box fits what is seen. ``say``: gets every message, which the screen shows too.
    """

    def __init__(
        self, session: LiveSession, source: Source, recorder: LiveRecorder, say: Callable[[str], None] = print
    ) -> None:
        self.session, self.source, self.recorder = session, source, recorder
        self.paused = not source.is_live
        self.quit = False
        self._say = say
        self._note = ""
        self._note_until = 0.0
        self._show_help = self._show_density = False
        self._step_once = not source.is_live
        self._drag: tuple[tuple[float, float], tuple[float, float]] | None = None
        self._said_end = False
        self._due = 0.0
        self._heat: tuple[int, tuple[ObjectId, ...], RgbFrame] | None = None

    # Frames ----------------------------------------------------------------------------------------------------

    @property
    def scale(self) -> float:
        """Pixels of the picture per pixel of the frame."""
        current = self.session.current
        return 1.0 if current is None else fit_scale((current.frame.shape[1], current.frame.shape[0]))

    def advance(self) -> LiveFrame | None:
        """Takes the next frame if it is time for one; None when none was taken."""
        if self._drag is not None or (self.paused and not self._step_once):
            time.sleep(_WAIT_S)
            return None
        wait = self._due - time.monotonic()
        if not self.source.is_live and wait > 0 and not self._step_once:  # not faster than the file's own pace
            time.sleep(min(wait, _WAIT_S))
            return None
        grabbed = self.source.read(_WAIT_S)
        if grabbed is None:
            if self.source.ended and not self._said_end:
                self._said_end, self.paused = True, True
                self.note(self.source.end_reason)
            return None
        self._step_once = False
        self._due = max(self._due + 1 / self.source.frames_per_second, time.monotonic() - 0.1)
        frame = self.session.step(grabbed, self.source.dropped)
        if frame is not None:
            self._keep(lambda: self.recorder.add(frame))
            picture = self.picture(plain=True) if self.recorder.recording else None
            if picture is not None:
                self._keep(lambda: self.recorder.show(picture, frame.arrived))
        return frame

    def _keep(self, write: Callable[[], object]) -> None:
        """A disk that is full is no reason to stop looking."""
        try:
            write()
        except EbmError as error:
            self.note(one_line(error))

    def picture(self, plain: bool = False) -> RgbFrame | None:
        """What is to be seen now, (H, W, 3) uint8 RGB; ``plain``: boxes only, for the video. None before a frame."""
        current = self.session.current
        if current is None:
            return None
        frame = self._heated(current) if self._show_density else current.frame
        if plain:
            return draw_objects(frame, current.outputs, self.scale)
        drag = None
        if self._drag is not None:
            (x0, y0), (x1, y1) = self._drag
            drag = (min(x0, x1), min(y0, y1), abs(x1 - x0), abs(y1 - y0))
        return draw_objects(
            frame, current.outputs, self.scale, lines=self._lines(current), notes=self._notes(), drag=drag
        )

    def _lines(self, current: LiveFrame) -> list[str]:
        facts = f"{current.index}   {current.frames_per_second:.0f} frames/s   {1e3 * current.latency_s:.0f} ms"
        if self.source.is_live:
            facts += f"   {current.dropped} dropped"
        if self.source.bad_frames:
            facts += f"   {self.source.bad_frames} bad"
        marks = [word for word, on in (("paused", self.paused), ("recording", self.recorder.recording)) if on]
        if self.source.status and self.source.status != self._note:
            marks.append(self.source.status)
        return [facts, *(["   ".join(marks)] if marks else [])]

    def _notes(self) -> list[str]:
        notes = list(HELP) if self._show_help else []
        if self._note and time.monotonic() < self._note_until:
            notes.append(self._note)
        elif not self.session.ids and not notes:
            notes.append("drag a box around an object   (h: help)")
        return notes

    def _heated(self, current: LiveFrame) -> RgbFrame:
        ids = self.session.ids
        if not ids:
            return current.frame
        if self._heat is None or self._heat[:2] != (current.index, ids):
            try:
                self._heat = (current.index, ids, self.session.density(ids[-1]))
            except (EbmError, ValueError, RuntimeError) as error:
                self._heat = (current.index, ids, current.frame)  # the next frame may have one
                self.note(f"no density: {one_line(error)}")
        return self._heat[2]

    def note(self, text: str) -> None:
        """Shows a message for a while, and says it."""
        self._note, self._note_until = text, time.monotonic() + _NOTE_S
        self._say(text)

    # Mouse: pixels of the picture ------------------------------------------------------------------------------

    def press(self, at_xy: tuple[float, float]) -> None:
        """A box begins."""
        if self.session.current is not None:
            point = self._in_frame(at_xy)
            self._drag = (point, point)

    def move(self, at_xy: tuple[float, float]) -> None:
        if self._drag is not None:
            self._drag = (self._drag[0], self._in_frame(at_xy))

    def release(self, at_xy: tuple[float, float]) -> None:
        """The box is done: an object is added, or it is said why not."""
        if self._drag is None:
            return
        self.move(at_xy)
        drag, self._drag = self._drag, None
        box = drawn_box(*drag)
        if box is None:
            self.note("that was a click: hold the button and drag a box around the object")
            return
        try:
            object_id = self.session.add(box)
        except (ValueError, RuntimeError) as error:
            self.note(one_line(error))
            return
        self.note(f"added {object_id} at {','.join(f'{value:.1f}' for value in box)}")
        self._heat = None
        current = self.session.current
        assert current is not None
        # The frame's other rows are written already.
        self._keep(lambda: self.recorder.add(replace(current, outputs={object_id: current.outputs[object_id]})))

    def remove_at(self, at_xy: tuple[float, float]) -> None:
        """Forgets the object under the pointer."""
        object_id = self.session.object_at(self._in_frame(at_xy))
        if object_id is None:
            self.note("there is no object to remove here")
            return
        self.session.remove(object_id)
        self.note(f"removed {object_id}")

    def _in_frame(self, at_xy: tuple[float, float]) -> tuple[float, float]:
        current = self.session.current
        if current is None:
            return 0.0, 0.0
        height, width = current.frame.shape[:2]
        x, y = (value / self.scale for value in at_xy)
        return min(max(x, 0.0), float(width)), min(max(y, 0.0), float(height))

    # Keys ------------------------------------------------------------------------------------------------------

    def key(self, name: str) -> None:
        """A key by name: "q", "escape", "r", "space", "right", "d", "s", "v", "h"; others do nothing."""
        actions: dict[str, Callable[[], None]] = {
            "q": self._quit,
            "escape": self._quit,
            "r": self._reset,
            "space": self._pause,
            "right": self._one_step,
            "d": self._density,
            "s": self._snapshot,
            "v": self._record,
            "h": self._help,
        }
        action = actions.get(name)
        if action is not None:
            self._keep(action)

    def _quit(self) -> None:
        self.quit = True

    def _reset(self) -> None:
        self.session.reset()
        self.note("all objects forgotten")

    def _pause(self) -> None:
        self.paused = not self.paused
        self.note("paused" if self.paused else "goes on")

    def _one_step(self) -> None:
        self.paused = self._step_once = True
        self.note("one frame")

    def _density(self) -> None:
        self._show_density = not self._show_density
        self.note("density on" if self._show_density else "density off")
        if self._show_density and not self.session.ids:
            self.note("the density is shown when there is an object")

    def _snapshot(self) -> None:
        picture = self.picture(plain=True)
        if picture is not None:
            self.note(f"snapshot {self.recorder.snapshot(picture)}")

    def _record(self) -> None:
        if self.recorder.recording:
            path = self.recorder.stop_video()
            self.note(f"recorded {path}" if path else "nothing was recorded")
            return
        picture = self.picture(plain=True)
        if picture is not None:
            path = self.recorder.start_video((picture.shape[1], picture.shape[0]))
            self.note(f"recording to {path}")

    def _help(self) -> None:
        self._show_help = not self._show_help
