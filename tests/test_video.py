"""Real files, made here: good, damaged, odd, and changing on the way."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from PIL import Image

from ebm_tracker.errors import VideoError
from ebm_tracker.video import FrameFolder, VideoFile, VideoWriter, natural_key, read_image


def pattern(index: int, size_wh: tuple[int, int] = (64, 48)) -> np.ndarray:
    """A smooth picture that codecs keep almost exactly, with its brightness telling the index."""
    width, height = size_wh
    frame = np.empty((height, width, 3), np.uint8)
    frame[..., 0] = np.linspace(40, 200, width)
    frame[..., 1] = np.linspace(40, 200, height)[:, None]
    frame[..., 2] = 20 + 8 * index
    return frame


def make_video(path: Path, frames: int = 12, size_wh: tuple[int, int] = (64, 48), **options: Any) -> Path:
    """A video of `pattern`s; options: codec, format, container options, rotation in degrees."""
    codec = options.get("codec", "libx264")
    container = av.open(
        str(path), "w", format=options.get("format"), container_options=options.get("container", {})
    )
    stream = container.add_stream(codec, rate=25)
    stream.width, stream.height = size_wh
    stream.pix_fmt = "yuvj420p" if codec == "mjpeg" else "yuv420p"
    if codec == "libx264":
        stream.options = {"g": "6", "bf": "0"}
    if "rotation" in options:
        stream.set_display_rotation(options["rotation"])
    for index in range(frames):
        container.mux(stream.encode(av.VideoFrame.from_ndarray(pattern(index, size_wh), format="rgb24")))
    container.mux(stream.encode(None))
    container.close()
    return path


def damage_packet(path: Path, number: int) -> None:
    """Overwrites all but the head of one packet by zeros."""
    with av.open(str(path)) as container:
        packets = [(p.pos, p.size) for p in container.demux(video=0) if p.size]
    position, size = packets[number]
    data = bytearray(path.read_bytes())
    data[position + 8 : position + size] = bytes(size - 8)
    path.write_bytes(data)


def close_to(frame: np.ndarray | None, expected: np.ndarray) -> bool:
    return frame is not None and float(np.abs(frame.astype(int) - expected).mean()) < 6


def test_video_gives_its_frames_each_time(tmp_path: Path) -> None:
    video = VideoFile(make_video(tmp_path / "clip.mp4"))
    assert (video.name, video.frames_per_second, video.frame_count) == ("clip", 25.0, 12)
    assert video.size_wh == (64, 48)
    for _ in range(2):
        frames = list(video)
        assert len(frames) == 12
        assert all(close_to(frame, pattern(i)) for i, frame in enumerate(frames))
    assert frames[0] is not None and frames[0].flags.c_contiguous
    assert video.bad_frames == 0


def test_name_with_blank_and_percent(tmp_path: Path) -> None:
    assert len(list(VideoFile(make_video(tmp_path / "a %03d.mp4")))) == 12


@pytest.mark.parametrize("size_wh", [(16, 16), (18, 34)])
def test_small_video(tmp_path: Path, size_wh: tuple[int, int]) -> None:
    frames = list(VideoFile(make_video(tmp_path / "small.mp4", 3, size_wh)))
    assert [frame.shape for frame in frames if frame is not None] == [(size_wh[1], size_wh[0], 3)] * 3


@pytest.mark.parametrize("degrees", [90, -90, 180])
@pytest.mark.skipif(
    not hasattr(av.VideoStream, "set_display_rotation"), reason="this PyAV writes no rotation"
)
def test_rotation_of_the_container_is_applied(tmp_path: Path, degrees: int) -> None:
    video = VideoFile(make_video(tmp_path / "turned.mp4", 2, rotation=degrees))
    expected = np.rot90(pattern(0), degrees // 90)
    frame = next(iter(video))
    assert close_to(frame, expected)
    assert frame is not None and frame.flags.c_contiguous
    assert video.size_wh == expected.shape[1::-1]


@pytest.mark.parametrize(("codec", "ending"), [("libx264", "mp4"), ("libx264", "mkv"), ("mjpeg", "avi")])
def test_broken_frame_is_none_and_counted(tmp_path: Path, codec: str, ending: str) -> None:
    path = make_video(tmp_path / f"clip.{ending}", codec=codec)
    damage_packet(path, 5)
    video = VideoFile(path)
    frames = list(video)
    assert [frame is None for frame in frames] == [i == 5 for i in range(12)]
    assert video.bad_frames == 1
    assert close_to(frames[6], pattern(6))
    list(video)
    assert video.bad_frames == 1  # of the last iteration


def test_end_is_missing(tmp_path: Path) -> None:
    path = make_video(tmp_path / "clip.mp4", 12, container={"movflags": "faststart"})
    data = path.read_bytes()
    path.write_bytes(data[: len(data) - 400])
    frames = list(VideoFile(path))
    assert 1 < len(frames) <= 12
    assert close_to(frames[0], pattern(0))


def test_size_change_is_passed_on(tmp_path: Path) -> None:
    first = make_video(tmp_path / "a.h264", 3, (64, 48), format="h264").read_bytes()
    second = make_video(tmp_path / "b.h264", 3, (32, 64), format="h264").read_bytes()
    (tmp_path / "both.h264").write_bytes(first + second)
    shapes = [frame.shape for frame in VideoFile(tmp_path / "both.h264") if frame is not None]
    assert shapes == [(48, 64, 3)] * 3 + [(64, 32, 3)] * 3


def test_first_frame_broken(tmp_path: Path) -> None:
    path = make_video(tmp_path / "clip.mp4")
    damage_packet(path, 0)
    with pytest.raises(VideoError, match=r"the first frame of .*clip\.mp4 cannot be decoded"):
        VideoFile(path)


@pytest.mark.parametrize("kind", ["missing", "empty", "garbage", "text", "folder", "no index"])
def test_unreadable_video(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "clip.mp4"
    if kind == "folder":
        path.mkdir()
    elif kind == "no index":
        data = make_video(path).read_bytes()
        path.write_bytes(data[: len(data) // 2])
    elif kind != "missing":
        contents = {"empty": b"", "text": b"hello\n" * 50, "garbage": np.random.default_rng(0).bytes(4000)}
        path.write_bytes(contents[kind])
    with pytest.raises(VideoError, match=r"clip\.mp4") as error:
        VideoFile(path)
    assert "\n" not in str(error.value)


def test_title_that_is_not_utf_8(tmp_path: Path) -> None:
    """Old cameras and rippers write Latin-1."""
    path = tmp_path / "a.mkv"
    with av.open(str(path), "w") as container:
        container.metadata["title"] = "Titel XYZ"
        stream = container.add_stream("mpeg4", rate=25)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        container.mux(stream.encode(av.VideoFrame.from_ndarray(pattern(0), format="rgb24")))
        container.mux(stream.encode(None))
    data = path.read_bytes()
    assert data.count(b"Titel XYZ") == 1
    path.write_bytes(data.replace(b"Titel XYZ", b"Titel \xe4\xf6\xfc"))
    assert len(list(VideoFile(path))) == 1


def test_sound_is_no_video(tmp_path: Path) -> None:
    with av.open(str(tmp_path / "a.wav"), "w") as container:
        stream = container.add_stream("pcm_s16le", rate=8000)
        samples = av.AudioFrame.from_ndarray(np.zeros((1, 800), np.int16), layout="mono")
        samples.rate = 8000
        container.mux(stream.encode(samples))
    with pytest.raises(VideoError, match="no video stream"):
        VideoFile(tmp_path / "a.wav")


def save(path: Path, frame: np.ndarray, **options: Any) -> None:
    path.parent.mkdir(exist_ok=True)
    Image.fromarray(frame).save(path, **options)


def test_folder_in_the_order_of_numbers(tmp_path: Path) -> None:
    for number in (10, 9, 1, 2):
        save(tmp_path / f"{number}.png", pattern(number))
    (tmp_path / "notes.txt").write_text("no image")
    (tmp_path / "._1.png").write_bytes(b"left by an archive")
    folder = FrameFolder(tmp_path)
    assert [path.name for path in folder.paths] == ["1.png", "2.png", "9.png", "10.png"]
    assert (folder.frame_count, folder.size_wh, folder.name) == (4, (64, 48), tmp_path.name)
    for frame, number in zip(folder, (1, 2, 9, 10), strict=True):
        assert frame is not None
        np.testing.assert_array_equal(frame, pattern(number))


def test_a_raised_digit_is_no_number() -> None:
    assert sorted(["10\u00b2.png", "9\u00b2.png"], key=natural_key) == ["9\u00b2.png", "10\u00b2.png"]
    assert natural_key("\u00b2") == [(1, 0, "\u00b2")]


def test_natural_key_mixes_letters_and_numbers() -> None:
    names = ["b1", "a10", "a9", "9", "10", "a", ""]
    assert sorted(names, key=natural_key) == ["", "9", "10", "a", "a9", "a10", "b1"]


@pytest.mark.parametrize("sub", ["img", "color"])
def test_folder_of_a_benchmark(tmp_path: Path, sub: str) -> None:
    save(tmp_path / sub / "0001.jpg", pattern(0), quality=95)
    folder = FrameFolder(tmp_path)
    assert [path.parent.name for path in folder.paths] == [sub]
    assert folder.name == tmp_path.name


def test_jpeg_pixels_are_pillows(tmp_path: Path) -> None:
    save(
        tmp_path / "a.jpg", np.random.default_rng(0).integers(0, 256, (33, 47, 3), dtype=np.uint8), quality=90
    )
    frame = read_image(tmp_path / "a.jpg")
    assert frame is not None
    np.testing.assert_allclose(frame.astype(int), np.asarray(Image.open(tmp_path / "a.jpg")), atol=1)


@pytest.mark.parametrize("ending", ["jpg", "png"])
def test_orientation_tag_is_applied(tmp_path: Path, ending: str) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6  # turn clockwise to show
    save(tmp_path / f"a.{ending}", pattern(0), exif=exif)
    assert close_to(read_image(tmp_path / f"a.{ending}"), np.rot90(pattern(0), -1))


def test_damaged_exif_block_is_an_unreadable_image(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    exif[0x0100] = 64
    save(tmp_path / "a.jpg", pattern(0), exif=exif)
    data = bytearray((tmp_path / "a.jpg").read_bytes())
    data[data.index(b"Exif") + 19] = 2  # the number 64 now claims to be text, over which Pillow fails
    (tmp_path / "a.jpg").write_bytes(data)
    assert read_image(tmp_path / "a.jpg") is None


def test_other_kinds_of_images(tmp_path: Path) -> None:
    gray = pattern(0)[..., 0]
    save(tmp_path / "gray.png", gray)
    save(tmp_path / "deep.png", gray.astype(np.uint16) * 257)
    Image.fromarray(gray).convert("P").save(tmp_path / "palette.png")
    Image.fromarray(pattern(0)).convert("RGBA").save(tmp_path / "alpha.png")
    Image.fromarray(pattern(0)).convert("CMYK").save(tmp_path / "print.jpg")
    for name in ("gray", "deep", "palette"):
        frame = read_image(tmp_path / f"{name}.png")
        assert frame is not None
        np.testing.assert_array_equal(frame, gray[..., None].repeat(3, 2))
    np.testing.assert_array_equal(read_image(tmp_path / "alpha.png"), pattern(0))
    assert close_to(read_image(tmp_path / "print.jpg"), pattern(0))


def test_unreadable_image_is_none_and_counted(tmp_path: Path) -> None:
    for number in range(4):
        save(tmp_path / f"{number}.jpg", pattern(number))
    (tmp_path / "1.jpg").write_bytes((tmp_path / "1.jpg").read_bytes()[:200])
    (tmp_path / "2.jpg").write_bytes(b"")
    folder = FrameFolder(tmp_path)
    assert [frame is None for frame in folder] == [False, True, True, False]
    assert folder.bad_frames == 2


def test_unusable_folder(tmp_path: Path) -> None:
    with pytest.raises(VideoError, match="no folder of frames"):
        FrameFolder(tmp_path / "nowhere")
    (tmp_path / "a.txt").touch()
    with pytest.raises(VideoError, match="holds no images"):
        FrameFolder(tmp_path)
    (tmp_path / "0.jpg").write_bytes(b"not a picture")
    with pytest.raises(VideoError, match=r"the first frame .*0\.jpg cannot be decoded"):
        FrameFolder(tmp_path)


@pytest.mark.parametrize("size_wh", [(64, 48), (17, 15), (1, 1)])
def test_writer_pads_odd_sizes(tmp_path: Path, size_wh: tuple[int, int]) -> None:
    with VideoWriter(tmp_path / "out.mp4", 30000 / 1001) as writer:
        for _ in range(3):
            writer.write(pattern(3, size_wh))
    video = VideoFile(tmp_path / "out.mp4")
    assert video.frames_per_second == pytest.approx(29.97, abs=0.001)
    assert video.size_wh == tuple(side + side % 2 for side in size_wh)
    frames = list(video)
    assert len(frames) == 3
    assert frames[1] is not None and close_to(frames[1][: size_wh[1], : size_wh[0]], pattern(3, size_wh))
    assert [path.name for path in tmp_path.iterdir()] == ["out.mp4"]


def test_writer_fits_frames_of_another_size(tmp_path: Path) -> None:
    with VideoWriter(tmp_path / "out.mp4", 25, (64, 48)) as writer:
        writer.write(pattern(0))
        writer.write(np.full((48, 48, 3), 200, np.uint8))
    first, second = VideoFile(tmp_path / "out.mp4")
    assert close_to(first, pattern(0))
    assert second is not None and second.shape == (48, 64, 3)
    assert second[24, 32].min() > 180 and second[24, 2].max() < 30


@pytest.mark.parametrize("error", [KeyboardInterrupt, RuntimeError])
def test_writer_keeps_what_was_done(tmp_path: Path, error: type[BaseException]) -> None:
    with pytest.raises(error), VideoWriter(tmp_path / "out.mp4", 25) as writer:
        for index in range(9):
            writer.write(pattern(index))
        raise error
    assert len(list(VideoFile(tmp_path / "out.mp4"))) == 9
    writer.close()  # again


def test_writer_takes_the_pace_of_a_time_lapse(tmp_path: Path) -> None:
    with VideoWriter(tmp_path / "out.mp4", 1 / 3600) as writer:
        for index in range(3):
            writer.write(pattern(index))
    assert len(list(VideoFile(tmp_path / "out.mp4"))) == 3


def test_writer_without_frames_leaves_nothing(tmp_path: Path) -> None:
    VideoWriter(tmp_path / "out.mp4", 25).close()
    assert not list(tmp_path.iterdir())


def test_writer_errors(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="above 0"):
        VideoWriter(tmp_path / "out.mp4", 0)
    with pytest.raises(VideoError, match=r"out\.mp4 cannot be written"):
        VideoWriter(tmp_path / "nowhere" / "out.mp4", 25)


@pytest.mark.parametrize("count", [3, 40])  # the header is written with the first packet, some frames late
def test_a_full_disk_is_an_error_and_no_crash(count: int, tmp_path: Path) -> None:
    """In a process of its own: PyAV brought it down where writing went on after a header that had failed."""
    if not Path("/dev/full").is_char_device():
        pytest.skip("no /dev/full here")
    script = (
        "import sys, numpy as np\n"
        "from ebm_tracker.errors import VideoError\n"
        "from ebm_tracker.files import part_path\n"
        "from ebm_tracker.video import VideoWriter\n"
        "part_path(sys.argv[1]).symlink_to('/dev/full')\n"
        "problems = []\n"
        "try:\n"
        "    with VideoWriter(sys.argv[1], 25) as writer:\n"
        "        for n in range(int(sys.argv[2])):\n"
        "            writer.write(np.full((64, 64, 3), n, np.uint8))\n"
        "except VideoError as error:\n"
        "    problems.append(str(error))\n"
        "writer.close()\n"
        "print(problems)\n"
    )
    path = tmp_path / "x.mp4"
    command = [sys.executable, "-c", script, str(path), str(count)]
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr
    assert result.stdout == f"['{path} cannot be written (No space left on device)']\n"
    assert list(tmp_path.iterdir()) == []
