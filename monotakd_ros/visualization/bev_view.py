"""The scene from above: LiDAR points by height, detections, ground truth, range rings, the camera's field of view.

Forward (x of lidar) points up, left (y) points left.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import cv2
import numpy as np

from monotakd_ros.frame import BoxKind, Detections3D, Frame, Labels3D
from monotakd_ros.geometry.boxes import corners_from_boxes, transform_boxes
from monotakd_ros.geometry.camera import CameraModel
from monotakd_ros.geometry.transforms import invert_transform, transform_points
from monotakd_ros.visualization import drawing
from monotakd_ros.visualization.box_styles import BOX_STYLES, BoxStyle
from monotakd_ros.visualization.marks import Marks
from monotakd_ros.visualization.palette import (
    BACKGROUND,
    FAINT_INK,
    FIELD_OF_VIEW,
    GRID,
    GROUND_TRUTH,
    INK,
    MISSED,
    WRONG,
    Colour,
    class_colour,
)
from monotakd_ros.visualization.scene_geometry import height_colours

RING_STEP_M = 10
MARK_PX = 8.0
"""Least half size of a cross and of a ring, so that those on small boxes are seen."""
ELLIPSE_95 = 2.4477
"""Half axes of the ellipse that holds 95 % of a 2D normal distribution, in standard deviations."""


@dataclass(frozen=True)
class BevView:
    """What part of the ground is shown, and how large.

    Attributes:
        height_px: height of the panel; its width follows from the ranges.
        forward_m: nearest and farthest x, lidar.
        left_m: largest y to either side.
        covariance: whether to draw the 95 % ellipse of each detection's position.
        field_of_view: whether to draw the camera's.
    """

    height_px: int = 480
    forward_m: tuple[float, float] = (-4.0, 52.0)
    left_m: float = 26.0
    covariance: bool = True
    field_of_view: bool = True

    @property
    def px_per_m(self) -> float:
        return self.height_px / (self.forward_m[1] - self.forward_m[0])

    @property
    def width_px(self) -> int:
        return round(2 * self.left_m * self.px_per_m)

    def to_px(self, points_lidar: np.ndarray) -> np.ndarray:
        """Pixels (N, 2) of points (N, >=2)."""
        x, y = points_lidar[:, 0], points_lidar[:, 1]
        return np.column_stack([(self.left_m - y) * self.px_per_m, (self.forward_m[1] - x) * self.px_per_m])

    def draw(self, frame: Frame, detections: Detections3D | None, marks: Marks | None = None) -> np.ndarray:
        """The panel of one frame, (height_px, width_px, 3) uint8 RGB.

        Boxes are shown in the frame's lidar frame; where a frame has none, in that of the detections.
        """
        cam_T_lidar = frame.cam_T_lidar
        if cam_T_lidar is None and detections is not None:
            cam_T_lidar = detections.cam_T_lidar
        canvas = self._draw_ground(frame, cam_T_lidar)
        if detections is not None and cam_T_lidar is not None:
            shown_T_boxes = invert_transform(cam_T_lidar) @ detections.cam_T_lidar
            self._draw_detections(canvas, detections, shown_T_boxes, None if marks is None else marks.wrong)
        if frame.labels is not None:
            self._draw_labels(canvas, frame.labels.boxes_lidar, None if marks is None else marks.missed)
        return canvas

    def draw_kinds(self, frame: Frame, boxes: Mapping[BoxKind, Labels3D]) -> np.ndarray:
        """The panel of one frame with boxes by kind, as `BOX_STYLES` says; (height_px, width_px, 3) uint8 RGB."""
        canvas = self._draw_ground(frame, frame.cam_T_lidar)
        for kind, style in BOX_STYLES.items():
            if kind in boxes:
                self._draw_kind(canvas, boxes[kind], style)
        return canvas

    def _draw_ground(self, frame: Frame, cam_T_lidar: np.ndarray | None) -> np.ndarray:
        """A new panel with everything but boxes."""
        canvas = np.full((self.height_px, self.width_px, 3), BACKGROUND, dtype=np.uint8)
        self._draw_rings(canvas)
        if frame.points_lidar is not None:
            self._draw_points(canvas, frame.points_lidar)
        if self.field_of_view and cam_T_lidar is not None:
            self._draw_field_of_view(canvas, frame.camera, cam_T_lidar)
        self._draw_ego(canvas)
        return canvas

    def _draw_kind(self, canvas: np.ndarray, boxes: Labels3D, style: BoxStyle) -> None:
        for name, footprint in zip(boxes.class_names, self._footprints(style.grown(boxes.boxes_lidar))):
            colour = style.colour_of(name)
            if style.opacity:
                drawing.glass(canvas, footprint, colour, style.opacity)
            drawing.polygon(canvas, footprint, colour, style.width, dashed=style.dashed)
            if style.nose:
                self._draw_nose(canvas, footprint, colour)

    def _draw_labels(self, canvas: np.ndarray, boxes_lidar: np.ndarray, missed: np.ndarray | None) -> None:
        for index, footprint in enumerate(self._footprints(boxes_lidar)):
            is_missed = missed is not None and bool(missed[index])
            colour = MISSED if is_missed else GROUND_TRUTH
            drawing.polygon(canvas, footprint, colour, 1, dashed=True)
            self._draw_nose(canvas, footprint, colour)
            if is_missed:
                drawing.ring(canvas, footprint.mean(axis=0), _mark_radius(footprint), MISSED, 1)

    def _draw_detections(
        self, canvas: np.ndarray, detections: Detections3D, shown_T_boxes: np.ndarray, wrong: np.ndarray | None
    ) -> None:
        boxes = transform_boxes(shown_T_boxes, detections.boxes_lidar)
        rotation = shown_T_boxes[:2, :2]
        names = detections.names
        for index, footprint in reversed(list(enumerate(self._footprints(boxes)))):
            colour = class_colour(names[index])
            drawing.glass(canvas, footprint, colour, 0.4)
            drawing.polygon(canvas, footprint, colour, 1)
            self._draw_nose(canvas, footprint, colour)
            if self.covariance:
                spread = rotation @ detections.covariance_lidar[index, :2, :2] @ rotation.T
                self._draw_ellipse(canvas, boxes[index, :2], spread, colour)
            if wrong is not None and wrong[index]:
                square = MARK_PX * np.array([[-1, -1], [1, -1], [1, 1], [-1, 1]])
                drawing.cross(canvas, footprint.mean(axis=0) + square, WRONG)

    def _footprints(self, boxes_lidar: np.ndarray) -> list[np.ndarray]:
        """Pixels (4, 2) of each box seen from above: front left, front right, rear right, rear left."""
        return [self.to_px(corners[:4]) for corners in corners_from_boxes(boxes_lidar)]

    def _draw_nose(self, canvas: np.ndarray, footprint: np.ndarray, colour: Colour) -> None:
        """A stroke from the centre through the front, so that the heading is seen."""
        center, front = footprint.mean(axis=0), footprint[:2].mean(axis=0)
        drawing.line(canvas, center, front, colour, 1)

    def _draw_ellipse(self, canvas: np.ndarray, center: np.ndarray, covariance: np.ndarray, colour: Colour) -> None:
        variances, axes = np.linalg.eigh(covariance)
        half = ELLIPSE_95 * np.sqrt(np.maximum(variances, 0.0))
        turn = np.linspace(0, 2 * np.pi, 36, endpoint=False)
        outline = center + (np.column_stack([np.cos(turn), np.sin(turn)]) * half) @ axes.T
        drawing.polygon(canvas, self.to_px(outline), colour, 1)

    def _draw_points(self, canvas: np.ndarray, points_lidar: np.ndarray) -> None:
        uv = self.to_px(points_lidar)
        inside = (uv >= 0).all(axis=1) & (uv[:, 0] < self.width_px) & (uv[:, 1] < self.height_px)
        shown = points_lidar[inside]
        order = np.argsort(shown[:, 2], kind="stable")
        cells = uv[inside][order].astype(int)
        canvas[cells[:, 1], cells[:, 0]] = np.round(255 * height_colours(shown[order, 2])).astype(np.uint8)

    def _draw_rings(self, canvas: np.ndarray) -> None:
        origin = self.to_px(np.zeros((1, 2)))[0]
        center = tuple(int(value) for value in np.round(origin * 16))
        reach = np.hypot(self.forward_m[1], self.left_m)
        for radius in range(RING_STEP_M, int(reach) + 1, RING_STEP_M):
            cv2.circle(canvas, center, round(radius * self.px_per_m * 16), GRID, 1, cv2.LINE_AA, 4)
            right = min(0.82 * radius, self.left_m - 4.0)  # outside most cameras' view, where no boxes are
            ahead = np.sqrt(radius**2 - right**2)
            if ahead < self.forward_m[1] - 1.5:
                u, v = self.to_px(np.array([[ahead, -right]]))[0]
                drawing.put_text(canvas, f"{radius} m", u + 2, v - 12, FAINT_INK, 11.0)

    def _draw_field_of_view(self, canvas: np.ndarray, camera: CameraModel, cam_T_lidar: np.ndarray) -> None:
        """Two rays through the left and right image edge."""
        edges_px = np.array([[-0.5, camera.cy], [camera.width - 0.5, camera.cy]])
        lidar_T_cam = invert_transform(cam_T_lidar)
        near = transform_points(lidar_T_cam, camera.unproject(edges_px, np.full(2, 0.5)))
        far = transform_points(lidar_T_cam, camera.unproject(edges_px, np.full(2, 200.0)))
        for start, end in zip(self.to_px(near), self.to_px(far)):
            drawing.line(canvas, start, end, FIELD_OF_VIEW, 1)

    def _draw_ego(self, canvas: np.ndarray) -> None:
        body = np.array([[1.6, 0.0], [-0.9, 0.9], [-0.4, 0.0], [-0.9, -0.9]])
        cv2.fillPoly(canvas, [np.round(self.to_px(body) * 16).astype(np.int32)], INK, cv2.LINE_AA, 4)


def _mark_radius(footprint: np.ndarray) -> float:
    """Of a ring around a footprint (4, 2), px."""
    return max(MARK_PX, 1.15 * float(np.linalg.norm(footprint - footprint.mean(axis=0), axis=1).max()))
