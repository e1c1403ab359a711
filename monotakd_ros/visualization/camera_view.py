"""The camera image with projected 3D boxes.

Detections are solid, in their class's colour, with a tinted front face, score and distance; ground truth is dashed.
Wrong detections and missed ground truth are marked as `marks` says.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import cv2
import numpy as np

from monotakd_ros.frame import BoxKind, Detections3D, Frame, Labels3D
from monotakd_ros.geometry.boxes import BOX_EDGES, corners_from_boxes
from monotakd_ros.geometry.camera import CameraModel, pixel_scale_shift
from monotakd_ros.geometry.transforms import transform_points
from monotakd_ros.visualization import drawing
from monotakd_ros.visualization.box_styles import BOX_STYLES, BoxStyle
from monotakd_ros.visualization.marks import Marks
from monotakd_ros.visualization.palette import BACKGROUND, GROUND_TRUTH, MISSED, WRONG, Colour, class_colour

NEAR_M = 0.3
FRONT_FACE = (0, 1, 5, 4)
TEXT_PX = 12.0
THICK_WITHIN_M = 22.0
"""Boxes farther away get thin lines, which would fill them otherwise."""


@dataclass(frozen=True, eq=False)
class _Style:
    colour: Colour
    width: int
    dashed: bool
    face_opacity: float
    crossed: bool = False


_Tag = tuple[np.ndarray, str, Colour]
"""Upper left corner of the box (u, v), text, colour."""


def draw_camera_view(
    frame: Frame, detections: Detections3D | None, scale: float = 1.0, marks: Marks | None = None
) -> np.ndarray:
    """The frame's image, scaled by `scale`, with its labels and the detections drawn in.

    Args:
        frame: image, camera and, where known, labels.
        detections: boxes to draw; None draws labels only.
        scale: size of the picture against the image.
        marks: which detections are wrong, and which labels were missed.

    Returns:
        (H, W, 3) uint8 RGB.
    """
    canvas, camera = _scaled(frame, scale)
    if marks is None:
        marks = Marks.none(
            0 if detections is None else len(detections), 0 if frame.labels is None else len(frame.labels)
        )
    tags: list[_Tag] = []
    if frame.labels is not None and frame.cam_T_lidar is not None:
        tags = _draw_labels(canvas, frame.labels, camera, frame.cam_T_lidar, marks.missed)
    if detections is not None:
        tags = _draw_detections(canvas, detections, camera, marks.wrong) + tags
    _write_tags(canvas, tags)
    return canvas


def draw_camera_kinds(frame: Frame, boxes: Mapping[BoxKind, Labels3D], scale: float = 1.0) -> np.ndarray:
    """The frame's image, scaled by `scale`, with boxes of the kinds that `BOX_STYLES` shows in images.

    Args:
        frame: image and camera.
        boxes: by kind, lidar; left out where the frame has no `cam_T_lidar`.
        scale: size of the picture against the image.

    Returns:
        (H, W, 3) uint8 RGB.
    """
    canvas, camera = _scaled(frame, scale)
    tags: list[_Tag] = []
    for kind, style in BOX_STYLES.items():
        if kind in boxes and style.in_image and frame.cam_T_lidar is not None:
            tags += _draw_kind(canvas, boxes[kind], camera, frame.cam_T_lidar, style)
    _write_tags(canvas, tags)
    return canvas


def _scaled(frame: Frame, scale: float) -> tuple[np.ndarray, CameraModel]:
    """The frame's image and camera, scaled."""
    width, height = round(frame.camera.width * scale), round(frame.camera.height * scale)
    shrinks = width < frame.camera.width
    method = cv2.INTER_AREA if shrinks else cv2.INTER_CUBIC
    canvas = cv2.resize(frame.image, (width, height), interpolation=method)
    factors = width / frame.camera.width, height / frame.camera.height
    return canvas, frame.camera.warped(pixel_scale_shift(*factors, 0.0, 0.0), width, height)


def _draw_kind(
    canvas: np.ndarray, boxes: Labels3D, camera: CameraModel, cam_T_lidar: np.ndarray, style: BoxStyle
) -> list[_Tag]:
    """Draw boxes of one kind; returns the tags of those that get one, nearest first."""
    tags = []
    for index, corners_cam in zip(*_far_to_near(boxes.boxes_lidar, cam_T_lidar)):
        name = boxes.class_names[index]
        distance = float(np.linalg.norm(corners_cam.mean(axis=0)))
        width = style.width if distance < THICK_WITHIN_M else 1
        drawn = _Style(style.colour_of(name), width, style.dashed, style.opacity)
        anchor = _draw_box(canvas, corners_cam, camera, drawn)
        if anchor is not None and style.tagged:
            score = "" if boxes.scores is None else f" {boxes.scores[index]:.2f}"
            tags.append((anchor, f"{name}{score}  {distance:.0f} m", drawn.colour))
    return tags[::-1]


