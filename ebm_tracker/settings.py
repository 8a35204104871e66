"""Where the user's data lie: one TOML file of paths, overridden by environment variables and by flags.

    [data]
    trackingnet = "/data/trackingnet"
    photos = "D:/sets/photos"

    [runs]
    workspace = "/scratch/runs"

The file is ``ebm-tracker/settings.toml`` in the user's configuration folder, or what ``EBM_SETTINGS`` names. This
package only reads it; ``write_template`` makes a first one and never touches one that is there.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ebm_tracker.errors import EbmError
from ebm_tracker.files import part_path

SETTINGS_VARIABLE = "EBM_SETTINGS"
KEYS: Mapping[str, str] = {
    "data.trackingnet": "TrackingNet: the folder that holds TRAIN_0, TRAIN_1, ...",
    "data.lasot": "LaSOT: the folder of the classes (airplane, basketball, ...) or of the sequences",
    "data.got10k": "GOT-10k: the folder that holds train, val and test",
    "data.otb": "OTB-100: the folder of the sequences (Basketball, Biker, ...)",
    "data.nfs": "NFS: the folder that holds sequences and anno, or that of the original download (Gymnastics, ...)",
    "data.uav": "UAV123: the folder that holds data_seq and anno",
    "data.vot": "VOT: the folder that holds list.txt and the sequences",
    "data.coco": "COCO: the folder that holds annotations and train2014 or train2017",
    "data.photos": "photos with objects: the folder that holds ecssd and coco128",
    "data.cutouts": "what `ebm data cutouts` built",
    "data.bank": "training pairs that were made beforehand",
    "data.folder": "your own sequences: a folder of them, each frames or a video with its ground truth",
    "data.pytracking": "a checkout of pytracking, for its split lists and its training loop",
    "runs.workspace": "where training runs put their folders",
}
_NAMES = tuple(key.partition(".")[2] for key in KEYS)
_FULL_KEYS = {**dict(zip(_NAMES, KEYS, strict=True)), **{key: key for key in KEYS}}


class SettingsError(EbmError):
    """The settings file is damaged or holds an unknown key, or a path that is needed is set nowhere."""


@dataclass(frozen=True)
class Setting:
    """One path that is set. ``origin`` says where: the file, the environment variable or the flag."""

    key: str
    path: Path
    origin: str


@dataclass(frozen=True)
class Settings:
    """The paths that are set, by their full key. ``file``: where the file was looked for, there or not.

    Wherever a key is asked for, its last part is enough: ``photos`` for ``data.photos``.
    """

    file: Path
    found: Mapping[str, Setting]

    @classmethod
    def load(
        cls,
        assignments: Sequence[str] = (),
        *,
        environment: Mapping[str, str] | None = None,
        file: Path | None = None,
    ) -> Settings:
        """The file (None: ``settings_path``), the environment (None: the process's) on top of it, and on top of
        that ``assignments``, the ``NAME=PATH`` texts of the flag --data.

        A file that is not there holds nothing, unless EBM_SETTINGS or ``file`` names it. ``~`` is the user's home;
        a relative path in the file is relative to the file's folder, any other to the working folder.

        Raises SettingsError: no such named file, not TOML, an unknown key, or a value that is no text.
        """
        environment = os.environ if environment is None else environment
        path = settings_path(environment) if file is None else file
        found: dict[str, Setting] = {}
        if path.is_file():
            for key, value in _read(path).items():
                found[key] = Setting(key, path.parent / Path(value).expanduser(), str(path))
        elif path.exists() or file is not None or environment.get(SETTINGS_VARIABLE):
            named = f" ({SETTINGS_VARIABLE} names it)" if file is None else ""
            raise SettingsError(f"there is no settings file {path}{named}")
        for key in KEYS:
            if named_path := environment.get(variable_of(key)):
                found[key] = Setting(key, Path(named_path).expanduser(), variable_of(key))
        for text in assignments:
            name, _, given = text.partition("=")
            if name not in _FULL_KEYS or not given:
                raise SettingsError(f"--data takes NAME=PATH, NAME one of {', '.join(_NAMES)} (got {text!r})")
            found[_FULL_KEYS[name]] = Setting(_FULL_KEYS[name], Path(given).expanduser(), "--data")
        return cls(path, found)

    def get(self, key: str) -> Path | None:
        """The path of ``key``, or None when it is set nowhere. Raises ValueError when there is no such key."""
        setting = self.found.get(full_key(key))
        return None if setting is None else setting.path

    def require(self, key: str, flag: str | None = None) -> Path:
        """As ``get``. Raises SettingsError, which names all ways to set the path, when it is set nowhere.

        ``flag``: how the path is given on this command's line; None: ``--data NAME=PATH``.
        """
        path = self.get(key)
        if path is not None:
            return path
        key = full_key(key)
        section, name = key.split(".")
        state = "" if self.file.is_file() else ", which is not there yet"
        raise SettingsError(
            f"no path for {key} ({KEYS[key]}): give {flag or f'--data {name}=PATH'}, set {variable_of(key)}, "
            f"or write {name} under [{section}] in {self.file}{state}"
        )


def full_key(key: str) -> str:
    """``photos`` or ``data.photos`` -> ``data.photos``. Raises ValueError, listing the known ones."""
    if key not in _FULL_KEYS:
        raise ValueError(f"key must be one of {', '.join(_NAMES)} (got {key!r})")
    return _FULL_KEYS[key]


def variable_of(key: str) -> str:
    """``data.trackingnet`` -> ``EBM_DATA_TRACKINGNET``."""
    return "EBM_" + key.replace(".", "_").upper()


def settings_path(environment: Mapping[str, str] | None = None, platform: str = sys.platform) -> Path:
    """Where the file is looked for. ``environment``: None for the process's; ``platform``: as ``sys.platform``.

    EBM_SETTINGS; else ebm-tracker/settings.toml in %APPDATA% (Windows), ~/Library/Application Support (macOS),
    or $XDG_CONFIG_HOME, which is ~/.config unless it is set to an absolute path.
    """
    environment = os.environ if environment is None else environment
    if named := environment.get(SETTINGS_VARIABLE):
        return Path(named).expanduser()
    if platform == "win32":
        folder = Path(environment.get("APPDATA") or Path.home() / "AppData" / "Roaming")
    elif platform == "darwin":
        folder = Path.home() / "Library" / "Application Support"
    else:
        folder = Path(environment.get("XDG_CONFIG_HOME") or "")
        if not folder.is_absolute():  # the XDG specification: relative paths are to be ignored
            folder = Path.home() / ".config"
    return folder / "ebm-tracker" / "settings.toml"


def _read(path: Path) -> dict[str, str]:
    if sys.version_info >= (3, 11):
        import tomllib
    else:
        import tomli as tomllib
    try:
        tree: dict[str, Any] = tomllib.loads(path.read_bytes().decode("utf-8-sig"))
    except OSError as error:
        raise SettingsError(f"{path} cannot be read ({error.strerror})") from error
    except UnicodeDecodeError:
        raise SettingsError(f"{path} is not UTF-8 text") from None
    except tomllib.TOMLDecodeError as error:
        # The usual slip: "C:\data" in double quotes, where a backslash begins an escape.
        hint = " (write Windows paths in 'single quotes')" if "\\" in str(error) or "escape" in str(error) else ""
        raise SettingsError(f"{path} is not TOML: {error}{hint}") from None
    flat: dict[str, Any] = {}
    for section, content in tree.items():
        if isinstance(content, dict):
            flat |= {f"{section}.{name}": value for name, value in content.items()}
        else:
            flat[section] = content
    for key, value in flat.items():
        if key not in KEYS:
            raise SettingsError(f"{path} holds the unknown key {key} (known: {', '.join(KEYS)})")
        if not isinstance(value, str) or not value:
            raise SettingsError(f"{path}: {key} must be a path in quotes (got {value!r})")
    return flat


def template() -> str:
    """A settings file with every key, commented out."""
    lines = ["# Paths for ebm-tracker. Take the # away from what you have; environment variables and flags win.\n"]
    section = ""
    for key, meaning in KEYS.items():
        ours, name = key.split(".")
        if ours != section:
            section = ours
            lines.append(f"\n[{section}]\n")
        lines.append(f"# {meaning}  ({variable_of(key)})\n# {name} = '/path/to/{name}'\n")
    return "".join(lines)


def write_template(path: Path | None = None) -> Path:
    """Writes ``template()`` to ``path`` (None: ``settings_path``) and returns it. Raises SettingsError when
    something is there already: it is never overwritten."""
    path = settings_path() if path is None else path
    path.parent.mkdir(parents=True, exist_ok=True)
    part = part_path(path)
    try:
        part.write_bytes(template().encode("utf-8"))
        try:
            os.link(part, path)  # unlike a rename, this fails when the name is taken, whoever took it when
        except FileExistsError:
            raise SettingsError(f"{path} is there already and is not overwritten") from None
        except OSError:  # a file system without hard links
            if os.path.lexists(path):
                raise SettingsError(f"{path} is there already and is not overwritten") from None
            os.replace(part, path)
    finally:
        part.unlink(missing_ok=True)
    return path
