"""3D boxes: corners, membership, and the change between the detector's and KITTI's encoding. numpy.

A box here is (x, y, z, dx, dy, dz, heading): geometric centre in the lidar frame, length along the
heading, width, height, heading counter-clockwise about +z and zero along +x. KITTI's encoding
(h, w, l, bottom centre in cam, rotation_y) exists in the two converters below and in text files only.
"""

from __future__ import annotations

import numpy as np

from monotakd_ros.geometry.camera import CameraModel
from monotakd_ros.geometry.transforms import transform_points

CORNER_SIGNS = np.array(
    [[1, 1, -1], [1, -1, -1], [-1, -1, -1], [-1, 1, -1], [1, 1, 1], [1, -1, 1], [-1, -1, 1], [-1, 1, 1]],
    dtype=np.float64,
)
"""(8, 3) corner order: bottom front-left, front-right, rear-right, rear-left, then the same four on top."""

BOX_EDGES = ((0, 1), (1, 2), (2, 3), (3, 0), (4, 5), (5, 6), (6, 7), (7, 4), (0, 4), (1, 5), (2, 6), (3, 7))
"""The twelve edges as pairs of corner indices; (0, 1, 5, 4) is the front face."""


def wrap_angle(angle: np.ndarray) -> np.ndarray:
    """Wrap radians to [-pi, pi)."""
    return (np.asarray(angle) + np.pi) % (2 * np.pi) - np.pi


def empty_boxes() -> np.ndarray:
    """A (0, 7) float32 array: no boxes."""
    return np.zeros((0, 7), dtype=np.float32)


def corners_from_boxes(boxes: np.ndarray) -> np.ndarray:
    """Corners (N, 8, 3) of boxes (N, 7), same frame, metres; order as `CORNER_SIGNS`."""
    boxes = np.asarray(boxes, dtype=np.float64).reshape(-1, 7)
    local = 0.5 * boxes[:, None, 3:6] * CORNER_SIGNS
    cos, sin = np.cos(boxes[:, 6:7]), np.sin(boxes[:, 6:7])
    x = local[..., 0] * cos - local[..., 1] * sin
    y = local[..., 0] * sin + local[..., 1] * cos
    return np.stack([x, y, local[..., 2]], axis=-1) + boxes[:, None, :3]


def points_in_boxes(points: np.ndarray, boxes: np.ndarray, margin: float = 0.0) -> np.ndarray:
    """(N, M) bool: whether point (N, 3) lies inside box (M, 7), both in one frame; `margin` grows each half size, m."""
    points = np.asarray(points, dtype=np.float64)[:, None, :3]
    boxes = np.asarray(boxes, dtype=np.float64).reshape(1, -1, 7)
    offset = points - boxes[..., :3]
    cos, sin = np.cos(boxes[..., 6]), np.sin(boxes[..., 6])
    along = offset[..., 0] * cos + offset[..., 1] * sin
    across = -offset[..., 0] * sin + offset[..., 1] * cos
    half = 0.5 * boxes[..., 3:6] + margin
    return (np.abs(along) <= half[..., 0]) & (np.abs(across) <= half[..., 1]) & (np.abs(offset[..., 2]) <= half[..., 2])


def transform_boxes(target_T_source: np.ndarray, boxes: np.ndarray) -> np.ndarray:
    """Boxes (N, 7) of the source frame in the target frame; what tilts them out of the plane is dropped."""
    boxes = np.asarray(boxes, dtype=np.float64).reshape(-1, 7)
    direction = np.stack([np.cos(boxes[:, 6]), np.sin(boxes[:, 6]), np.zeros(len(boxes))], axis=1)
    direction = direction @ target_T_source[:3, :3].T
    center = transform_points(target_T_source, boxes[:, :3])
    return np.column_stack([center, boxes[:, 3:6], np.arctan2(direction[:, 1], direction[:, 0])])


