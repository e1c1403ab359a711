"""Contact shadows: how much sky light the ground gets near and under objects, as a map seen from above."""

from __future__ import annotations

import cv2
import numpy as np

from monotakd_ros.geometry.boxes import corners_from_boxes
from monotakd_ros.simulation.objects import Placed

CELL_M = 0.06
AHEAD_M, BEHIND_M, ASIDE_M = 60.0, 4.0, 24.0
_SUBCELL_BITS = 4


class ContactShadows:
    """The map of one moment, laid out along the camera's viewing direction."""

    def __init__(self, objects: list[Placed], world_T_cam: np.ndarray) -> None:
        forward = world_T_cam[:2, 2] / max(float(np.linalg.norm(world_T_cam[:2, 2])), 1e-9)
        self._to_map = np.array([forward, [-forward[1], forward[0]]])
        self._origin = world_T_cam[:2, 3].copy()
        size = (int(2 * ASIDE_M / CELL_M), int((AHEAD_M + BEHIND_M) / CELL_M))
        cover = np.zeros(size, dtype=np.uint8)
        for placed in objects:
            self._draw(cover, placed)
        near, wide = cv2.GaussianBlur(cover, (0, 0), 0.14 / CELL_M), cv2.blur(cv2.blur(cover, (15, 15)), (15, 15))
        dark = near.astype(np.float32) * (0.55 / 255) + wide.astype(np.float32) * (0.35 / 255)
        self._open = 1 - dark

    def _cells(self, points: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Column and row of world points (2, N)."""
        offset = self._to_map.astype(points.dtype) @ (points - self._origin[:, None].astype(points.dtype))
        return (offset[0] + BEHIND_M) / CELL_M, (offset[1] + ASIDE_M) / CELL_M

    def _draw(self, cover: np.ndarray, placed: Placed) -> None:
        if np.hypot(*(placed.position[:2] - self._origin)) > AHEAD_M + 5:
            return
        box = placed.box_world[None].copy()
        box[:, 3:5] -= 0.12
        column, row = self._cells(corners_from_boxes(box)[0, :4, :2].T)
        polygon = np.column_stack([column, row]) * (1 << _SUBCELL_BITS)
        depth = 255 if placed.shape.size[0] > 2.5 else 120
        cv2.fillConvexPoly(cover, polygon.round().astype(np.int32), depth, cv2.LINE_AA, _SUBCELL_BITS)

    def openness(self, points: np.ndarray) -> np.ndarray:
        """Share of sky light (N,) float32 left at ground points (2, N) float32, world, m."""
        column, row = self._cells(points)
        if not len(column):
            return column
        lookup = cv2.remap(
            self._open,
            column.astype(np.float32).reshape(-1, 1),
            row.astype(np.float32).reshape(-1, 1),
            cv2.INTER_LINEAR,
            borderMode=cv2.BORDER_CONSTANT,
            borderValue=1.0,
        )
        return lookup.ravel()
