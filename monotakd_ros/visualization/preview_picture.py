"""One picture of a frame and all that is known about its objects: image, image with depth, view from above.

Each panel has its legend above it.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from monotakd_ros.frame import BoxKind, Frame, Labels3D
from monotakd_ros.geometry.transforms import transform_points
from monotakd_ros.visualization import drawing
from monotakd_ros.visualization.bev_view import BevView
from monotakd_ros.visualization.box_styles import BOX_STYLES
from monotakd_ros.visualization.camera_view import draw_camera_kinds
from monotakd_ros.visualization.depth_overlay import FAR_M, NEAR_M, depth_colours, draw_depth_overlay
from monotakd_ros.visualization.film import fit
from monotakd_ros.visualization.palette import BAR, CLASS_COLOURS, FAINT_INK, INK, OTHER_CLASS, Colour, class_colour

WIDTH_PX = 1600
BAR_PX = 28
GAP_PX = 2
TEXT_PX = 14.0
KEY_PX = 22
LEGEND_ORDER: tuple[BoxKind, ...] = ("labels", "uncertain", "teacher", "assistant", "truth")
DEFAULT_VIEW = BevView(covariance=False)


def draw_preview(frame: Frame, boxes: Mapping[BoxKind, Labels3D], caption: str = "") -> np.ndarray:
    """Draw one frame.

    Args:
        frame: image, camera and, where known, cloud.
        boxes: by kind, lidar.
        caption: ASCII text along the bottom.

    Returns:
        (H, W, 3) uint8 RGB, W about WIDTH_PX; height and width are even, as video encoders ask.
    """
    height_px = _camera_height(frame)
    camera = draw_camera_kinds(frame, boxes, height_px / frame.camera.height)
    view = BevView(2 * camera.shape[0] + BAR_PX, DEFAULT_VIEW.forward_m, DEFAULT_VIEW.left_m, covariance=False)
    left = [_legend_bar(camera.shape[1], "Image", _image_legend(boxes)), camera]
    left += [_depth_bar(camera.shape[1]), _depth(frame, camera.shape)]
    above = view.draw_kinds(frame, boxes)
    right = [_legend_bar(above.shape[1], "From above", _kinds_legend(boxes)), above]
    gap = np.full((view.height_px + BAR_PX, GAP_PX, 3), BAR, dtype=np.uint8)
    panels = np.concatenate([np.concatenate(left), gap, np.concatenate(right)], axis=1)
    return _even(np.concatenate([panels, _caption_bar(panels.shape[1], caption)]))


def _camera_height(frame: Frame) -> int:
    """Of a camera panel, such that two of them below each other and the square beside them are WIDTH_PX wide."""
    view_aspect = 2 * DEFAULT_VIEW.left_m / (DEFAULT_VIEW.forward_m[1] - DEFAULT_VIEW.forward_m[0])
    rest = WIDTH_PX - GAP_PX - BAR_PX * view_aspect
    return max(1, round(rest / (frame.camera.width / frame.camera.height + 2 * view_aspect)))


def _depth(frame: Frame, shape: tuple[int, ...]) -> np.ndarray:
    """The image with the cloud over it, as large as the image's panel."""
    points_cam = np.zeros((0, 3))
    if frame.points_lidar is not None and frame.cam_T_lidar is not None:
        points = frame.points_lidar[np.isfinite(frame.points_lidar[:, :3]).all(axis=1), :3]
        points_cam = transform_points(frame.cam_T_lidar, points.astype(np.float64))
    return fit(draw_depth_overlay(frame.image, frame.camera, points_cam, width_px=shape[1]), (shape[1], shape[0]))


def _image_legend(boxes: Mapping[BoxKind, Labels3D]) -> list[tuple[str, Colour, bool]]:
    """Name, colour and whether dashed of what is drawn into the image: labels by class, then the other kinds."""
    names = dict.fromkeys(boxes["labels"].class_names) if "labels" in boxes else {}
    classes = [name for name in CLASS_COLOURS if name in names]
    entries = [(name, class_colour(name), False) for name in classes]
    if len(classes) < len(names):
        entries.append(("other", OTHER_CLASS, False))
    return entries + [entry for entry in _kinds_legend(boxes) if entry[0] in ("uncertain", "truth")]


def _kinds_legend(boxes: Mapping[BoxKind, Labels3D]) -> list[tuple[str, Colour, bool]]:
    """Name, colour and whether dashed of the kinds that are there."""
    return [
        (kind, BOX_STYLES[kind].colour_of("Car"), BOX_STYLES[kind].dashed) for kind in LEGEND_ORDER if kind in boxes
    ]


def _legend_bar(width_px: int, title: str, entries: list[tuple[str, Colour, bool]]) -> np.ndarray:
    bar = _caption_bar(width_px, title)
    right = width_px - 10
    for name, colour, dashed in reversed(entries):
        right -= drawing.text_size(name, TEXT_PX)[0]
        _write(bar, name, right, FAINT_INK)
        right -= KEY_PX + 6
        draw = drawing.dashed_line if dashed else drawing.line
        draw(bar, np.array([right, BAR_PX / 2]), np.array([right + KEY_PX, BAR_PX / 2]), colour, 2)
        right -= 16
    return bar


def _depth_bar(width_px: int) -> np.ndarray:
    """Title and the scale of depth, near to far."""
    bar = _caption_bar(width_px, "LiDAR depth")
    near, far = f"{NEAR_M:.0f} m", f"{FAR_M:.0f} m"
    ramp = depth_colours(np.geomspace(NEAR_M, FAR_M, 120))
    right = width_px - 10 - drawing.text_size(far, TEXT_PX)[0]
    left = right - 8 - len(ramp)
    _write(bar, far, right, FAINT_INK)
    bar[9 : BAR_PX - 9, left : left + len(ramp)] = ramp[: bar.shape[1] - left] if left >= 0 else BAR
    _write(bar, near, left - 8 - drawing.text_size(near, TEXT_PX)[0], FAINT_INK)
    return bar


def _caption_bar(width_px: int, text: str) -> np.ndarray:
    bar = np.full((BAR_PX, width_px, 3), BAR, dtype=np.uint8)
    _write(bar, text, 10, INK)
    return bar


def _write(bar: np.ndarray, text: str, left: float, colour: Colour) -> None:
    top = (BAR_PX - drawing.text_size(text or " ", TEXT_PX)[1]) / 2
    drawing.put_text(bar, text, left, top, colour, TEXT_PX)


def _even(picture: np.ndarray) -> np.ndarray:
    """The picture with a row or column of BAR more where its size is odd."""
    height, width = picture.shape[:2]
    padded = np.full((height + height % 2, width + width % 2, 3), BAR, dtype=np.uint8)
    padded[:height, :width] = picture
    return padded
