r"""Messages of the TraX protocol: lines "@@TRAX:name "argument" "key=value"".

Arguments stand between double quotes and blanks; \" \\ and \n in them are a quote, a backslash and a line's end. All
that does not begin with the prefix is no message: programs may print between them.
(https://trax.readthedocs.io, version 4 as vot-trax 4.0.2 speaks it.)
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field

from ebm_tracker.errors import EbmError

PREFIX = "@@TRAX:"
VERSION = 4
_ARGUMENT = re.compile(r'\s*(?:"((?:[^"\\]|\\.)*)"|([^\s"]+))(?=\s|$)')
_NAMED = re.compile(r"([A-Za-z0-9._]{1,64})=(.*)", re.DOTALL)
_ESCAPES = {"n": "\n"}


class TraxError(EbmError):
    """The other side does not speak TraX, sent what was not expected, or has gone."""


@dataclass(frozen=True)
class Message:
    """``name``: hello, initialize, frame, state or quit; ``arguments`` by their place, ``named`` by their key."""

    name: str
    arguments: tuple[str, ...] = ()
    named: Mapping[str, str] = field(default_factory=dict)


def parse_message(line: str) -> Message | None:
    """The message in a line, or None when it is none. Raises TraxError for a damaged one."""
    if not line.startswith(PREFIX):
        return None
    name, _, rest = line[len(PREFIX) :].rstrip("\r\n").partition(" ")
    arguments: list[str] = []
    named: dict[str, str] = {}
    at = 0
    while rest[at:].strip():
        match = _ARGUMENT.match(rest, at)
        if match is None:
            raise TraxError(f"a damaged TraX message ({line.strip()[:80]!r})")
        at = match.end()
        text = match[2] if match[1] is None else re.sub(r"\\(.)", lambda m: _ESCAPES.get(m[1], m[1]), match[1])
        pair = _NAMED.fullmatch(text)
        if pair is None:
            arguments.append(text)
        else:
            named[pair[1]] = pair[2]
    return Message(name, tuple(arguments), named)


def format_message(message: Message) -> str:
    """The line, with its end."""
    texts = (*message.arguments, *(f"{key}={value}" for key, value in message.named.items()))
    return f"{PREFIX}{message.name} " + " ".join(f'"{_escaped(text)}"' for text in texts) + "\n"


def _escaped(text: str) -> str:
    return text.replace("\\", "\\\\").replace('"', '\\"').replace("\r", "").replace("\n", "\\n")
