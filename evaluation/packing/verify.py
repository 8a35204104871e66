"""Checking any zip for a server, whoever made it."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

from ebm_tracker.evaluation.datasets.benchmark import Benchmark
from ebm_tracker.evaluation.packing.archive import archive_names, read_archive
from ebm_tracker.evaluation.packing.check import Findings, check_members, sequences_named_by
from ebm_tracker.evaluation.packing.servers import Server, expected_sequences, server_of


def verify_archive(path: Path, server: Server, benchmark: Benchmark | None = None) -> Findings:
    """Checks a zip without unpacking it to the disk, and lists all problems; none means that the server can read it.

    ``server``: see ``recognise_archive``. ``benchmark``: the server's data set, for lengths and first boxes.
    Raises PackingError when it is no whole zip file, or far larger than any submission.
    """
    content = read_archive(path)
    sequences = expected_sequences(server, benchmark)
    members, enclosing = _without_enclosing_folders(server, content.members)
    findings = check_members(server, members, sequences or sequences_named_by(members))
    if enclosing:
        content.problems.append(f"everything lies in the folder {enclosing}: zip what is in it, not the folder itself")
    findings.problems[:0] = content.problems
    return findings


def recognise_archive(path: Path) -> Server:
    """Whose submission it is, by the names in the zip. Raises PackingError as ``verify_archive`` does."""
    is_got10k = any(re.search(r"(^|[/\\])GOT-10k_", name) for name in archive_names(path))
    return server_of("got10k" if is_got10k else "trackingnet")


def _without_enclosing_folders(server: Server, members: Mapping[str, bytes]) -> tuple[dict[str, bytes], str]:
    """The files as they would be named without the folders around all of them, and those folders ("" for none)."""
    depth = 1 if server.repetitions == 1 else 2
    enclosing = ""
    kept = dict(members)
    while kept and all(name.count("/") >= depth for name in kept):
        tops = {name.partition("/")[0] for name in kept}
        if len(tops) != 1:
            break
        enclosing = "/".join(filter(None, (enclosing, *tops)))
        kept = {name.partition("/")[2]: data for name, data in kept.items()}
    return kept, enclosing