def lidar_boxes_from_kitti(
    hwl: np.ndarray, bottom_center_cam: np.ndarray, rotation_y: np.ndarray, cam_T_lidar: np.ndarray
) -> np.ndarray:
    """Convert KITTI's encoding to lidar boxes.

    Args:
        hwl: (N, 3) height, width, length, m.
        bottom_center_cam: (N, 3) centre of the bottom face, m, cam.
        rotation_y: (N,) rad about cam's +y (down), zero along +x.
        cam_T_lidar: (4, 4) maps lidar points into cam.

    Returns:
        boxes_lidar (N, 7) float64.
    """
    hwl = np.asarray(hwl, dtype=np.float64).reshape(-1, 3)
    center_cam = np.asarray(bottom_center_cam, dtype=np.float64).reshape(-1, 3).copy()
    center_cam[:, 1] -= 0.5 * hwl[:, 0]
    rotation_y = np.asarray(rotation_y, dtype=np.float64).reshape(-1)
    direction_cam_xz = np.stack([np.cos(rotation_y), -np.sin(rotation_y)], axis=1)
    direction_lidar_xy = direction_cam_xz @ _lidar_xy_from_cam_xz(cam_T_lidar).T
    heading = np.arctan2(direction_lidar_xy[:, 1], direction_lidar_xy[:, 0])
    # The inverse proper, not the transpose: KITTI's rotations are rounded to seven digits.
    center_lidar = transform_points(np.linalg.inv(cam_T_lidar), center_cam)
    return np.column_stack([center_lidar, hwl[:, 2], hwl[:, 1], hwl[:, 0], heading])


def kitti_from_lidar_boxes(
    boxes_lidar: np.ndarray, cam_T_lidar: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Exact inverse of `lidar_boxes_from_kitti`: (hwl (N, 3), bottom_center_cam (N, 3), rotation_y (N,))."""
    boxes = np.asarray(boxes_lidar, dtype=np.float64).reshape(-1, 7)
    hwl = boxes[:, [5, 4, 3]]
    center_cam = transform_points(cam_T_lidar, boxes[:, :3])
    center_cam[:, 1] += 0.5 * hwl[:, 0]
    direction_lidar_xy = np.stack([np.cos(boxes[:, 6]), np.sin(boxes[:, 6])], axis=1)
    direction_cam_xz = direction_lidar_xy @ np.linalg.inv(_lidar_xy_from_cam_xz(cam_T_lidar)).T
    rotation_y = np.arctan2(-direction_cam_xz[:, 1], direction_cam_xz[:, 0])
    return hwl, center_cam, rotation_y


def _lidar_xy_from_cam_xz(cam_T_lidar: np.ndarray) -> np.ndarray:
    """(2, 2) map of a direction in cam's ground plane (x, z) to the lidar's (x, y); tilt drops out."""
    return cam_T_lidar[:3, :3].T[:2][:, [0, 2]]


def alpha_from_rotation_y(rotation_y: np.ndarray, bottom_center_cam: np.ndarray) -> np.ndarray:
    """KITTI's observation angle (N,): rotation_y minus the azimuth of the viewing ray, in [-pi, pi)."""
    return wrap_angle(rotation_y - np.arctan2(bottom_center_cam[:, 0], bottom_center_cam[:, 2]))


def boxes_img_from_lidar(
    boxes_lidar: np.ndarray, cam_T_lidar: np.ndarray, camera: CameraModel, clip: bool = True
) -> np.ndarray:
    """2D boxes (N, 4) as (left, top, right, bottom) px around the projected corners.

    Corners behind the near plane (0.1 m) are replaced by the box edges' crossings of that plane. A box wholly
    behind it gets NaN. With `clip`, boxes are cut to [0, width - 1] x [0, height - 1].
    """
    corners_lidar = corners_from_boxes(boxes_lidar)
    result = np.full((len(corners_lidar), 4), np.nan)
    near = 0.1
    for index, corners in enumerate(corners_lidar):
        corners_cam = transform_points(cam_T_lidar, corners)
        visible = [corners_cam[corners_cam[:, 2] > near]]
        for start, end in BOX_EDGES:
            a, b = corners_cam[start], corners_cam[end]
            if (a[2] > near) != (b[2] > near):
                fraction = (near - a[2]) / (b[2] - a[2])
                visible.append((a + fraction * (b - a))[None])
        points = np.concatenate(visible)
        if len(points):
            uv_px, _ = camera.project(points)
            result[index] = [*uv_px.min(axis=0), *uv_px.max(axis=0)]
    if clip:
        limit = np.array([camera.width - 1, camera.height - 1] * 2, dtype=np.float64)
        result = np.clip(result, 0.0, limit)
    return result
