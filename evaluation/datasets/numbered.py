"""Images with numbers for names, as a stream of frames."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from ebm_tracker.frames import RgbFrame
from ebm_tracker.video import DEFAULT_FPS, read_image


class _Images:
    """Image files one after the other. One that is not there or cannot be decoded gives None and is counted."""

    def __init__(self, name: str, frames_per_second: float) -> None:
        self.name = name
        self.frames_per_second = frames_per_second
        self.bad_frames = 0

    @property
    def paths(self) -> list[Path]:
        """The files, in order; they need not be there."""
        raise NotImplementedError

    @property
    def frame_count(self) -> int | None:
        """How many frames there are."""
        raise NotImplementedError

    def __iter__(self) -> Iterator[RgbFrame | None]:
        self.bad_frames = 0
        for path in self.paths:
            frame = read_image(path)
            self.bad_frames += frame is None
            yield frame


class NumberedFrames(_Images):
    """The images ``pattern % first`` to ``pattern % (first + count - 1)`` of a folder.

    Nothing is looked up on the disk before a frame is asked for, and a pickle holds six short values.

    Args:
        folder: of the images.
        pattern: of their names, such as "%06d.jpg".
        first: number of frame 0.
        count: how many frames there are.
        name: of the sequence; None: the folder's.
        frames_per_second: pace at which the frames were taken.
    """

    def __init__(
        self,
        folder: str | Path,
        pattern: str,
        first: int,
        count: int,
        name: str | None = None,
        frames_per_second: float = DEFAULT_FPS,
    ) -> None:
        self.folder = Path(folder)
        super().__init__(self.folder.name if name is None else name, frames_per_second)
        self.pattern, self.first, self.count = pattern, first, count

    @property
    def paths(self) -> list[Path]:
        """The files in the order of their numbers; they need not be there."""
        return [self.folder / (self.pattern % number) for number in range(self.first, self.first + self.count)]

    @property
    def frame_count(self) -> int | None:
        """``count``."""
        return self.count


class ListedFrames(_Images):
    """Images of a folder by their names, for sets whose names follow no pattern.

    Args:
        folder: of the images.
        names: of the files, in order.
        name: of the sequence; None: the folder's.
        frames_per_second: pace at which the frames were taken.
    """

    def __init__(
        self,
        folder: str | Path,
        names: Sequence[str],
        name: str | None = None,
        frames_per_second: float = DEFAULT_FPS,
    ) -> None:
        self.folder = Path(folder)
        super().__init__(self.folder.name if name is None else name, frames_per_second)
        self.file_names = tuple(names)

    @property
    def paths(self) -> list[Path]:
        """The files in the order given; they need not be there."""
        return [self.folder / name for name in self.file_names]

    @property
    def frame_count(self) -> int | None:
        """How many names there are."""
        return len(self.file_names)
