"""What a CameraInfo says about an image (REP-104): its projection, and how to rectify it.

K and D describe the raw image, P the rectified one. Both are in pixels of the full sensor: a region of interest
is cut out first (offset in full pixels), binning then divides. Binning 0 means 1; a region of size 0 is the whole.
An all-zero P means that the image is described by K alone. No distortion (D empty or zero) means that the image
is rectified as it is, as in image_proc.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass

import cv2
import numpy as np

from monotakd_ros.errors import CalibrationError, FrameError
from monotakd_ros.geometry.camera import CameraModel, pixel_scale_shift

logger = logging.getLogger(__name__)

PINHOLE_MODELS = ("plumb_bob", "rational_polynomial", "")
FISHEYE_MODELS = ("equidistant", "fisheye")


@dataclass(frozen=True, eq=False)
class CameraInfo:
    """A sensor_msgs/CameraInfo as numpy.

    Attributes:
        width: of the full sensor image, px; 0 unknown.
        height: as `width`.
        K: (3, 3) float64 of the raw image.
        D: (n,) float64 distortion.
        R: (3, 3) float64 rectifying rotation.
        P: (3, 4) float64 of the rectified image.
        distortion_model: "plumb_bob", "rational_polynomial" or "equidistant".
        binning: (x, y), at least 1.
        roi: (x offset, y offset, width, height) full-resolution px; width 0 means the whole image.
    """

    width: int
    height: int
    K: np.ndarray
    D: np.ndarray
    R: np.ndarray
    P: np.ndarray
    distortion_model: str = "plumb_bob"
    binning: tuple[int, int] = (1, 1)
    roi: tuple[int, int, int, int] = (0, 0, 0, 0)

    def same_as(self, other: CameraInfo) -> bool:
        """Whether both say the same, NaN included."""
        mine, theirs = vars(self), vars(other)
        return all(_same(mine[key], theirs[key]) for key in mine)

    @property
    def has_distortion(self) -> bool:
        return bool(np.any(self.D != 0))

    @property
    def image_size(self) -> tuple[int, int]:
        """Width and height of the images this describes, px: region of interest over binning."""
        width, height = self.roi[2:] if self.roi[2] and self.roi[3] else (self.width, self.height)
        return width // self.binning[0], height // self.binning[1]


class ImageRectifier:
    """Turns images of one CameraInfo and size into rectified ones.

    Args:
        info: the camera.
        width: of the images that will come, px. A camera calibrated at another size is scaled to it when both
            axes scale alike.
        height: as `width`.
        rectify: undistort the images; else they are taken to be rectified already.
        where: topic, for messages.

    Attributes:
        camera: of the image that `apply` gives.

    Raises:
        CalibrationError: not calibrated (K[0] is 0), not finite, or an unknown distortion model.
        FrameError: the image's size contradicts the CameraInfo.
    """

    def __init__(self, info: CameraInfo, width: int, height: int, rectify: bool, where: str) -> None:
        _check(info, where)
        img_from_full = _pixel_map(info, width, height, where)
        full_P_cam = info.P if np.any(info.P != 0) else np.column_stack([info.K, np.zeros(3)])
        try:
            self.camera = CameraModel(img_from_full @ full_P_cam, width, height)
        except CalibrationError as error:
            raise CalibrationError(f"{where}: CameraInfo: {error}") from error
        self._maps = None
        if rectify:
            new_K = img_from_full @ full_P_cam[:, :3]
            self._maps = _undistort_maps(info, img_from_full @ info.K, new_K, (width, height), where)

    def apply(self, image: np.ndarray) -> np.ndarray:
        """The rectified image; the same array where nothing is to be done."""
        if self._maps is None:
            return image
        return cv2.remap(image, *self._maps, interpolation=cv2.INTER_LINEAR)


def _same(a: object, b: object) -> bool:
    if isinstance(a, np.ndarray) and isinstance(b, np.ndarray):
        return np.array_equal(a, b, equal_nan=True)
    return a == b


def _check(info: CameraInfo, where: str) -> None:
    if info.K[0, 0] == 0 or info.K[1, 1] == 0:
        raise CalibrationError(
            f"{where}: CameraInfo has K[0] = {info.K[0, 0]:g}, K[4] = {info.K[1, 1]:g}: the camera is not calibrated"
        )
    for name in ("K", "D", "R", "P"):
        if not np.isfinite(getattr(info, name)).all():
            raise CalibrationError(f"{where}: CameraInfo.{name} is not finite: {getattr(info, name).tolist()}")


def _pixel_map(info: CameraInfo, width: int, height: int, where: str) -> np.ndarray:
    """(3, 3) map from full-resolution pixels to those of the image."""
    x_offset, y_offset = info.roi[:2]
    cut = np.array([[1.0, 0.0, -x_offset], [0.0, 1.0, -y_offset], [0.0, 0.0, 1.0]])
    # Plain division, without the half pixel of `pixel_scale_shift`: so do image_geometry and drivers.
    binned = np.diag([1.0 / info.binning[0], 1.0 / info.binning[1], 1.0]) @ cut
    expected_width, expected_height = info.image_size
    if (expected_width, expected_height) in ((width, height), (0, 0)):
        return binned
    if not expected_width or not expected_height or width * expected_height != height * expected_width:
        raise FrameError(
            f"{where}: the image is {width} x {height} px, but its CameraInfo is for "
            f"{expected_width} x {expected_height} px"
        )
    scale = width / expected_width
    logger.warning(
        "%s: CameraInfo is for %d x %d px, the images are %d x %d: scaled by %g",
        *(where, expected_width, expected_height, width, height, scale),
    )
    return pixel_scale_shift(scale, scale, 0.0, 0.0) @ binned


def _undistort_maps(
    info: CameraInfo, K: np.ndarray, new_K: np.ndarray, size: tuple[int, int], where: str
) -> tuple[np.ndarray, np.ndarray]:
    R = info.R if np.any(info.R != 0) else np.eye(3)
    if info.distortion_model in PINHOLE_MODELS:
        lengths, make = (0, 4, 5, 8, 12, 14), cv2.initUndistortRectifyMap
    elif info.distortion_model in FISHEYE_MODELS:
        lengths, make = (4,), cv2.fisheye.initUndistortRectifyMap
    else:
        known = ", ".join(name for name in PINHOLE_MODELS + FISHEYE_MODELS if name)
        raise CalibrationError(f"{where}: unknown distortion model {info.distortion_model!r}; supported: {known}")
    if len(info.D) not in lengths:
        raise CalibrationError(
            f"{where}: distortion model {info.distortion_model!r} takes {lengths} numbers, CameraInfo has {len(info.D)}"
        )
    return make(K, info.D, R, new_K, size, cv2.CV_32FC1)
