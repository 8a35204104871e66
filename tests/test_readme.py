"""The README's commands are read by the real parsers, its Python by the compiler, its links are followed."""

from __future__ import annotations

import argparse
import ast
import importlib
import importlib.metadata
import re
import runpy
import shlex
from collections.abc import Iterator
from pathlib import Path

import pytest

REPO = Path(__file__).resolve().parents[1]
README = REPO / "README.md"
OPERATORS = {"&&", "||", ";", "|", "&", ">", ">>"}

pytestmark = pytest.mark.skipif(not README.exists(), reason="there is no README.md")


def fenced(text: str, language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", text, flags=re.MULTILINE | re.DOTALL)


def commands(block: str) -> Iterator[list[str]]:
    """The words of each command of a shell block, without comments and the variables set before it."""
    for line in block.replace("\\\n", " ").splitlines():
        lexer = shlex.shlex(line.removeprefix("$ "), posix=True, punctuation_chars=True)
        lexer.whitespace_split = True
        words: list[str] = []
        for word in [*lexer, ";"]:
            if word not in OPERATORS:
                words.append(word)
                continue
            while words and re.fullmatch(r"\w+=.*", words[0]):
                words.pop(0)
            if words:
                yield words
            words = []


def readme() -> str:
    return README.read_text(encoding="utf-8") if README.exists() else ""


def readme_commands() -> list[list[str]]:
    return [words for block in fenced(readme(), "(?:bash|sh|console)") for words in commands(block)]


def own_parser(words: list[str]) -> tuple[argparse.ArgumentParser, list[str]] | None:
    """The parser that a command of ours goes to and what it gets, or None for somebody else's command."""
    if words[0] == "ebm":
        return importlib.import_module("ebm_tracker.cli").build_parser(), words[1:]
    if words[0].startswith("python") and len(words) > 1 and words[1] == "run_tracker.py":
        return runpy.run_path(str(REPO / "run_tracker.py"))["build_parser"](), words[2:]
    return None


@pytest.mark.parametrize("words", readme_commands(), ids=" ".join)
def test_command_is_understood(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    ours = own_parser(words)
    if ours is None:
        return
    parser, arguments = ours
    try:
        parser.parse_args(arguments)
    except SystemExit as stop:
        assert stop.code == 0, capsys.readouterr().err


def test_it_shows_the_demo_and_the_tests() -> None:
    shown = [" ".join(words) for words in readme_commands()]
    assert any(words.startswith("python run_tracker.py ebm default") for words in shown)
    assert any(words.startswith(("ebm track", "ebm speed")) for words in shown)
    assert any(words.startswith("pytest") for words in shown)


def test_extras_exist() -> None:
    named = {name for text in re.findall(r"\.\[([\w,-]+)\]", readme()) for name in text.split(",")}
    known = set(importlib.metadata.metadata("ebm-tracker").get_all("Provides-Extra") or [])
    assert named and named <= known


@pytest.mark.parametrize("block", fenced(readme(), "python"))
def test_python_names_exist(block: str) -> None:
    for node in ast.walk(ast.parse(block)):
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("ebm_tracker"):
            module = importlib.import_module(node.module or "")
            assert [a.name for a in node.names if not hasattr(module, a.name)] == []
        if isinstance(node, ast.Attribute) and ast.unparse(node.value) == "ebm_tracker":
            assert hasattr(importlib.import_module("ebm_tracker"), node.attr), node.attr


def test_links_lead_somewhere() -> None:
    targets = re.findall(r"\]\(([^)#\s]+)[^)]*\)", readme())
    local = [t for t in targets if "://" not in t and not t.startswith("mailto:")]
    assert [t for t in local if not (REPO / t).exists()] == []


def test_shell_blocks_are_split_into_commands() -> None:
    block = "# setup\npip install -e '.[demo]' && THREADS=2 ebm track \\\n  --init 1,2,3,4  # box\nls > out\n"
    assert list(commands(block)) == [
        ["pip", "install", "-e", ".[demo]"],
        ["ebm", "track", "--init", "1,2,3,4"],
        ["ls"],
        ["out"],
    ]
