"""Image messages to pixels, through cv_bridge where it loads, else by the decoder that bags are read with.

Both give the same pixels. cv_bridge is asked only for what it decodes so: it shows a damaged JPEG as grey stripes and
scales 16 bits its own way, hence damaged data is refused before, and other encodings take our decoder.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any, Literal

import numpy as np

from monotakd_ros.data.from_msg import image_from_msg
from monotakd_ros.data.image_codec import check_compressed
from monotakd_ros.errors import MissingDependencyError
from monotakd_ros.ros.optional import ros_module

logger = logging.getLogger(__name__)

DecoderChoice = Literal["auto", "cv_bridge", "builtin"]
Decode = Callable[[Any, str], np.ndarray]
"""Message and where it came from -> (H, W, 3) uint8 RGB; raises FrameError."""

BRIDGED = frozenset({"rgb8", "bgr8", "rgba8", "bgra8", "mono8", "yuv422", "yuv422_yuy2"}) | {
    f"bayer_{pattern}8" for pattern in ("rggb", "bggr", "gbrg", "grbg")
}
"""Encodings that cv_bridge turns into the same RGB."""


def image_decoder(choice: DecoderChoice) -> tuple[str, Decode]:
    """Name and function of a decoder; "auto" takes cv_bridge where it works.

    Raises:
        MissingDependencyError: cv_bridge is asked for and does not work here.
    """
    if choice != "builtin":
        try:
            return "cv_bridge", _bridge_decoder()
        except MissingDependencyError as error:
            if choice == "cv_bridge":
                raise
            logger.info("images are decoded without cv_bridge: %s", error)
    return "builtin", image_from_msg


def _bridge_decoder() -> Decode:
    bridge = ros_module("cv_bridge", "image_decoder:=cv_bridge", "set image_decoder:=builtin").CvBridge()
    _try_out(bridge)

    def decode(message: Any, where: str) -> np.ndarray:
        compressed = hasattr(message, "format")
        if compressed and "bayer" not in message.format:
            check_compressed(message.data, where, message.format)
            convert = bridge.compressed_imgmsg_to_cv2
        elif not compressed and message.encoding in BRIDGED:
            convert = bridge.imgmsg_to_cv2
        else:
            return image_from_msg(message, where)
        try:
            image = np.ascontiguousarray(convert(message, "rgb8"))
        except Exception:  # OpenCV's, numpy's and cv_bridge's own kinds: our decoder says what is wrong, or copes
            return image_from_msg(message, where)
        whole = image.size > 0 and image.ndim == 3 and image.dtype == np.uint8
        fits = compressed or image.shape[:2] == (message.height, message.width)
        return image if whole and fits else image_from_msg(message, where)

    return decode


def _try_out(bridge: Any) -> None:
    """A cv_bridge made for another numpy or OpenCV imports and fails at the first image.

    Raises:
        MissingDependencyError: so it does.
    """
    try:
        pixels = np.arange(12, dtype=np.uint8).reshape(2, 2, 3)
        decoded = bridge.imgmsg_to_cv2(bridge.cv2_to_imgmsg(pixels, "bgr8"), "rgb8")
        works = np.array_equal(decoded, pixels[:, :, ::-1])
        reason = "it gives other pixels"
    except Exception as error:  # whatever a mismatch of binaries raises
        works, reason = False, repr(error)
    if not works:
        raise MissingDependencyError(
            f"cv_bridge loads but does not work here ({reason}): is it made for another numpy or OpenCV?"
        )
