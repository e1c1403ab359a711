"""Pixels in and out of ROS encodings and of PNG and JPEG, without cv_bridge. Our side is always RGB, uint8.

Raw encodings: sensor_msgs/image_encodings.hpp. A decoder never guesses: unknown encodings and damaged data are a
`FrameError`, since OpenCV would hand back grey stripes for the missing part.
"""

from __future__ import annotations

import re
import struct
import zlib

import cv2
import numpy as np

from monotakd_ros.errors import FrameError

_CHANNELS = {"rgb8": 3, "bgr8": 3, "rgba8": 4, "bgra8": 4, "8UC3": 3, "8UC4": 4}
_GREY = ("mono8", "8UC1", "mono16", "16UC1")
# OpenCV names a Bayer pattern after the pixels (1, 1) and (1, 2); ROS after (0, 0) and (0, 1).
_BAYER = {
    "bayer_rggb8": cv2.COLOR_BayerBG2RGB,
    "bayer_bggr8": cv2.COLOR_BayerRG2RGB,
    "bayer_gbrg8": cv2.COLOR_BayerGR2RGB,
    "bayer_grbg8": cv2.COLOR_BayerGB2RGB,
}
_YUV = {
    "yuv422": cv2.COLOR_YUV2RGB_UYVY,
    "uyvy": cv2.COLOR_YUV2RGB_UYVY,
    "yuv422_yuy2": cv2.COLOR_YUV2RGB_YUY2,
    "yuyv": cv2.COLOR_YUV2RGB_YUY2,
}
SUPPORTED_ENCODINGS = (*_CHANNELS, *_GREY, *_BAYER, *(name[:-1] + "16" for name in _BAYER), *_YUV)

_PNG_MAGIC = b"\x89PNG\r\n\x1a\n"
_JPEG_MAGIC = b"\xff\xd8"
_MARKER = re.compile(rb"\xff[^\x00\xff\xd0-\xd7]", re.DOTALL)
_END_OF_IMAGE = 0xD9
_SEGMENTS = frozenset((*range(0xC0, 0xD0), *range(0xDA, 0xF0), 0xFE))
"""Frame headers, tables, scans, application data, comments."""


def decode_raw(
    data: np.ndarray | bytes, encoding: str, height: int, width: int, step: int, big_endian: bool, where: str
) -> np.ndarray:
    """Decode the data of a sensor_msgs/Image.

    Args:
        data: rows of `step` bytes each, padding after `width` pixels allowed.
        encoding: one of `SUPPORTED_ENCODINGS`.
        height: px.
        width: px.
        step: bytes from one row to the next; 0 means no padding.
        big_endian: byte order of 16-bit encodings.
        where: topic and stamp, for messages.

    Returns:
        (H, W, 3) uint8 RGB; 16-bit values keep their upper byte.

    Raises:
        FrameError: unknown encoding, no pixels, or fewer bytes than the size asks for.
    """
    if encoding not in SUPPORTED_ENCODINGS:
        raise FrameError(f"{where}: unknown encoding {encoding!r}; supported: {', '.join(SUPPORTED_ENCODINGS)}")
    two_bytes = encoding.endswith("16") or encoding == "16UC1"
    channels = 2 if encoding in _YUV else _CHANNELS.get(encoding, 1)
    rows = _rows(data, height, width * channels * (2 if two_bytes else 1), step, where)
    if two_bytes:
        rows = np.ascontiguousarray(rows).view(">u2" if big_endian else "<u2")
        rows = (rows >> 8).astype(np.uint8)
    return _to_rgb(rows.reshape(height, width, channels), encoding)


def decode_compressed(data: np.ndarray | bytes, where: str, format_text: str = "") -> np.ndarray:
    """Decode PNG or JPEG bytes to (H, W, 3) uint8 RGB.

    Args:
        data: the file's bytes.
        where: file, or topic and stamp, for messages.
        format_text: `format` of a sensor_msgs/CompressedImage; tells a compressed Bayer mosaic.

    Raises:
        FrameError: neither PNG nor JPEG, truncated, or damaged.
    """
    data = bytes(data)
    check_compressed(data, where, format_text)
    buffer = np.frombuffer(data, dtype=np.uint8)
    mosaic = f"{format_text.split(';')[0].strip()[:10]}8"
    try:
        if mosaic in _BAYER and "bgr" not in format_text and "rgb8" not in format_text:
            image = cv2.imdecode(buffer, cv2.IMREAD_GRAYSCALE)
            return cv2.cvtColor(image, _BAYER[mosaic])
        image = cv2.imdecode(buffer, cv2.IMREAD_COLOR | cv2.IMREAD_IGNORE_ORIENTATION)
        return cv2.cvtColor(image, cv2.COLOR_BGR2RGB)
    except cv2.error as error:
        raise FrameError(f"{where}: corrupt image ({len(data)} bytes)") from error


