"""Pixels of every encoding, padding and byte order; damaged files never pass as images."""

from __future__ import annotations

import itertools

import cv2
import numpy as np
import pytest

from monotakd_ros.data.image_codec import SUPPORTED_ENCODINGS, decode_compressed, decode_raw, encode_compressed
from monotakd_ros.errors import FrameError

RGB = np.array([[[10, 20, 30], [200, 100, 50]], [[0, 255, 0], [9, 8, 7]]], dtype=np.uint8)


def smooth_image(height: int = 40, width: int = 60) -> np.ndarray:
    v, u = np.mgrid[:height, :width]
    return np.stack([2 * u + 20, 3 * v + 10, u + v + 50], axis=2).astype(np.uint8)


def decode(data: np.ndarray, encoding: str, step: int = 0, big_endian: bool = False) -> np.ndarray:
    height, width = data.shape[:2]
    return decode_raw(data.tobytes(), encoding, height, width, step, big_endian, "/camera, stamp 5 ns")


@pytest.mark.parametrize(
    ("encoding", "stored"),
    [
        ("rgb8", RGB),
        ("bgr8", RGB[:, :, ::-1]),
        ("8UC3", RGB[:, :, ::-1]),
        ("rgba8", np.dstack([RGB, np.full((2, 2), 7, np.uint8)])),
        ("bgra8", np.dstack([RGB[:, :, ::-1], np.full((2, 2), 7, np.uint8)])),
    ],
)
def test_colour(encoding, stored):
    np.testing.assert_array_equal(decode(np.ascontiguousarray(stored), encoding), RGB)


@pytest.mark.parametrize("big_endian", [False, True])
def test_grey(big_endian):
    grey = RGB[:, :, 0]
    np.testing.assert_array_equal(decode(grey, "mono8"), np.repeat(grey[..., None], 3, axis=2))
    deep = (grey.astype(np.uint16) * 256 + 3).astype(">u2" if big_endian else "<u2")
    np.testing.assert_array_equal(decode(deep, "mono16", big_endian=big_endian), np.repeat(grey[..., None], 3, axis=2))


@pytest.mark.parametrize("pattern", ["rggb", "bggr", "gbrg", "grbg"])
@pytest.mark.parametrize("depth", ["8", "16"])
def test_bayer(pattern, depth):
    image = smooth_image()
    mosaic = np.zeros(image.shape[:2], np.uint8)
    for (row, column), colour in zip(itertools.product((0, 1), repeat=2), pattern):
        mosaic[row::2, column::2] = image[row::2, column::2, "rgb".index(colour)]
    stored = mosaic if depth == "8" else mosaic.astype("<u2") * 256
    decoded = decode(stored, f"bayer_{pattern}{depth}").astype(int)
    assert np.abs(decoded - image)[2:-2, 2:-2].max() <= 4


@pytest.mark.parametrize("encoding", ["yuv422", "uyvy", "yuv422_yuy2", "yuyv"])
def test_yuv_grey_ramp(encoding):
    luma = np.linspace(16, 235, 60).astype(np.uint8)[None].repeat(4, axis=0)
    chroma = np.full_like(luma, 128)
    first_luma = encoding in ("yuv422_yuy2", "yuyv")
    stored = np.stack([luma, chroma] if first_luma else [chroma, luma], axis=2)
    expected = np.clip((luma.astype(float) - 16) * 255 / 219, 0, 255)
    assert np.abs(decode(stored, encoding) - expected[..., None]).max() <= 2


def test_yuv_red_is_red():
    uyvy = np.tile(np.array([[90, 81], [240, 81]], np.uint8), (4, 4, 1))
    red, green, blue = decode(uyvy, "uyvy")[0, 0]
    assert red > 240
    assert max(green, blue) < 15


def test_padding_of_rows_is_skipped():
    padded = np.full((2, 10), 99, np.uint8)
    padded[:, :6] = RGB.reshape(2, 6)
    np.testing.assert_array_equal(decode_raw(padded.tobytes(), "rgb8", 2, 2, 10, False, "x"), RGB)
    without_last_padding = padded.tobytes()[:-4]
    np.testing.assert_array_equal(decode_raw(without_last_padding, "rgb8", 2, 2, 10, False, "x"), RGB)


def test_unknown_encoding_names_the_known_ones():
    with pytest.raises(FrameError, match=r"'32FC1'.*supported: rgb8") as caught:
        decode(RGB, "32FC1")
    assert all(name in str(caught.value) for name in SUPPORTED_ENCODINGS)
    assert str(caught.value).startswith("/camera, stamp 5 ns")


@pytest.mark.parametrize(("height", "width", "step"), [(3, 2, 6), (2, 2, 5), (0, 2, 6), (2, 0, 0)])
def test_sizes_that_contradict_the_bytes(height, width, step):
    with pytest.raises(FrameError, match="expected"):
        decode_raw(RGB.tobytes(), "rgb8", height, width, step, False, "x")


def test_png_is_lossless_and_jpeg_close():
    image = smooth_image()
    np.testing.assert_array_equal(decode_compressed(encode_compressed(image, "png"), "x"), image)
    assert np.abs(decode_compressed(encode_compressed(image, "jpeg"), "x").astype(int) - image).mean() < 3


@pytest.mark.parametrize("progressive", [0, 1])
def test_other_jpeg_flavours(progressive):
    flags = [cv2.IMWRITE_JPEG_PROGRESSIVE, progressive, cv2.IMWRITE_JPEG_OPTIMIZE, 1, cv2.IMWRITE_JPEG_RST_INTERVAL, 2]
    _, buffer = cv2.imencode(".jpg", smooth_image(), flags)
    assert decode_compressed(buffer, "x").shape == (40, 60, 3)


def test_sixteen_bit_png_becomes_eight_bit():
    _, buffer = cv2.imencode(".png", smooth_image().astype(np.uint16) * 256)
    assert decode_compressed(buffer, "x").dtype == np.uint8


def test_compressed_bayer_mosaic():
    mosaic = np.full((8, 8), 60, np.uint8)
    mosaic[::2, ::2] = 200
    _, buffer = cv2.imencode(".png", mosaic)
    red, _, blue = decode_compressed(buffer, "x", "bayer_rggb8; png compressed ")[4, 4]
    assert red > blue


@pytest.mark.parametrize("kind", ["png", "jpeg"])
@pytest.mark.parametrize("share", [0.1, 0.5, 0.9, 0.999])
def test_truncated_file(kind, share):
    data = encode_compressed(np.random.default_rng(0).integers(0, 255, (60, 80, 3), dtype=np.uint8), kind)
    with pytest.raises(FrameError, match="frame 7: corrupt"):
        decode_compressed(data[: int(len(data) * share)], "frame 7")


def test_flipped_bit_in_png():
    data = bytearray(encode_compressed(smooth_image(), "png"))
    data[len(data) // 2] ^= 1
    with pytest.raises(FrameError, match="checksum"):
        decode_compressed(bytes(data), "x")


@pytest.mark.parametrize("data", [b"", b"hello", b"GIF89a....", b"\xff\xd8", b"\x89PNG\r\n\x1a\n"])
def test_no_image(data):
    with pytest.raises(FrameError):
        decode_compressed(data, "x", "jpeg")
