"""JPEG decoders against each other, and what only Pillow reads."""

from __future__ import annotations

import io
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from ebm_tracker.training.data import decode
from ebm_tracker.training.data.decode import DECODERS, choose_decoder, decode_image, load_decoder
from ebm_tracker.training.data.sequence import FrameReadError


@pytest.fixture(autouse=True)
def _fresh_choice() -> Iterator[None]:
    choice = decode._process_decoder  # tests replace it
    choice.cache_clear()
    yield
    choice.cache_clear()


def picture(height: int = 61, width: int = 83) -> np.ndarray:
    """Smooth colours with an edge, odd sides (the last chroma block is half outside)."""
    y, x = np.mgrid[:height, :width]
    waves = [127 + 90 * np.sin(x / 7 + k) * np.cos(y / (9 + k)) for k in range(3)]
    image = np.stack(waves, axis=2).astype(np.uint8)
    image[20:40, 30:60] = (200, 40, 90)
    return image


def encoded(image: np.ndarray | Image.Image, kind: str = "JPEG", **options: object) -> bytes:
    file = io.BytesIO()
    (image if isinstance(image, Image.Image) else Image.fromarray(image)).save(file, kind, **options)
    return file.getvalue()


def with_orientation(image: np.ndarray, orientation: int) -> bytes:
    exif = Image.Exif()
    exif[0x0112] = orientation
    return encoded(image, quality=95, exif=exif)


JPEGS = {
    "4:2:0": {"subsampling": 2, "quality": 90},
    "4:4:4": {"subsampling": 0, "quality": 90},
    "progressive": {"progressive": True, "quality": 75},
    "coarse": {"quality": 10},
}


@pytest.mark.parametrize("name", DECODERS)
@pytest.mark.parametrize("form", JPEGS)
def test_decoders_agree_with_pillow(name: str, form: str) -> None:
    decoder = load_decoder(name)
    if decoder is None:
        pytest.skip(f"{name} does not work here")
    data = encoded(picture(), **JPEGS[form])
    expected = np.asarray(Image.open(io.BytesIO(data)).convert("RGB"))
    frame = decoder(data)
    assert frame.dtype == np.uint8 and frame.shape == (61, 83, 3) and frame.flags.c_contiguous
    assert np.abs(frame.astype(int) - expected).max() <= 3


@pytest.mark.parametrize("name", DECODERS)
def test_decoders_agree_on_photos(shared_dir: Path, name: str) -> None:
    decoder = load_decoder(name)
    if decoder is None:
        pytest.skip(f"{name} does not work here")
    for path in sorted((shared_dir / "train_images/ecssd/images").glob("*.jpg"))[:10]:
        expected = np.asarray(Image.open(path).convert("RGB"))
        assert np.abs(decoder(path.read_bytes()).astype(int) - expected).max() <= 3


@pytest.mark.parametrize("name", DECODERS)
def test_colours_and_orientation_are_as_stored(name: str) -> None:
    """Red stays red, and a picture whose tag says "turn me" stays as it is, also under OpenCV."""
    decoder = load_decoder(name)
    if decoder is None:
        pytest.skip(f"{name} does not work here")
    image = np.zeros((24, 40, 3), np.uint8)
    image[:, :20] = (250, 10, 10)
    frame = decoder(with_orientation(image, 6))
    assert frame.shape == (24, 40, 3)
    np.testing.assert_allclose(frame[12, 5].astype(int), (250, 10, 10), atol=4)
    np.testing.assert_allclose(frame[12, 35].astype(int), (0, 0, 0), atol=4)


def test_orientation_is_applied_on_demand() -> None:
    image = np.zeros((24, 40, 3), np.uint8)
    image[:, :20] = (250, 10, 10)
    data = with_orientation(image, 6)  # to be turned clockwise: left becomes top
    assert decode_image(data).shape == (24, 40, 3)
    turned = decode_image(data, apply_orientation=True)
    assert turned.shape == (40, 24, 3)
    np.testing.assert_allclose(turned[5, 12].astype(int), (250, 10, 10), atol=4)
    plain = encoded(image, quality=95)
    np.testing.assert_array_equal(decode_image(plain, apply_orientation=True), decode_image(plain))


def test_other_kinds_of_images() -> None:
    image = picture()
    gray = image[:, :, 0]
    np.testing.assert_array_equal(decode_image(encoded(image, "PNG")), image)
    np.testing.assert_array_equal(decode_image(encoded(image, "BMP")), image)
    np.testing.assert_array_equal(decode_image(encoded(gray, "PNG")), np.repeat(gray[:, :, None], 3, axis=2))
    gray_jpeg = decode_image(encoded(gray, quality=95))
    assert gray_jpeg.shape == (61, 83, 3) and np.ptp(gray_jpeg, axis=2).max() == 0
    assert np.abs(gray_jpeg[:, :, 0].astype(int) - gray).mean() < 2
    with_alpha = np.dstack((image, np.full(gray.shape, 30, np.uint8)))
    np.testing.assert_array_equal(decode_image(encoded(with_alpha, "PNG")), image)
    palette = Image.fromarray(gray).convert("P")
    np.testing.assert_array_equal(decode_image(encoded(palette, "PNG")), np.asarray(palette.convert("RGB")))


