"""What the vot toolkit is told in files: a section of ``trackers.ini``."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
from collections.abc import Mapping, Sequence
from configparser import ConfigParser, Error
from dataclasses import dataclass
from pathlib import Path

from ebm_tracker.errors import EbmError
from ebm_tracker.files import write_text_atomic

REGISTRY_NAME = "trackers.ini"
_IDENTIFIER = re.compile(r"[A-Za-z0-9_]+")
# It hands its trackers an empty search path for libraries, or what their section says.
_LIBRARY_VARIABLE = "LD_LIBRARY_PATH"


class WorkspaceError(EbmError):
    """A name that the vot toolkit does not take, or a ``trackers.ini`` that cannot be used."""


@dataclass(frozen=True)
class TrackerEntry:
    """One section.

    Attributes:
        identifier: letters, digits and _.
        label: for tables.
        command: program and arguments; it speaks TraX on stdin and stdout. The toolkit starts it in a folder of its
            own, so all paths in it must be absolute.
        timeout_s: the most that one answer may take.
        restart: start the program again for every sequence.
    """

    identifier: str
    label: str
    command: Sequence[str]
    timeout_s: int = 120
    restart: bool = False

    def __post_init__(self) -> None:
        if not _IDENTIFIER.fullmatch(self.identifier):
            raise WorkspaceError(f"a tracker's name for VOT takes letters, digits and _ only (got {self.identifier!r})")


def identifier_of(tracker: str, parameter: str) -> str:
    """``ebm``, ``default`` -> ``ebm_default``, with _ for all that an identifier cannot hold."""
    return re.sub(r"[^A-Za-z0-9_]+", "_", f"{tracker}_{parameter}").strip("_") or "tracker"


def entry_text(entry: TrackerEntry, environment: Mapping[str, str] | None = None) -> str:
    """The section, as the toolkit's reader of ini files wants it. ``environment``: None: the process's."""
    environment = os.environ if environment is None else environment
    command = subprocess.list2cmdline(entry.command) if os.name == "nt" else shlex.join(entry.command)
    values = {
        "label": entry.label,
        "protocol": "trax",
        "command": command,
        "timeout": str(entry.timeout_s),
        "restart": "true" if entry.restart else "",
        f"env_{_LIBRARY_VARIABLE}": environment.get(_LIBRARY_VARIABLE, ""),
    }
    for key, value in values.items():
        if re.search(r"[\r\n]", value):
            raise WorkspaceError(f"{key} must be one line for {REGISTRY_NAME} (got {value!r})")
    lines = (f"{key} = {value.replace('%', '%%')}\n" for key, value in values.items() if value)
    return f"[{entry.identifier}]\n" + "".join(lines)


def write_entry(directory: Path, entry: TrackerEntry) -> Path:
    """Puts the section into ``trackers.ini`` of the workspace, in place of one of that name; the rest of the file stays
    as it is. Makes folder and file if need be, and returns the file's path.

    Raises WorkspaceError for a file that is no ini file.
    """
    path = directory / REGISTRY_NAME
    before, after = _around_section(_read(path), entry.identifier)
    text = before + entry_text(entry) + after
    if not directory.absolute().parent.is_dir():
        raise WorkspaceError(f"there is no folder {directory.absolute().parent} to make the workspace in")
    directory.mkdir(exist_ok=True)
    write_text_atomic(path, text)
    return path


def _around_section(text: str, identifier: str) -> tuple[str, str]:
    """What stands before and after the section, comments above the next one included; all, when there is none."""
    lines = text.splitlines(keepends=True)
    headings = [k for k, line in enumerate(lines) if line.startswith("[")]
    start = next((k for k in headings if lines[k].strip() == f"[{identifier}]"), None)
    if start is None:
        return (text if not text or text.endswith("\n") else f"{text}\n") + ("\n" if text else ""), ""
    end = next((k for k in headings if k > start), len(lines))
    while end > start + 1 and lines[end - 1].lstrip()[:1] in ("", "#", ";"):
        end -= 1
    return "".join(lines[:start]), "".join(lines[end:])


def read_command(directory: Path, identifier: str) -> list[str]:
    """The program and arguments of a section. Raises WorkspaceError when there is none."""
    parser = ConfigParser()
    path = directory / REGISTRY_NAME
    try:
        parser.read_string(_read(path))
        command = parser[identifier]["command"]
    except (KeyError, Error):
        raise WorkspaceError(f"{path} has no usable section [{identifier}]") from None
    return [command] if os.name == "nt" else shlex.split(command)


def _read(path: Path) -> str:
    if not path.exists():
        return ""
    try:
        text = path.read_text(encoding="utf-8")
        ConfigParser().read_string(text)
    except (OSError, UnicodeDecodeError, Error) as error:
        reason = " ".join(str(error).split())
        raise WorkspaceError(f"{path} cannot be used: {reason}") from None
    return text


def next_commands(directory: Path, identifier: str) -> tuple[tuple[str, str], ...]:
    """What to do with the toolkit, step by step: what for, and the command."""
    workspace = f"--workspace {_quoted(str(directory))}"
    return (
        ("check the entry", f"vot --registry {_quoted(str(directory))} test {identifier}"),
        ("make the workspace; it downloads the sequences", f"vot initialize {workspace} vot2018/shortterm"),
        ("track", f"vot evaluate {workspace} {identifier}"),
        ("score", f"vot analysis {workspace} {identifier}"),
        ("tables and plots", f"vot report {workspace} {identifier}"),
        ("pack for a challenge", f"vot pack {workspace} {identifier}"),
    )


def _quoted(text: str) -> str:
    return subprocess.list2cmdline([text]) if os.name == "nt" else shlex.quote(text)
