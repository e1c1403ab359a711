"""Drawing primitives on (H, W, 3) uint8 RGB canvases: smooth lines, dashes, glass faces and text. OpenCV.

Positions are sub-pixel (u right, v down). Everything may reach beyond the canvas and is cut there.
"""

from __future__ import annotations

from functools import lru_cache

import cv2
import numpy as np

from monotakd_ros.visualization.palette import Colour

_SHIFT = 4
_TEXT_OVERSAMPLING = 4
_FONT = cv2.FONT_HERSHEY_SIMPLEX


def clip_segment(start: np.ndarray, end: np.ndarray, width: int, height: int) -> tuple[np.ndarray, np.ndarray] | None:
    """The part of a segment inside the canvas and a margin of 8 px (Liang-Barsky); None when there is none."""
    low, high = np.array([-8.0, -8.0]), np.array([width + 7.0, height + 7.0])
    direction = end - start
    enter, leave = 0.0, 1.0
    for axis in range(2):
        if direction[axis] == 0:
            if not low[axis] <= start[axis] <= high[axis]:
                return None
            continue
        a, b = sorted(((low[axis] - start[axis]) / direction[axis], (high[axis] - start[axis]) / direction[axis]))
        enter, leave = max(enter, a), min(leave, b)
    if enter > leave:
        return None
    return start + enter * direction, start + leave * direction


def line(canvas: np.ndarray, start: np.ndarray, end: np.ndarray, colour: Colour, width: int = 1) -> None:
    """Draw a smooth line."""
    clipped = clip_segment(np.asarray(start, float), np.asarray(end, float), canvas.shape[1], canvas.shape[0])
    if clipped is not None:
        a, b = (tuple(int(value) for value in np.round(point * 2**_SHIFT)) for point in clipped)
        cv2.line(canvas, a, b, colour, width, cv2.LINE_AA, _SHIFT)


def dashed_line(
    canvas: np.ndarray, start: np.ndarray, end: np.ndarray, colour: Colour, width: int = 1, dash_px: float = 6.0
) -> None:
    """Draw a smooth line of dashes and gaps of `dash_px`, beginning and ending with a dash."""
    clipped = clip_segment(np.asarray(start, float), np.asarray(end, float), canvas.shape[1], canvas.shape[0])
    if clipped is None:
        return
    a, b = clipped
    pieces = max(1, 2 * round((np.linalg.norm(b - a) / dash_px + 1) / 2) - 1)
    for piece in range(0, pieces, 2):
        line(canvas, a + (b - a) * (piece / pieces), a + (b - a) * ((piece + 1) / pieces), colour, width)


def polygon(canvas: np.ndarray, points: np.ndarray, colour: Colour, width: int = 1, dashed: bool = False) -> None:
    """Draw the outline of a closed polygon (N, 2)."""
    draw = dashed_line if dashed else line
    for start, end in zip(points, np.roll(points, -1, axis=0)):
        draw(canvas, start, end, colour, width)


def cross(canvas: np.ndarray, corners: np.ndarray, colour: Colour, width: int = 2) -> None:
    """Draw both diagonals of a quadrilateral (4, 2), corners in order."""
    line(canvas, corners[0], corners[2], colour, width)
    line(canvas, corners[1], corners[3], colour, width)


def ring(canvas: np.ndarray, center: np.ndarray, radius_px: float, colour: Colour, width: int = 1) -> None:
    """Draw a smooth circle."""
    turn = np.linspace(0.0, 2.0 * np.pi, 36, endpoint=False)
    polygon(canvas, center + radius_px * np.column_stack([np.cos(turn), np.sin(turn)]), colour, width)


def glass(canvas: np.ndarray, points: np.ndarray, colour: Colour, opacity: float) -> None:
    """Fill a convex polygon (N, 2) with a translucent colour."""
    left, top = np.maximum(np.floor(points.min(axis=0)), 0).astype(int)
    right, bottom = np.minimum(np.ceil(points.max(axis=0)) + 1, canvas.shape[1::-1]).astype(int)
    if left >= right or top >= bottom:
        return
    mask = np.zeros((bottom - top, right - left), dtype=np.uint8)
    corners = np.clip((points - (left, top)) * 2**_SHIFT, -(2**24), 2**24)
    cv2.fillConvexPoly(mask, np.round(corners).astype(np.int32), 255, cv2.LINE_AA, _SHIFT)
    _blend(canvas[top:bottom, left:right], mask.astype(np.float32) * (opacity / 255.0), colour)


def text_size(text: str, height_px: float) -> tuple[int, int]:
    """Width and height of a line of text, px."""
    mask = _text_mask(text, height_px)
    return mask.shape[1], mask.shape[0]


def put_text(canvas: np.ndarray, text: str, left: float, top: float, colour: Colour, height_px: float = 12.0) -> None:
    """Write a line of ASCII text whose upper left corner is (left, top); what lies outside is cut."""
    mask = _text_mask(text, height_px)
    u, v = round(left), round(top)
    u0, v0 = max(u, 0), max(v, 0)
    u1, v1 = min(u + mask.shape[1], canvas.shape[1]), min(v + mask.shape[0], canvas.shape[0])
    if u0 < u1 and v0 < v1:
        _blend(canvas[v0:v1, u0:u1], mask[v0 - v : v1 - v, u0 - u : u1 - u], colour)


def plate(canvas: np.ndarray, left: int, top: int, width: int, height: int, colour: Colour, opacity: float) -> None:
    """Darken or tint a rectangle, as a ground for text."""
    region = canvas[max(top, 0) : max(top + height, 0), max(left, 0) : max(left + width, 0)]
    _blend(region, np.full(region.shape[:2], opacity, dtype=np.float32), colour)


def _blend(region: np.ndarray, alpha: np.ndarray, colour: Colour) -> None:
    ink = np.array(colour, dtype=np.float32)
    region[:] = np.round(region + alpha[..., None] * (ink - region)).astype(np.uint8)


@lru_cache(maxsize=1024)
def _text_mask(text: str, height_px: float) -> np.ndarray:
    """(H, W) float32 coverage 0..1: drawn large and shrunk, which is much smoother than drawing it small."""
    scale = cv2.getFontScaleFromHeight(_FONT, max(1, round(height_px * 0.72 * _TEXT_OVERSAMPLING)), 1)
    thickness = max(1, round(height_px * _TEXT_OVERSAMPLING / 9.0))
    (width, ascent), descent = cv2.getTextSize(text, _FONT, scale, thickness)
    large = np.zeros((ascent + descent + 2 * thickness, width + 2 * thickness), dtype=np.uint8)
    cv2.putText(large, text, (thickness, ascent + thickness), _FONT, scale, 255, thickness, cv2.LINE_AA)
    size = (max(1, large.shape[1] // _TEXT_OVERSAMPLING), max(1, large.shape[0] // _TEXT_OVERSAMPLING))
    mask = cv2.resize(large, size, interpolation=cv2.INTER_AREA).astype(np.float32) / 255.0
    mask.setflags(write=False)
    return mask
