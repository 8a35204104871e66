from __future__ import annotations

import signal
import threading

import pytest

from ebm_tracker import stop
from ebm_tracker.stop import StopSignals


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_first_signal_is_noted_and_the_old_handlers_come_back(number: signal.Signals) -> None:
    before = [signal.getsignal(n) for n in (signal.SIGINT, signal.SIGTERM)]
    with StopSignals() as signals:
        assert not signals.requested
        signal.raise_signal(number)
        assert signals.requested
    assert [signal.getsignal(n) for n in (signal.SIGINT, signal.SIGTERM)] == before


def test_echo_of_the_first_is_no_second(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = [100.0]
    monkeypatch.setattr(stop.time, "monotonic", lambda: clock[0])
    with StopSignals() as signals:
        signal.raise_signal(signal.SIGINT)
        clock[0] += 0.9
        signal.raise_signal(signal.SIGINT)
        clock[0] += 10
        signal.raise_signal(signal.SIGTERM)
        assert signals.requested
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(signal.SIGINT)


def test_other_threads_go_without() -> None:
    seen: list[object] = []

    def enter() -> None:
        before = signal.getsignal(signal.SIGINT)
        with StopSignals() as signals:
            seen.append(signal.getsignal(signal.SIGINT) is before and not signals.requested)

    thread = threading.Thread(target=enter)
    thread.start()
    thread.join()
    assert seen == [True]
