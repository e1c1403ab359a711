"""Augmentation of prepared frames: image, camera, points and boxes move together.

The flip mirrors the whole world about the camera's vertical plane, so the flipped frame is an exact frame of its own.
Zoom and crop (`data.zoom`) change the camera and leave the world.
Randomness comes from the caller's generator only.
"""

from __future__ import annotations

from dataclasses import replace

import cv2
import numpy as np

from monotakd_ros.config import AugmentConfig
from monotakd_ros.data.preprocess import PreparedFrame
from monotakd_ros.data.zoom import random_zoom

MIRROR_CAM = np.diag([-1.0, 1.0, 1.0, 1.0])
"""cam of the mirrored world from cam: x changes sign."""
MIRROR_LIDAR = np.diag([1.0, -1.0, 1.0, 1.0])
"""lidar of the mirrored world from lidar: y changes sign."""
LUMA = np.array([0.299, 0.587, 0.114])
"""Weights of red, green and blue in grey (ITU-R BT.601)."""


def flip(frame: PreparedFrame) -> PreparedFrame:
    """The frame of the mirrored world: left and right change places.

    Pixel u becomes width - 1 - u, y and heading of boxes change sign, and projection and extrinsic are those of the
    mirrored rig, so that projecting stays exact.
    """
    width = frame.image.shape[1]
    mirror_img = np.array([[-1.0, 0.0, width - 1.0], [0.0, 1.0, 0.0], [0.0, 0.0, 1.0]])
    left, top, right, bottom = frame.valid_px
    points_img, points_lidar = frame.points_img.copy(), frame.points_lidar.copy()
    points_img[:, 0] = width - 1 - points_img[:, 0]
    points_lidar[:, 1] *= -1
    return replace(
        frame,
        image=np.ascontiguousarray(frame.image[:, ::-1]),
        valid_px=np.array([width - right, top, width - left, bottom], dtype=frame.valid_px.dtype),
        img_P_cam=(mirror_img @ frame.img_P_cam @ MIRROR_CAM).astype(frame.img_P_cam.dtype),
        cam_T_lidar=(MIRROR_CAM @ frame.cam_T_lidar @ MIRROR_LIDAR).astype(frame.cam_T_lidar.dtype),
        points_img=points_img,
        points_lidar=points_lidar,
        boxes_lidar=_flip_boxes(frame.boxes_lidar),
    )


def _flip_boxes(boxes_lidar: np.ndarray | None) -> np.ndarray | None:
    if boxes_lidar is None:
        return None
    boxes = boxes_lidar.copy()
    boxes[:, [1, 6]] *= -1
    return boxes


def jitter_colour(image: np.ndarray, brightness: float, contrast: float, saturation: float) -> np.ndarray:
    """Scale brightness, contrast about the middle grey, then colour against grey.

    Args:
        image: (H, W, 3) uint8 RGB.
        brightness: factor, 1 leaves as is.
        contrast: factor, 1 leaves as is.
        saturation: factor, 1 leaves as is, 0 is grey.

    Returns:
        (H, W, 3) uint8, rounded and clipped once.
    """
    mix = saturation * np.eye(3) + (1 - saturation) * LUMA
    affine = np.column_stack([contrast * brightness * mix, np.full(3, 127.5 * (1 - contrast))])
    return cv2.transform(image, affine)


def augment(frame: PreparedFrame, config: AugmentConfig, generator: np.random.Generator) -> PreparedFrame:
    """A random variant of `frame`; the same generator state gives the same variant."""
    return augment_and_keep_colours(frame, config, generator)[0]


def augment_and_keep_colours(
    frame: PreparedFrame, config: AugmentConfig, generator: np.random.Generator
) -> tuple[PreparedFrame, PreparedFrame]:
    """A random variant of `frame`, and the same moved alike but in the colours that were recorded."""
    mirrored = generator.random() < config.flip_probability
    spread = np.array([config.brightness, config.contrast, config.saturation])
    factors = 1 + spread * generator.uniform(-1, 1, size=3)
    moved = random_zoom(frame, config.scale, config.crop, generator) if config.moves_camera else frame
    moved = flip(moved) if mirrored else moved
    if not spread.any():
        return moved, moved
    return replace(moved, image=jitter_colour(moved.image, *(float(factor) for factor in factors))), moved
