"""Resident memory of this process, in MB of 10^6 bytes."""

from __future__ import annotations

import sys


def resident_memory_mb() -> float | None:
    """Resident memory now; the peak so far where the system tells only that; None where it tells nothing."""
    now = _proc_status_mb("VmRSS")
    return now if now is not None else _rusage_peak_mb()


def peak_memory_mb() -> float | None:
    """Highest resident memory so far; None where the system does not tell.

    On Linux from /proc: the figure of getrusage starts at the parent's size for a child that was forked.
    """
    peak = _proc_status_mb("VmHWM")
    return peak if peak is not None else _rusage_peak_mb()


def _proc_status_mb(field: str) -> float | None:
    try:
        with open("/proc/self/status", encoding="ascii", errors="replace") as lines:
            for line in lines:
                if line.startswith(f"{field}:"):
                    return int(line.split()[1]) * 1024 / 1e6
    except OSError:
        pass
    return None


def _rusage_peak_mb() -> float | None:
    try:
        import resource
    except ImportError:  # Windows
        return None
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / 1e6 if sys.platform == "darwin" else peak * 1024 / 1e6
