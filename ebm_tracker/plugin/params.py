"""The params object that pytracking hands to a tracker: a preset's frozen settings, and what the framework writes.

A preset of one's own is a file beside the installed ones, ``pytracking/parameter/ebm/mine.py``:

    from ebm_tracker.plugin.params import preset_parameters

    def parameters():
        return preset_parameters("default", refinement={"steps": 5}, max_size_change=1.2, seed=7)

Keys are the fields of TrackerConfig, a section's as a dictionary, and those of RunSettings.
"""

from __future__ import annotations

import dataclasses
import difflib
import os
import sys
import warnings
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import Enum
from typing import Any

from ebm_tracker.errors import PresetError
from ebm_tracker.parameters import preset
from ebm_tracker.tracking.config import TrackerConfig

FRAMEWORK_KEYS = frozenset(
    {
        "debug",
        "visualization",
        "tracker_name",
        "param_name",
        "run_id",
        "multiobj_mode",
        "vot_anno_conversion_type",
        "object_presence_score_threshold",
        "segmentation_threshold",
    }
)
"""What pytracking, or a preset written for it, sets on a params object."""
_SIMILAR = 0.75  # difflib's ratio from which an unknown name is taken for a slip
_CALLERS_ABOVE = 8


class FrameColor(Enum):
    """Order of the colour channels in the frames that pytracking hands over."""

    AUTO = "auto"
    """By the runner, see PluginParams.frames_are_bgr."""
    RGB = "rgb"
    BGR = "bgr"


@dataclass(frozen=True)
class RunSettings:
    """What a params object says besides the tracker's settings.

    ``device``, ``weights``, ``backbone_weights``: as for ``ebm_tracker.load``. ``seed``: of run 0 and of runs without
    a number; run N has ``seed + N`` if ``seed_by_run``. ``threads``: CPU threads of torch in the process that
    tracks, None: torch's choice; set it when --threads starts several. ``frame_color``: see FrameColor.
    """

    device: str = "auto"
    seed: int = 0
    seed_by_run: bool = True
    threads: int | None = None
    weights: str | os.PathLike[str] | None = None
    backbone_weights: str | os.PathLike[str] | None = None
    frame_color: FrameColor = FrameColor.AUTO

    def __post_init__(self) -> None:
        try:
            object.__setattr__(self, "frame_color", FrameColor(self.frame_color))
        except ValueError:
            known = ", ".join(color.value for color in FrameColor)
            raise ValueError(f"frame_color must be one of {known} (got {self.frame_color!r})") from None
        if self.threads is not None and (not isinstance(self.threads, int) or self.threads < 1):
            raise ValueError(f"threads must be None or at least 1 (got {self.threads!r})")


_RUN_KEYS = tuple(field.name for field in dataclasses.fields(RunSettings))
# Without `weights`: that is the file of one's own here; the preset's stays in `config`.
_CONFIG_KEYS = tuple(field.name for field in dataclasses.fields(TrackerConfig) if field.name not in _RUN_KEYS)