def test_sixteen_bits_are_scaled_not_clipped() -> None:
    gray = np.linspace(0, 65535, 50 * 20).reshape(20, 50).astype(np.uint16)
    frame = decode_image(encoded(Image.fromarray(gray), "PNG"))
    np.testing.assert_array_equal(frame[:, :, 1], np.rint(gray / 257).astype(np.uint8))


def test_cmyk_jpeg_is_what_pillow_makes_of_it() -> None:
    data = encoded(Image.fromarray(picture()).convert("CMYK"), quality=95)
    frame = decode_image(data)
    np.testing.assert_array_equal(frame, np.asarray(Image.open(io.BytesIO(data)).convert("RGB")))
    assert np.abs(frame.astype(int) - picture()).mean() < 8


def test_twelve_bits_and_odd_headers_are_not_for_the_fast_decoder() -> None:
    data = encoded(picture())
    start = data.index(b"\xff\xc0")
    assert decode._jpeg_bits_and_channels(data) == (8, 3)
    assert decode._jpeg_bits_and_channels(data[: start + 4] + b"\x0c" + data[start + 5 :]) == (12, 3)
    assert decode._jpeg_bits_and_channels(data[:2] + b"\xff" + data[2:]) == (8, 3)  # a fill byte
    assert decode._jpeg_bits_and_channels(b"\xff\xd8\xff\xda" + bytes(20)) is None
    assert decode._jpeg_bits_and_channels(data[:20]) is None


@pytest.mark.parametrize("name", DECODERS)
def test_a_jpeg_that_is_cut_off_is_an_error_under_every_decoder(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    decoder = load_decoder(name)
    if decoder is None:
        pytest.skip(f"{name} does not work here")
    monkeypatch.setattr(decode, "_process_decoder", lambda: (name, decoder))
    data = encoded(picture(), quality=95)
    with pytest.raises(FrameReadError, match=r"a/7\.jpg cannot be decoded"):
        decode_image(data[: len(data) // 2], "a/7.jpg")
    frame = decode_image(data + b"some camera's appendix", "a/7.jpg")
    assert np.abs(frame.astype(int) - decode.decode_pillow(data)).max() <= 3


@pytest.mark.parametrize("data", [b"", b"not an image", b"\xff\xd8\xff\xe0" + bytes(30) + b"\xff\xd9"])
def test_what_is_no_image_is_an_error_with_its_name(data: bytes) -> None:
    with pytest.raises(FrameReadError, match=r"v1/3\.jpg cannot be decoded \("):
        decode_image(data, "v1/3.jpg")


def test_the_next_decoder_takes_over_without_a_word(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str], recwarn: pytest.WarningsRecorder
) -> None:
    for module in ("simplejpeg", "cv2", "jpeg4py", "jpeg4py._cffi"):
        monkeypatch.setitem(sys.modules, module, None)
    name, decoder = choose_decoder()
    assert name in ("torchvision", "pillow")
    monkeypatch.setitem(sys.modules, "torchvision.io", None)
    assert choose_decoder() == ("pillow", decode.decode_pillow)
    data = encoded(picture())
    np.testing.assert_array_equal(decode_image(data), decode.decode_pillow(data))
    assert decode.jpeg_decoder_name() == "pillow"
    assert capfd.readouterr() == ("", "") and not len(recwarn)


def test_a_decoder_that_gives_wrong_colours_or_fails_is_not_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(data: bytes) -> np.ndarray:
        raise RuntimeError("built for another libjpeg")

    def swapped(data: bytes) -> np.ndarray:
        return np.ascontiguousarray(decode.decode_pillow(data)[:, :, ::-1])

    for decoder in (fails, swapped):
        monkeypatch.setitem(decode._LOADERS, "simplejpeg", lambda decoder=decoder: decoder)
        assert load_decoder("simplejpeg") is None
    with pytest.raises(ValueError, match="decoder must be one of simplejpeg, .*got 'libjpeg'"):
        load_decoder("libjpeg")


def test_what_the_fast_decoder_refuses_is_left_to_pillow(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuses(data: bytes) -> np.ndarray:
        raise ValueError("unusual Huffman table")

    monkeypatch.setattr(decode, "_process_decoder", lambda: ("strict", refuses))
    data = encoded(picture())
    np.testing.assert_array_equal(decode_image(data), decode.decode_pillow(data))
