"""A client of the TraX protocol that asks a tracker for the boxes of some frames: text lines over two pipes.

    python trax_client.py "x,y,w,h" FRAME... -- COMMAND...

prints what the tracker answered, one region a line, the answer to `initialize` first. See the protocol's
documentation: https://trax.readthedocs.io (messages hello, initialize, frame, state, quit).
"""

from __future__ import annotations

import re
import subprocess
import sys

_STATE = re.compile(r'@@TRAX:(\w+)(?: "([^"]*)")?')


def answer(lines, wanted):
    for line in lines:
        found = _STATE.match(line.strip())
        if found and found[1] == wanted:
            return found[2]
    raise SystemExit(f"the tracker ended without a message {wanted}")


def main(arguments: list[str]) -> None:
    cut = arguments.index("--")
    box, frames, command = arguments[0], arguments[1:cut], arguments[cut + 1 :]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1) as tracker:
        assert tracker.stdin is not None and tracker.stdout is not None
        answer(tracker.stdout, "hello")
        for i, frame in enumerate(frames):
            region = f' "{box}"' if i == 0 else ""
            tracker.stdin.write(f'@@TRAX:{"frame" if i else "initialize"} "file://{frame}"{region}\n')
            tracker.stdin.flush()
            print(answer(tracker.stdout, "state"), flush=True)
        tracker.stdin.write("@@TRAX:quit\n")
        tracker.stdin.flush()


if __name__ == "__main__":
    main(sys.argv[1:])
