"""Where an image has edges, spread so that a depth edge some pixels beside one still earns something.

Upright edges and level ones are kept apart: the sides of a car are to meet the first, its roof the second. Strength
counts against what is usual around a pixel, so that foliage and gravel, which have edges everywhere, give little.
"""

from __future__ import annotations

import cv2
import numpy as np

MAX_WIDTH_PX = 1280
"""Larger images are shrunk to this width first."""
SMOOTHING_PX = 1.0
NEIGHBOURHOOD_PX = 61
USUAL_FLOOR = 8.0
"""Gradient (Scharr, 8-bit grey) taken as usual where the surroundings have less: noise of a plain wall is no edge."""
STRONG = 6.0
"""Times the usual gradient at which an edge has full strength."""
REACH_RAD = np.deg2rad(1.0)
"""How far an edge is spread; over it, the strength falls to a seventh."""
FALL = 0.14


def edge_maps(image: np.ndarray, focal_px: float) -> np.ndarray:
    """Strength of upright and of level edges about each pixel.

    Args:
        image: (H, W, 3) uint8 RGB, rectified.
        focal_px: of the camera.

    Returns:
        (2, H, W) uint8, 0 to 255: upright edges, level edges.
    """
    grey = cv2.GaussianBlur(cv2.cvtColor(image, cv2.COLOR_RGB2GRAY), (0, 0), SMOOTHING_PX).astype(np.float32)
    across = np.abs(cv2.Scharr(grey, cv2.CV_32F, 1, 0))
    down = np.abs(cv2.Scharr(grey, cv2.CV_32F, 0, 1))
    steps = int(np.clip(round(focal_px * REACH_RAD), 3, 30))
    upright = _spread(_relative(np.where(across > down, across, 0.0)), (1, 3), steps)
    level = _spread(_relative(np.where(down > across, down, 0.0)), (3, 1), steps)
    return np.stack([upright, level])


def _relative(strength: np.ndarray) -> np.ndarray:
    usual = cv2.blur(strength, (NEIGHBOURHOOD_PX, NEIGHBOURHOOD_PX)) + USUAL_FLOOR
    return np.round(255.0 * np.minimum(strength / (STRONG * usual), 1.0)).astype(np.uint8)


def _spread(strength: np.ndarray, shape: tuple[int, int], steps: int) -> np.ndarray:
    """Each pixel's largest `strength * fall^distance` along one direction, up to `steps` px away."""
    kernel = np.ones(shape, dtype=np.uint8)
    fall = FALL ** (1.0 / steps)
    for _ in range(steps):
        strength = np.maximum(strength, cv2.multiply(cv2.dilate(strength, kernel), fall))
    return strength
