"""A frame and its boxes as points and lines with colours in 3D, for any viewer. numpy; the lidar frame."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np

from monotakd_ros.frame import BoxKind, Frame, Labels3D
from monotakd_ros.geometry.boxes import BOX_EDGES, corners_from_boxes
from monotakd_ros.geometry.transforms import transform_points
from monotakd_ros.visualization.box_styles import BOX_STYLES
from monotakd_ros.visualization.palette import FIELD_OF_VIEW, POINT_STOPS

CloudColour = Literal["height", "image"]
HEIGHT_M = (-2.0, 1.5)
NOSE_SHARE = 0.75
"""How far along its half length the stroke that tells a box's heading reaches beyond the front."""


@dataclass(frozen=True, eq=False)
class ColouredLines:
    """Segments in 3D.

    Attributes:
        points: (P, 3) float64 m, lidar.
        segments: (S, 2) int32 into `points`.
        colours: (S, 3) float64 RGB in 0..1.
    """

    points: np.ndarray
    segments: np.ndarray
    colours: np.ndarray


def box_lines(boxes: Labels3D, kind: BoxKind) -> ColouredLines:
    """Edges of boxes, and a stroke from each one's centre out of its front, in the colours of `BOX_STYLES`."""
    count, style = len(boxes), BOX_STYLES[kind]
    corners = corners_from_boxes(style.grown(boxes.boxes_lidar))
    centers = boxes.boxes_lidar[:, None, :3]
    tips = centers + (1 + NOSE_SHARE) * (corners[:, [0, 1, 4, 5]].mean(axis=1, keepdims=True) - centers)
    points = np.concatenate([corners, centers, tips], axis=1)
    edges = np.array([*BOX_EDGES, (8, 9)], dtype=np.int32)
    segments = edges[None] + 10 * np.arange(count, dtype=np.int32)[:, None, None]
    colours = np.array([style.colour_of(name) for name in boxes.class_names]).reshape(count, 3) / 255
    return ColouredLines(points.reshape(-1, 3), segments.reshape(-1, 2), np.repeat(colours, len(edges), axis=0))


def view_lines(frame: Frame, reach_m: float = 6.0) -> ColouredLines:
    """The pyramid that the camera sees, up to `reach_m`; nothing without an extrinsic."""
    if frame.cam_T_lidar is None:
        return ColouredLines(np.zeros((0, 3)), np.zeros((0, 2), dtype=np.int32), np.zeros((0, 3)))
    right, bottom = frame.camera.width - 0.5, frame.camera.height - 0.5
    corners_px = np.array([[-0.5, -0.5], [right, -0.5], [right, bottom], [-0.5, bottom]])
    corners_cam = frame.camera.unproject(corners_px, np.full(4, reach_m))
    points = transform_points(np.linalg.inv(frame.cam_T_lidar), np.concatenate([np.zeros((1, 3)), corners_cam]))
    segments = np.array([[0, 1], [0, 2], [0, 3], [0, 4], [1, 2], [2, 3], [3, 4], [4, 1]], dtype=np.int32)
    return ColouredLines(points, segments, np.tile(np.array(FIELD_OF_VIEW) / 255, (len(segments), 1)))


def coloured_cloud(frame: Frame, by: CloudColour) -> tuple[np.ndarray, np.ndarray]:
    """The cloud's finite points (N, 3) float64 m and their colours (N, 3) float64 in 0..1; empty without a cloud.

    Args:
        frame: with cloud or without.
        by: "height", or "image": the pixel that a point falls on, and height where it falls on none.
    """
    if frame.points_lidar is None:
        return np.zeros((0, 3)), np.zeros((0, 3))
    points = frame.points_lidar[np.isfinite(frame.points_lidar[:, :3]).all(axis=1), :3].astype(np.float64)
    colours = height_colours(points[:, 2])
    if by == "image" and frame.cam_T_lidar is not None:
        uv_px, _ = frame.camera.project(transform_points(frame.cam_T_lidar, points))
        seen = frame.camera.contains(uv_px)
        u, v = np.round(uv_px[seen]).astype(np.intp).T
        colours[seen] = frame.image[v, u] / 255
    return points, colours


def height_colours(height_m: np.ndarray) -> np.ndarray:
    """(N, 3) float64 RGB in 0..1 of heights (N,) over the sensor."""
    stops = np.array(POINT_STOPS, dtype=np.float64) / 255
    low, high = HEIGHT_M
    level = np.clip((height_m - low) / (high - low), 0, 1) * (len(stops) - 1)
    return np.column_stack([np.interp(level, np.arange(len(stops)), stops[:, channel]) for channel in range(3)])
