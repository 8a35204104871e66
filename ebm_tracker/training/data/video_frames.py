"""Single frames of a video file, by number."""

from __future__ import annotations

from contextlib import closing
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ebm_tracker.errors import VideoError
from ebm_tracker.training.data.sequence import FrameReadError
from ebm_tracker.video import AV_ERRORS, decoded_frames, open_container, rgb_of, video_packets


class VideoFrames:
    """Frame n is the n-th that playing the file gives, as in ``ebm_tracker.video.VideoFile``, to the same pixels.

    A read seeks to the key frame before and decodes from there. No decoded frames are kept and no file stays open
    between reads, so thousands of videos cost nothing, and processes may share an object on both sides of a fork.
    The first read goes once through the file, without decoding it, for the time stamps of its frames. A file without
    usable time stamps (raw H.264) is decoded from its start at each read.

    A read of 480x360 H.264, one busy core: 12 ms with a key frame every 12 frames, 60 ms with x264's usual 250. For
    long trainings on such files, store the frames as JPEG images (1 ms), or write more key frames (ffmpeg -g 12).

    Raises VideoError from the constructor when the file cannot be opened or holds no video.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        self._stamps: NDArray[np.int64] | None = None
        self._seekable = True
        with closing(self._open()) as container:
            # What the container says of itself is checked by the reads: a frame that is not there cannot be read.
            self._length: int = container.streams.video[0].frames
        if not self._length:
            self.count()

    def __len__(self) -> int:
        return self._length

    def count(self) -> int:
        """The number of frames that playing gives, by going once through the file. The length before is what the
        container says, which may count frames that its edit list leaves out."""
        self._length = len(self._time_stamps())
        return self._length

    def read(self, index: int) -> NDArray[np.uint8]:
        """(H, W, 3) uint8 RGB. Raises FrameReadError, naming the file and the frame."""
        if not 0 <= index < self._length:
            raise IndexError(f"{self.path} has the frames 0 to {self._length - 1} (got {index})")
        try:
            frame = self._find(index)
        except (*AV_ERRORS, VideoError) as error:
            raise FrameReadError(f"{self.path}, frame {index}: {error}") from error
        if frame is None:
            raise FrameReadError(f"{self.path}, frame {index}: it is not in the file, or damaged")
        return frame

    def _find(self, index: int) -> NDArray[np.uint8] | None:
        stamps = self._time_stamps()
        if index >= len(stamps):
            return None
        if not self._seekable:
            with closing(self._open()) as container:
                frame = next(islice(decoded_frames(container), index, None), None)
                return None if frame is None else rgb_of(frame)
        target = int(stamps[index])
        with closing(self._open()) as container:
            container.seek(target, stream=container.streams.video[0])
            whole = False
            for frame in decoded_frames(container):
                # A seek may end after the key frame that it should find; what comes before the next one is broken.
                whole = whole or bool(frame is not None and frame.key_frame)
                if whole and frame is not None and frame.pts == target:
                    return rgb_of(frame)
                if frame is not None and frame.pts is not None and frame.pts >= target:
                    break
        with closing(self._open()) as container:
            return next((rgb_of(f) for f in decoded_frames(container) if f is not None and f.pts == target), None)

    def _time_stamps(self) -> NDArray[np.int64]:
        """(T,) of all frames in the order in which they are shown; also sets whether they can be relied on."""
        if self._stamps is None:
            with closing(self._open()) as container:
                found = [p.pts for p in video_packets(container) if p is not None and p.size and not p.is_discard]
            ordered = sorted(stamp for stamp in found if stamp is not None)
            self._seekable = len(set(ordered)) == len(found)
            self._stamps = np.array(ordered if self._seekable else [0] * len(found), dtype=np.int64)
        return self._stamps

    def _open(self) -> Any:
        container = open_container(self.path)
        # One: data workers share the cores already.
        container.streams.video[0].codec_context.thread_count = 1
        return container
