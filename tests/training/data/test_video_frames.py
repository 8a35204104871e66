"""Single frames of videos against the stream of all frames, for containers with and without usable time stamps."""

from __future__ import annotations

import multiprocessing
import pickle
from collections.abc import Iterator
from pathlib import Path

import av
import numpy as np
import pytest

from ebm_tracker.errors import VideoError
from ebm_tracker.evaluation.synthetic import MovingTexture
from ebm_tracker.training.data import video_frames
from ebm_tracker.training.data.sequence import FrameReadError
from ebm_tracker.training.data.video_frames import VideoFrames
from ebm_tracker.video import VideoFile

COUNT = 50
KINDS = {
    "few_keys.mp4": ("libx264", {"bf": "3"}, None),
    "many_keys.mp4": ("libx264", {"g": "12", "bf": "3"}, None),
    "open_gop.mkv": ("libx264", {"x264-params": "open-gop=1:keyint=12:bframes=3"}, None),
    "mpeg4.avi": ("mpeg4", {"g": "12", "bf": "2"}, None),
    "no_stamps.h264": ("libx264", {"bf": "2", "g": "12"}, "h264"),
    "program.mpg": ("mpeg2video", {"bf": "2"}, None),
}


def write_video(path: Path, codec: str, options: dict[str, str], container: str | None, count: int = COUNT) -> Path:
    with av.open(str(path), "w", format=container) as out:
        stream = out.add_stream(codec, rate=25, options={**options, "threads": "1"})
        stream.width, stream.height, stream.pix_fmt = 96, 64, "yuv420p"
        for frame in MovingTexture((96, 64), count):
            out.mux(stream.encode(av.VideoFrame.from_ndarray(frame, format="rgb24")))
        out.mux(stream.encode(None))
    return path


