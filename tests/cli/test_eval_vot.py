"""`ebm eval vot` and the entry that it writes, driven as the vot toolkit drives it: another process, two pipes."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import textwrap
from collections.abc import Callable
from configparser import ConfigParser
from pathlib import Path

import pytest
from PIL import Image

from ebm_tracker.cli import main
from ebm_tracker.evaluation.vot import TraxClient, TraxError
from ebm_tracker.evaluation.vot.workspace import read_command

TRACKER = """
    import os, sys

    class Output:
        score, status = 0.5, "tracked"
        def __init__(self, box_xywh):
            self.box_xywh = box_xywh

    class Noisy:
        def initialize(self, frame, box_xywh, color="rgb"):
            print("print: no newline", end="")
            sys.stderr.write("stderr: initialised\\r")
            os.write(1, b"written to the file of stdout")
            self.box, self.frames = box_xywh, 0
        def track(self, frame, color="rgb"):
            self.frames += 1
            if frame is not None and frame[0, 0, 0] > 250:
                raise RuntimeError("out of memory")
            x, y, w, h = self.box
            self.box = (x + 2, y, w, h)
            return Output(self.box)

    def make(parameter):
        if parameter == "broken":
            raise OSError("no weights here")
        return Noisy()
"""
Write = Callable[..., list[str]]


@pytest.fixture
def images(tmp_path: Path) -> list[Path]:
    folder = tmp_path / "a 50% b%20"
    folder.mkdir()
    paths = [folder / f"{k:08d}.jpg" for k in range(1, 5)]
    for k, path in enumerate(paths):
        Image.new("RGB", (32, 24), (60 * k, 0, 0)).save(path)
    return paths


@pytest.fixture
def write(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Write:
    """Writes the entry of a tracker in a workspace with a blank in its name and returns its command."""
    (tmp_path / "modules").mkdir()
    (tmp_path / "modules" / "noisy_tracker.py").write_text(textwrap.dedent(TRACKER))
    monkeypatch.setenv("PYTHONPATH", str(tmp_path / "modules"))
    monkeypatch.syspath_prepend(str(tmp_path / "modules"))
    monkeypatch.setenv("OMP_NUM_THREADS", "1")

    def written(parameter: str = "x", *flags: str) -> list[str]:
        arguments = ["--tracker", "noisy_tracker:make", "--preset", parameter, "--id", "noisy", *flags]
        assert main(["eval", "vot", str(tmp_path / "work space"), *arguments]) == 0
        return read_command(tmp_path / "work space", "noisy")

    return written


def test_what_is_printed_does_not_disturb_the_protocol(write: Write, images: list[Path], tmp_path: Path) -> None:
    with TraxClient(write(), 30) as client:
        assert client.greeting.named["trax.name"] == "noisy_tracker.make x"
        assert client.initialize(images[0], (1, 2, 3, 4)) == ((1, 2, 3, 4), 1.0)
        assert client.frame(images[1]) == ((3, 2, 3, 4), 0.5)
        assert client.frame(images[2]) == ((5, 2, 3, 4), 0.5)
        assert client.initialize(images[1], (7, 2, 3, 4)) == ((7, 2, 3, 4), 1.0)
        assert client.frame(images[2]) == ((9, 2, 3, 4), 0.5)
        assert client.printed == ""
        assert client.close() == 0
    log = (tmp_path / "work space" / "noisy.log").read_text()
    for text in ("print: no newline", "stderr: initialised", "written to the file of stdout", "warmed up in"):
        assert text in log


def test_a_tracker_that_fails(write: Write, images: list[Path], tmp_path: Path) -> None:
    Image.new("RGB", (32, 24), (255, 0, 0)).save(images[1])
    with TraxClient(write(), 30) as client:
        client.initialize(images[0], (1, 2, 3, 4))
        with pytest.raises(TraxError, match="the tracker sent 'quit' instead of 'state': RuntimeError: out of memory"):
            client.frame(images[1])
        assert client.close() == 1
    log = (tmp_path / "work space" / "noisy.log").read_text()
    assert "Traceback" in log and "RuntimeError: out of memory" in log


def test_a_tracker_that_cannot_be_loaded(write: Write, tmp_path: Path) -> None:
    with pytest.raises(TraxError) as caught:
        TraxClient(write("broken"), 30)
    assert "ended without an answer; it printed:" in str(caught.value)
    assert "the tracker could not be loaded: no weights here" in str(caught.value)
    assert f"its log is {tmp_path / 'work space' / 'noisy.log'}" in str(caught.value)
    assert "Traceback" in (tmp_path / "work space" / "noisy.log").read_text()


def test_no_answer_in_time() -> None:
    with pytest.raises(TraxError, match=r"did not answer within 0.3 s; it printed: thinking"):
        TraxClient([sys.executable, "-c", "import time; print('thinking', flush=True); time.sleep(60)"], 0.3)
    with pytest.raises(TraxError, match=r"nowhere/python cannot be started \(No such file"):
        TraxClient(["nowhere/python"])


def test_the_client_of_vot_trax(write: Write, images: list[Path]) -> None:
    """The library that the vot toolkit uses, in a process of its own: it is a binary that may take others down."""
    pytest.importorskip("trax", reason="vot-trax is not installed")
    script = """
        import json, subprocess, sys
        from trax.client import Client
        from trax.image import FileImage
        from trax.region import Polygon, Rectangle
        command, images = json.loads(sys.argv[1])
        process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, bufsize=0)
        client = Client((process.stdin.fileno(), process.stdout.fileno()), log=lambda text: None)
        said = [client.tracker_name, client.region_formats, client.image_formats, client.channels]
        said.append(client.get("multiobject"))
        def state(answer):
            (region, properties), = answer[0]
            return [list(region.bounds()), properties]
        image = lambda k: {"color": FileImage.create(images[k])}
        said.append(state(client.initialize(image(0), [(Rectangle.create(1, 2, 3, 4.5), {})], {})))
        said.append(state(client.frame(image(1), {}, [])))
        corners = [(10, 2), (14, 2), (14, 8), (10, 8)]
        said.append(state(client.initialize(image(0), [(Polygon.create(corners), {})], {})))
        said.append(state(client.frame(image(1), {}, [])))
        client.quit()
        said.append(process.wait(10))
        print(json.dumps(said))
    """
    arguments = json.dumps([write(), [str(path) for path in images]])
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(script), arguments], capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == [
        "noisy_tracker.make x",
        ["rectangle"],
        ["path"],
        ["color"],
        False,
        [[1, 2, 3, 4.5], {"confidence": "1.000000"}],
        [[3, 2, 3, 4.5], {"confidence": "0.500000"}],
        [[10, 2, 4, 6], {"confidence": "1.000000"}],
        [[12, 2, 4, 6], {"confidence": "0.500000"}],
        0,
    ]


def test_selftest_and_what_is_said(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    workspace = tmp_path / "ws"
    arguments = ["eval", "vot", str(workspace), "--tracker", "identity", "--preset", "last_box"]
    assert main([*arguments, "--selftest", "--several-objects"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == (
        f"{workspace / 'trackers.ini'}: [identity_last_box] identity last_box; it gives boxes, not masks; its log is "
        f"{workspace / 'identity_last_box.log'}"
    )
    assert lines[1].startswith("tested: identity last_box, ready after ") and "mean overlap 0.3" in lines[1]
    assert lines[2].startswith("next, in the environment of the vot toolkit (pip install ")
    assert f"  vot evaluate --workspace {workspace} identity_last_box    # track" in lines
    parser = ConfigParser()
    parser.read(workspace / "trackers.ini")
    assert parser["identity_last_box"]["restart"] == "true"
    command = read_command(workspace, "identity_last_box")
    assert command[:3] == [sys.executable, "-m", "ebm_tracker.cli.vot_tracker"] and "--several-objects" in command


def test_paths_in_the_command_are_absolute(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, write: Write
) -> None:
    monkeypatch.chdir(tmp_path)
    command = write("x", "--pytracking", "checkout", "--threads", "2", "--seed", "3", "--polygons", "area")
    at = command.index("--pytracking")
    assert command[at + 1] == os.path.join(tmp_path, "checkout")
    assert command[command.index("--threads") + 1] == "2" and command[command.index("--seed") + 1] == "3"
    assert command[command.index("--polygons") + 1] == "area"


def test_a_failed_selftest(tmp_path: Path, write: Write, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["--tracker", "noisy_tracker:make", "--preset", "broken", "--selftest"]
    assert main(["eval", "vot", str(tmp_path / "ws"), *arguments]) == 1
    said = capsys.readouterr().out
    assert "the test failed: the tracker ended without an answer" in said and "no weights here" in said
    assert main(["eval", "vot", str(tmp_path / "ws"), "--tracker", "nothing"]) == 2
    assert "unknown tracker 'nothing'" in capsys.readouterr().err