class PluginParams:
    """Settings of a tracker as pytracking wants them: attributes, ``get(name[, default])`` and ``has(name)``.

    The framework writes on it, so this object can change; the settings in ``config`` and ``run`` stay frozen and are
    replaced, checked, when one of their keys is assigned. Trackers of several objects share it: it holds no state of
    an object. An attribute that is not there raises AttributeError, an assignment to a misspelt key PresetError.
    """

    name: str
    config: TrackerConfig
    run: RunSettings
    host_run_id: int | None

    def __init__(
        self, name: str, config: TrackerConfig, run: RunSettings | None = None, host_run_id: int | None = None
    ) -> None:
        own = {"name": name, "config": config, "run": run or RunSettings(), "host_run_id": host_run_id}
        vars(self).update(own)
        vars(self).update(
            debug=0,
            # ATOM's choice for its own VOT preset; only run_vot reads it.
            vot_anno_conversion_type="preserve_area",
        )

    def change(self, changes: Mapping[str, Any]) -> None:
        """Replaces settings. Raises PresetError, one sentence, for an unknown key or a value that is not allowed."""
        where = f"preset {self.name!r}"
        run = {key: value for key, value in changes.items() if key in _RUN_KEYS}
        framework = {key: value for key, value in changes.items() if key in FRAMEWORK_KEYS}
        config = {key: value for key, value in changes.items() if key not in run and key not in framework}
        vars(self)["run"] = changed(self.run, run, where)
        vars(self)["config"] = changed(self.config, config, where, (*_RUN_KEYS, *FRAMEWORK_KEYS))
        vars(self).update(framework)

    @property
    def seed_of_run(self) -> int:
        """``seed + N`` for run N, as `ebm eval run` has it; ``seed`` where the run has no number."""
        number = vars(self).get("run_id", self.host_run_id)
        return self.run.seed + (number if self.run.seed_by_run and number is not None else 0)

    @property
    def frames_are_bgr(self) -> bool:
        """Whether frames come in OpenCV's order.

        run_video.py and run_webcam.py hand OpenCV's frames on as they are; all other runners convert them to RGB. A
        frame does not show which. But what a runner writes on its params does: the video runner names the tracker
        (``tracker_name``) and no run; run_vot writes both that and ``run_id``; run_tracker and run_experiment write
        neither. That is data which the contract lists, where looking at the call stack would depend on
        names of functions. ``frame_color`` overrules it.
        """
        if self.run.frame_color is not FrameColor.AUTO:
            return self.run.frame_color is FrameColor.BGR
        return "tracker_name" in vars(self) and "run_id" not in vars(self)

    def get(self, name: str, *default: Any) -> Any:
        """The value of ``name``; ``default`` where there is none, AttributeError without a default."""
        if len(default) > 1:
            raise TypeError(f"get takes a name and at most one default (got {len(default)} defaults)")
        return getattr(self, name, *default)

    def has(self, name: str) -> bool:
        """Whether there is a value of that name."""
        return hasattr(self, name)

    def __getattr__(self, name: str) -> Any:
        # Only asked for what is not in the instance. During copying and unpickling not even `config` is.
        for part, keys in (("config", _CONFIG_KEYS), ("run", _RUN_KEYS)):
            if name in keys and part in vars(self):
                return getattr(vars(self)[part], name)
        if name == "object_presence_score_threshold" and "config" in vars(self):
            # Below it this tracker says LOST: files with a presence flag agree with its status.
            return self.config.localization.target_not_found
        raise AttributeError(f"the parameters of preset {vars(self).get('name')!r} have no {name!r}")

    def __setattr__(self, name: str, value: Any) -> None:
        if name in _CONFIG_KEYS or name in _RUN_KEYS:
            self.change({name: value})
            return
        if name not in FRAMEWORK_KEYS:
            slip = similar(name, (*_CONFIG_KEYS, *_RUN_KEYS, *FRAMEWORK_KEYS))
            if slip:
                raise PresetError(f"preset {self.name!r} sets the unknown key {name!r}; did you mean {slip!r}?")
            message = f"preset {self.name!r} sets {name!r}, which this tracker does not read"
            warnings.warn(message, stacklevel=2)
        vars(self)[name] = value


def preset_parameters(preset_name: str, **changes: Any) -> PluginParams:
    """What an installed ``parameters()`` returns: the preset with these changes, in the run that asks for it.

    Raises PresetError, one sentence, for an unknown preset or key and for a value that is not allowed.
    """
    params = PluginParams(preset_name, preset(preset_name), host_run_id=calling_run_id())
    params.change(changes)
    return params


def calling_run_id() -> int | None:
    """Number of the run that asks for parameters; None where it has none.

    pytracking keeps it in its own Tracker object, writes it on params for VOT only, and calls ``parameters()`` without
    arguments. That object is the caller's ``self``, so the callers are searched for the nearest one whose ``self``
    has ``run_id`` and ``parameter_name``; no names of functions or files matter. Where it is not found, all
    runs have one seed; the status block of the viewer shows it.
    """
    frame = sys._getframe(1)
    for _ in range(_CALLERS_ABOVE):
        host: Any = frame.f_locals.get("self")
        if hasattr(host, "run_id") and hasattr(host, "parameter_name"):
            return None if host.run_id is None else int(host.run_id)
        if frame.f_back is None:
            break
        frame = frame.f_back
    return None


def changed(settings: Any, changes: Mapping[str, Any], where: str, other_keys: Iterable[str] = ()) -> Any:
    """The frozen dataclass with some fields replaced; a section's field takes a dictionary of changes, too."""
    keys = tuple(field.name for field in dataclasses.fields(settings))
    values: dict[str, Any] = {}
    for key, value in changes.items():
        if key not in keys:
            slip = similar(key, (*keys, *other_keys))
            advice = f"did you mean {slip!r}?" if slip else f"known are {', '.join(keys)}"
            raise PresetError(f"{where} has no key {key!r}; {advice}")
        present = getattr(settings, key)
        if dataclasses.is_dataclass(present) and isinstance(value, Mapping):
            value = changed(present, value, f"{key} of {where}")
        elif isinstance(present, Enum) and not isinstance(value, Enum):
            value = _member(type(present), value, f"{key} of {where}")
        elif dataclasses.is_dataclass(present) and not isinstance(value, type(present)):
            raise PresetError(f"{key} of {where} takes a dictionary of its keys (got {value!r})")
        values[key] = value
    try:
        return dataclasses.replace(settings, **values) if values else settings
    except (TypeError, ValueError) as error:
        raise PresetError(f"{where}: {error}") from error


def _member(kind: type[Enum], value: Any, where: str) -> Enum:
    try:
        return kind(value)
    except ValueError:
        known = ", ".join(repr(member.value) for member in kind)
        raise PresetError(f"{where} must be one of {known} (got {value!r})") from None


def similar(name: str, known: Iterable[str]) -> str | None:
    """The known name that ``name`` is most probably a slip of."""
    found = difflib.get_close_matches(name, list(known), n=1, cutoff=_SIMILAR)
    return found[0] if found else None