@pytest.fixture(scope="module")
def videos(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("videos")
    codecs = av.codecs_available
    return {name: write_video(folder / name, *kind) for name, kind in KINDS.items() if kind[0] in codecs}


@pytest.mark.parametrize("name", KINDS)
def test_every_frame_is_the_streams(videos: dict[str, Path], name: str) -> None:
    if name not in videos:
        pytest.skip(f"this FFmpeg has no {KINDS[name][0]}")
    expected = [frame for frame in VideoFile(videos[name]) if frame is not None]
    frames = VideoFrames(videos[name])
    assert len(frames) == len(expected) == COUNT
    for index in np.random.default_rng(0).permutation(COUNT):
        np.testing.assert_array_equal(frames.read(int(index)), expected[index], err_msg=f"frame {index}")


def cut_by_edit_list(source: Path, path: Path, first: int) -> Path:
    """The same packets, shown from frame ``first`` on: what cutting without encoding makes."""
    with (
        av.open(str(source)) as whole,
        av.open(str(path), "w", options={"avoid_negative_ts": "disabled", "use_editlist": "1"}) as out,
    ):
        stream = whole.streams.video[0]
        copy = out.add_stream_from_template(stream)
        shift = first * stream.duration // stream.frames
        for packet in whole.demux(stream):
            if packet.dts is not None:
                packet.pts, packet.dts, packet.stream = packet.pts - shift, packet.dts - shift, copy
                out.mux(packet)
    return path


@pytest.mark.skipif(not hasattr(av.container.OutputContainer, "add_stream_from_template"), reason="needs PyAV 14")
def test_frames_before_an_edit_list_do_not_count(videos: dict[str, Path], tmp_path: Path) -> None:
    path = cut_by_edit_list(videos["many_keys.mp4"], tmp_path / "cut.mp4", first=5)
    expected = [frame for frame in VideoFile(path) if frame is not None]
    frames = VideoFrames(path)
    assert frames.count() == len(frames) == len(expected) == COUNT - 5
    whole = VideoFrames(videos["many_keys.mp4"])
    for index in (0, 7, 20, COUNT - 6):
        np.testing.assert_array_equal(frames.read(index), expected[index])
        np.testing.assert_array_equal(frames.read(index), whole.read(index + 5))


def test_only_the_stream_without_time_stamps_is_read_from_its_start(
    videos: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    decoded: list[object] = []
    decode = video_frames.decoded_frames

    def counted(container: object) -> Iterator[object]:
        for frame in decode(container):
            decoded.append(frame)
            yield frame

    monkeypatch.setattr(video_frames, "decoded_frames", counted)
    for name, at_most in (("many_keys.mp4", 14), ("no_stamps.h264", COUNT)):
        decoded.clear()
        VideoFrames(videos[name]).read(COUNT - 2)
        assert 1 <= len(decoded) <= at_most
    assert len(decoded) == COUNT - 1


def test_a_damaged_frame_is_an_error_and_the_others_stay(videos: dict[str, Path], tmp_path: Path) -> None:
    data = bytearray(videos["many_keys.mp4"].read_bytes())
    with av.open(str(videos["many_keys.mp4"])) as container:
        packets = [p for p in container.demux(video=0) if p.size]
    keys = [p for p in packets if p.is_keyframe]
    victim = keys[2]
    data[victim.pos : victim.pos + victim.size] = bytes(victim.size)
    path = tmp_path / "damaged.mp4"
    path.write_bytes(data)
    number = sorted(p.pts for p in packets).index(victim.pts)
    frames = VideoFrames(path)
    with pytest.raises(FrameReadError, match=f"damaged.mp4, frame {number}"):
        frames.read(number)
    expected = list(VideoFile(videos["many_keys.mp4"]))
    for index in (0, number - 5, COUNT - 1):
        np.testing.assert_array_equal(frames.read(index), expected[index])


def test_a_file_that_is_cut_off(videos: dict[str, Path], tmp_path: Path) -> None:
    path = tmp_path / "cut.mkv"
    whole = videos["open_gop.mkv"].read_bytes()
    path.write_bytes(whole[: len(whole) * 6 // 10])
    frames = VideoFrames(path)
    expected = list(VideoFile(videos["open_gop.mkv"]))
    np.testing.assert_array_equal(frames.read(3), expected[3])
    with pytest.raises((FrameReadError, IndexError)):
        frames.read(COUNT - 1)


def test_numbers_outside(videos: dict[str, Path]) -> None:
    frames = VideoFrames(videos["many_keys.mp4"])
    for index in (-1, COUNT):
        with pytest.raises(IndexError, match="0 to 49"):
            frames.read(index)


def test_what_is_no_video_is_named(tmp_path: Path) -> None:
    for name, content in (("text.mp4", b"no video"), ("empty.mp4", b"")):
        (tmp_path / name).write_bytes(content)
        with pytest.raises(VideoError, match=name):
            VideoFrames(tmp_path / name)
    with pytest.raises(VideoError, match="none.mp4"):
        VideoFrames(tmp_path / "none.mp4")


def test_a_file_that_vanishes_is_a_frame_error(videos: dict[str, Path], tmp_path: Path) -> None:
    path = tmp_path / "v.mp4"
    path.write_bytes(videos["many_keys.mp4"].read_bytes())
    frames = VideoFrames(path)
    path.unlink()
    with pytest.raises(FrameReadError, match=r"v.mp4, frame 3"):
        frames.read(3)


def test_other_processes_read_the_same(videos: dict[str, Path]) -> None:
    frames = VideoFrames(videos["many_keys.mp4"])
    expected = frames.read(30)
    np.testing.assert_array_equal(pickle.loads(pickle.dumps(frames)).read(30), expected)
    if "fork" in multiprocessing.get_all_start_methods():
        with multiprocessing.get_context("fork").Pool(2) as pool:
            for found in pool.map(frames.read, [30, 30]):
                np.testing.assert_array_equal(found, expected)
