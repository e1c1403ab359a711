"""From pixels and their CameraInfo to a rectified image and its camera: bags and live nodes do it here alike."""

from __future__ import annotations

from typing import Literal

import numpy as np

from monotakd_ros.data.camera_info import CameraInfo, ImageRectifier

Rectify = Literal["auto", "always", "never"]


def is_to_rectify(rectify: Rectify, info: CameraInfo, already_rectified: bool) -> bool:
    """Whether images of this camera are to be undistorted; arguments as in `CameraRectifier`."""
    return rectify == "always" or (rectify == "auto" and info.has_distortion and not already_rectified)


class CameraRectifier:
    """Rectifies images, and keeps what it takes while CameraInfo and size stay as they are.

    Args:
        rectify: "auto" undistorts images of a camera with distortion, unless they are rectified already.
        already_rectified: whether the topic's own name says so.
    """

    def __init__(self, rectify: Rectify, already_rectified: bool) -> None:
        self._rectify, self._already_rectified = rectify, already_rectified
        self._known: tuple[CameraInfo, tuple[int, ...], ImageRectifier] | None = None

    def rectifier(self, info: CameraInfo, image: np.ndarray, where: str) -> ImageRectifier:
        """What turns this image (H, W, 3) into a rectified one, and knows that one's camera.

        Raises:
            CalibrationError: the camera is not calibrated, or in an unknown way; starts with `where`.
            FrameError: the image's size contradicts the CameraInfo.
        """
        known = self._known
        if known is None or known[0] is not info or known[1] != image.shape:
            wanted = is_to_rectify(self._rectify, info, self._already_rectified)
            height, width = image.shape[:2]
            known = self._known = (info, image.shape, ImageRectifier(info, width, height, wanted, where))
        return known[2]
