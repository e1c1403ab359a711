"""Rigid transforms as 4x4 matrices, numpy, float64.

`target_T_source` maps points of `source` into `target`; neighbouring names must match when chained:
`cam_T_lidar @ lidar_T_world`. Quaternions are (x, y, z, w) as in ROS.
"""

from __future__ import annotations

import numpy as np

from monotakd_ros.errors import CalibrationError

LIDAR_TO_OPTICAL_ROTATION = np.array([[0.0, -1.0, 0.0], [0.0, 0.0, -1.0], [1.0, 0.0, 0.0]])
"""(3, 3) rotation from lidar axes (x forward, y left, z up) to optical axes (x right, y down, z forward)."""


LIDAR_HEIGHT_M = 1.73
"""Height of KITTI's LiDAR above the road: where the lidar frame's origin lies, also a virtual one's."""


def make_transform(rotation: np.ndarray, translation: np.ndarray) -> np.ndarray:
    """Build a (4, 4) float64 transform from a (3, 3) rotation and a (3,) translation in metres."""
    transform = np.eye(4)
    transform[:3, :3] = rotation
    transform[:3, 3] = translation
    return transform


def invert_transform(target_T_source: np.ndarray) -> np.ndarray:
    """Return source_T_target of a rigid (4, 4) transform."""
    rotation, translation = target_T_source[:3, :3], target_T_source[:3, 3]
    return make_transform(rotation.T, -rotation.T @ translation)


def transform_points(target_T_source: np.ndarray, points: np.ndarray) -> np.ndarray:
    """Map points (N, 3) of the source frame into the target frame; extra columns are not accepted."""
    return points @ target_T_source[:3, :3].T + target_T_source[:3, 3]


def rotation_from_quaternion(quaternion_xyzw: np.ndarray) -> np.ndarray:
    """Convert a quaternion (x, y, z, w) to a (3, 3) rotation.

    Raises:
        CalibrationError: the quaternion has zero or non-finite length.
    """
    norm = float(np.linalg.norm(quaternion_xyzw))
    if not np.isfinite(norm) or norm < 1e-9:
        raise CalibrationError(f"expected a quaternion of non-zero length, got {tuple(quaternion_xyzw)}")
    x, y, z, w = np.asarray(quaternion_xyzw, dtype=np.float64) / norm
    return np.array(
        [
            [1 - 2 * (y * y + z * z), 2 * (x * y - z * w), 2 * (x * z + y * w)],
            [2 * (x * y + z * w), 1 - 2 * (x * x + z * z), 2 * (y * z - x * w)],
            [2 * (x * z - y * w), 2 * (y * z + x * w), 1 - 2 * (x * x + y * y)],
        ]
    )


def quaternion_from_rotation(rotation: np.ndarray) -> np.ndarray:
    """Convert a (3, 3) rotation to a unit quaternion (4,) as (x, y, z, w) with w >= 0.

    Source: the largest eigenvector of Bar-Itzhack's K matrix (J. Guidance, 2000), stable at any angle.
    """
    (xx, xy, xz), (yx, yy, yz), (zx, zy, zz) = rotation
    k = np.array(
        [
            [xx - yy - zz, yx + xy, zx + xz, zy - yz],
            [yx + xy, yy - xx - zz, zy + yz, xz - zx],
            [zx + xz, zy + yz, zz - xx - yy, yx - xy],
            [zy - yz, xz - zx, yx - xy, xx + yy + zz],
        ]
    )
    _, vectors = np.linalg.eigh(k / 3.0)
    quaternion = vectors[:, -1]
    return quaternion if quaternion[3] >= 0 else -quaternion


def rotation_about_z(angle: float) -> np.ndarray:
    """(3, 3) rotation by `angle` radians, counter-clockwise about +z."""
    cos, sin = np.cos(angle), np.sin(angle)
    return np.array([[cos, -sin, 0.0], [sin, cos, 0.0], [0.0, 0.0, 1.0]])


def camera_height_m(cam_T_lidar: np.ndarray) -> float:
    """Height of a camera above the road, m, for an extrinsic (4, 4) of a lidar frame 1.73 m above it, z up."""
    rotation, translation = cam_T_lidar[:3, :3], cam_T_lidar[:3, 3]
    return LIDAR_HEIGHT_M + float(-(rotation.T @ translation)[2])


def nominal_cam_T_lidar(camera_height_above_lidar_m: float = -0.08, forward_m: float = 0.27) -> np.ndarray:
    """A (4, 4) stand-in extrinsic for a camera without a LiDAR: axes permuted, no tilt.

    The lidar frame is then a virtual one: KITTI's mount, where the camera sits 0.27 m ahead of and 0.08 m
    below the LiDAR, which itself is 1.73 m above the road.
    """
    cam_in_lidar = np.array([forward_m, 0.0, camera_height_above_lidar_m])
    return make_transform(LIDAR_TO_OPTICAL_ROTATION, -LIDAR_TO_OPTICAL_ROTATION @ cam_in_lidar)
