"""The trackers behind the page: one network, one thread that computes, a set of objects per visitor."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, TypeVar

from ebm_tracker.frames import RgbFrame
from ebm_tracker.live.session import ObjectsTracker

Result = TypeVar("Result")


class TrackingEngine:
    """Makes trackers and runs their steps, all in one thread: first come, first served.

    Visitors' steps that ran at once would share the processor's cores and each wait for the other's barriers.

    Args:
        make_tracker: a new tracker without objects.
        density: (tracker, frame, object's id, grid) -> the frame with the density drawn on it.
        facts: goes into the results: preset, device.
    """

    def __init__(
        self,
        make_tracker: Callable[[], ObjectsTracker],
        density: Callable[[ObjectsTracker, RgbFrame, Any, int], RgbFrame],
        facts: Mapping[str, str],
    ) -> None:
        self.make_tracker, self.density, self.facts = make_tracker, density, dict(facts)
        self._pool = ThreadPoolExecutor(1, thread_name_prefix="ebm-web-tracker")

    def start(self, function: Callable[..., Result], *arguments: Any) -> Future[Result]:
        """Queues the function for the computing thread."""
        return self._pool.submit(function, *arguments)

    def call(self, function: Callable[..., Result], *arguments: Any) -> Result:
        """Runs the function in the computing thread and gives its result or raises its exception."""
        return self.start(function, *arguments).result()

    def close(self) -> None:
        """Waits for the running step; later calls raise RuntimeError."""
        self._pool.shutdown(cancel_futures=True)
