"""One job, done: a tracker over a sequence."""

from __future__ import annotations

import random
import sys
import traceback
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from ebm_tracker.errors import EbmError, one_line
from ebm_tracker.evaluation.benchmark.jobs import TrackerFactory, flag
from ebm_tracker.evaluation.results import TrackRecord
from ebm_tracker.evaluation.runner import Tracker, track_sequence
from ebm_tracker.evaluation.sequences import TrackingSequence


class TrackerBuildError(EbmError):
    """The tracker cannot be made, so that no sequence can be tracked."""


class StopJob(Exception):
    """Raised out of a job's progress callback: the job is to end without a result."""


@dataclass(frozen=True)
class Finished:
    """A sequence was tracked to its end. ``bad_frames``: how many frames could not be decoded."""

    record: TrackRecord
    bad_frames: int


@dataclass(frozen=True)
class Failed:
    """A sequence ended with an error. ``message``: one line; ``details``: the traceback."""

    message: str
    details: str = ""
    out_of_memory: bool = False


class TrackerBench:
    """Holds the tracker of the run that is on, and tracks one sequence after the other with it.

    A result depends on sequence, seed, device and threads only: the tracker is initialised afresh (or built afresh
    where its factory asks for that), and the generators that libraries share are set back before every sequence.
    """

    def __init__(self, factory: TrackerFactory, device: str | None, threads: int | None) -> None:
        self._factory = factory
        self._device = device
        self._threads = threads
        self._tracker: Tracker | None = None
        self._seed: int | None = None

    def build(self, seed: int) -> Tracker:
        """The tracker for that seed, kept for the next sequence.

        Raises TrackerBuildError with one sentence, and MemoryError when there is no memory for it.
        """
        if self._tracker is None or seed != self._seed or flag(self._factory, "fresh_per_sequence"):
            self._tracker = None  # the old one's memory first
            try:
                self._tracker = self._factory.build(seed, self._device, self._threads)
            except Exception as error:
                if is_out_of_memory(error):
                    raise MemoryError(one_line(error)) from error
                name = f"{self._factory.tracker} {self._factory.parameter}"
                raise TrackerBuildError(f"the tracker {name} cannot be made: {describe(error)}") from error
            self._seed = seed
        return self._tracker

    def track(self, sequence: TrackingSequence, seed: int, on_frame: Callable[[int], None]) -> Finished | Failed:
        """Tracks the sequence. ``on_frame`` gets the number of frames done after each, and may raise StopJob.

        Raises TrackerBuildError; every error of the tracker or of the frames becomes Failed.
        """
        try:
            tracker = self.build(seed)
            seed_shared_generators(seed)
            record = TrackRecord()
            for step in track_sequence(tracker, sequence):
                record.append(step.box_xywh, step.score, step.status, step.seconds)
                on_frame(len(record))
            return Finished(record, sequence.frames.bad_frames)
        except (StopJob, TrackerBuildError):
            raise
        except (Exception, SystemExit) as error:  # a tracker that calls sys.exit ends its sequence only
            self._tracker = None  # who knows in what state the error left it
            return failure_of(error)


def failure_of(error: BaseException) -> Failed:
    """The error as a job's result."""
    trace = "".join(traceback.format_exception(error))
    return Failed(describe(error), trace, is_out_of_memory(error))


def describe(error: BaseException) -> str:
    """One line: the sentence of our own errors, else the kind of error before what it says."""
    text = one_line(error)
    kind = type(error).__name__
    return text if isinstance(error, EbmError) or text == kind else f"{kind}: {text}"


def is_out_of_memory(error: BaseException) -> bool:
    """Whether the error says that memory, the machine's or the GPU's, ran out."""
    if isinstance(error, MemoryError):
        return True
    text = f"{type(error).__name__} {error}".lower()
    signs = ("out of memory", "outofmemory", "can't allocate memory", "not enough memory", "insufficient memory")
    return any(sign in text for sign in signs)


def seed_shared_generators(seed: int) -> None:
    """Sets Python's, NumPy's, torch's and OpenCV's own generators, the latter two where a tracker has loaded them."""
    random.seed(seed)
    np.random.seed(seed % 2**32)
    if (torch := sys.modules.get("torch")) is not None:
        torch.manual_seed(seed)
    if (cv2 := sys.modules.get("cv2")) is not None:
        cv2.setRNGSeed(seed % 2**31)
