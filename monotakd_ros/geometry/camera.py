"""The pinhole camera of a rectified image.

Pixels are centred on whole numbers (KITTI, OpenCV): the image spans [-0.5, width - 0.5]. Depth is the
z coordinate in the camera frame (`cam`: x right, y down, z forward).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from monotakd_ros.errors import CalibrationError

NEAR_DEPTH_M = 1e-3


@dataclass(frozen=True, eq=False)
class CameraModel:
    """A rectified pinhole camera.

    Attributes:
        img_P_cam: (3, 4) float64 projection, homogeneous pixels from metres in `cam`.
        width: image width, px.
        height: image height, px.

    Raises:
        CalibrationError: a non-finite entry, focal length <= 0, or size <= 0.
    """

    img_P_cam: np.ndarray
    width: int
    height: int

    def __post_init__(self) -> None:
        projection = np.array(self.img_P_cam, dtype=np.float64)
        if projection.shape != (3, 4) or not np.isfinite(projection).all():
            raise CalibrationError(f"expected a finite 3x4 projection, got shape {projection.shape}: {projection}")
        if projection[0, 0] <= 0 or projection[1, 1] <= 0:
            raise CalibrationError(
                f"expected focal lengths > 0, got fx = {projection[0, 0]:g}, fy = {projection[1, 1]:g}: "
                "is the camera calibrated?"
            )
        if self.width <= 0 or self.height <= 0:
            raise CalibrationError(f"expected an image size > 0, got {self.width} x {self.height}")
        projection.setflags(write=False)
        object.__setattr__(self, "img_P_cam", projection)

    @classmethod
    def from_intrinsics(cls, fx: float, fy: float, cx: float, cy: float, width: int, height: int) -> CameraModel:
        """Build a camera from focal lengths and principal point, px."""
        return cls(np.array([[fx, 0, cx, 0], [0, fy, cy, 0], [0, 0, 1, 0]], dtype=np.float64), width, height)

    @property
    def fx(self) -> float:
        return float(self.img_P_cam[0, 0])

    @property
    def fy(self) -> float:
        return float(self.img_P_cam[1, 1])

    @property
    def cx(self) -> float:
        return float(self.img_P_cam[0, 2])

    @property
    def cy(self) -> float:
        return float(self.img_P_cam[1, 2])

    def same_as(self, other: CameraModel) -> bool:
        """Whether both have the same size and projection."""
        return (self.width, self.height) == (other.width, other.height) and np.array_equal(
            self.img_P_cam, other.img_P_cam
        )

    def project(self, points_cam: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Project points.

        Args:
            points_cam: (N, 3) metres, cam.

        Returns:
            uv_px (N, 2) pixels and depth (N,) metres (z in cam). Points at or behind the camera get NaN pixels.
        """
        homogeneous = points_cam @ self.img_P_cam[:, :3].T + self.img_P_cam[:, 3]
        scale = homogeneous[:, 2:3]
        with np.errstate(divide="ignore", invalid="ignore"):
            uv_px = np.where(scale > NEAR_DEPTH_M, homogeneous[:, :2] / scale, np.nan)
        return uv_px, points_cam[:, 2]

    def unproject(self, uv_px: np.ndarray, depth: np.ndarray) -> np.ndarray:
        """Inverse of `project`: pixels (N, 2) and depth (N,) metres to points (N, 3) in cam."""
        scale = depth + self.img_P_cam[2, 3]
        rhs = np.column_stack([uv_px * scale[:, None], scale]) - self.img_P_cam[:, 3]
        return rhs @ np.linalg.inv(self.img_P_cam[:, :3]).T

    def contains(self, uv_px: np.ndarray) -> np.ndarray:
        """(N,) bool: whether pixels (N, 2) lie inside the image; NaN does not."""
        u, v = uv_px[:, 0], uv_px[:, 1]
        return (u >= -0.5) & (u < self.width - 0.5) & (v >= -0.5) & (v < self.height - 0.5)

    def warped(self, new_from_old: np.ndarray, width: int, height: int) -> CameraModel:
        """The camera of the image after the pixel map `new_from_old` (3, 3) and a new size."""
        return CameraModel(new_from_old @ self.img_P_cam, width, height)


def pixel_scale_shift(scale_u: float, scale_v: float, shift_u_px: float, shift_v_px: float) -> np.ndarray:
    """(3, 3) pixel map of a resize by (scale_u, scale_v) followed by a shift, for pixels centred on whole numbers."""
    return np.array(
        [
            [scale_u, 0.0, 0.5 * scale_u - 0.5 + shift_u_px],
            [0.0, scale_v, 0.5 * scale_v - 0.5 + shift_v_px],
            [0.0, 0.0, 1.0],
        ]
    )