def check_compressed(data: np.ndarray | bytes, where: str, format_text: str = "") -> None:
    """See that PNG or JPEG bytes are whole; arguments and error as in `decode_compressed`."""
    data = bytes(data)
    if data.startswith(_PNG_MAGIC):
        _check_png(data, where)
    elif data.startswith(_JPEG_MAGIC):
        _check_jpeg(data, where)
    else:
        shown = f"{len(data)} bytes, format {format_text!r}" if format_text else f"{len(data)} bytes"
        raise FrameError(f"{where}: expected a PNG or JPEG image, got {shown} starting with {data[:8]!r}")


def encode_compressed(image: np.ndarray, kind: str, jpeg_quality: int = 95) -> bytes:
    """Encode (H, W, 3) uint8 RGB as "png" (lossless) or "jpeg"."""
    parameters = {
        # Level 1 is several times quicker than the default and a few per cent larger.
        "png": (".png", [cv2.IMWRITE_PNG_COMPRESSION, 1]),
        "jpeg": (".jpg", [cv2.IMWRITE_JPEG_QUALITY, jpeg_quality]),
    }
    suffix, flags = parameters[kind]
    done, buffer = cv2.imencode(suffix, cv2.cvtColor(image, cv2.COLOR_RGB2BGR), flags)
    assert done, f"OpenCV cannot encode {kind}"
    return buffer.tobytes()


def _rows(data: np.ndarray | bytes, height: int, row_bytes: int, step: int, where: str) -> np.ndarray:
    """The pixels' bytes (height, row_bytes) without padding."""
    flat = np.frombuffer(data, dtype=np.uint8)
    step = step or row_bytes
    if height <= 0 or row_bytes <= 0:
        raise FrameError(f"{where}: expected an image with pixels, got height {height}, {row_bytes} bytes a row")
    if step < row_bytes:
        raise FrameError(f"{where}: expected a row step of at least {row_bytes} bytes, got {step}")
    needed = step * (height - 1) + row_bytes
    if flat.size < needed:
        raise FrameError(f"{where}: expected at least {needed} bytes of pixels, got {flat.size}: truncated image")
    padded = flat if flat.size >= step * height else np.pad(flat, (0, step * height - flat.size))
    return padded[: step * height].reshape(height, step)[:, :row_bytes]


def _to_rgb(pixels: np.ndarray, encoding: str) -> np.ndarray:
    pixels = np.ascontiguousarray(pixels)
    if encoding in _YUV:
        return cv2.cvtColor(pixels, _YUV[encoding])
    if encoding in _GREY:
        return np.repeat(pixels, 3, axis=2)
    if encoding.startswith("bayer"):
        return cv2.cvtColor(pixels, _BAYER[encoding.removesuffix("16").removesuffix("8") + "8"])
    if encoding.startswith("rgb"):
        return pixels[:, :, :3].copy()
    return np.ascontiguousarray(pixels[:, :, 2::-1])


def _check_png(data: bytes, where: str) -> None:
    """Walk the chunks up to IEND and compare their checksums."""
    position = len(_PNG_MAGIC)
    while position + 12 <= len(data):
        (length,) = struct.unpack_from(">I", data, position)
        kind = data[position + 4 : position + 8]
        end = position + 8 + length
        if end + 4 > len(data):
            break
        if zlib.crc32(data[position + 4 : end]) != struct.unpack_from(">I", data, end)[0]:
            raise FrameError(f"{where}: corrupt PNG: wrong checksum at byte {position}")
        if kind == b"IEND":
            return
        position = end + 4
    raise FrameError(f"{where}: corrupt PNG: ends after {len(data)} bytes without its last chunk")


def _check_jpeg(data: bytes, where: str) -> None:
    """Walk the segments and the coded pixels up to the end marker."""
    position = len(_JPEG_MAGIC)
    while marker := _MARKER.search(data, position):
        kind = data[marker.start() + 1]
        if kind == _END_OF_IMAGE:
            return
        if kind not in _SEGMENTS or marker.end() + 2 > len(data):
            raise FrameError(f"{where}: corrupt JPEG: unexpected marker {kind:#x} at byte {marker.start()}")
        # Pixels follow a scan's header; the search passes over them, since stuffed bytes match no marker.
        position = marker.end() + int.from_bytes(data[marker.end() : marker.end() + 2], "big")
    raise FrameError(f"{where}: corrupt JPEG: ends after {len(data)} bytes without its end marker")