def _draw_labels(
    canvas: np.ndarray, labels: Labels3D, camera: CameraModel, cam_T_lidar: np.ndarray, missed: np.ndarray
) -> list[_Tag]:
    """Draw the labels; returns the tags of those that were missed, nearest first."""
    tags = []
    for index, corners_cam in zip(*_far_to_near(labels.boxes_lidar, cam_T_lidar)):
        colour = MISSED if missed[index] else GROUND_TRUTH
        anchor = _draw_box(canvas, corners_cam, camera, _Style(colour, 1, dashed=True, face_opacity=0.0))
        if anchor is not None and missed[index]:
            distance = float(np.linalg.norm(corners_cam.mean(axis=0)))
            tags.append((anchor, f"missed {labels.class_names[index]}  {distance:.0f} m", MISSED))
    return tags[::-1]


def _draw_detections(
    canvas: np.ndarray, detections: Detections3D, camera: CameraModel, wrong: np.ndarray
) -> list[_Tag]:
    """Draw the detections; returns their tags, nearest first."""
    order, all_corners_cam = _far_to_near(detections.boxes_lidar, detections.cam_T_lidar)
    names = detections.names
    tags = []
    for index, corners_cam in zip(order, all_corners_cam):
        colour = class_colour(names[index])
        distance = float(np.linalg.norm(corners_cam.mean(axis=0)))
        width = 2 if distance < THICK_WITHIN_M else 1
        style = _Style(colour, width, dashed=False, face_opacity=0.25, crossed=bool(wrong[index]))
        anchor = _draw_box(canvas, corners_cam, camera, style)
        if anchor is not None:
            text = f"{names[index]} {detections.scores[index]:.2f}  {distance:.0f} m"
            tags.append((anchor, f"wrong: {text}", WRONG) if wrong[index] else (anchor, text, colour))
    return tags[::-1]


def _far_to_near(boxes_lidar: np.ndarray, cam_T_lidar: np.ndarray) -> tuple[np.ndarray, list[np.ndarray]]:
    """Order (K,) and corners (8, 3) in cam of the boxes that reach in front of the camera, farthest first."""
    corners = corners_from_boxes(boxes_lidar)
    corners_cam = transform_points(cam_T_lidar, corners.reshape(-1, 3)).reshape(-1, 8, 3)
    depth = corners_cam[..., 2]
    order = np.argsort(-depth.mean(axis=1), kind="stable")
    order = order[depth.max(axis=1)[order] > NEAR_M]
    return order, [corners_cam[index] for index in order]


def _draw_box(canvas: np.ndarray, corners_cam: np.ndarray, camera: CameraModel, style: _Style) -> np.ndarray | None:
    """Draw one box; returns the (left, top) px of its visible part, None when the image shows none of it."""
    face = corners_cam[list(FRONT_FACE)]
    if style.face_opacity > 0 and (face[:, 2] > NEAR_M).all():
        drawing.glass(canvas, camera.project(face)[0], style.colour, style.face_opacity)
    if style.crossed and (face[:, 2] > NEAR_M).all():
        drawing.cross(canvas, camera.project(face)[0], WRONG, style.width)
    ends = []
    for start, end in BOX_EDGES:
        segment_cam = _cut_near(corners_cam[start], corners_cam[end])
        if segment_cam is None:
            continue
        a, b = camera.project(segment_cam)[0]
        visible = drawing.clip_segment(a, b, camera.width, camera.height)
        if visible is None:
            continue
        ends.extend(visible)
        if style.dashed:
            drawing.dashed_line(canvas, a, b, style.colour, style.width)
        else:
            drawing.line(canvas, a, b, style.colour, style.width)
    return np.clip(np.min(ends, axis=0), 0, None) if ends else None


def _cut_near(start_cam: np.ndarray, end_cam: np.ndarray) -> np.ndarray | None:
    """The part (2, 3) of a segment in front of the near plane; None when it lies behind."""
    a, b = start_cam[2] - NEAR_M, end_cam[2] - NEAR_M
    if a <= 0 and b <= 0:
        return None
    if a > 0 and b > 0:
        return np.stack([start_cam, end_cam])
    crossing = start_cam + a / (a - b) * (end_cam - start_cam)
    return np.stack([start_cam if a > 0 else crossing, end_cam if b > 0 else crossing])


def _write_tags(canvas: np.ndarray, tags: list[_Tag]) -> None:
    """Write each box's tag above it, the important ones first; tags move up to keep clear of each other, or go."""
    taken: list[tuple[int, int, int, int]] = []
    for (left, top), text, colour in tags:
        width, height = (size + 4 for size in drawing.text_size(text, TEXT_PX))
        u = int(np.clip(left, 0, max(0, canvas.shape[1] - width)))
        for row in range(4):
            v = int(top) - height * (row + 1) - 1
            place = (u, max(v, 0), u + width, max(v, 0) + height)
            if not any(_overlap(place, other) for other in taken):
                taken.append(place)
                drawing.plate(canvas, u, place[1], width, height, BACKGROUND, 0.72)
                drawing.put_text(canvas, text, u + 2, place[1] + 2, colour, TEXT_PX)
                break


def _overlap(a: tuple[int, int, int, int], b: tuple[int, int, int, int]) -> bool:
    return a[0] < b[2] and b[0] < a[2] and a[1] < b[3] and b[1] < a[3]
