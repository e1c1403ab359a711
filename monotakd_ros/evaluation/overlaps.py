"""Overlap of many box pairs at once, in the image, from above and in 3D. numpy, float64.

Boxes are KITTI's: pixels (left, top, right, bottom), and (h, w, l), bottom centre, rotation_y in cam. Every
function takes two arrays of equal length N and compares row by row.
"""

from __future__ import annotations

import numpy as np

BoxColumns = tuple[np.ndarray, np.ndarray, np.ndarray]
"""hwl (N, 3) m, bottom centre (N, 3) m in cam, rotation_y (N,) rad."""


def intersection_img(a_px: np.ndarray, b_px: np.ndarray) -> np.ndarray:
    """Shared area (N,) px^2 of image boxes (N, 4)."""
    size = np.minimum(a_px[:, 2:], b_px[:, 2:]) - np.maximum(a_px[:, :2], b_px[:, :2])
    return np.where((size > 0).all(axis=1), size[:, 0] * size[:, 1], 0.0)


def area_img(boxes_px: np.ndarray) -> np.ndarray:
    """Area (N,) px^2 of image boxes (N, 4)."""
    return (boxes_px[:, 2] - boxes_px[:, 0]) * (boxes_px[:, 3] - boxes_px[:, 1])


def iou_img(a_px: np.ndarray, b_px: np.ndarray) -> np.ndarray:
    """Intersection over union (N,) of image boxes (N, 4)."""
    shared = intersection_img(a_px, b_px)
    return _ratio(shared, area_img(a_px) + area_img(b_px) - shared)


def iou_bev_and_3d(a: BoxColumns, b: BoxColumns) -> tuple[np.ndarray, np.ndarray]:
    """Intersection over union seen from above and in space.

    Args:
        a: boxes of one side.
        b: boxes of the other side.

    Returns:
        bev (N,) and 3d (N,).
    """
    (a_hwl, a_bottom, _), (b_hwl, b_bottom, _) = a, b
    footprint = np.zeros(len(a_hwl))
    reach = 0.5 * (np.hypot(a_hwl[:, 1], a_hwl[:, 2]) + np.hypot(b_hwl[:, 1], b_hwl[:, 2]))
    near = np.hypot(a_bottom[:, 0] - b_bottom[:, 0], a_bottom[:, 2] - b_bottom[:, 2]) < reach
    a_area, b_area = a_hwl[:, 1] * a_hwl[:, 2], b_hwl[:, 1] * b_hwl[:, 2]
    near &= (a_area > 0) & (b_area > 0)  # a footprint turned inside out covers nothing
    if near.any():
        footprint[near] = _shared_footprint(_rows(a, near), _rows(b, near))
    bev = _ratio(footprint, a_area + b_area - footprint)
    top = np.maximum(a_bottom[:, 1] - a_hwl[:, 0], b_bottom[:, 1] - b_hwl[:, 0])  # y points down
    volume = footprint * np.maximum(np.minimum(a_bottom[:, 1], b_bottom[:, 1]) - top, 0.0)
    return bev, _ratio(volume, a_area * a_hwl[:, 0] + b_area * b_hwl[:, 0] - volume)


def _rows(boxes: BoxColumns, mask: np.ndarray) -> BoxColumns:
    return boxes[0][mask], boxes[1][mask], boxes[2][mask]


def _ratio(shared: np.ndarray, total: np.ndarray) -> np.ndarray:
    return np.divide(shared, total, out=np.zeros_like(shared), where=total > 0)


def _shared_footprint(a: BoxColumns, b: BoxColumns) -> np.ndarray:
    """Shared area (N,) m^2 of rotated footprints: a's rectangle cut by b's four sides in b's own axes."""
    (a_hwl, a_bottom, a_yaw), (b_hwl, b_bottom, b_yaw) = a, b
    corners = _footprint_corners(a_hwl, a_yaw) + (a_bottom - b_bottom)[:, None, [0, 2]]
    cos, sin = np.cos(b_yaw)[:, None], np.sin(b_yaw)[:, None]
    along = corners[..., 0] * cos - corners[..., 1] * sin
    across = corners[..., 0] * sin + corners[..., 1] * cos
    polygon = np.stack([along, across], axis=-1)
    for axis, half in ((0, 0.5 * b_hwl[:, 2]), (1, 0.5 * b_hwl[:, 1])):
        for sign in (1.0, -1.0):
            polygon = _clip(polygon, half[:, None] - sign * polygon[..., axis])
    x, y = polygon[..., 0], polygon[..., 1]
    return 0.5 * np.abs((x * np.roll(y, -1, axis=1) - np.roll(x, -1, axis=1) * y).sum(axis=1))


def _footprint_corners(hwl: np.ndarray, rotation_y: np.ndarray) -> np.ndarray:
    """(N, 4, 2) x, z of the corners around the centre, m, cam."""
    along = 0.5 * hwl[:, 2:3] * np.array([1.0, 1.0, -1.0, -1.0])
    across = 0.5 * hwl[:, 1:2] * np.array([1.0, -1.0, -1.0, 1.0])
    cos, sin = np.cos(rotation_y)[:, None], np.sin(rotation_y)[:, None]
    return np.stack([along * cos + across * sin, -along * sin + across * cos], axis=-1)


def _clip(polygon: np.ndarray, inside: np.ndarray) -> np.ndarray:
    """Sutherland-Hodgman step for N convex polygons at once.

    Args:
        polygon: (N, V, 2) corners in order; a repeated corner is allowed and used as padding.
        inside: (N, V) signed distance of each corner to the cutting line, >= 0 is kept.

    Returns:
        (N, V + 1, 2): a convex polygon gains at most one corner; what is cut away wholly becomes all zeros.
    """
    count, corners = inside.shape
    following, inside_following = np.roll(polygon, -1, axis=1), np.roll(inside, -1, axis=1)
    keep, crosses = inside >= 0, (inside >= 0) != (inside_following >= 0)
    fraction = np.divide(inside, inside - inside_following, out=np.zeros_like(inside), where=crosses)
    crossing = polygon + fraction[..., None] * (following - polygon)
    points = np.stack([polygon, crossing], axis=2).reshape(count, 2 * corners, 2)
    valid = np.stack([keep, crosses], axis=2).reshape(count, 2 * corners)
    order = np.argsort(~valid, axis=1, kind="stable")[:, : corners + 1]
    kept = np.take_along_axis(valid, order, axis=1)
    points = np.take_along_axis(points, order[..., None], axis=1)
    first = np.where(kept[:, :1, None], points[:, :1], 0.0)
    return np.where(kept[..., None], points, first)
