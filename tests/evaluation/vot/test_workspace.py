"""trackers.ini as the toolkit's own reader, a ConfigParser and shlex, sees it."""

from __future__ import annotations

import os
import re
import shlex
from configparser import ConfigParser
from pathlib import Path

import pytest

from ebm_tracker.evaluation.vot.workspace import (
    TrackerEntry,
    WorkspaceError,
    entry_text,
    identifier_of,
    next_commands,
    read_command,
    write_entry,
)

pytestmark = pytest.mark.skipif(os.name == "nt", reason="quotes as POSIX shells have them")
COMMAND = ("/a b/100%/python", "-m", "x", "--log", "/it's/here.log", "")


def read(path: Path) -> ConfigParser:
    parser = ConfigParser()
    parser.read(path)
    return parser


def test_a_section_survives_the_toolkits_reader(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LD_LIBRARY_PATH", "/cuda/100%/lib")
    path = write_entry(tmp_path / "ws", TrackerEntry("ebm_1", "ebm default", COMMAND, 60, restart=True))
    section = dict(read(path)["ebm_1"])
    assert tuple(shlex.split(section.pop("command"))) == COMMAND
    assert section == {
        "label": "ebm default",
        "protocol": "trax",
        "timeout": "60",
        "restart": "true",
        "env_ld_library_path": "/cuda/100%/lib",  # the toolkit writes names of variables in capitals
    }
    assert read_command(path.parent, "ebm_1") == list(COMMAND)


def test_what_is_not_wanted_is_not_there() -> None:
    assert entry_text(TrackerEntry("a", "A", ("x",)), {}) == (
        "[a]\nlabel = A\nprotocol = trax\ncommand = x\ntimeout = 120\n"
    )


def test_other_sections_and_comments_stay(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("LD_LIBRARY_PATH", raising=False)
    path = tmp_path / "trackers.ini"
    path.write_text("# mine\n[NCC]\ncommand = ncc\n\n[b]\nold = 1\nolder = [c]\n\n# about c\n[c]\ncommand = c")
    for command in ("one", "two"):
        write_entry(tmp_path, TrackerEntry("b", "B", (command,)))
        write_entry(tmp_path, TrackerEntry("d", "D", (command,)))
    parser = read(path)
    assert parser.sections() == ["NCC", "b", "c", "d"]
    assert parser["b"]["command"] == parser["d"]["command"] == "two" and "old" not in parser["b"]
    assert parser["NCC"]["command"] == "ncc" and parser["c"]["command"] == "c"
    two = "protocol = trax\ncommand = two\ntimeout = 120\n"
    assert path.read_text() == (
        f"# mine\n[NCC]\ncommand = ncc\n\n[b]\nlabel = B\n{two}\n# about c\n[c]\ncommand = c\n\n[d]\nlabel = D\n{two}"
    )


def test_mistakes(tmp_path: Path) -> None:
    with pytest.raises(WorkspaceError, match="letters, digits and _ only"):
        TrackerEntry("ebm default", "", ("x",))
    with pytest.raises(WorkspaceError, match="label must be one line"):
        entry_text(TrackerEntry("a", "A\n[b]", ("x",)), {})
    with pytest.raises(WorkspaceError, match=r"no usable section \[a\]"):
        read_command(tmp_path, "a")
    (tmp_path / "trackers.ini").write_text("command = x\n")
    with pytest.raises(WorkspaceError, match=r"trackers\.ini cannot be used: File contains no section headers"):
        write_entry(tmp_path, TrackerEntry("a", "A", ("x",)))
    assert (tmp_path / "trackers.ini").read_text() == "command = x\n"


def test_identifiers() -> None:
    assert identifier_of("ebm", "default") == "ebm_default"
    assert identifier_of("my.module:make", "lr=1e-3") == "my_module_make_lr_1e_3"
    assert identifier_of("é", "é") == "tracker"


def test_commands_to_run_next(tmp_path: Path) -> None:
    commands = [command for _, command in next_commands(Path("/a b/ws"), "ebm_default")]
    assert [shlex.split(command)[0] for command in commands] == ["vot"] * len(commands)
    assert shlex.split(commands[2]) == ["vot", "evaluate", "--workspace", "/a b/ws", "ebm_default"]


def test_a_mistyped_path_makes_no_folders(tmp_path: Path) -> None:
    with pytest.raises(WorkspaceError, match=f"there is no folder {re.escape(str(tmp_path / 'typo'))} to make"):
        write_entry(tmp_path / "typo" / "ws", TrackerEntry("a", "A", ("x",), 120))
    assert not (tmp_path / "typo").exists()
