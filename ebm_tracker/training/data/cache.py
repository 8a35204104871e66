"""Where this package keeps what it can make again."""

from __future__ import annotations

import os
import sys
import tempfile
from pathlib import Path

FOLDER = "ebm-tracker"


def default_cache_dir() -> Path:
    """``$XDG_CACHE_HOME/ebm-tracker``, else the platform's place: ``~/.cache``, ``~/Library/Caches`` on macOS,
    ``%LOCALAPPDATA%`` on Windows; for a user without a home, below the folder of temporary files. Makes nothing."""
    given = os.environ.get("XDG_CACHE_HOME", "")
    if os.path.isabs(given):  # the XDG specification: relative ones are to be ignored
        return Path(given) / FOLDER
    try:
        home = Path.home()
    except RuntimeError:  # containers that run under a number without a name
        return Path(tempfile.gettempdir()) / FOLDER
    if sys.platform == "win32":
        return Path(os.environ.get("LOCALAPPDATA") or home / "AppData" / "Local") / FOLDER / "cache"
    return home / ("Library/Caches" if sys.platform == "darwin" else ".cache") / FOLDER
