"""Fills the folder `static` of a visdom with the scripts that its first start would fetch from the internet. They come
from the npm registry, for machines that reach no more than that:

    python tests/live/visdom_page.py        (the interpreter that has visdom; needs npm)

visdom's own list of files is followed, so this fits any version. Nothing is kept elsewhere or redistributed.
"""

from __future__ import annotations

import re
import subprocess
import tarfile
import tempfile
import urllib.request
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from unittest import mock

UNPKG = re.compile(r"https://unpkg\.com/(?P<package>[^@]+@[^/]+)/?(?P<file>.*)")
ELSEWHERE = (  # pattern, package, file
    (r"https://cdn\.plot\.ly/plotly-([\d.]+)\.min\.js", r"plotly.js-dist-min@\1", "plotly.min.js"),
    (r"https?://d3js\.org/d3\.v3\.min\.js", "d3@3.5.17", "d3.min.js"),
    (r"https://d3js\.org/d3-selection-multi\.v1\.js", "d3-selection-multi@1.0.1", "build/d3-selection-multi.js"),
    (r"https://cdnjs\.cloudflare\.com/ajax/libs/mathjax/([\d.]+)/([^?]+)(?:\?.*)?", r"mathjax@\1", r"\2"),
)
MAIN_FILES = {"classnames": "index.js"}


def package_and_file(url: str) -> tuple[str, str]:
    """The npm package with its version, and the file in it, of an address that visdom fetches. Raises ValueError."""
    plain = url.partition("#")[0]
    if found := UNPKG.fullmatch(plain):
        package = found["package"]
        return package, found["file"] or MAIN_FILES[package.partition("@")[0]]
    for pattern, package, file in ELSEWHERE:
        if found := re.fullmatch(pattern, plain):
            return found.expand(package), found.expand(file)
    raise ValueError(f"no npm package is known for {url}")


def npm_pack(packages: list[str], folder: Path) -> None:
    """Fetches the packages' archives. Raises OSError when npm does not give them all."""
    command = ["npm", "pack", "--silent", "--fetch-retries=1", "--fetch-timeout=20000", *packages]
    try:
        done = subprocess.run(
            command, cwd=folder, capture_output=True, text=True, timeout=240, stdin=subprocess.DEVNULL
        )
    except subprocess.TimeoutExpired as error:
        raise OSError(f"npm did not give visdom's scripts within {error.timeout:.0f} s") from error
    if done.returncode:
        reason = (done.stderr.strip().splitlines() or ["no reason given"])[0]
        raise OSError(f"npm did not give visdom's scripts ({reason})")


def read_file(folder: Path, url: str) -> bytes:
    package, file = package_and_file(url)
    with tarfile.open(folder / f"{package.replace('@', '-')}.tgz") as archive:
        member = archive.extractfile(f"package/{file}")
        assert member is not None
        return member.read()


def download_from(read: Callable[[str], bytes], install_dir: str | None) -> None:
    """visdom's own download, which gets the bytes of an address from ``read``."""
    import requests
    from visdom.server.build import download_scripts

    def open_url(request: Any) -> Any:
        return SimpleNamespace(read=lambda: read(request.full_url))

    opener = SimpleNamespace(open=open_url)
    with (
        mock.patch.object(urllib.request, "build_opener", lambda *_: opener),
        mock.patch.object(urllib.request, "install_opener"),
        mock.patch.object(requests, "get", lambda url: SimpleNamespace(content=read(url))),
    ):
        download_scripts(install_dir=install_dir)


def fill(install_dir: str | None = None) -> None:
    """``install_dir``: the folder of a visdom package; None: of the one that is installed. Raises OSError."""
    wanted: list[str] = []

    def note(url: str) -> bytes:
        wanted.append(url)
        return b""

    with tempfile.TemporaryDirectory() as nothing, tempfile.TemporaryDirectory() as folder:
        download_from(note, nothing)
        npm_pack(sorted({package_and_file(url)[0] for url in wanted}), Path(folder))
        download_from(lambda url: read_file(Path(folder), url), install_dir)


if __name__ == "__main__":
    fill()
