"""Zoom and crop of a prepared frame: the same world through a camera of another focal length and another window.

Image and camera change, the world does not: boxes and points stay where they are in the lidar frame, and the projection
follows the image exactly. A lift that reads the projection therefore stays exact. The apparent size of things does not:
a network made for one focal length (`input.focal_px`) sees objects larger or smaller than their distance says.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from monotakd_ros.data.preprocess import IGNORE_LABEL, ImageMap, PreparedFrame, visible_areas, warp_image
from monotakd_ros.geometry.camera import CameraModel, pixel_scale_shift

MIN_VISIBLE_SHARE = 0.5
"""An object of which a window shows less than this share of what it showed before is neither right nor wrong."""


def zoom(
    frame: PreparedFrame, factor: float, pivot_px: tuple[float, float], target_px: tuple[float, float]
) -> PreparedFrame:
    """The frame enlarged by `factor` and moved so that `pivot_px` comes to lie at `target_px`, in an image of its size.

    Resizing is to whole pixels and moving by whole pixels, so that the image is interpolated once; the projection
    accounts for the rounding. Points that leave the image content leave the frame. Boxes stay; the label of one that
    is mostly cut off becomes `IGNORE_LABEL`.

    Args:
        frame: to be changed; stays as it is.
        factor: above 1 enlarges.
        pivot_px: (u, v) in the image.
        target_px: (u, v) where that pixel is wanted, to half a pixel.
    """
    left, top, right, bottom = (int(edge) for edge in frame.valid_px)
    if right <= left or bottom <= top:
        return frame
    size = (frame.image.shape[1], frame.image.shape[0])
    resized = (max(1, round((right - left) * factor)), max(1, round((bottom - top) * factor)))
    scale = (resized[0] / (right - left), resized[1] / (bottom - top))
    resized_from_old = pixel_scale_shift(*scale, 0, 0) @ pixel_scale_shift(1, 1, -left, -top)
    pivot = resized_from_old @ [*pivot_px, 1.0]
    offset = (round(target_px[0] - pivot[0]), round(target_px[1] - pivot[1]))
    new_from_old = pixel_scale_shift(1, 1, *offset) @ resized_from_old
    camera = CameraModel(frame.img_P_cam, *size).warped(new_from_old, *size)
    mapping = ImageMap(resized, offset, size, camera)
    points_img, points_lidar = _points_inside(frame, new_from_old, mapping.valid_px)
    moved = replace(
        frame,
        image=warp_image(frame.image[top:bottom, left:right], mapping),
        valid_px=mapping.valid_px,
        img_P_cam=np.array(camera.img_P_cam),
        points_img=points_img,
        points_lidar=points_lidar,
    )
    return replace(moved, labels=_labels(frame, moved, scale[0] * scale[1]))


def _points_inside(
    frame: PreparedFrame, new_from_old: np.ndarray, valid_px: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    uv_px = frame.points_img[:, :2] @ new_from_old[:2, :2].T + new_from_old[:2, 2]
    inside = ((uv_px >= valid_px[:2] - 0.5) & (uv_px < valid_px[2:] - 0.5)).all(axis=1)
    points_img = np.column_stack([uv_px, frame.points_img[:, 2]])[inside]
    return points_img.astype(np.float32), frame.points_lidar[inside]


def _labels(frame: PreparedFrame, moved: PreparedFrame, area_scale: float) -> np.ndarray | None:
    if frame.labels is None or frame.boxes_lidar is None:
        return frame.labels
    before, after = _areas(frame) * area_scale, _areas(moved)
    return np.where(after < MIN_VISIBLE_SHARE * before, IGNORE_LABEL, frame.labels)


def _areas(frame: PreparedFrame) -> np.ndarray:
    assert frame.boxes_lidar is not None, "only labelled frames have areas"
    camera = CameraModel(frame.img_P_cam, frame.image.shape[1], frame.image.shape[0])
    return visible_areas(frame.boxes_lidar, frame.cam_T_lidar, camera, frame.valid_px)


def random_zoom(frame: PreparedFrame, scale: float, crop: float, generator: np.random.Generator) -> PreparedFrame:
    """Zoom about a random point of the image content, then a random move of the window.

    Args:
        frame: to be changed.
        scale: the factor is 1 / (1 + scale) to 1 + scale, all ratios equally likely.
        crop: the window moves by up to this share of its width and height; the point that was zoomed about stays in it.
        generator: of randomness.
    """
    size = np.array([frame.image.shape[1], frame.image.shape[0]])
    factor = (1 + scale) ** generator.uniform(-1, 1)
    pivot = generator.uniform(frame.valid_px[:2] - 0.5, frame.valid_px[2:] - 0.5)
    target = np.clip(pivot + crop * size * generator.uniform(-1, 1, size=2), 0, size - 1)
    return zoom(frame, float(factor), (float(pivot[0]), float(pivot[1])), (float(target[0]), float(target[1])))
