"""LiDAR points over the camera image, coloured by depth: does the calibration fit?

Near is red, far is blue. Depth edges, where they are given, are white rings: on a good calibration they lie on the
outlines of things.
"""

from __future__ import annotations

import cv2
import numpy as np

from monotakd_ros.geometry.camera import CameraModel, pixel_scale_shift
from monotakd_ros.visualization import drawing

NEAR_M, FAR_M = 3.0, 50.0
DIMMED = 0.6
"""Share of the image's brightness that stays, so that points stand out."""
EDGE = (255, 255, 255)


def draw_depth_overlay(
    image: np.ndarray,
    camera: CameraModel,
    points_cam: np.ndarray,
    edges_cam: np.ndarray | None = None,
    width_px: int = 1242,
) -> np.ndarray:
    """Draw points and edges into an image.

    Args:
        image: (H, W, 3) uint8 RGB, rectified.
        camera: of the image.
        points_cam: (N, 3) m.
        edges_cam: (M, 3) m.
        width_px: of the picture.

    Returns:
        (H', width_px, 3) uint8 RGB.
    """
    size = width_px, max(1, round(camera.height * width_px / camera.width))
    method = cv2.INTER_AREA if width_px < camera.width else cv2.INTER_LINEAR
    canvas = np.round(DIMMED * cv2.resize(image, size, interpolation=method)).astype(np.uint8)
    scaled = camera.warped(pixel_scale_shift(size[0] / camera.width, size[1] / camera.height, 0.0, 0.0), *size)
    uv_px, depth = scaled.project(points_cam)
    shown = scaled.contains(uv_px)
    uv_px, depth = uv_px[shown], depth[shown]
    order = np.argsort(-depth, kind="stable")  # near points are drawn last, over what they hide
    u, v = np.clip(np.round(uv_px[order]).astype(np.intp), 0, np.array(size) - 1).T
    colours = depth_colours(depth[order])
    for du, dv in ((0, 0), (1, 0), (0, 1), (1, 1)):
        canvas[np.minimum(v + dv, size[1] - 1), np.minimum(u + du, size[0] - 1)] = colours
    if edges_cam is not None:
        edges_px = scaled.project(edges_cam)[0]
        for place in edges_px[scaled.contains(edges_px)]:
            drawing.ring(canvas, place, 3.0, EDGE)
    return canvas


def depth_colours(depth: np.ndarray) -> np.ndarray:
    """(N, 3) uint8 RGB of depths (N,) m: red near, blue far, by the logarithm."""
    share = np.log(np.clip(depth, NEAR_M, FAR_M) / NEAR_M) / np.log(FAR_M / NEAR_M)
    levels = np.round(255 * (1.0 - share)).astype(np.uint8)
    return (
        cv2.applyColorMap(levels[:, None], cv2.COLORMAP_TURBO)[:, 0, ::-1]
        if len(levels)
        else np.zeros((0, 3), np.uint8)
    )
